"""Composes the comparison of two interpreters: the same cases under two versions of a runtime.

Patches, weights and graphs are made once, by the interpreter that runs VoxGate; each side builds and
runs its engines from the same files. Launches alternate A B B A, since noise sits between processes.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from voxgate import __version__, datasets
from voxgate.artifacts import jobs
from voxgate.artifacts.cache import Cache
from voxgate.artifacts.gpu_monitor import run_watched
from voxgate.artifacts.interpreter import Interpreter, find, own
from voxgate.artifacts.launcher import Watch, run_job
from voxgate.artifacts.progress import Reporter
from voxgate.artifacts.run_artifacts import Artifacts
from voxgate.config import RunConfig
from voxgate.errors import HarnessError
from voxgate.machine.environment import read_environment
from voxgate.machine.gpu_facts import disturbance
from voxgate.metrics.ledger import ledgers_of
from voxgate.metrics.ratios import ratios_of
from voxgate.records.file import SCHEMA_VERSION
from voxgate.records.run import RunRecord, Timing
from voxgate.records.runtime import Probe
from voxgate.records.verdicts import ComparisonRecord, worst_outcome
from voxgate.runs import bench
from voxgate.runs.bench import compare_surfaces
from voxgate.runs.case_run import CaseRun
from voxgate.stages import file_names
from voxgate.stages.requests import ProfileRequest
from voxgate.verdicts.alternating import LAUNCHES, MORE_LAUNCHES, needs_more_launches
from voxgate.verdicts.comparison import Evidence, compare_runs, label_agreement, runtimes

# Loads a side, alternating like launches: a slow half minute of the host must not fall on one alone.
_PROFILES = 4
_PROFILED_INFERENCES = 3

Pair = tuple[CaseRun, CaseRun]
Times = dict[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Side:
    """A or B: its interpreter, what its runtimes say of themselves, and its cases."""

    interpreter: Interpreter
    probes: dict[str, Probe | HarnessError]
    runs: list[CaseRun]


def compare_interpreters(
    config: RunConfig, pythons: tuple[str, str], reporter: Reporter
) -> ComparisonRecord:
    """Build and measure every case under both interpreters, and judge B against A.

    Raises:
        UsageError: a path is no Python, or one that is too old.
        UnavailableError: an interpreter lacks what workers import.
    """
    started, start = datetime.now(UTC), time.monotonic()
    interpreters = [find(python, config.backends) for python in pythons]
    shared = bench.make_artifacts(config, Cache(config.cache_root), reporter.say)
    steps = 1 + config.launches + _PROFILES + config.surface_metrics
    reporter.begin(2 * len(config.cases()) * steps)
    with tempfile.TemporaryDirectory(prefix="voxgate-compare-") as folder:
        a, b = (
            _side(letter, interpreter, shared.under(interpreter), Path(folder), reporter)
            for letter, interpreter in zip("AB", interpreters, strict=True)
        )
        pairs = list(zip(a.runs, b.runs, strict=True))
        inference_s = _measure(pairs, a, b, reporter)
        evidence = {pair[0].case: _evidence(pair, reporter) for pair in pairs}
    timing = bench.timing_since(started, start, inference_s, shared.cache)
    run_a, run_b = (_run_record(side, config, timing) for side in (a, b))
    cases = compare_runs(run_a, run_b, evidence)
    return ComparisonRecord(
        kind="comparison",
        schema_version=SCHEMA_VERSION,
        voxgate=__version__,
        title_a=runtimes(run_a.environment, a.interpreter.path),
        title_b=runtimes(run_b.environment, b.interpreter.path),
        outcome=worst_outcome(case.outcome for case in cases),
        cases=cases,
        a=run_a,
        b=run_b,
        timing=timing,
    )


def _side(
    letter: str, interpreter: Interpreter, artifacts: Artifacts, folder: Path, reporter: Reporter
) -> _Side:
    config = artifacts.config
    runs = [
        CaseRun(
            case,
            artifacts,
            title=f"{case} on {letter}",
            predictions=str(folder / f"{letter}-{number}.npy"),
        )
        for number, case in enumerate(config.cases())
    ]
    probes = bench.probe_backends(artifacts, reporter)
    return _Side(interpreter=interpreter, probes=probes, runs=runs)


def _measure(pairs: Sequence[Pair], a: _Side, b: _Side, reporter: Reporter) -> float:
    """Engines first, then launches, then more of them where those do not decide."""
    for pair in pairs:
        for side, run in zip((a, b), pair, strict=True):
            bench.build(run, side.probes[run.case.backend])
            reporter.advance()
    inference_s = 0.0
    for model in dict.fromkeys(run.case.model for run in a.runs):
        # Neighbours in a list that is measured forwards and backwards in turn: A B B A.
        group = [run for pair in pairs for run in pair if run.case.model == model]
        inference_s += bench.measure(group, reporter)
        if group[0].artifacts.config.surface_metrics:
            compare_surfaces(group, reporter)
    for pair in pairs:
        if _is_undecided(pair):
            reporter.say(f"{pair[0].case} is not decided yet; launching both more often")
            inference_s += bench.measure(pair, reporter, MORE_LAUNCHES)
    return inference_s


def _is_undecided(pair: Pair) -> bool:
    """Whether the launches of both sides do not decide, and more of them are worth it."""
    samples = [[result.launch.samples_ns for result in run.launches] for run in pair]
    enough = min(len(launches) for launches in samples) >= LAUNCHES
    return enough and all(run.alive for run in pair) and needs_more_launches(*samples)


def _evidence(pair: Pair, reporter: Reporter) -> Evidence:
    """Predicted labels side by side, and the time of each layer from loads of their own."""
    a, b = pair
    if not (a.alive and b.alive):
        return Evidence()
    labels = [np.load(run.predictions, allow_pickle=False) for run in pair]
    agreement, dice = label_agreement(labels[0], labels[1], _class_names(a))
    times_ns, unsaid = _profile(pair, reporter)
    return Evidence(agreement=agreement, agreement_dice=dice, times_ns=times_ns, unsaid=unsaid)


def _class_names(run: CaseRun) -> tuple[str, ...]:
    config = run.artifacts.config
    if config.classes == "task":
        return datasets.get(run.case.task).classes
    return tuple(f"class {number}" for number in range(config.class_count(run.case.model)))


def _profile(
    pair: Pair, reporter: Reporter
) -> tuple[tuple[Times | None, Times | None], tuple[str, ...]]:
    """The fastest load of each layer on both sides; what could not be timed is said, not failed."""
    found: dict[int, list[Times]] = {0: [], 1: []}
    unsaid: dict[str, None] = {}
    for number in range(_PROFILES):
        for side in (0, 1) if number % 2 == 0 else (1, 0):
            reporter.say(f"timing the layers of {pair[side]}")
            try:
                times_ns, beside = _layer_times_ns(pair[side])
            except HarnessError as error:
                unsaid[f"time of single layers on {'AB'[side]}: {error}"] = None
            else:
                if times_ns is None:
                    unsaid[f"time of single layers: {pair[side].case.backend} does not tell"] = None
                found[side] += [] if times_ns is None else [times_ns]
                for what in beside:
                    unsaid[
                        f"how far the times of layers on {'AB'[side]} can be trusted: {what}"
                    ] = None
            reporter.advance()
    return (_fastest(found[0]), _fastest(found[1])), tuple(unsaid)


def _layer_times_ns(run: CaseRun) -> tuple[Times | None, tuple[str, ...]]:
    """The layers' times, and what else happened on the GPU meanwhile."""
    assert run.engine is not None
    artifacts = run.artifacts
    request = ProfileRequest(
        backend=run.case.backend,
        options=artifacts.options(run.case),
        engine=str(run.engine.path(file_names.ENGINE)),
        images=str(artifacts.patches().path(file_names.EVALUATION_IMAGES)),
        inferences=_PROFILED_INFERENCES,
    )
    python = artifacts.interpreter_for(run.case.backend).path

    def start(watch: Watch | None = None) -> Times | None:
        return run_job(jobs.PROFILE, request, artifacts.limits, python, watch).times_ns

    if not run.accelerator:
        return start(), ()
    times_ns, watch = run_watched(start, run.accelerator)
    facts = watch.facts()
    doubt = (f"nobody could watch the GPU: {facts.trouble}",) if facts.trouble else ()
    return times_ns, (*disturbance(facts), *doubt)


def _fastest(loads: Sequence[Times]) -> Times | None:
    """The least time of each layer over several loads; None without any."""
    names = dict.fromkeys(name for load in loads for name in load)
    return {name: min(load[name] for load in loads if name in load) for name in names} or None


def _run_record(side: _Side, config: RunConfig, timing: Timing) -> RunRecord:
    """One side as a run of its own; ``timing`` is of the whole comparison."""
    rows = bench.results_of(side.runs)
    maker = own()
    made_by = {"python": maker.version, "packages": maker.packages}
    return RunRecord(
        schema_version=SCHEMA_VERSION,
        voxgate=__version__,
        environment=replace(
            read_environment(config.thread_count, side.probes),
            python=side.interpreter.version,
            packages=side.interpreter.packages,
        ),
        config=config.facts() | config.origins() | {"graphs_made_by": made_by},
        cases=rows,
        ratios=ratios_of(rows),
        timing=timing,
        ledgers=ledgers_of(rows),
    )
