"""Charts of single launches: raw samples of each, and what pairs of engines say in a gate."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from voxgate.records.measurement import Launch, PairedLaunch
from voxgate.records.run import CaseResult
from voxgate.records.verdicts import CaseVerdicts, GateRecord
from voxgate.report import formats
from voxgate.report.charts import svg
from voxgate.report.charts.axes import Scale, finite, linear
from voxgate.report.charts.run import legend
from voxgate.report.names import Group, group_key, look, short_names
from voxgate.report.page import Chart, Mark

_STRIP = 16.0
_EDGE = 338.0  # where warm-ups beyond the axis stand
_PAIR = 24.0
_DEFAULT_TOLERANCE = 0.03
_MOST_MARKS = 120  # a GPU's launch has thousands of samples, on 250 pixels


def strips(group: Group) -> Chart | None:
    """Every sample of every launch of one model, over the median of its case.

    What differs between the rows of a case is the host's doing, and what differs within a row, too.
    """
    rows = [_Strip(case, number) for case in group.cases.values() for number in _numbers(case)]
    timed = [ratio for row in rows for ratio in row.ratios(row.launch.samples_ns)]
    if not timed:
        return None
    x = linear([1.0, *timed], 84, 330)
    bottom = 20 + _STRIP * len(rows)
    ms = formats.milliseconds(row.median_ms for row in rows)
    return Chart(
        title=group.label,
        drawing=svg.drawing(
            f"Latency samples of {group.label}",
            f"{formats.count(len(rows), 'launch', 'launches')}, one a row; warm-ups are hollow.",
            bottom + 34,
            svg.text(svg.WIDTH, 12, "median ms", anchor="end", class_="axis"),
            svg.x_axis(x, 16, bottom, "sample / median of its case", most=5),
            svg.rule(x(1), 16, x(1), bottom, "reference"),
            *(_strip(row, x, 20 + _STRIP * i, ms) for i, row in enumerate(rows)),
        ),
        note=_unusable(group),
    )


@dataclass(frozen=True, slots=True)
class _Strip:
    """One launch of a case."""

    case: CaseResult
    number: int

    @property
    def launch(self) -> Launch:
        return self.case.launches[self.number]

    @property
    def median_ms(self) -> float | None:
        samples = self.launch.samples_ns
        return formats.ns_to_ms(statistics.median(samples)) if samples else None

    def ratios(self, samples_ns: Sequence[int]) -> list[float]:
        """The samples over the median of all launches of the case."""
        every = [ns for launch in self.case.launches for ns in launch.samples_ns]
        middle = statistics.median(every) if every else 0
        return [ns / middle for ns in samples_ns] if middle > 0 else []


def strip_legend(groups: Sequence[Group]) -> tuple[Mark, ...]:
    """What the strips of all models have in common."""
    return (
        *legend(groups),
        Mark(words="warm-up, at the right edge if beyond it", shape="ring", class_="t-other"),
    )


def pairs(record: GateRecord) -> Chart | None:
    """Per launch, the new engine's fastest sample over the accepted one's."""
    cases = [case for case in record.cases if case.pairs or case.confirmation]
    rows = sorted(((_middle(case), case) for case in cases), key=lambda row: -row[0])
    if not rows:
        return None
    limit = 1 + _tolerance(record)
    stated = f"tolerance {limit:.4g}×"
    ratios = [ratio for _, case in rows for ratio in _all_ratios(case)]
    x = linear([1.0, limit, *ratios], 130, 390)
    bottom = 24 + _PAIR * len(rows)
    names = short_names(record.cases)
    return Chart(
        title="Paired launches: the new engine against the accepted one",
        legend=(
            Mark(words="pair", shape="circle", class_="t-int8"),
            Mark(words="confirmation", shape="diamond", class_="t-fake-int8"),
            Mark(words="accepted engine against itself", shape="ring", class_="t-other"),
        ),
        drawing=svg.drawing(
            "Paired launches",
            f"Ratios of minima; slower than {limit:.2f}× is a regression.",
            bottom + 34,
            svg.x_axis(x, 16, bottom, "fastest new sample / fastest accepted sample", "{:.6g}×".format),
            svg.rule(x(1), 16, x(1), bottom, "reference"),
            svg.rule(x(limit), 16, x(limit), bottom, "threshold"),
            svg.text(svg.inside(x(limit), stated), 12, stated, anchor="middle", class_="axis"),
            *(
                _pair_row(f"{names[group_key(case)]} · {case.precision}", case, x, 24 + _PAIR * i)
                for i, (_, case) in enumerate(rows)
            ),
        ),
        note="Right of the dashed line is slower than tolerated; the upright stroke is the median.",
    )  # fmt: skip


def pair_ratio(launch: PairedLaunch) -> float | None:
    """min(B)/min(A) of one launch; None where either side has no sample."""
    if not launch.a_ns or not launch.b_ns or not min(launch.a_ns):
        return None
    return min(launch.b_ns) / min(launch.a_ns)


def _numbers(case: CaseResult) -> range:
    return range(len(case.launches))


def _strip(row: _Strip, x: Scale, top: float, ms: formats.Words) -> Markup:
    middle, drawn = top + _STRIP / 2, look(row.case.precision)
    where = f"{row.case.precision}, launch {row.number + 1}"
    warm, timed = (_thinned(ns) for ns in (row.launch.warmups_ns, row.launch.samples_ns))
    return svg.join((
        svg.text(76, middle + 4, f"{row.case.precision} {row.number + 1}", anchor="end", class_="value"),
        *(
            svg.marker(
                "ring", min(x(ratio), _EDGE), middle, radius=3, class_="t-other",
                tooltip=f"{where}: warm-up {formats.ns_to_ms(ns):,.2f} ms",
            )
            for ns, ratio in zip(warm, row.ratios(warm), strict=False)
        ),
        *(
            svg.marker(
                drawn.shape, x(ratio), middle, radius=3, class_=f"dense {drawn.class_}",
                tooltip=f"{where}: {formats.ns_to_ms(ns):,.2f} ms",
            )
            for ns, ratio in zip(timed, row.ratios(timed), strict=False)
        ),
        *_median(row.ratios(row.launch.samples_ns), x, middle),
        svg.text(svg.WIDTH, middle + 4, ms(row.median_ms), anchor="end"),
    ))  # fmt: skip


def _thinned(values_ns: Sequence[int]) -> Sequence[int]:
    """All of them or, of many, so many at equal ranks, the least and the greatest among them."""
    if len(values_ns) <= _MOST_MARKS:
        return values_ns
    last, ordered = len(values_ns) - 1, sorted(values_ns)
    return [ordered[round(rank * last / (_MOST_MARKS - 1))] for rank in range(_MOST_MARKS)]


def _median(values: Sequence[float], x: Scale, middle: float) -> list[Markup]:
    if not values:
        return []
    at = x(statistics.median(values))
    return [svg.rule(at, middle - 6.5, at, middle + 6.5, "median")]


def _unusable(group: Group) -> str:
    """Which samples are shown though nothing may be concluded from them."""
    names = [
        f"{case.precision} ({case.status})"
        for case in group.cases.values()
        if case.launches and case.status != "ok"
    ]
    return f"Shown, but not used: {', '.join(names)}." if names else ""


def _tolerance(record: GateRecord) -> float:
    """The tolerance of latency: the record's, or that of a verdict."""
    stated = [v.tolerance for case in record.cases for v in case.verdicts if v.metric == "latency"]
    known = [record.tolerances.get("latency"), *stated, _DEFAULT_TOLERANCE]
    return next(v for v in known if v is not None and math.isfinite(v))


