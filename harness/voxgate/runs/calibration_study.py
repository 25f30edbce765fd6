"""Quantizes one network in many ways, and measures what each costs in Dice; no latency.

Every graph, engine and measurement is an artifact: an interrupted study goes on where it was. A
combination that fails does not stop the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from voxgate import __version__, backends, quantizers
from voxgate.artifacts.cache import Cache
from voxgate.artifacts.fingerprint import file_of, source_fingerprint
from voxgate.artifacts.progress import Reporter
from voxgate.artifacts.run_artifacts import Artifacts
from voxgate.backends import BackendSpec
from voxgate.config import RunConfig
from voxgate.errors import EXIT_FAILED, EXIT_PASS, HarnessError, UsageError, by_name
from voxgate.machine.environment import read_environment
from voxgate.records.case import CaseId, Precision
from voxgate.records.file import SCHEMA_VERSION
from voxgate.records.run import CaseResult
from voxgate.records.runtime import Probe
from voxgate.records.study import StudyPoint, StudyRecord
from voxgate.runs.bench import (
    build,
    make_artifacts,
    measure,
    probe_backends,
    results_of,
    timing_since,
)
from voxgate.runs.case_run import CaseRun

# A backend's own simulation stands in where it has no real INT8.
_PRECISIONS: tuple[Precision, ...] = ("int8", "fake-int8")


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """One way to calibrate; see `voxgate.records.study.StudyPoint`."""

    method: str
    patches: int
    seed: int | None

    def __str__(self) -> str:
        noun = "patch" if self.patches == 1 else "patches"
        drawn = f"{self.patches} {noun}" if self.patches else "the default patches"
        return f"{self.method}, {drawn}" + ("" if self.seed is None else f", seed {self.seed}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """What is combined; no methods mean all that the quantizer has."""

    methods: tuple[str, ...] = ()
    patches: tuple[int, ...] = (2, 4, 8)  # of one patch no entropy can be told
    seeds: tuple[int, ...] = (0, 1, 2)

    def choices(self, config: RunConfig) -> tuple[Choice, ...]:
        """Every combination, each a valid configuration.

        Raises:
            UsageError: nothing to combine, a value twice, or one that makes no sense.
        """
        for name in ("patches", "seeds"):
            values: Sequence[int] = getattr(self, name)
            if not values or len(set(values)) != len(values):
                msg = f"the {name} of a study are {list(values)}; name each once, and one at least"
                raise UsageError(msg)
        spec = quantizers.get(quantizer_of(config))
        methods = tuple(spec.check_method(name) for name in self.methods) or spec.methods
        found = []
        for method in dict.fromkeys(methods):
            for patches in self.patches:
                fixed = patches == 0 and config.calibration_data is None
                seeds: tuple[int | None, ...] = (None,) if fixed else self.seeds
                found += [Choice(method=method, patches=patches, seed=seed) for seed in seeds]
        for choice in found:
            configured(config, choice)
        return tuple(found)


Measure = Callable[[CaseId, Artifacts, Probe | HarnessError, Reporter], CaseResult]


def run_study(
    config: RunConfig, grid: Grid, reporter: Reporter, measure_case: Measure | None = None
) -> StudyRecord:
    """Measure FP32 and every combination of the grid, for a configuration of one model and backend.

    Raises:
        UsageError: the backend builds from no quantized graph, or the grid makes no sense.
    """
    started, start = datetime.now(UTC), time.monotonic()
    choices, of = grid.choices(config), measure_case or measure_cached
    (model,), (backend,) = config.models, config.backends
    cache = Cache(config.cache_root)
    reporter.begin(len(choices) + 1)
    probe = probe_backends(make_artifacts(config, cache, reporter.say), reporter)[backend]

    def row(settings: RunConfig, precision: Precision, title: str) -> CaseResult:
        reporter.say(title)
        case = CaseId(model=model, task=config.task, backend=backend, precision=precision)
        found = of(case, make_artifacts(settings, cache, reporter.say), probe, reporter)
        reporter.advance()
        return found

    reference = row(brief(config), "fp32", f"measuring FP32 of {model}")
    precision = precision_of(backends.get(backend))
    points = tuple(
        StudyPoint(
            method=choice.method,
            patches=choice.patches,
            seed=choice.seed,
            case=row(
                configured(config, choice),
                precision,
                f"combination {number} of {len(choices)}: {choice}",
            ),
        )
        for number, choice in enumerate(choices, start=1)
    )
    return StudyRecord(
        kind="calibration-study",
        schema_version=SCHEMA_VERSION,
        voxgate=__version__,
        environment=read_environment(
            config.thread_count,
            {backend: probe},
        ),
        config={
            "calibration_source": config.calibration_source,
            "float_layers": list(config.float_layers),
            "methods": list(dict.fromkeys(choice.method for choice in choices)),
            "patches": list(grid.patches),
            "seeds": list(grid.seeds),
            "threads": config.thread_count,
        },
        model=model,
        task=config.task,
        backend=backend,
        quantizer=quantizer_of(config),
        reference=reference,
        points=points,
        timing=timing_since(started, start, 0.0, cache),
    )


def exit_code(record: StudyRecord) -> int:
    """0 when FP32 and every combination were measured, else 4."""
    rows = (record.reference, *(point.case for point in record.points))
    return EXIT_PASS if all(row.status == "ok" for row in rows) else EXIT_FAILED


def configured(config: RunConfig, choice: Choice) -> RunConfig:
    """The configuration of one combination.

    Raises:
        UsageError: it makes no sense; names the value.
    """
    return replace(
        brief(config),
        calibration_method=choice.method,
        calibration_patches=choice.patches,
        calibration_seed=choice.seed or 0,
    ).check()


def brief(config: RunConfig) -> RunConfig:
    """The configuration with a single sample, which shows that an engine runs, not how fast."""
    return replace(
        config, launches=1, warmups=1, min_samples=1, max_samples=1, seconds_per_launch=0.0
    )


def quantizer_of(config: RunConfig) -> str:
    """The quantizer that is studied.

    Raises:
        UsageError: the backend builds from no quantized graph.
    """
    spec = backends.get(config.backends[0])
    precision_of(spec)
    name = config.quantizer or spec.default_quantizer
    assert name is not None
    return name


def precision_of(spec: BackendSpec) -> Precision:
    """Real INT8, or the simulation of a backend that has none.

    Raises:
        UsageError: the backend has neither.
    """
    for precision in _PRECISIONS:
        if spec.sources.get(precision) == "quantized":
            return precision
    able = [
        other.name
        for other in backends.BACKENDS.values()
        if {other.sources.get(precision) for precision in _PRECISIONS} & {"quantized"}
    ]
    msg = f"{spec.title} builds from no quantized graph; study one of: {', '.join(able)}"
    raise UsageError(msg)


def measure_cached(
    case: CaseId, artifacts: Artifacts, probe: Probe | HarnessError, reporter: Reporter
) -> CaseResult:
    """The row of a case from the cache, or measured; a failed one says why and is not kept."""
    run = CaseRun(case, artifacts)
    build(run, probe)
    if run.engine is None:
        return results_of([run])[0]
    spec = backends.get(case.backend)
    quantized = spec.sources.get(case.precision) == "quantized"
    inputs: dict[str, object] = {
        "case": str(case),
        "engine": [run.engine.key, run.engine.digest],
        "patches": artifacts.patches().digest,
        "calibration": artifacts.calibration().digest if quantized else "",
        "config": artifacts.config.facts(),
        "code": source_fingerprint("stages", "runs/bench.py", file_of(spec.module)),
    }

    def make(_: Path) -> CaseResult:
        measure([run], _Within(reporter))
        row = _without_times(results_of([run])[0])
        if row.status != "ok":
            raise by_name(row.error_type or "")(row.error or row.reason or "it was not measured")
        return row

    try:
        return artifacts.cache.get_or_make("study", inputs, CaseResult, make).result
    except HarnessError as error:
        run.error = error
        return _without_times(results_of([run])[0])


class _Within:
    """The steps of one combination: they are told, and not counted."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def begin(self, steps: int) -> None:
        """Nothing: the study has begun."""

    def say(self, what: str) -> None:
        """What happens now."""
        self._reporter.say(what)

    def advance(self) -> None:
        """Nothing: the combination is one step."""


def _without_times(row: CaseResult) -> CaseResult:
    """The row without what a single sample says of time, and what rests on it."""
    measured = row.status in {"ok", "inconclusive"}  # of times; Dice does not depend on them
    return replace(
        row,
        status="ok" if measured else row.status,
        reason=None if measured else row.reason,
        latency_ms=None,
        samples_ns=(),
        launches=(),
        memory_bytes=None,
        host_memory_bytes=None,
        gpu=(),
        layers=(),
        certificate=None,
    )
