"""What a trend needs of records, their order, and what differs between two of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Literal

from voxgate.errors import ArtifactError
from voxgate.records.case import CaseId
from voxgate.records.run import CaseResult, Environment, RunRecord
from voxgate.records.trend import Change, Event, Reading, Row, Skipped, Source
from voxgate.verdicts.trend.metrics import METRICS, TrendMetric

_ABSURD = 1e15  # milliseconds, megabytes


def read_run(file: str, run: RunRecord, kind: Literal["run", "gate"] = "run") -> Reading:
    """What a trend needs of the run in a file.

    Raises:
        ArtifactError: the run does not say when it started.
    """
    environment = run.environment
    classes = run.config.get("classes")
    source = Source(
        file=file,
        kind=kind,
        started=_started(run.timing.started, file),
        host=environment.host,
        machine=machine_of(environment),
        commit=environment.git_commit,
        runtimes=dict(environment.backends),
        facts=_facts_of(run),
    )
    return Reading(source=source, rows=tuple(_row(case, classes) for case in run.cases))


def machine_of(environment: Environment) -> str:
    """The kind of machine, in words: equal for two runs whose figures belong to one series."""
    parts = [f"{environment.cpu}, {environment.cores} cores, {environment.threads} threads"]
    if environment.gpu is not None:
        parts.append(f"{environment.gpu}, driver {environment.driver or 'unknown'}")
    return "; ".join(parts)


def in_order(readings: Iterable[Reading]) -> tuple[list[Reading], list[Skipped]]:
    """The readings by start, and those left out because another file holds the same run."""
    ordered = sorted(readings, key=lambda r: (r.source.started, r.source.host, r.source.file))
    kept: dict[object, Reading] = {}
    copies = []
    for reading in ordered:
        source = reading.source
        key = (source.started, source.host, frozenset(row.case for row in reading.rows))
        first = kept.setdefault(key, reading)
        if first is not reading:
            differs = "" if first.rows == reading.rows else ", but with OTHER FIGURES"
            reason = f"the same run as {first.source.file} (start, host and cases){differs}"
            copies.append(Skipped(file=source.file, reason=reason))
    return list(kept.values()), copies


def changes(before: Reading, after: Reading, case: CaseId) -> tuple[Change, ...]:
    """What differs between two records for one case, the nearest causes first.

    A runtime that one of them did not use has not changed.
    """
    rows = [next(row for row in reading.rows if row.case == case) for reading in (before, after)]
    first, second = before.source, after.source
    both = first.runtimes.keys() & second.runtimes.keys()
    runtimes = [
        {name: version for name, version in source.runtimes.items() if name in both}
        for source in (first, second)
    ]
    own = differences(rows[0].facts, rows[1].facts) + differences(runtimes[0], runtimes[1])
    named = {change.what for change in own}  # a runtime is a package, too
    return own + tuple(c for c in differences(first.facts, second.facts) if c.what not in named)


def differences(before: dict[str, str], after: dict[str, str]) -> tuple[Change, ...]:
    """What two sets of facts do not share, in their order."""
    names = dict.fromkeys([*before, *after])
    return tuple(
        Change(what=name, before=before.get(name), after=after.get(name))
        for name in names
        if before.get(name) != after.get(name)
    )


def runtime_events(backend: str, sources: Sequence[Source]) -> tuple[Event, ...]:
    """Where a backend's version is another than the last one known."""
    events = []
    known: str | None = None
    for number, source in enumerate(sources):
        version = source.runtimes.get(backend)
        if version is not None and known is not None and version != known:
            change = Change(what=backend, before=known, after=version)
            events.append(Event(point=number, change=change))
        known = version or known
    return tuple(events)


def _row(case: CaseResult, classes: object) -> Row:
    """Another class set is another network: its task gets a name of its own."""
    name = case.case
    if classes == "paper":
        name = CaseId(
            model=name.model,
            task=f"{name.task} (paper's classes)",
            backend=name.backend,
            precision=name.precision,
        )
    measured = case.status == "ok"
    values = {m.name: v for m in METRICS if measured and (v := _value(m, case)) is not None}
    return Row(
        case=name,
        status=case.status,
        reason=case.error or case.reason,
        values=values,
        p50_ms=case.latency_ms.p50 if measured and case.latency_ms else None,
        facts=_row_facts(case),
    )


def _value(metric: TrendMetric, case: CaseResult) -> float | None:
    """NaN and infinity are no values, and neither is what no machine can have measured."""
    try:
        value = metric.read(case)
    except OverflowError:
        return None
    return value if value is not None and abs(value) < _ABSURD else None


def _row_facts(case: CaseResult) -> dict[str, str]:
    calibration = case.calibration
    facts = {
        "engine": case.engine_sha256,
        "weights": case.weights_sha256,
        "quantizer": calibration.quantizer if calibration else None,
        "calibration": calibration.method if calibration else None,
        "calibration data": calibration.sha256 if calibration else None,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _facts_of(run: RunRecord) -> dict[str, str]:
    environment, config = run.environment, run.config
    settings = ("launches", "warmups", "min_samples", "max_samples", "cuda_graph")
    return (
        ({"commit": environment.git_commit} if environment.git_commit else {})
        | {"voxgate": run.voxgate}
        | dict(environment.packages)
        | {"python": environment.python, "system": environment.system, "host": environment.host}
        | ({"cuda": environment.cuda} if environment.cuda else {})
        | {name: str(config[name]) for name in settings if name in config}
    )


def _started(text: str, file: str) -> datetime:
    try:
        started = datetime.fromisoformat(text)
        return (started if started.tzinfo else started.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        msg = f"{file} does not say when its run started: {text[:40]!r}"
        raise ArtifactError(msg) from error