def _ratios(launches: Sequence[PairedLaunch]) -> list[float]:
    return [ratio for launch in launches if (ratio := pair_ratio(launch)) is not None]


def _all_ratios(case: CaseVerdicts) -> list[float]:
    own = finite(case.self_test.launch_ratios if case.self_test else ())
    return [*_ratios(case.pairs), *_ratios(case.confirmation), *own]


def _middle(case: CaseVerdicts) -> float:
    ratios = _ratios(case.confirmation or case.pairs)
    return statistics.median(ratios) if ratios else 0.0


def _pair_row(label: str, case: CaseVerdicts, x: Scale, top: float) -> Markup:
    middle = top + _PAIR / 2
    own = finite(case.self_test.launch_ratios if case.self_test else ())
    kinds: tuple[tuple[svg.Shape, str, str, Sequence[float]], ...] = (
        ("ring", "t-other", "the accepted engine against itself", own),
        ("circle", "t-int8", "pair", _ratios(case.pairs)),
        ("diamond", "t-fake-int8", "confirmation", _ratios(case.confirmation)),
    )
    return svg.join((
        svg.text(0, middle + 4, svg.shorten(label, 126)),
        *(
            svg.marker(shape, x(ratio), middle, class_=class_, tooltip=f"{label}, {words}: {ratio:.4f}×")
            for shape, class_, words, ratios in kinds
            for ratio in ratios
        ),
        *_median(_ratios(case.confirmation or case.pairs), x, middle),
    ))  # fmt: skip
