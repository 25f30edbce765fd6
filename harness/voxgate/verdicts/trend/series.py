"""From readings to series with levels, steps and events. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from voxgate import __version__
from voxgate.errors import UsageError, unknown_name
from voxgate.records.case import PRECISIONS, CaseId
from voxgate.records.trend import (
    LevelLine,
    Nearby,
    Point,
    Reading,
    Row,
    Series,
    Skipped,
    Step,
    Trend,
)
from voxgate.verdicts.trend.metrics import METRICS, TrendMetric
from voxgate.verdicts.trend.readings import changes, in_order, runtime_events
from voxgate.verdicts.trend.steps import Fit, Level, Tail, find_levels, required_strength

_Entry = tuple[int, Reading, Row]  # a row, its record, and that record's place


def make_trend(
    readings: Iterable[Reading], skipped: Iterable[Skipped] = (), models: Sequence[str] = ()
) -> Trend:
    """The whole history; only some models', if any are named. The order of readings is no matter.

    Raises:
        UsageError: a model is in no record.
    """
    ordered, copies = in_order(readings)
    _check_models(models, ordered)
    entries: dict[tuple[str, CaseId], list[_Entry]] = {}
    for number, reading in enumerate(ordered):
        for row in reading.rows:
            if not models or row.case.model in models:
                key = (reading.source.machine, row.case)
                entries.setdefault(key, []).append((number, reading, row))
    counts = Counter(reading.source.machine for reading in ordered)
    series = [
        made
        for (machine, case), found in sorted(
            entries.items(), key=lambda item: (-counts[item[0][0]], *_order(*item[0]))
        )
        for metric in METRICS
        if (made := make_series(machine, case, metric, found)) is not None
    ]
    return Trend(
        kind="trend",
        voxgate=__version__,
        records=tuple(reading.source for reading in ordered),
        series=tuple(series),
        skipped=tuple(sorted([*skipped, *copies])),
    )


def make_series(
    machine: str, case: CaseId, metric: TrendMetric, entries: Sequence[_Entry]
) -> Series | None:
    """One metric of one case. None where nothing was ever measured, nor failed to be: a failure
    stands in the series of times.
    """
    points = tuple(_point(number, row, metric) for number, _, row in entries)
    values = [point.value for point in points if point.value is not None]
    if not values and (metric.name != "latency" or all(p.status == "ok" for p in points)):
        return None
    fit = find_levels([metric.to_scale(value) for value in values], metric.noise)
    places = [i for i, point in enumerate(points) if point.value is not None]
    return Series(
        machine=machine,
        model=case.model,
        task=case.task,
        backend=case.backend,
        precision=case.precision,
        metric=metric.name,
        unit=metric.unit,
        points=points,
        levels=tuple(
            LevelLine(
                first=places[level.start],
                last=places[level.stop - 1],
                value=metric.from_scale(level.value),
            )
            for level in fit.levels
        ),
        steps=tuple(
            _step(metric, jump, fit.levels[-1].value, places, entries) for jump in _jumps(fit)
        ),
        events=runtime_events(case.backend, [reading.source for _, reading, _ in entries]),
        noise=fit.noise if values else None,
    )


def _point(number: int, row: Row, metric: TrendMetric) -> Point:
    value = row.values.get(metric.name)
    reason = row.reason
    if value is None and reason is None:
        reason = "not measured" if row.status == "ok" else f"{row.status}, without a reason"
    return Point(
        record=number,
        value=value,
        status=row.status,
        reason=reason if value is None else None,
        p50_ms=row.p50_ms if metric.name == "latency" else None,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Jump:
    """A step on the scale of the fit; ``start`` counts values."""

    start: int
    earliest: int
    latest: int
    before: float
    after: float
    strength: float
    tentative: bool
    confidence: str


def _jumps(fit: Fit) -> list[_Jump]:
    """The confirmed steps, and the tentative one behind them."""
    jumps = [
        _Jump(
            start=after.start, earliest=after.earliest, latest=after.latest, before=before.value, after=after.value, strength=after.strength,
            tentative=False, confidence=_confirmed(fit, before, after),
        )
        for before, after in pairwise(fit.levels)
    ]  # fmt: skip
    if fit.tail:
        tail, last = fit.tail, fit.levels[-1].value
        jumps.append(
            _Jump(
                start=tail.start, earliest=tail.start, latest=tail.start, before=last, after=tail.value, strength=tail.strength,
                tentative=True, confidence=_unconfirmed(fit, tail),
            )
        )  # fmt: skip
    return jumps


def _step(
    metric: TrendMetric, jump: _Jump, last: float, places: Sequence[int], entries: Sequence[_Entry]
) -> Step:
    """A jump in units, with the records on both sides; ``last`` is the newest confirmed level."""
    place = places[jump.start]
    _, earlier, earlier_row = entries[places[jump.start - 1]]
    number, reading, row = entries[place]
    before, after = metric.from_scale(jump.before), metric.from_scale(jump.after)
    better = (after > before) == metric.higher_is_better
    return Step(
        point=place,
        earliest=places[jump.earliest],
        latest=places[jump.latest],
        record=number,
        file=reading.source.file,
        commit=reading.source.commit,
        started=reading.source.started,
        direction="improvement" if better else "worsening",
        tentative=jump.tentative,
        before=before,
        after=after,
        change_percent=(after - before) / before * 100 if before > 0 else None,
        strength=jump.strength,
        confidence=jump.confidence,
        changed=changes(earlier, reading, row.case),
        nearby=_nearby(jump, places, entries),
        same_engine=_same_engine(earlier_row, row),
        gap=place - places[jump.start - 1] - 1,
        lasts=jump.tentative or abs(last - jump.after) <= abs(last - jump.before),
        importance=abs(jump.after - jump.before) / metric.matters,
    )


def _nearby(jump: _Jump, places: Sequence[int], entries: Sequence[_Entry]) -> tuple[Nearby, ...]:
    """Where else in the blur of the step something changed, the nearest first."""
    found = []
    for start in range(jump.earliest, jump.latest + 1):
        before, (_, reading, row) = entries[places[start - 1]][1], entries[places[start]]
        changed = changes(before, reading, row.case)
        if changed and start != jump.start:
            source = reading.source
            found.append(
                Nearby(
                    offset=start - jump.start, file=source.file, started=source.started,
                    changed=changed,
                )
            )  # fmt: skip
    return tuple(sorted(found, key=lambda near: abs(near.offset)))


def _same_engine(before: Row, after: Row) -> bool | None:
    first, second = before.facts.get("engine"), after.facts.get("engine")
    return None if first is None or second is None else first == second


def _confirmed(fit: Fit, before: Level, after: Level) -> str:
    counts = f"{_records(before.stop - before.start)} before it, {after.stop - after.start} since"
    if fit.exact:
        return f"certain: {counts}; the values repeat exactly, so this is no noise"
    required = required_strength(fit.count)
    word = "very likely" if after.strength < 1.5 * required else "certain"
    return (
        f"{word}: {counts}; {after.strength:.1f} standard errors, and beyond {required:.1f} "
        "at most 1 in 100 histories without a step has one"
    )


def _unconfirmed(fit: Fit, tail: Tail) -> str:
    newest = "the newest record alone" if tail.count == 1 else "the newest two records alone"
    if fit.exact:
        return f"tentative: {newest}; the values repeat exactly, so one more like it confirms it"
    return (
        f"tentative: {newest}, {tail.strength:.1f} times the noise of one record away; it takes "
        "three in a row to confirm it"
    )


def _records(count: int) -> str:
    return "1 record" if count == 1 else f"{count} records"


def _check_models(models: Sequence[str], readings: Sequence[Reading]) -> None:
    known = {row.case.model for reading in readings for row in reading.rows}
    if models and not known:
        msg = "the records hold no case at all; leave --models out to see what they are"
        raise UsageError(msg)
    for model in models:
        if model not in known:
            raise unknown_name("model", model, known)


def _order(machine: str, case: CaseId) -> tuple[object, ...]:
    return (machine, case.model, case.task, case.backend, PRECISIONS.index(case.precision))
