"""Composes the stages into a run: artifacts, interleaved launches, record. No maths here."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from voxgate import __version__, backends, datasets, models
from voxgate.artifacts import jobs
from voxgate.artifacts.adapted_graphs import source_of
from voxgate.artifacts.cache import Cache
from voxgate.artifacts.clean_build import disturbances
from voxgate.artifacts.gpu_monitor import run_watched
from voxgate.artifacts.launcher import Limits, run_job
from voxgate.artifacts.progress import Reporter
from voxgate.artifacts.run_artifacts import Announce, Artifacts
from voxgate.config import RunConfig
from voxgate.errors import EXIT_FAILED, EXIT_INCONCLUSIVE, EXIT_PASS, HarnessError, UnavailableError
from voxgate.files import sha256_bytes
from voxgate.machine.environment import read_environment
from voxgate.machine.gpu_facts import contamination, remarks
from voxgate.metrics.coverage import measure_coverage
from voxgate.metrics.ledger import ledgers_of
from voxgate.metrics.ratios import ratios_of
from voxgate.metrics.row_times import with_times
from voxgate.records.calibration import Calibration
from voxgate.records.case import CaseId
from voxgate.records.engine import ExecutedLayer, GraphFacts
from voxgate.records.file import SCHEMA_VERSION
from voxgate.records.measurement import Memory
from voxgate.records.run import CaseResult, RunRecord, Timing
from voxgate.records.runtime import Probe
from voxgate.runs.case_run import CaseRun
from voxgate.runs.certified import check_rows
from voxgate.runs.surfaces import measure_surfaces
from voxgate.stages import file_names
from voxgate.stages.requests import RunRequest, RunResult


def bench(config: RunConfig, reporter: Reporter) -> RunRecord:
    """Build, run and measure every case of a checked configuration.

    A case that fails does not stop the others; its row says why. Only an interruption ends the run.
    """
    started, start = datetime.now(UTC), time.monotonic()
    artifacts = make_artifacts(config, Cache(config.cache_root), reporter.say)
    with tempfile.TemporaryDirectory(prefix="voxgate-") as folder:
        runs = _runs(config, artifacts, Path(folder))
        probes, inference_s = _measure_all(runs, config, reporter)
    results = results_of(runs)
    return RunRecord(
        schema_version=SCHEMA_VERSION,
        voxgate=__version__,
        environment=read_environment(config.thread_count, probes),
        config=config.facts() | config.origins() | interpreter_facts(artifacts),
        cases=results,
        ratios=ratios_of(results),
        timing=timing_since(started, start, inference_s, artifacts.cache),
        ledgers=ledgers_of(results),
    )


def _runs(config: RunConfig, artifacts: Artifacts, folder: Path) -> list[CaseRun]:
    """One a case; where surfaces are wanted, predictions are written into ``folder``."""
    wanted = config.surface_metrics
    return [
        CaseRun(case, artifacts, predictions=str(folder / f"{number}.npy") if wanted else "")
        for number, case in enumerate(config.cases())
    ]


def _measure_all(
    runs: Sequence[CaseRun], config: RunConfig, reporter: Reporter
) -> tuple[dict[str, Probe | HarnessError], float]:
    """Engines first, then the launches of each model, then its surfaces, beside which nothing runs."""
    reporter.begin(len(runs) * (1 + config.launches + config.surface_metrics))
    probes = probe_backends(runs[0].artifacts, reporter)
    for run in runs:
        build(run, probes[run.case.backend])
        reporter.advance()
    inference_s = 0.0
    for model in config.models:
        group = [run for run in runs if run.case.model == model]
        inference_s += measure(group, reporter)
        if config.surface_metrics:
            compare_surfaces(group, reporter)
    return probes, inference_s


def make_artifacts(config: RunConfig, cache: Cache, announce: Announce) -> Artifacts:
    """Artifacts whose workers have the configuration's limits.

    Raises:
        UsageError: an interpreter that the configuration names is no Python, or one that is too old.
    """
    limits = Limits(seconds=config.time_limit_s, memory_bytes=config.memory_limit_bytes)
    artifacts = Artifacts(config=config, cache=cache, limits=limits, announce=announce)
    for backend, _ in config.pythons:
        with contextlib.suppress(UnavailableError):  # this backend's cases tell it
            artifacts.interpreter_for(backend)
    return artifacts


def interpreter_facts(artifacts: Artifacts) -> dict[str, object]:
    """For a record: version and packages of each backend's own interpreter, where one was named."""
    found: dict[str, object] = {}
    for backend, _ in artifacts.config.pythons:
        with contextlib.suppress(UnavailableError):
            interpreter = artifacts.interpreter_for(backend)
            found[backend] = {"python": interpreter.version, "packages": interpreter.packages}
    return {"interpreters": found} if found else {}


