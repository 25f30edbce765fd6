"""The pytest plugin: options, cases as parameters, one measured record a session.

A test that asks for ``vg_case`` runs once for every selected case. ``vg_row`` is that case's row of
the record, whatever became of it; ``vg_result`` is the row of a measured case: red for one that failed
or is inconclusive, and skipped, with the reason, for one that is not on this machine. The first test
that needs a row makes the whole run, so that the launches of all cases are interleaved. A case that
failed makes the session red, also where no test asked for it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from voxgate.artifacts.progress import Lines
from voxgate.config import RunConfig
from voxgate.config.file import read_settings
from voxgate.config.options import FILE_OPTIONS, config_of, flag_of, limits_of
from voxgate.errors import ArtifactError, UsageError
from voxgate.files import check_writable
from voxgate.metrics.replay import ReplayClock
from voxgate.records import file as record_file
from voxgate.records.case import CaseId
from voxgate.records.run import CaseResult, Ratios, RunRecord
from voxgate.records.verdicts import CaseVerdicts, GateRecord
from voxgate.runs import bench
from voxgate.verdicts import gate as judge
from voxgate.verdicts.limits import GateConfig

_CONFIG = pytest.StashKey[RunConfig]()
_RULES = pytest.StashKey[GateConfig | None]()
_RECORD = pytest.StashKey[RunRecord]()
_GATE = pytest.StashKey[GateRecord]()
_UNSEEN = pytest.StashKey[tuple[str, ...]]()

MARKER = "real"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of ``voxgate bench``, with ``--vg-`` before them."""
    group = parser.getgroup("voxgate", "real INT8 engines")
    for name, option in FILE_OPTIONS.items():
        flag = f"--vg{flag_of(name)[1:]}"
        group.addoption(flag, dest=f"vg_{name}", **option.keywords())
    group.addoption(
        "--vg-profile", default="", help="of voxgate.toml: its [profile.NAME] counts, too"
    )
    group.addoption("--vg-record", type=Path, default=None, help="write the record here")
    group.addoption("--vg-gate-record", type=Path, default=None, help="write the verdicts here")
    group.addoption(
        "--update-baselines", nargs="?", const="all", default="", metavar="new",
        help="accept this run into --vg-baselines; =new: only what has no baseline",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Check the options before anything is collected."""
    config.addinivalue_line("markers", f"{MARKER}: measures real engines (added to vg tests)")
    config.addinivalue_line("markers", "vg_precisions(*names): only the cases of these precisions")
    try:
        found = read_settings(Path.cwd(), config.getoption("--vg-profile"))
        typed = argparse.Namespace(
            record=config.getoption("--vg-record"),
            **{name: config.getoption(f"vg_{name}") for name in FILE_OPTIONS},
        )
        config.stash[_CONFIG] = config_of(typed, found.values, found.places).check()
        config.stash[_RULES] = _rules(config, limits_of(typed, found.values))
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error


def _rules(config: pytest.Config, limits: Mapping[str, Any]) -> GateConfig | None:
    """What to judge against; None where no baselines are named.

    Raises:
        UsageError: an option makes no sense.
    """
    if "baselines" not in limits:
        for name in ("--update-baselines", "--vg-gate-record"):
            if config.getoption(name):
                msg = f"{name} needs the folder: --vg-baselines DIR"
                raise UsageError(msg)
        return None
    return GateConfig(**limits, update=config.getoption("--update-baselines")).check()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test a case, for those of the marked precisions."""
    if "vg_case" not in metafunc.fixturenames:
        return
    wanted = {name for m in metafunc.definition.iter_markers("vg_precisions") for name in m.args}
    cases = [
        case
        for case in metafunc.config.stash[_CONFIG].cases()
        if not wanted or case.precision in wanted
    ]
    marked = [
        pytest.param(case, id=str(case), marks=getattr(pytest.mark, MARKER)) for case in cases
    ]
    metafunc.parametrize("vg_case", marked, scope="session")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A run with a failed case, or without a measured one, is red even if no test asked for it."""
    record = session.config.stash.get(_RECORD, None)
    if record is None or session.exitstatus != pytest.ExitCode.OK:
        return
    if unseen := _failures(record):
        session.config.stash[_UNSEEN] = unseen
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _failures(record: RunRecord) -> tuple[str, ...]:
    """What no session may pass with."""
    if not any(row.status in {"ok", "inconclusive"} for row in record.cases):
        return ("nothing was measured", *(_words(row) for row in record.cases))
    return tuple(_words(row) for row in record.cases if row.status == "failed")


def _words(row: CaseResult) -> str:
    return f"{row.status}: {row.case}: {row.error or row.reason}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table of the run, after the tests."""
    record = terminalreporter.config.stash.get(_RECORD, None)
    if record is None:
        return
    from voxgate.report.terminal import make_console, print_record
    from voxgate.report.verdict_lines import print_gate

    terminalreporter.section("VoxGate")
    stream = terminalreporter._tw._file  # noqa: SLF001 - the only way to its stream
    print_record(make_console(stream), record)
    gate = terminalreporter.config.stash.get(_GATE, None)
    if gate is not None:
        print_gate(make_console(stream), gate)
    if unseen := terminalreporter.config.stash.get(_UNSEEN, ()):
        terminalreporter.write_line("red, though no test is:", red=True)
        for line in unseen:
            terminalreporter.write_line(line, red=True)


@pytest.fixture(scope="session")
def vg_config(pytestconfig: pytest.Config) -> RunConfig:
    """The checked configuration of this session."""
    return pytestconfig.stash[_CONFIG]


@pytest.fixture(scope="session")
def vg_record(pytestconfig: pytest.Config, vg_config: RunConfig) -> RunRecord:
    """The record of one run over every selected case; written where --vg-record says."""
    if hasattr(pytestconfig, "workerinput"):
        pytest.fail("latency cannot be measured under xdist; run without -n")
    if vg_config.record is not None:
        check_writable(vg_config.record, "--vg-record")
    capture = cast("Any", pytestconfig.pluginmanager.getplugin("capturemanager"))
    with capture.global_and_fixture_disabled():
        sys.stderr.write("\n")
        record = bench.bench(vg_config, Lines())
    if vg_config.record is not None:
        record_file.write(vg_config.record, record)
    pytestconfig.stash[_RECORD] = record
    return record


@pytest.fixture(scope="session")
def vg_gate(
    pytestconfig: pytest.Config, vg_config: RunConfig, request: pytest.FixtureRequest
) -> GateRecord:
    """The run judged against --vg-baselines; first accepted where --update-baselines asks for it."""
    rules = pytestconfig.stash[_RULES]
    if rules is None:
        pytest.skip("nothing to judge against; name a folder with --vg-baselines")
    path: Path | None = pytestconfig.getoption("--vg-gate-record")
    capture = cast("Any", pytestconfig.pluginmanager.getplugin("capturemanager"))
    try:
        judge.check_baselines(rules)
        if path is not None:
            check_writable(path, "--vg-gate-record")
        vg_record: RunRecord = request.getfixturevalue("vg_record")  # measured only when needed
        with capture.global_and_fixture_disabled():
            if rules.update:
                judge.accept_run(vg_record, vg_config, rules)
            record = judge.judge(vg_record, vg_config, rules, Lines())
        if path is not None:
            record_file.write(path, record)
    except ArtifactError as error:
        pytest.fail(f"failed: {error}", pytrace=False)
    pytestconfig.stash[_GATE] = record
    return record


@pytest.fixture
def vg_verdicts(vg_case: CaseId, vg_gate: GateRecord) -> CaseVerdicts:
    """The verdicts on a case; where there are none, its reason says why, and that is no pass."""
    return next(case for case in vg_gate.cases if case.case == vg_case)


@pytest.fixture
def vg_row(vg_case: CaseId, vg_record: RunRecord) -> CaseResult:
    """The case's row, measured or not."""
    return next(row for row in vg_record.cases if row.case == vg_case)


@pytest.fixture
def vg_result(vg_row: CaseResult) -> CaseResult:
    """The row of a measured case; red where it failed or was contaminated, else skipped."""
    return _measured(vg_row)


@pytest.fixture
def vg_fp32(vg_result: CaseResult, vg_record: RunRecord) -> CaseResult:
    """The measured FP32 of the same network and backend; red where that failed."""
    wanted = replace(vg_result.case, precision="fp32")
    for row in vg_record.cases:
        if row.case == wanted:
            return _measured(row)
    pytest.skip(f"{vg_result.case} has no fp32 beside it: --vg-precisions selects none")


@pytest.fixture
def vg_ratios(vg_result: CaseResult, vg_fp32: CaseResult, vg_record: RunRecord) -> Ratios:
    """The case against FP32 of the same run; red where FP32 failed, skipped where it is absent."""
    for ratios in vg_record.ratios:
        if ratios.case == vg_result.case:
            return ratios
    pytest.skip(f"{vg_fp32.case} is what others are compared with")


def _measured(row: CaseResult) -> CaseResult:
    if row.status == "unavailable":
        pytest.skip(f"{row.case} is unavailable: {row.reason}")
    if row.status != "ok":
        pytest.fail(_words(row), pytrace=False)
    return row


@pytest.fixture
def vg_replay(benchmark: Any) -> Iterator[Callable[[CaseResult], None]]:
    """Give pytest-benchmark the engine times that the workers measured.

    The test must carry ``pytest.mark.benchmark(timer=voxgate.metrics.replay.CLOCK)``.
    """
    clock = benchmark._timer  # noqa: SLF001 - it has no public name
    assert isinstance(clock, ReplayClock), "mark the test with benchmark(timer=CLOCK)"

    def replay(row: CaseResult) -> None:
        samples = [ns for launch in row.samples_ns for ns in launch]
        clock.load(samples)
        benchmark.pedantic(clock.play, rounds=len(samples), iterations=1, warmup_rounds=0)
        benchmark.extra_info.update(_extra_info(row))

    yield replay
    clock.load(())


def _extra_info(row: CaseResult) -> dict[str, object]:
    coverage, dice, memory = row.int8_coverage, row.dice, row.memory_bytes
    return {
        "case": str(row.case),
        "classes": row.classes,
        "engine_bytes": row.engine_bytes,
        "engine_sha256": row.engine_sha256,
        "memory_peak_bytes": memory.peak if memory else None,
        "memory_delta_bytes": memory.delta if memory else None,
        "dice_mean": dice.mean if dice else None,
        "dice_per_class": dice.per_class if dice else None,
        "int8_macs": coverage.by_macs.int8 if coverage else None,
        "build_s": row.build_s,
    }
