"""pytest inside pytest: each option of the plugin, with the fake backend."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from voxgate.records import file

pytest_plugins = ["pytester"]

SUITES = Path(__file__).resolve().parents[1] / "engines"


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Runner:
    monkeypatch.setenv("VOXGATE_CACHE", str(pytester.path / "cache"))
    # In a process that pytest-xdist started, pytest-benchmark would take the inner run for one, too.
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    for suite in SUITES.glob("test_*.py"):
        (pytester.path / suite.name).write_text(suite.read_text())
    return Runner(pytester)


class Runner:
    """Runs the real suites on the fake backend in a process of their own."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.path = pytester.path
        self._pytester = pytester

    def __call__(self, *arguments: str) -> pytest.RunResult:
        return self._pytester.runpytest_subprocess(
            "-p", "voxgate.plugin", "--import-mode=importlib", "--vg-backend=fake",
            "--vg-models=unet", "--vg-task=phantom-mini", "--vg-seconds=0", "--vg-launches=1", "-ra", *arguments,
        )  # fmt: skip


def test_the_suites_pass_and_print_the_table(run: Runner) -> None:
    result = run()
    assert result.ret == 0
    outcomes = result.parseoutcomes()
    assert outcomes["passed"] == 22
    assert "failed" not in outcomes
    result.stdout.fnmatch_lines(
        ["*VoxGate*", "*certificate of unet/phantom-mini/fake/int8: granted"]
    )


def test_benchmark_sees_engine_time_and_facts(run: Runner) -> None:
    assert run("test_latency.py", "--benchmark-json=b.json", "--vg-record=r.json").ret == 0
    rows = {str(row.case): row for row in file.read(run.path / "r.json").cases}
    benchmarks = json.loads((run.path / "b.json").read_text())["benchmarks"]
    assert len(benchmarks) == 3
    for benchmark in benchmarks:
        row = rows[benchmark["extra_info"]["case"]]
        samples_s = [ns / 1e9 for launch in row.samples_ns for ns in launch]
        assert benchmark["stats"]["rounds"] == len(samples_s)
        assert benchmark["stats"]["min"] == pytest.approx(min(samples_s))
        assert benchmark["stats"]["mean"] == pytest.approx(sum(samples_s) / len(samples_s))
        assert benchmark["extra_info"]["engine_bytes"] == row.engine_bytes
        assert benchmark["extra_info"]["memory_peak_bytes"] > 0
        assert benchmark["extra_info"]["dice_mean"] > 0.9
        assert benchmark["extra_info"]["int8_macs"] == (1.0 if row.precision == "int8" else 0.0)


def test_surfaces_are_measured_on_request(run: Runner) -> None:
    options = ("--vg-surface-metrics", "--vg-surface-tolerance=2.5", "--vg-record=r.json")
    assert run("-k", "test_fp32_segments_every_class", "--vg-precisions=fp32", *options).ret == 0
    (row,) = file.read(run.path / "r.json").cases
    assert row.surfaces is not None
    assert row.surfaces.tolerance_mm == 2.5