def timing_since(started: datetime, start: float, inference_s: float, cache: Cache) -> Timing:
    """How long a run took that began at ``started`` and, by the monotonic clock, ``start``."""
    return Timing(
        started=started.isoformat(timespec="seconds"),
        wall_s=time.monotonic() - start,
        inference_s=inference_s,
        artifacts_built=cache.built,
        artifacts_reused=cache.reused,
    )


def exit_code(record: RunRecord) -> int:
    """0 when every case was measured, 3 when one is inconclusive, 4 when one is not there.

    An empty record is no pass either.
    """
    found = {case.status for case in record.cases}
    if not found or not found <= {"ok", "inconclusive"}:
        return EXIT_FAILED
    return EXIT_INCONCLUSIVE if "inconclusive" in found else EXIT_PASS


def inspect_case(
    config: RunConfig, case: CaseId, reporter: Reporter, engine_file: Path | None = None
) -> tuple[GraphFacts | None, tuple[ExecutedLayer, ...] | None]:
    """Load one engine, run it once, and list its executed layers.

    Without ``engine_file`` the case's engine is taken from the cache, or built.

    Raises:
        HarnessError: the case cannot be built or run.
    """
    artifacts = make_artifacts(config, Cache(config.cache_root), reporter.say)
    backends.require(case.backend, case.precision, artifacts.probe(case.backend))
    path = engine_file or artifacts.engine(case).path(file_names.ENGINE)
    request = replace(
        run_request(case, path, artifacts, first=False),
        warmups=1, min_samples=1, max_samples=1, seconds=0.0, inspect=True,
    )  # fmt: skip
    python = artifacts.interpreter_for(case.backend).path
    return _graph(case, artifacts), run_job(jobs.RUN, request, artifacts.limits, python).layers


def probe_backends(artifacts: Artifacts, reporter: Reporter) -> dict[str, Probe | HarnessError]:
    """What each backend says of itself, or how it failed to."""
    probes: dict[str, Probe | HarnessError] = {}
    for name in artifacts.config.backends:
        reporter.say(f"looking for {backends.get(name).title}")
        try:
            probes[name] = artifacts.probe(name)
        except HarnessError as error:
            probes[name] = error  # broken, which is not the same as missing
    return probes


def build(run: CaseRun, probe: Probe | HarnessError) -> None:
    """Take a case's engine from the cache, or make it; a case that cannot have one says why."""
    if isinstance(probe, HarnessError):
        run.error = probe
        return
    run.accelerator = probe.accelerator
    try:
        backends.require(run.case.backend, run.case.precision, probe)
        run.artifacts.patches()
        run.engine = run.artifacts.engine(run.case)
    except HarnessError as error:
        run.error = error


