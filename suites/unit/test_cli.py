"""The command line as a user meets it: codes, messages, files."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path

import psutil
import pytest
from voxgate import models
from voxgate.cli import main
from voxgate.records import file

from suites.support import report_records

FAKE = [
    "--models",
    "unet",
    "--backend",
    "fake",
    "--task",
    "phantom-mini",
    "--seconds",
    "0",
    "--launches",
    "1",
]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXGATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def test_bench_prints_the_table_and_writes_the_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "out" / "r.json"
    assert main(["bench", *FAKE, "--record", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "certificate of unet/phantom-mini/fake/int8: granted" in printed
    assert f"record: {path}" in printed
    assert len(file.read(path).cases) == 3


def test_the_record_has_a_name_of_its_own_by_default(tmp_path: Path) -> None:
    assert main(["bench", *FAKE, "--precisions", "fp32"]) == 0
    assert len(list((tmp_path / "records").glob("*Z.json"))) == 1


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--models", "unett", "unknown model 'unett'. Did you mean 'unet'? Choose from: nnunet,"),
        ("--models", "nosuch", "; sets of them: default, paper."),
        ("--models", "paper,paper", "the models name unet and transunet and unest"),
        ("--task", "brain", "unknown task 'brain'. Choose from: mni152, phantom, phantom-mini"),
        ("--backend", "openvin", "Did you mean 'openvino'?"),
        ("--precisions", "int4", "unknown precision 'int4'. Did you mean 'int8'?"),
        (
            "--classes",
            "papr",
            "unknown class set 'papr'. Did you mean 'paper'? Choose from: paper, task.",
        ),
        ("--quantizer", "magic", "unknown quantizer 'magic'"),
        ("--calibration", "mse", "unknown calibration method"),
        ("--launches", "0", "launches is 0; it must be finite and at least 1"),
        ("--threads", "-1", "threads is -1"),
        ("--memory-limit", "-2", "must be positive"),
        ("--memory-limit", "nan", "must be a finite number"),
        ("--seconds", "inf", "must be finite"),
    ],
)
def test_a_wrong_option_is_usage_and_lists_the_choices(
    capsys: pytest.CaptureFixture[str], option: str, value: str, words: str
) -> None:
    assert main(["bench", option, value]) == 2
    assert words in capsys.readouterr().err


def test_an_unknown_option_is_usage() -> None:
    assert main(["bench", "--frobnicate"]) == 2


def test_help_is_a_pass(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "exit codes: 0 pass" in capsys.readouterr().out


def test_a_failed_case_exits_4_and_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VOXGATE_FAKE_FAULT", "int8=nan")
    path = tmp_path / "r.json"
    assert main(["bench", *FAKE, "--record", str(path)]) == 4
    assert "FAILED unet/phantom-mini/fake/int8" in capsys.readouterr().out
    assert [row.status for row in file.read(path).cases] == ["ok", "ok", "failed"]


def test_a_pipe_gets_lines_and_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    main(["bench", *FAKE, "--precisions", "fp32"])
    lines = capsys.readouterr().err.splitlines()
    assert any("building unet/phantom-mini/fake/fp32" in line for line in lines)
    assert not any("\x1b" in line for line in lines)


def test_a_terminal_gets_a_bar() -> None:
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "voxgate.cli", "bench", *FAKE, "--precisions", "fp32"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=child) as process:
        os.close(child)
        shown = b""
        while chunk := _read(parent):
            shown += chunk
        assert process.wait() == 0
    os.close(parent)
    assert b"\x1b[" in shown
    assert b"measuring" in shown


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:  # Linux reports the closed other end of a terminal as an error
        return b""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_no_file_and_no_process(tmp_path: Path, number: int) -> None:
    path = tmp_path / "r.json"
    environment = {**os.environ, "VOXGATE_FAKE_FAULT": "fp32=hang"}
    command = [sys.executable, "-m", "voxgate.cli", "bench", *FAKE, "--record", str(path)]
    with subprocess.Popen(
        command,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts background jobs with SIGINT ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    ) as process:
        assert process.stderr is not None
        while "measuring" not in process.stderr.readline():
            pass
        time.sleep(0.5)  # the worker needs a moment to hang
        workers = psutil.Process(process.pid).children(recursive=True)
        assert workers
        process.send_signal(number)
        assert process.wait(10) == 130
        assert "interrupted" in process.stderr.read()
    _, alive = psutil.wait_procs(workers, timeout=5)
    assert not alive
    assert not path.exists()
    assert not list((tmp_path / "cache").rglob(".making-*"))


@pytest.mark.parametrize("columns", [80, 200])
def test_the_table_fits_its_terminal(tmp_path: Path, columns: int) -> None:
    from rich.console import Console
    from voxgate.report.terminal import print_record

    main(["bench", *FAKE, "--record", "r.json"])
    console = Console(width=columns, force_terminal=True, record=True)
    print_record(console, file.read(tmp_path / "r.json"))
    text = console.export_text()
    table = text.partition("certificate")[0].splitlines()
    assert max(map(len, table)) <= columns
    (int8,) = [line for line in table if "3.85x" in line]
    assert "fake-int8" in text
    for cell in (" int8 ", "0.01", "2.0", "4.0", "0.9967", "100.0%"):
        assert cell in int8
    assert ("memory" in text) == (columns == 200)


def test_names_of_the_default_models_fit_a_narrow_terminal() -> None:
    from rich.console import Console
    from voxgate.report.terminal import build_table

    console = Console(width=80, record=True, file=StringIO())
    console.print(build_table(report_records.eight_networks(), wide=False))
    firsts = {line.split()[0] for line in console.export_text().splitlines() if line.strip()}
    assert set(models.MODEL_SETS["default"]) <= firsts


def test_a_record_without_a_place_is_refused_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("no folder")
    assert main(["bench", *FAKE, "--record", "file/r.json"]) == 4
    assert "cannot be written" in capsys.readouterr().err
    assert main(["bench", *FAKE, "--record", str(tmp_path)]) == 4
    captured = capsys.readouterr().err
    assert "is a folder" in captured
    assert "measuring" not in captured


def test_brackets_in_a_path_are_no_markup(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a[" / "b]" / "r.json"
    assert main(["bench", *FAKE, "--precisions", "fp32", "--record", str(path)]) == 0
    assert f"record: {path}" in capsys.readouterr().out


def run_cli(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "voxgate.cli", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_output_without_the_letters_still_gets_the_table() -> None:
    done = run_cli("bench", *FAKE, "--precisions", "fp32", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "mean Dice" in done.stdout


def test_a_closed_pipe_does_not_look_like_a_regression() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "voxgate.cli", "bench", *FAKE, "--precisions", "fp32"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert done.returncode == 0, done.stderr


def test_a_bug_does_not_look_like_a_regression(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def bug(*_: object) -> None:
        msg = "a bug"
        raise ZeroDivisionError(msg)

    monkeypatch.setattr("voxgate.runs.bench.bench", bug)
    assert main(["bench", *FAKE]) == 4
    assert "ZeroDivisionError: a bug" in capsys.readouterr().err


def test_two_runs_at_once_keep_two_records_and_two_reports(tmp_path: Path) -> None:
    for _ in range(2):
        main(["bench", *FAKE, "--precisions", "fp32"])
    suffixes = sorted(path.suffix for path in (tmp_path / "records").iterdir())
    assert suffixes == [".html", ".html", ".json", ".json"]


def test_a_model_that_cannot_take_the_tasks_patches_is_usage(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["bench", *FAKE, "--models", "unet,stunet-s"]) == 2
    assert "stunet-s cannot take 32x32x32" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_models_lists_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["unet"]["parameters"] == 5_749_443
    assert "mni152" in rows["unet"]["trained_for"]
    sets = {name: rows[name]["sets"] for name in ("unet", "unest", "unest-small", "stunet-h")}
    assert sets == {
        "unet": ["paper", "default"], "unest": ["paper"], "unest-small": ["default"], "stunet-h": [],
    }  # fmt: skip
    assert main(["models"]) == 0
    printed = capsys.readouterr().out
    assert "5,749,443" in printed
    assert "paper, default" in printed


def test_inspect_shows_layers_and_coverage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "unet/phantom-mini/fake/int8", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["coverage"]["by_macs"]["int8"] == 1.0
    assert [layer["arithmetic"] for layer in found["layers"]] == ["int8", "int8"]


@pytest.mark.parametrize(
    ("precision", "fault", "verdict"),
    [
        ("int8", "int8=float", "this engine does NOT compute in INT8"),
        ("int8", "int8=partly", "this engine computes PARTLY in INT8: at least 95% of MACs"),
        ("fp32", "", "this fp32 engine computes nothing in INT8"),
    ],
)
def test_inspect_says_what_kind_of_engine_it_is(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    precision: str,
    fault: str,
    verdict: str,
) -> None:
    monkeypatch.setenv("VOXGATE_FAKE_FAULT", fault)
    assert main(["inspect", f"unet/phantom-mini/fake/{precision}"]) == 0
    assert verdict in capsys.readouterr().out


def test_inspect_takes_an_engine_of_the_cache(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["bench", *FAKE, "--precisions", "int8"])
    (engine,) = (tmp_path / "cache").glob("engine/*/engine.bin")
    capsys.readouterr()
    assert main(["inspect", str(engine)]) == 0
    printed = capsys.readouterr().out
    assert "MACs: 100.0% int8" in printed
    assert "this engine computes in INT8" in printed
    elsewhere = str(tmp_path / "elsewhere")
    assert main(["inspect", str(engine), "--cache-dir", elsewhere]) == 0
    captured = capsys.readouterr()
    assert "MACs: 100.0% int8" in captured.out
    assert "building" not in captured.err
    engine.write_bytes(b"damaged")
    assert main(["inspect", str(engine)]) == 4
    assert "SHA-256" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("target", "code", "words"),
    [
        ("unet", 2, "write model/task/backend/precision"),
        ("unet/mni152/openvino/int9", 2, "unknown precision 'int9'"),
        ("nosuch/mni152/openvino/int8", 2, "unknown model 'nosuch'"),
        ("/no/such/engine.bin", 2, "no engine file at"),
        ("a" * 300, 2, "File name too long"),
        ("unet/phantom-mini/fake/bf16", 4, "cannot build bf16"),
    ],
)
def test_inspect_refuses_what_it_does_not_know(
    capsys: pytest.CaptureFixture[str], target: str, code: int, words: str
) -> None:
    assert main(["inspect", target]) == code
    assert words in capsys.readouterr().err


def test_doctor_says_what_runs_here(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    int8 = [name for name, b in found["backends"].items() if "int8" in b["precisions"]]
    assert code == (0 if int8 else 4)
    assert all(b["available"] or b["reason"] for b in found["backends"].values())
    assert "float" in found["backends"]["onnxruntime"]["refused"]["int8"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--models", "nosuch"], "unknown model"),
        (["--task", "nosuch"], "unknown task"),
        (["--steps", "0"], "--steps is 0"),
        (["--seed", "-1"], "--seed is -1"),
        (["--models", ""], "nothing to train"),
        (["--models", "unest", "--task", "phantom-mini"], "unest cannot take 32x32x32"),
    ],
)
def test_train_checks_before_it_works(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert main(["train", *arguments]) == 2
    assert words in capsys.readouterr().err
