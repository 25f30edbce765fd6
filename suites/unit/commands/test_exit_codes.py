"""Exit code 1 is a regression and nothing else, whatever becomes of the output and of the process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from voxgate.cli import guarded, main
from voxgate.records import file

from suites.support import report_records as records
from suites.support.gate_site import Site

FAKE = "--models unet --backend fake --task phantom-mini --seconds 0 --launches 1"
BENCH = f"bench {FAKE} --precisions int8"
# How a shell takes an output away.
BROKEN = {"closed": "{}>&-", "full": "{}>/dev/full", "a closed pipe": "{}> >(exec true)"}


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXGATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def shell(arguments: str, redirected: str = "", **environment: str) -> tuple[int, str]:
    """The code of a command under bash, and what it could still say."""
    done = subprocess.run(
        ["/bin/bash", "-c", f"exec {sys.executable} -m voxgate.cli {arguments} {redirected}"],
        env={**os.environ, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("how", BROKEN)
def test_without_standard_error_the_code_is_that_of_the_run(how: str, tmp_path: Path) -> None:
    code, _ = shell(f"{BENCH} --record r.json", BROKEN[how].format(2))
    assert code == 0
    assert file.read(tmp_path / "r.json").cases[0].status == "ok"


@pytest.mark.parametrize("how", BROKEN)
def test_without_standard_error_an_error_keeps_its_code(how: str) -> None:
    broken = BROKEN[how].format(2)
    assert shell("bench --models unett", broken)[0] == 2
    assert shell("bench --frobnicate", broken)[0] == 2
    assert shell("report none.json", broken)[0] == 4


@pytest.mark.parametrize("how", BROKEN)
def test_without_standard_output_the_code_is_that_of_the_run(how: str, tmp_path: Path) -> None:
    code, said = shell(f"{BENCH} --record r.json", BROKEN[how].format(1))
    assert code == 0
    assert "bug" not in said
    assert ("standard output" in said) == (how == "full")
    assert file.read(tmp_path / "r.json").cases[0].status == "ok"


def test_a_failed_case_on_a_full_disk_stays_a_failed_case() -> None:
    code, _ = shell(BENCH, ">/dev/full 2>&1", VOXGATE_FAKE_FAULT="int8=nan")
    assert code == 4


@pytest.mark.parametrize(("fault", "expected"), [("", 0), ("int8=slower", 1)])
def test_a_verdict_does_not_depend_on_the_output(
    site_of: Callable[[str], Site], fault: str, expected: int, tmp_path: Path
) -> None:
    site_of("")
    shutil.rmtree(tmp_path / "cache" / "engine")
    code, _ = shell(
        f"gate {FAKE} --precisions int8 --tolerance 0.05",
        ">/dev/full 2>&1",
        VOXGATE_FAKE_FAULT=fault,
    )
    assert code == expected


@pytest.mark.parametrize("command", ["models", "models --json", "report r.json --markdown -"])
def test_text_that_is_all_of_the_result_must_not_be_lost(tmp_path: Path, command: str) -> None:
    file.write(tmp_path / "r.json", records.red_gate())
    code, said = shell(command, ">/dev/full")
    assert code == 4
    assert "standard output could not be written: " in said
    assert "No space left" in said
    assert shell(command, "> >(exec true)")[0] == 0  # who closes a pipe has read enough


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("raise ImportError('no libthing.so')", "VoxGate cannot start: no libthing.so"),
        ("raise RuntimeError('compiled for another CPU')", "compiled for another CPU"),
        ("raise SystemExit(1)", "SystemExit: 1"),
    ],
)
def test_what_does_not_import_is_no_regression(tmp_path: Path, module: str, words: str) -> None:
    (tmp_path / "shadow").mkdir()
    (tmp_path / "shadow" / "psutil.py").write_text(module)
    path = os.pathsep.join(
        [str(tmp_path / "shadow"), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    code, said = shell("models", PYTHONPATH=path)
    assert code == 4
    assert words in said
    assert shell("models", "2>&-", PYTHONPATH=path)[0] == 4


@pytest.mark.parametrize("stop", [SystemExit(0), SystemExit(1), MemoryError(), GeneratorExit()])
def test_what_ends_a_command_half_way_is_a_failure(stop: BaseException) -> None:
    def run() -> int:
        raise stop

    assert guarded(run) == 4


def test_a_fault_in_telling_a_fault_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> int:
        raise ZeroDivisionError

    def tell() -> None:
        raise MemoryError

    monkeypatch.setattr("traceback.print_exc", tell)
    assert guarded(run) == 4


def test_streams_are_as_before_afterwards(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, sys.stderr
    assert main(["models"]) == 0
    assert (sys.stdout, sys.stderr) == before
    assert "unet" in capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_signal_that_the_caller_ignores_stays_ignored(tmp_path: Path, number: int) -> None:
    """As nohup does; without it the run would be lost at logout."""
    command = [sys.executable, "-m", "voxgate.cli", *BENCH.split(), "--time-limit", "3"]
    with subprocess.Popen(
        [*command, "--record", "r.json"],
        env={**os.environ, "VOXGATE_FAKE_FAULT": "int8=hang"},
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_IGN),  # noqa: PLW1509
    ) as process:
        assert process.stderr is not None
        while "measuring" not in process.stderr.readline():
            pass
        process.send_signal(number)
        assert process.wait(60) == 4
    (row,) = file.read(tmp_path / "r.json").cases
    assert "did not finish in 3 s" in str(row.error)