def measure(runs: Sequence[CaseRun], reporter: Reporter, launches: int | None = None) -> float:
    """Launch the cases in turn, every second round backwards; returns seconds of inference.

    Interleaving keeps a slow minute of the host from falling on one precision alone. ``launches``
    are the configuration's, or more that follow them.
    """
    launches = launches or runs[0].artifacts.config.launches
    orders = [result.launch.order for run in runs for result in run.launches]
    order, inference_s = max(orders, default=-1) + 1, 0.0
    for number in range(launches):
        for run in runs if number % 2 == 0 else reversed(runs):
            if run.alive:
                reporter.say(f"measuring {run}, launch {number + 1} of {launches}")
                inference_s += _launch(run, order, first=not run.launches)
                order += 1
            reporter.advance()
    return inference_s


def _launch(run: CaseRun, order: int, *, first: bool) -> float:
    assert run.engine is not None
    try:
        path = run.engine.path(file_names.ENGINE)
        request = run_request(run.case, path, run.artifacts, first=first)
        request = replace(request, predictions=run.predictions if first else "")
        result = _run(request, run.artifacts, run.accelerator)
    except HarnessError as error:
        run.error = error
        return 0.0
    run.launches.append(replace(result, launch=replace(result.launch, order=order)))
    return result.inference_s


def _run(request: RunRequest, artifacts: Artifacts, accelerator: str) -> RunResult:
    """One launch, its GPU watched where it has one; nothing runs beside a launch on the CPU."""
    limits, python = artifacts.limits, artifacts.interpreter_for(request.backend).path
    if not accelerator:
        return run_job(jobs.RUN, request, limits, python)
    result, watch = run_watched(
        lambda watch: run_job(jobs.RUN, request, limits, python, watch), accelerator
    )
    return watch.complete(result)


def run_request(case: CaseId, engine: Path, artifacts: Artifacts, *, first: bool) -> RunRequest:
    """One launch; the first one of a case also lists its layers, and evaluates where labels fit."""
    config, patches = artifacts.config, artifacts.patches()
    return RunRequest(
        backend=case.backend,
        options=artifacts.options(case),
        engine=str(engine),
        images=str(patches.path(file_names.EVALUATION_IMAGES)),
        labels=str(patches.path(file_names.EVALUATION_LABELS)),
        cases=tuple(patch.name for patch in patches.result.evaluation),
        label_names=datasets.get(case.task).classes,
        warmups=config.warmups,
        min_samples=config.min_samples,
        max_samples=config.max_samples,
        seconds=config.seconds_per_launch,
        evaluate=first and config.classes == "task",
        inspect=first,
        graph=first and not config.cuda_graph,
    )


def results_of(runs: Sequence[CaseRun]) -> tuple[CaseResult, ...]:
    """The rows, each checked for the arithmetic that its precision promises."""
    return check_rows([_result(run) for run in runs], [run.artifacts for run in runs])


def _result(run: CaseRun) -> CaseResult:
    """The row of a case, as far as it came."""
    row = CaseResult(
        model=run.case.model,
        task=run.case.task,
        backend=run.case.backend,
        precision=run.case.precision,
        status="ok" if run.alive else "failed",
        on_gpu=bool(run.accelerator),
    )
    if isinstance(run.error, UnavailableError):
        return replace(row, status="unavailable", reason=str(run.error))
    if run.error is not None:
        row = replace(row, error_type=type(run.error).__name__, error=str(run.error))
    if run.engine is None:
        return row
    built = run.engine.result
    row = replace(
        _with_network(row, run.artifacts),
        engine_bytes=built.engine_bytes,
        engine_sha256=built.engine_sha256,
        source_sha256=sha256_bytes(source_of(run.artifacts, run.case)[1].encode()),
        engine_key=run.engine.key,
        build_s=built.build_s,
        build_warnings=built.warnings,
        build_cached=run.engine.reused,
        build_disturbed=disturbances(built),
    )
    if not run.launches:
        return row
    row = _with_measurements(row, run.launches, run.artifacts)
    return _judged(replace(row, surfaces=run.surfaces))


