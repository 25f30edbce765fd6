"""pytest inside pytest: the gate's tests, options and words, with the fake backend."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from voxgate.records import file
from voxgate.records.verdicts import GateRecord

from suites.support.gate_site import Site

pytest_plugins = ["pytester"]

SUITE = Path(__file__).resolve().parents[1] / "engines" / "test_gate.py"
TESTS = {
    "test_engine_is_as_fast_as_accepted",
    "test_engine_is_as_small_as_accepted",
    "test_memory_is_as_accepted",
    "test_every_class_keeps_its_accepted_dice",
    "test_int8_share_is_as_accepted",
}
Sites = Callable[[str], Site]


class Runner:
    """Runs the gate's suite on int8 of the fake backend, in a process of its own."""

    def __init__(self, pytester: pytest.Pytester, sites: Sites) -> None:
        self.path = pytester.path
        self._pytester = pytester
        self._sites = sites
        (self.path / SUITE.name).write_text(SUITE.read_text())
        (self.path / "conftest.py").write_text(
            "from voxgate.verdicts import paired_launches\npaired_launches._SECONDS = 0.0\n"
        )

    def accepted(self, fault: str = "") -> Site:
        return self._sites(fault).copied(self.path)

    def __call__(self, *arguments: str) -> pytest.RunResult:
        return self._pytester.runpytest_subprocess(
            "-p", "voxgate.plugin", "--import-mode=importlib", "--vg-backend=fake",
            "--vg-models=unet", "--vg-task=phantom-mini", "--vg-precisions=int8", "--vg-seconds=0",
            "--vg-launches=1", "--vg-cache-dir=cache", "-ra", *arguments,
        )  # fmt: skip


@pytest.fixture
def run(pytester: pytest.Pytester, sites: Sites) -> Runner:
    return Runner(pytester, sites)


def test_without_baselines_all_skip_and_nothing_is_measured(run: Runner) -> None:
    result = run()
    assert result.ret == 0
    assert result.parseoutcomes() == {"skipped": 5}
    result.stdout.fnmatch_lines(["SKIPPED*nothing to judge against; name a folder with --vg-base*"])
    assert "measuring" not in result.stderr.str()
    assert not (run.path / "cache").exists()


def test_with_baselines_each_metric_has_a_test(run: Runner) -> None:
    site = run.accepted()
    before = site.content
    result = run("--vg-baselines=baselines", "--vg-gate-record=out/g.json", "-v")
    assert result.ret == 0
    assert result.parseoutcomes() == {"passed": 5}
    for name in TESTS:
        result.stdout.fnmatch_lines([f"*{name}?unet/phantom-mini/fake/int8? PASSED*"])
    result.stdout.fnmatch_lines(["*VoxGate*", "PASS unet/phantom-mini/fake/int8", "gate: pass*"])
    found = file.read_any(run.path / "out" / "g.json")
    assert isinstance(found, GateRecord)
    assert found.outcome == "pass"
    assert site.content == before


def test_a_regression_is_failed_with_its_words_in_junit_xml_too(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.accepted("int8=slower")
    monkeypatch.setenv("VOXGATE_FAKE_FAULT", "int8=slower")
    result = run("--vg-baselines=baselines", "--junitxml=j.xml")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes() == {"passed": 4, "failed": 1}
    words = "unet/phantom-mini/fake/int8: regression: +10.1% against the accepted engine"
    assert words in result.stdout.str()
    cases = {case.get("name", ""): case for case in ET.parse(run.path / "j.xml").iter("testcase")}  # noqa: S314 - our own file
    assert {name.partition("[")[0] for name in cases} == TESTS
    failures = {name: case.find("failure") for name, case in cases.items()}
    (failure,) = [found for found in failures.values() if found is not None]
    assert words in str(failure.get("message"))


def test_a_missing_baseline_is_failed_and_not_skipped(run: Runner) -> None:
    result = run("--vg-baselines=none")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes() == {"failed": 5}
    assert "inconclusive: unet/phantom-mini/fake/int8: no baseline of this case" in (
        result.stdout.str()
    )


def test_a_failed_case_fails_every_metric(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    run.accepted()
    monkeypatch.setenv("VOXGATE_FAKE_FAULT", "int8=nan")
    result = run("--vg-baselines=baselines")
    assert result.parseoutcomes() == {"failed": 5}
    result.stdout.fnmatch_lines(["*failed: unet/phantom-mini/fake/int8:*NaN*"])


def test_a_damaged_baseline_shows_before_anything_is_measured(run: Runner) -> None:
    site = run.accepted()
    site.baseline.write_text("{")
    result = run("--vg-baselines=baselines", "--tb=short")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes() == {"errors": 5}
    assert "unet.json is no valid baseline" in result.stdout.str()
    assert "Traceback" not in result.stdout.str()
    assert "measuring" not in result.stderr.str()


def test_new_accepts_and_the_next_run_passes(run: Runner) -> None:
    assert run("--vg-baselines=b", "--update-baselines=new").ret == 0
    assert len(list((run.path / "b").glob("*/unet.json"))) == 1
    assert run("--vg-baselines=b").parseoutcomes() == {"passed": 5}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--update-baselines"], "--update-baselines needs the folder: --vg-baselines DIR"),
        (["--vg-gate-record=g.json"], "--vg-gate-record needs the folder: --vg-baselines DIR"),
        (["--vg-baselines=b", "--update-baselines=nonsense"], "unknown way to update baselines"),
        (["--vg-baselines=b", "--vg-tolerance=nan"], "tolerance is nan"),
    ],
)
def test_a_wrong_option_stops_before_collection(
    run: Runner, options: list[str], words: str
) -> None:
    result = run(*options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert words in result.stderr.str()
