"""`voxgate gate` as a user meets it: codes, words, files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from voxgate.artifacts import launcher
from voxgate.cli import main
from voxgate.errors import WorkerCrashError
from voxgate.records import file
from voxgate.records.measurement import PairedLaunch
from voxgate.records.run import RunRecord
from voxgate.records.verdicts import GateRecord
from voxgate.runs import bench
from voxgate.verdicts import baseline, paired_launches
from voxgate.verdicts.rules import SELF_TEST_LAUNCHES

from suites.support.gate_site import Site, of

FAKE = [
    "--models=unet", "--backend=fake", "--task=phantom-mini", "--precisions=int8", "--seconds=0",
    "--launches=1", "--min-samples=2", "--max-samples=3", "--cache-dir=cache",
]  # fmt: skip
Sites = Callable[[str], Site]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def gate(*options: str) -> int:
    return main(["gate", *FAKE, *options])


def gate_record(path: str = "r.json") -> GateRecord:
    found = file.read_any(Path(path))
    assert isinstance(found, GateRecord)
    return found


@pytest.mark.usefixtures("site")
def test_nothing_changed_exits_0_with_a_line_a_case(capsys: pytest.CaptureFixture[str]) -> None:
    assert gate("--record=r.json") == 0
    printed = capsys.readouterr().out
    assert "PASS unet/phantom-mini/fake/int8" in printed
    assert "size +0.0%" in printed
    assert "record: r.json" in printed
    assert printed.endswith("gate: pass (1 pass)\n")
    found = gate_record()
    assert (found.outcome, found.voxgate) == ("pass", found.run.voxgate)
    assert found.environment.endswith("-threads")
    assert found.tolerances["latency"] == 0.03
    assert [row.case for row in found.run.cases] == [case.case for case in found.cases]


def test_the_record_has_a_name_of_its_own_by_default(site: Site) -> None:
    assert gate() == 0
    (path,) = (site.folder / "records").glob("*.json")
    assert path.name.endswith("Z-gate.json")


def test_a_slower_engine_exits_1_and_says_by_how_much(
    site_of: Sites, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = site_of("int8=slower")
    before = site.content
    monkeypatch.setenv("VOXGATE_FAKE_FAULT", "int8=slower")
    assert gate("--record=r.json") == 1
    captured = capsys.readouterr()
    assert "REGRESSION unet/phantom-mini/fake/int8\n  latency: regression: +10.1%" in captured.out
    assert captured.out.endswith("gate: regression (1 regression)\n")
    assert "timing unet/phantom-mini/fake/int8 beside the accepted engine, launch 3" in captured.err
    assert "again beside the accepted engine, launch 1" in captured.err
    (case,) = gate_record().cases
    assert of(case, "latency").change == pytest.approx(0.1, abs=0.005)
    assert len(case.pairs[0].a_ns) >= 22
    assert site.content == before


def test_the_tolerance_can_be_chosen(site_of: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    site_of("int8=slower")
    monkeypatch.setenv("VOXGATE_FAKE_FAULT", "int8=slower")
    monkeypatch.setattr("voxgate.verdicts.rules.judge_tail", lambda _: None)
    assert gate("--tolerance=0.2", "--record=r.json") == 0
    assert gate_record().tolerances["latency"] == 0.2


def test_a_missing_baseline_exits_3_and_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gate("--baselines=none") == 3
    printed = capsys.readouterr().out
    assert "INCONCLUSIVE unet/phantom-mini/fake/int8" in printed
    assert "in none; accept this run with --update-baselines=new" in printed
    assert printed.endswith("gate: inconclusive (1 inconclusive)\n")
    assert not (tmp_path / "none").exists()


def test_a_failed_case_exits_4(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert site.baseline.exists()
    monkeypatch.setenv("VOXGATE_FAKE_FAULT", "int8=nan")
    assert gate() == 4
    printed = capsys.readouterr().out
    assert printed.endswith("gate: failed (1 failed)\n")
    monkeypatch.setenv("VOXGATE_FAKE_FAULT", "fp32=missing")
    assert gate() == 4
    assert capsys.readouterr().out.endswith("gate: unavailable (1 unavailable)\n")


@pytest.mark.parametrize("option", ["", "--update-baselines", "--update-baselines=new"])
def test_a_damaged_baseline_exits_4_before_anything_is_measured(
    site: Site, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    site.baseline.write_text("{")
    assert gate(*([option] if option else [])) == 4
    captured = capsys.readouterr()
    assert "unet.json is no valid baseline" in captured.err
    assert "restore it from version control" in captured.err
    assert "measuring" not in captured.err
    assert site.baseline.read_text() == "{"


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--models=", "nothing is selected"),
        ("--tolerance=0", "tolerance is 0.0; it must be above 0 and below 1"),
        ("--tolerance=-0.1", "tolerance is -0.1"),
        ("--tolerance=nan", "tolerance is nan"),
        ("--tolerance=1", "tolerance is 1.0"),
        ("--tolerance=inf", "tolerance is inf"),
        ("--dice-margin=0", "dice_margin is 0.0"),
        ("--dice-margin=nan", "dice_margin is nan"),
        ("--update-baselines=nonsense", "unknown way to update baselines 'nonsense'"),
        ("--update-baselines=al", "Did you mean 'all'?"),
        ("--baselines=file", "file is a file; name the folder of the baselines"),
    ],
)
def test_a_wrong_option_is_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, words: str
) -> None:
    (tmp_path / "file").write_text("no folder")
    assert gate(option) == 2
    captured = capsys.readouterr().err
    assert words in captured
    assert "measuring" not in captured


def test_a_tolerance_that_is_no_number_is_usage() -> None:
    assert gate("--tolerance=abc") == 2


# --- accepting -------------------------------------------------------------------------------------


def test_update_accepts_the_run_and_writes_its_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gate("--update-baselines", "--baselines=b", "--record=nightly-gate.json") == 0
    (path,) = (tmp_path / "b").glob("*/unet.json")
    printed = capsys.readouterr().out
    shown = path.relative_to(tmp_path)
    assert f"accepted unet/phantom-mini/fake/int8 in {shown}" in printed
    measured = file.read_any(tmp_path / "nightly-gate.json")
    assert isinstance(measured, RunRecord)
    (entry,) = baseline.read(path).entries
    assert entry.launches == measured.cases[0].launches
    assert gate("--baselines=b") == 0


def test_the_record_of_an_update_is_that_of_a_run(site: Site) -> None:
    assert gate("--update-baselines") == 0
    (path,) = (site.folder / "records").glob("*.json")
    assert isinstance(file.read_any(path), RunRecord)
    assert "gate" not in path.name


def test_new_accepts_what_has_no_baseline_and_judges_the_rest(
    site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "bench", lambda *_: site.run)
    site.edit("identity", "threads", value=99, precision="fp32")  # so that fp32 has none
    site.edit("engine_bytes", value=1)
    assert gate("--update-baselines=new", "--record=r.json") == 1
    printed = capsys.readouterr().out
    assert "accepted unet/phantom-mini/fake/fp32 in" in printed
    assert "accepted unet/phantom-mini/fake/int8" not in printed
    outcomes = {case.precision: case.outcome for case in gate_record().cases}
    assert outcomes == {"fp32": "pass", "fake-int8": "pass", "int8": "regression"}
    assert site.entry()["engine_bytes"] == 1


def test_an_update_with_nothing_measured_exits_4_and_accepts_nothing(
    site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = site.content
    monkeypatch.setenv("VOXGATE_FAKE_FAULT", "int8=nan")
    assert gate("--update-baselines") == 4
    assert "nothing accepted in baselines" in capsys.readouterr().out
    assert site.content == before


def test_a_place_that_cannot_be_updated_shows_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "bench", lambda *_: pytest.fail("measured"))
    (tmp_path / "file").write_text("")
    assert gate("--update-baselines=new", "--baselines=file/b") == 4
    words = capsys.readouterr().err
    assert "cannot be written" in words
    assert "--baselines" in words


def test_a_self_test_says_what_the_host_supports_and_judges_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(paired_launches, "_SECONDS", 0.0)
    assert gate("--self-test") == 0
    printed = capsys.readouterr().out
    assert "unet/phantom-mini/fake/int8: this host supports 3.0%" in printed
    assert printed.count("+0.0%") == SELF_TEST_LAUNCHES
    assert not (tmp_path / "baselines").exists()


def test_a_host_that_does_not_support_the_tolerance_exits_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    noisy = PairedLaunch(b_first=False, a_ns=(100,), b_ns=(110,))

    def run_job(job: Any, *question: Any) -> Any:
        return noisy if job.name == "pair" else launcher.run_job(job, *question)

    monkeypatch.setattr(paired_launches, "run_job", run_job)
    assert gate("--self-test") == 3
    assert "this host does NOT support 3.0%" in capsys.readouterr().out


def test_a_self_test_of_what_cannot_be_paired_exits_4(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run_job(*_: Any) -> Any:
        msg = "the pair worker was killed"
        raise WorkerCrashError(msg)

    monkeypatch.setattr(paired_launches, "run_job", run_job)
    assert gate("--self-test") == 4
    assert "failed: the pair worker was killed" in capsys.readouterr().out