def test_precisions_select_cases(run: Runner) -> None:
    result = run("test_builds.py", "--vg-precisions=fp32", "--collect-only", "-q")
    result.stdout.fnmatch_lines(["*test_case_is_built_and_measured?unet/phantom-mini/fake/fp32?*"])
    result.stdout.no_fnmatch_line("*fake/int8*")


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--vg-models=unett", "unknown model 'unett'. Did you mean 'unet'?"),
        ("--vg-models=papr", "unknown model 'papr'. Did you mean 'paper'?"),
        ("--vg-task=brain", "unknown task 'brain'"),
        ("--vg-backend=tensorflow", "unknown backend 'tensorflow'"),
        ("--vg-precisions=int4", "unknown precision 'int4'"),
        ("--vg-classes=papr", "unknown class set 'papr'. Did you mean 'paper'?"),
        ("--vg-quantizer=magic", "unknown quantizer 'magic'"),
        ("--vg-calibration=mse", "unknown calibration method of nncf 'mse'"),
        ("--vg-launches=0", "launches is 0"),
        ("--vg-threads=-1", "threads is -1"),
        ("--vg-time-limit=0", "time_limit_s is 0"),
        ("--vg-seconds=-1", "seconds_per_launch is -1"),
        ("--vg-warmups=0", "warmups is 0"),
        ("--vg-min-samples=0", "min_samples is 0"),
        ("--vg-max-samples=0", "max_samples is 0"),
        ("--vg-surface-tolerance=-1", "surface_tolerance_mm is -1"),
        ("--vg-memory-limit=nan", "must be a finite number"),
    ],
)
def test_a_wrong_option_stops_before_collection(
    pytester: pytest.Pytester, option: str, words: str
) -> None:
    result = pytester.runpytest_subprocess("-p", "voxgate.plugin", option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert words in result.stderr.str()


@pytest.mark.parametrize(
    ("fault", "test", "words"),
    [
        ("int8=float", "test_case_is_built_and_measured", "does not compute in INT8"),
        ("int8=float", "test_certificate_is_granted", "NO: 0.0% of multiply-accumulates"),
        ("int8=worse", "test_mean_dice_is_kept", "dice_mean_delta"),
        ("int8=worse", "test_no_class_is_lost", "organ-"),
        # Which step, from what to what.
        ("int8=worse", "test_no_class_is_lost", "backend (fake/fake-int8 to fake/int8) -0."),
        ("int8=crash", "test_case_is_built_and_measured", "SIGKILL"),
    ],
)
def test_a_bad_engine_is_red(
    run: Runner, monkeypatch: pytest.MonkeyPatch, fault: str, test: str, words: str
) -> None:
    monkeypatch.setenv("VOXGATE_FAKE_FAULT", fault)
    result = run("-k", test)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert words in result.stdout.str()


def test_an_unavailable_backend_is_red_and_its_other_tests_skip(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOXGATE_FAKE_FAULT", "fp32=missing")
    result = run()
    outcomes = result.parseoutcomes()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert outcomes["failed"] == 3
    assert "passed" not in outcomes
    result.stdout.fnmatch_lines(["SKIPPED*is unavailable: fake is missing*"])


OWN_TESTS = """
import pytest

@pytest.mark.vg_precisions("int8")
def test_fast(vg_result):
    assert vg_result.latency_ms.median < 10

@pytest.mark.vg_precisions("int8")
def test_small(vg_ratios):
    assert vg_ratios.size > 3
"""


@pytest.mark.parametrize("fault", ["crash", "nan", "float"])
def test_a_failed_case_is_red_in_tests_of_ones_own(
    run: Runner, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    (run.path / "test_mine.py").write_text(OWN_TESTS)
    monkeypatch.setenv("VOXGATE_FAKE_FAULT", f"int8={fault}")
    result = run("test_mine.py")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes() == {"errors": 2}
    result.stdout.fnmatch_lines(["*failed: unet/phantom-mini/fake/int8: *"])


@pytest.mark.parametrize("fault", ["crash", "integer"])
def test_a_failed_fp32_is_red_in_tests_of_ratios(
    run: Runner, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    (run.path / "test_mine.py").write_text(OWN_TESTS)
    monkeypatch.setenv("VOXGATE_FAKE_FAULT", f"fp32={fault}")
    result = run("test_mine.py")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes() == {"passed": 1, "errors": 1}
    result.stdout.fnmatch_lines(["*failed: unet/phantom-mini/fake/fp32: *"])


def test_a_case_that_no_test_asked_for_makes_the_session_red(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run.path / "test_mine.py").write_text(OWN_TESTS)
    monkeypatch.setenv("VOXGATE_FAKE_FAULT", "fp32=crash")
    result = run("test_mine.py", "-k", "test_fast")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes() == {"passed": 1, "deselected": 1}
    result.stdout.fnmatch_lines(
        ["*VoxGate*", "red, though no test is:", "failed: unet/phantom-mini/fake/fp32: *SIGKILL*"]
    )


def test_where_nothing_is_measured_all_skip_and_the_session_is_red(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run.path / "test_mine.py").write_text(OWN_TESTS)
    monkeypatch.setenv("VOXGATE_FAKE_FAULT", "fp32=missing")
    result = run("test_mine.py")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes() == {"skipped": 2}
    result.stdout.fnmatch_lines(["red, though no test is:", "nothing was measured"])


@pytest.mark.parametrize("fault", ["int8=crash", "fp32=crash"])
@pytest.mark.parametrize("suite", ["test_accuracy.py", "test_footprint.py", "test_memory.py"])
def test_each_suite_alone_is_red(
    run: Runner, monkeypatch: pytest.MonkeyPatch, suite: str, fault: str
) -> None:
    monkeypatch.setenv("VOXGATE_FAKE_FAULT", fault)
    result = run(suite, "--vg-precisions=fp32,int8")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "errors" in result.parseoutcomes()


def test_an_engine_that_tells_nothing_because_it_failed_is_red(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOXGATE_FAKE_FAULT", "fp32=crash")
    result = run("-k", "test_nothing_else_computes_in_int8", "--vg-precisions=fp32")
    assert result.parseoutcomes()["failed"] == 1


def test_an_inconclusive_case_is_red(run: Runner) -> None:
    (run.path / "conftest.py").write_text(
        "from voxgate.runs import bench\nbench.contamination = lambda _: ('power cap in 40%',)\n"
    )
    result = run()
    outcomes = result.parseoutcomes()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert outcomes["passed"] == 3  # which arithmetic executes has nothing to do with time
    assert outcomes["failed"] == 4  # what was built, and the certificate
    for words in ("unet/phantom-mini/fake/fp32: power cap in 40%", "power cap in 40%"):
        result.stdout.fnmatch_lines([f"*inconclusive: {words}*"])


def test_the_cache_and_limits_are_taken_from_the_options(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("test_builds.py", "--vg-cache-dir=elsewhere", "--vg-threads=1").ret == 0
    assert list((run.path / "elsewhere").glob("engine/*/engine.bin"))
    monkeypatch.setenv("VOXGATE_FAKE_FAULT", "int8=hang")
    result = run("test_builds.py", "--vg-time-limit=1")
    assert "did not finish in 1 s" in result.stdout.str()


def test_paper_classes_skip_dice_and_say_so(run: Runner) -> None:
    result = run("--vg-classes=paper", "--vg-record=r.json")
    outcomes = result.parseoutcomes()
    assert result.ret == 0
    assert outcomes["passed"] == 18  # the default's 22 but for four that judge Dice
    result.stdout.fnmatch_lines(
        ["Built with the paper's class counts (unet 14)*", "SKIPPED*Dice is not measured*"]
    )
    (count,) = {row.classes for row in file.read(run.path / "r.json").cases}
    assert count == 14


def test_paper_classes_do_not_pass_where_only_dice_is_asked(run: Runner) -> None:
    outcomes = run("test_accuracy.py", "--vg-classes=paper").parseoutcomes()
    assert set(outcomes) == {"skipped"}


def test_checkpoints_are_taken_from_the_option(run: Runner) -> None:
    result = run(
        "test_builds.py", "--vg-backend=pytorch", "--vg-task=mni152", "--vg-checkpoint-dir=mine"
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "no checkpoint of unet for mni152 at mine" in result.stdout.str()
