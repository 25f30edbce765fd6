"""The history of records: one series a metric of a case, and where its level changed. Pure.

A machine of another kind starts another series, never a step in this one. Another version of the
runtime stays in the series and is an event: that is what a step is to be seen beside.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from voxgate.records.case import CaseId, Precision, Status


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One case of a record; what was not measured is not in ``values``.

    ``facts`` are what the row rests on: its engine, its weights, how it was quantized.
    """

    case: CaseId
    status: Status
    reason: str | None
    values: dict[MetricName, float]
    p50_ms: float | None
    facts: dict[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One record of the history: its file, and what was in use when it was made.

    ``runtimes`` are the backends' versions; ``facts`` everything else that may change from one run
    to the next, commit first.
    """

    file: str
    kind: Literal["run", "gate"]
    started: datetime
    host: str
    machine: str
    commit: str | None
    runtimes: dict[str, str]
    facts: dict[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What a trend needs of a record."""

    source: Source
    rows: tuple[Row, ...]


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Skipped:
    """A file that is not part of the history, and why."""

    file: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """A record's value in a series; None where there is none, and ``reason`` says why.

    ``record`` is its place in `Trend.records`.
    """

    record: int
    value: float | None
    status: Status
    reason: str | None = None
    p50_ms: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelLine:
    """A level, from one point to another, both inclusive."""

    first: int
    last: int
    value: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """Something that differs between two records; None where one does not name it."""

    what: str
    before: str | None
    after: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """The first point of a series under another version of its runtime."""

    point: int
    change: Change


@dataclass(frozen=True, kw_only=True, slots=True)
class Nearby:
    """Another record at which a step may have happened, and what differs from the one before it.

    ``offset`` counts records with a value, later ones up.
    """

    offset: int
    file: str
    started: datetime
    changed: tuple[Change, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A change of the level at a point, which is the first of the new one.

    ``change_percent`` is relative to ``before``, None where that is 0. ``changed`` differs between
    the records on both sides; ``gap`` counts those between, without a value. Noise blurs the place:
    it is one of the points ``earliest`` to ``latest`` in 96 % of cases, and ``nearby`` are those of
    them at which something changed, the nearest first. ``same_engine``: both
    sides ran the same file, byte for byte. ``lasts``: the newest level is still nearer to ``after``.
    ``importance`` is the change in multiples of one worth getting up for.
    """

    point: int
    earliest: int
    latest: int
    record: int
    file: str
    commit: str | None
    started: datetime
    direction: Literal["worsening", "improvement"]
    tentative: bool
    before: float
    after: float
    change_percent: float | None
    strength: float
    confidence: str
    changed: tuple[Change, ...]
    nearby: tuple[Nearby, ...]
    same_engine: bool | None
    gap: int
    lasts: bool
    importance: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """One metric of one case on one kind of machine, oldest point first.

    ``noise`` is that of one value: a share of it where ``unit`` is a time or a size, else in the
    unit itself; None without a value.
    """

    machine: str
    model: str
    task: str
    backend: str
    precision: Precision
    metric: MetricName
    unit: TrendUnit
    points: tuple[Point, ...]
    levels: tuple[LevelLine, ...]
    steps: tuple[Step, ...]
    events: tuple[Event, ...]
    noise: float | None

    @property
    def last(self) -> float | None:
        """The value of the newest point that has one."""
        return next((p.value for p in reversed(self.points) if p.value is not None), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Trend:
    """The records, oldest first, their series, and the files that are not among them."""

    kind: Literal["trend"]
    voxgate: str
    records: tuple[Source, ...]
    series: tuple[Series, ...]
    skipped: tuple[Skipped, ...]

    def steps(self) -> list[tuple[Series, Step]]:
        """Every step: worsenings that last first, then healed ones, then improvements; confirmed
        before tentative, and the most important first.
        """
        found = [(series, step) for series in self.series for step in series.steps]
        return sorted(found, key=lambda pair: _rank(*pair))


def _rank(series: Series, step: Step) -> tuple[object, ...]:
    kind = 2 if step.direction == "improvement" else 0 if step.lasts else 1
    names = (series.machine, series.model, series.task, series.backend, series.precision)
    return (kind, step.tentative, -step.importance, *names, series.metric, step.point)


MetricName = Literal["latency", "size", "memory", "dice", "worst-dice", "int8-macs"]
TrendUnit = Literal["ms", "MB", "MiB", "Dice", "share"]
