"""`voxgate trend` as a user meets it: folders good and bad, what it prints, what it returns."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from voxgate.cli import main
from voxgate.records import file
from voxgate.records.run import RunRecord
from voxgate.records.verdicts import ComparisonRecord, GateRecord
from voxgate.verdicts.trend.folder import read_history

from suites.support.histories import case, night

FAKE = ["--models", "unet", "--backend", "fake", "--task", "phantom-mini", "--seconds", "0",
        "--launches", "1", "--precisions", "int8"]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten nights, of which the last four have a larger engine."""
    for number in range(10):
        size = 6_000_000 if number < 6 else 6_600_000
        file.write(tmp_path / f"records/{number}.json", night(number, case(engine_bytes=size)))
    return tmp_path / "records"


@pytest.fixture(scope="module")
def fake_run(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    path = tmp_path_factory.mktemp("fake")
    options = ["--cache-dir", str(path / "cache"), "--record", str(path / "r.json")]
    assert main(["bench", *FAKE, *options]) == 0
    return file.read(path / "r.json")


def test_records_of_bench_are_a_history(
    fake_run: RunRecord, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = fake_run.cases
    assert row.engine_bytes
    for number in range(8):
        size = row.engine_bytes * (2 if number >= 5 else 1)
        started = datetime.fromisoformat(fake_run.timing.started) + timedelta(days=number)
        timing = replace(fake_run.timing, started=started.isoformat())
        run = replace(fake_run, cases=(replace(row, engine_bytes=size),), timing=timing)
        file.write(tmp_path / f"{number}.json", run)
    assert main(["trend", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "8 records of 1 kind of machine" in printed
    assert "WORSENING unet/phantom-mini/fake/int8 engine size" in printed
    assert "(+100.0 %); certain: 5 records before it, 3 since" in printed
    assert "5.json" in printed
    assert "changed there: nothing that the records name; the engine is the same file" in printed


def test_the_terminal_tells_steps_values_and_files_left_out(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "sub").mkdir()
    shutil.copy(folder / "1.json", folder / "sub/copy.json")
    (folder / "notes.txt").write_text("x")
    (folder / "bench.json").write_text("{}")
    assert main(["trend", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert "6.000 → 6.600 MB (+10.0 %)" in printed
    assert "since 2026-01-07 03:30 UTC, 6.json, commit aaaaaaaaaa" in printed
    assert "left out: sub/copy.json: the same run as 1.json" in printed
    assert "left out: bench.json: has schema_version none" in printed
    assert "not read, for want of the ending .json: 1 file" in printed


def test_json_has_series_steps_and_nothing_else_on_standard_output(
    folder: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert main(["trend", str(folder), "--json"]) == 0
    found = json.loads(capsysbinary.readouterr().out)
    assert found["kind"] == "trend"
    (size,) = [series for series in found["series"] if series["metric"] == "size"]
    assert [level["value"] for level in size["levels"]] == pytest.approx([6.0, 6.6])
    assert size["steps"][0]["file"] == "6.json"
    assert len(size["points"]) == len(found["records"]) == 10


def test_a_gate_counts_as_its_run_and_a_comparison_not_at_all(tmp_path: Path) -> None:
    run = night(0, case())
    gate = GateRecord(
        kind="gate", schema_version=1, voxgate="0.1", environment="here", tolerances={},
        outcome="pass", cases=(), run=run, timing=run.timing,
    )  # fmt: skip
    comparison = ComparisonRecord(
        kind="comparison", schema_version=1, voxgate="0.1", title_a="a", title_b="b",
        outcome="pass", cases=(), a=run, b=run, timing=run.timing,
    )  # fmt: skip
    file.write(tmp_path / "gate.json", gate)
    file.write(tmp_path / "pair.json", comparison)
    history = read_history(tmp_path)
    assert [(r.source.file, r.source.kind) for r in history.readings] == [("gate.json", "gate")]
    assert "record of a comparison" in history.skipped[0].reason


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not a VoxGate record"),
        (b'{"schema_version": 1, "kind"', "is not a VoxGate record"),
        (b"[1, 2]", "is not a VoxGate record"),
        (b'{"schema_version": 99}', "has schema_version 99"),
        (b'{"schema_version": 1}', "is not a valid record"),
        (b'{"schema_version": 1, "kind": "\xff"}', "is not a VoxGate record"),
        (b'{"a": ' + b"[" * 200_000, "is not a VoxGate record"),
    ],
)
def test_a_file_that_is_no_record_is_left_out_with_its_reason(
    folder: Path, content: bytes, reason: str
) -> None:
    (folder / "bad.json").write_bytes(content)
    history = read_history(folder)
    assert len(history.readings) == 10
    (skipped,) = history.skipped
    assert skipped.file == "bad.json"
    assert skipped.reason.startswith(reason)


def test_links_that_lead_out_are_refused(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    file.write(elsewhere / "secret.json", night(99, case()))
    (folder / "out.json").symlink_to(elsewhere / "secret.json")
    (folder / "folder").symlink_to(elsewhere)
    (folder / "nowhere.json").symlink_to(folder / "gone.json")
    (folder / "within.json").symlink_to(folder / "1.json")
    history = read_history(folder)
    reasons = {skipped.file: skipped.reason for skipped in history.skipped}
    assert reasons["out.json"].startswith("is a link that leads outside the folder")
    assert reasons["folder"].startswith("a link to ")
    assert reasons["nowhere.json"].startswith("is no file")
    assert len(history.readings) == 11  # the link within is found out as a copy by its start


def test_what_is_no_regular_file_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "pipe.json")
    assert read_history(folder).skipped[0].reason == "is no file, or a link to none"


def test_a_name_that_is_no_utf8_does_not_end_the_report(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(os.fsdecode(bytes(folder) + b"/\xff\x1b[2J.json")).write_text("{}")
    assert main(["trend", str(folder), "--html", str(folder / "t.html")]) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "left out: \\xff" in printed


def test_a_folder_without_a_record_is_an_error_that_lists_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trend", str(tmp_path)]) == 4
    assert "no usable record" in capsys.readouterr().err
    (tmp_path / "bad.json").write_text("{}")
    assert main(["trend", str(tmp_path)]) == 4
    assert "bad.json: has schema_version none" in capsys.readouterr().err


def test_usage(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trend", str(folder / "1.json")]) == 2
    assert "is not a folder" in capsys.readouterr().err
    assert main(["trend", str(folder / "gone")]) == 2
    assert main(["trend", str(folder), "--models", "unett"]) == 2
    assert "Did you mean 'unet'?" in capsys.readouterr().err
    assert main(["trend", str(folder), "--html", str(folder)]) == 4
    assert "is a folder; name a file in it with --html" in capsys.readouterr().err
