"""Charts of a calibration study: Dice lost and int8 coverage against the number of patches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from markupsafe import Markup

from voxgate.records.study import StudyPoint, StudyRecord
from voxgate.report import formats
from voxgate.report.charts import svg
from voxgate.report.charts.axes import Scale, finite, linear
from voxgate.report.page import Chart, Mark

_LEFT, _RIGHT, _TOP, _BOTTOM = 58.0, 388.0, 26.0, 250.0
_APART = 9.0  # units between the methods of one number of patches
# By method in the order of the record: a shape and a colour; beyond them they repeat.
_LOOKS: tuple[tuple[svg.Shape, str], ...] = (
    ("circle", "t-int8"),
    ("square", "t-fp32"),
    ("diamond", "t-accent"),
    ("triangle", "t-bf16"),
    ("cross", "t-fake-int8"),
)

Value = Callable[[StudyPoint], float | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Quantity:
    """What a chart shows: how a point has it, the value that means nothing was lost, the words."""

    value: Value
    ideal: float
    title: str
    axis: str
    words: formats.Words
    ticks: svg.Words | None
    note: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plot:
    """Where values go: the numbers of patches side by side, evenly, and the methods beside each."""

    counts: tuple[int, ...]
    methods: tuple[str, ...]
    y: Scale

    def x(self, count: int, method: str) -> float:
        ranks = Scale(low=-0.5, high=len(self.counts) - 0.5, start=_LEFT, stop=_RIGHT)
        beside = self.methods.index(method) - (len(self.methods) - 1) / 2
        return ranks(self.counts.index(count)) + _APART * beside

    def middle(self, count: int) -> float:
        return fmean(self.x(count, method) for method in self.methods)


def study_charts(record: StudyRecord) -> tuple[Chart, ...]:
    """Both charts; one without a measured point is left out."""
    lost = _Quantity(
        value=record.lost,
        ideal=0.0,
        title="Dice lost against the number of patches",
        axis="mean Dice of FP32 minus INT8",
        words=formats.difference,
        ticks=None,
        note="A mark is one seed, a line the mean over the seeds. Lower is better; 0 is FP32.",
    )
    covered = _Quantity(
        value=lambda point: point.int8_macs,
        ideal=1.0,
        title="Int8 coverage against the number of patches",
        axis="share of multiply-accumulates in int8",
        words=formats.share,
        ticks="{:.1%}".format,
        note="Calibration sets ranges, not what is quantized: a change here is a finding.",
    )
    found = (_chart(record, lost), _chart(record, covered))
    return tuple(chart for chart in found if chart is not None)


def _chart(record: StudyRecord, of: _Quantity) -> Chart | None:
    value = of.value
    shown = [point for point in record.points if finite([value(point)])]
    if not shown:
        return None
    methods = tuple(dict.fromkeys(point.method for point in shown))
    plot = _Plot(
        counts=tuple(sorted({point.count for point in shown})),
        methods=methods,
        y=linear([of.ideal, *(value(point) for point in shown)], _BOTTOM, _TOP),
    )
    return Chart(
        title=of.title,
        legend=tuple(
            Mark(words=method, shape=_look(plot, method)[0], class_=_look(plot, method)[1])
            for method in methods
        ),
        drawing=svg.drawing(
            of.title,
            f"{formats.count(len(shown), 'combination')} of {', '.join(methods)}.",
            _BOTTOM + 36,
            svg.y_axis(plot.y, _LEFT, _RIGHT, of.axis, of.ticks),
            _patches_axis(plot),
            svg.rule(_LEFT, plot.y(of.ideal), _RIGHT, plot.y(of.ideal), "reference"),
            *(_means(plot, shown, value, method) for method in methods),
            *(_mark(plot, point, value, of.words) for point in shown),
        ),
        note=of.note,
    )


def _look(plot: _Plot, method: str) -> tuple[svg.Shape, str]:
    return _LOOKS[plot.methods.index(method) % len(_LOOKS)]


def _patches_axis(plot: _Plot) -> Markup:
    ticks = (
        svg.text(plot.middle(count), _BOTTOM + 14, str(count), anchor="middle", class_="tick")
        for count in plot.counts
    )
    title = svg.text(
        (_LEFT + _RIGHT) / 2, _BOTTOM + 29, "calibration patches", anchor="middle", class_="axis"
    )
    return svg.join((*ticks, title))


def _means(plot: _Plot, shown: Sequence[StudyPoint], value: Value, method: str) -> Markup:
    """A line through the mean of each number of patches."""
    places = []
    for count in plot.counts:
        own = finite(value(p) for p in shown if (p.method, p.count) == (method, count))
        if own:
            places.append((plot.x(count, method), plot.y(fmean(own))))
    return svg.curve(places, _look(plot, method)[1]) if len(places) > 1 else Markup("")


def _mark(plot: _Plot, point: StudyPoint, value: Value, words: formats.Words) -> Markup:
    shape, class_ = _look(plot, point.method)
    (found,) = finite([value(point)])
    seed = "the fixed ones" if point.seed is None else f"seed {point.seed}"
    patches = formats.count(point.count, "patch", "patches")
    return svg.marker(
        shape, plot.x(point.count, point.method), plot.y(found), class_=class_,
        tooltip=f"{point.method}, {patches}, {seed}: {words(found)}",
    )  # fmt: skip
