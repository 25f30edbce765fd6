"""`voxgate report` and the report at the end of `voxgate bench`, as a user meets them."""

from __future__ import annotations

from pathlib import Path

import pytest
from voxgate.cli import main
from voxgate.records import file

from suites.support import report_records as records

FAKE = ["--models", "unet", "--backend", "fake", "--task", "phantom-mini", "--seconds", "0", "--launches", "1"]  # fmt: skip


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    path = tmp_path / "nightly.json"
    file.write(path, records.red_gate())
    return path


def test_a_page_is_written_beside_the_record(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(recorded)]) == 0
    page = recorded.with_name("nightly.html")
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert f"report: {page}" in capsys.readouterr().err


def test_markdown_alone_goes_to_standard_output(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(recorded), "--markdown", "-"]) == 0
    assert capsys.readouterr().out.startswith("### REGRESSION: Gate on mni152\n")
    assert [path.name for path in recorded.parent.iterdir()] == ["nightly.json"]


def test_both_can_be_written_to_named_files(recorded: Path, tmp_path: Path) -> None:
    page, text = tmp_path / "a" / "p.html", tmp_path / "b" / "p.md"
    arguments = ["report", str(recorded), "--html", str(page), "--markdown", str(text)]
    assert main(arguments) == 0
    assert page.is_file()
    assert text.read_text().startswith("### REGRESSION")


def test_a_record_that_is_none_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.json").write_text("{}")
    assert main(["report", str(tmp_path / "x.json")]) == 4
    assert "schema_version" in capsys.readouterr().err
    assert main(["report", str(tmp_path)]) == 4
    assert "is not a VoxGate record" in capsys.readouterr().err


def test_a_report_never_replaces_the_record(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = recorded.read_bytes()
    assert main(["report", str(recorded), "--html", str(recorded)]) == 2
    assert "must be different files" in capsys.readouterr().err
    assert recorded.read_bytes() == before


def test_a_folder_is_no_place_for_a_report(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(recorded), "--html", str(tmp_path)]) == 4
    assert "name a file in it with --html" in capsys.readouterr().err


def test_bench_ends_with_the_path_of_its_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VOXGATE_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "r.json"
    assert main(["bench", *FAKE, "--record", str(path)]) == 0
    page = tmp_path / "r.html"
    assert capsys.readouterr().out.rstrip().endswith(f"report: {page}")
    assert "unet" in page.read_text()


def test_a_record_named_like_a_page_is_not_overwritten_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOXGATE_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "r.html"
    assert main(["bench", *FAKE, "--precisions", "fp32", "--record", str(path)]) == 0
    assert len(file.read(path).cases) == 1
    assert (tmp_path / "r.html.html").is_file()