def _judged(row: CaseResult) -> CaseResult:
    """The row, inconclusive if something else on the GPU, or the GPU itself, spoilt its times."""
    built = (f"build disturbed: {what}" for what in row.build_disturbed)
    row = replace(row, warnings=(*built, *row.warnings, *remarks(row.gpu)))
    found = contamination(row.gpu)
    if row.on_gpu and len(row.gpu) < len(row.launches):
        found = (*found, "a launch did not use the GPU that the backend found")
    if row.status != "ok" or not found:
        return row
    return replace(row, status="inconclusive", reason="; ".join(found))


def _with_network(row: CaseResult, artifacts: Artifacts) -> CaseResult:
    """Facts of what the engine was built from; every stage before it is done by now."""
    kind = backends.get(row.backend).sources[row.precision]
    row = replace(row, classes=artifacts.config.class_count(row.model))
    if kind == "spec":
        # The spec's count is at three classes: near a task's, not the paper's.
        near = artifacts.config.classes == "task"
        return replace(row, parameters=models.get(row.model).parameters if near else None)
    weights = artifacts.weights(row.model).result
    row = replace(row, parameters=weights.parameters, weights_sha256=weights.sha256)
    if kind == "weights":
        return row
    graph = artifacts.onnx(row.model).result
    row = replace(row, onnx_bytes=graph.onnx_bytes, export_relative_error=graph.max_relative_error)
    return replace(row, calibration=_calibration(row, artifacts)) if kind == "quantized" else row


def _calibration(row: CaseResult, artifacts: Artifacts) -> Calibration:
    quantizer = artifacts.quantizer(row.backend, row.precision)
    patches = artifacts.calibration().result.patches
    return Calibration(
        method=artifacts.method(quantizer),
        quantizer=quantizer.name,
        cases=tuple(sorted({patch.case for patch in patches})),
        patches=patches,
        sha256=sha256_bytes("".join(patch.sha256 for patch in patches).encode()),
        source=artifacts.config.calibration_source,
        seed=artifacts.config.drawn_by,
    )


def _with_measurements(
    row: CaseResult, results: list[RunResult], artifacts: Artifacts
) -> CaseResult:
    layers = results[0].layers or ()
    graph = _graph(row.case, artifacts)
    launches = tuple(result.launch for result in results)
    dice = results[0].dice
    return replace(
        with_times(row, launches, replayed=artifacts.config.cuda_graph),
        memory_bytes=_largest([r.gpu_memory if r.phases else r.memory for r in results]),
        host_memory_bytes=_largest([r.memory if r.phases else None for r in results]),
        gpu=tuple(result.gpu for result in results if result.gpu is not None),
        device_memory_bytes=results[0].device_memory_bytes,
        dice=replace(dice, subjects=_subjects(artifacts)) if dice else None,
        layers=layers,
        kernels_sha256=results[0].kernels_sha256,
        int8_coverage=measure_coverage(graph, layers) if graph and layers else None,
    )


def _subjects(artifacts: Artifacts) -> dict[str, str]:
    """The subject of each evaluation patch."""
    return {patch.name: patch.case for patch in artifacts.patches().result.evaluation}


def _largest(memories: Sequence[Memory | None]) -> Memory | None:
    """The launch that took most; a process's own bytes before those of a whole device."""
    found = [memory for memory in memories if memory is not None]
    return max(found, key=lambda m: (m.scope != "device-gpu", m.delta), default=None)


def _graph(case: CaseId, artifacts: Artifacts) -> GraphFacts | None:
    """The denominator of int8 coverage; None for a backend that is not built from a graph."""
    spec = backends.get(case.backend)
    if spec.sources[case.precision] in {"onnx", "quantized"}:
        return artifacts.onnx(case.model).result.graph
    return spec.graph


def compare_surfaces(runs: Sequence[CaseRun], reporter: Reporter) -> None:
    """NSD and HD95 of every case that was launched; one that cannot be compared says why."""
    for run in runs:
        if run.alive and run.launches:
            try:
                run.surfaces = measure_surfaces(run.case, Path(run.predictions), run.artifacts)
            except HarnessError as error:
                run.error = error
        reporter.advance()
