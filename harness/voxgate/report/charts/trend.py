"""One metric of one model over time: a panel a precision, with points, levels, steps and events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from markupsafe import Markup

from voxgate.records.trend import Event, LevelLine, Point, Series, Source, Step
from voxgate.report.charts import svg
from voxgate.report.charts.axes import Scale, linear
from voxgate.report.page import Chart
from voxgate.report.trend_words import (
    cause_words,
    change_words,
    commit_words,
    kind_words,
    level_words,
    when,
)
from voxgate.verdicts.trend.metrics import metric_of

_LEFT, _RIGHT = 50.0, svg.WIDTH - 6
_PANEL, _HEADING, _AXIS = 76.0, 28.0, 22.0
_EVENT_ROW = 14.0
_SPREAD = 0.03  # of a ratio's level or of 1: a quiet series must not look wild
_DATES = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """The records of a machine that its charts show, oldest first, by their place in the trend."""

    records: tuple[int, ...]
    sources: tuple[Source, ...]

    def scale(self) -> Scale:
        """Positions by rank, not by date: a pause of a month is no month of chart."""
        return Scale(low=-0.5, high=len(self.records) - 0.5, start=_LEFT, stop=_RIGHT)

    def rank(self, point: Point) -> int | None:
        """The place of a point's record; None left of the window."""
        first = self.records[0]
        return None if point.record < first else self.records.index(point.record)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Panel:
    """Where one series is drawn."""

    series: Series
    window: Window
    x: Scale
    y: Scale

    def place(self, point: int) -> float | None:
        rank = self.window.rank(self.series.points[point])
        return None if rank is None else self.x(rank)

    def source(self, point: int) -> Source | None:
        rank = self.window.rank(self.series.points[point])
        return None if rank is None else self.window.sources[rank]


def chart_of(group: Sequence[Series], window: Window) -> Chart:
    """A chart of series that share all but the precision."""
    metric = metric_of(group[0].metric)
    events, rows = _event_marks(group[0], window)
    top = rows * _EVENT_ROW
    panels = []
    for number, series in enumerate(group):
        upper = top + _HEADING + number * (_PANEL + _HEADING)
        y = _value_scale(series, upper + _PANEL, upper)
        panels.append(_Panel(series=series, window=window, x=window.scale(), y=y))
    bottom = panels[-1].y.start
    unit = "%" if metric.unit == "share" else metric.unit
    title = metric.title if unit == "Dice" else f"{metric.title}, {unit}"
    drawn = svg.drawing(
        f"{metric.title} of {group[0].model}",
        _description(group),
        bottom + _AXIS,
        *(svg.join(_frame(panel)) for panel in panels),
        _dates(window, bottom),
        *(_event(x, row, words, bottom) for x, row, words in events),
        *(svg.join(_data(panel)) for panel in panels),
    )
    return Chart(title=title, drawing=drawn)


def _value_scale(series: Series, bottom: float, top: float) -> Scale:
    """The values with air around them: what moves by less than that is drawn as the rest it is."""
    values = [point.value for point in series.points if point.value is not None]
    metric = metric_of(series.metric)
    if not values:
        return linear([], bottom, top)
    middle = (min(values) + max(values)) / 2
    air = _SPREAD * abs(middle) if metric.ratios else 2 * metric.matters
    low, high = min(*values, middle - air), max(*values, middle + air)
    if low == high:  # zeros
        return linear(values, bottom, top)
    margin = 0.05 * (high - low)
    return Scale(low=low - margin, high=high + margin, start=bottom, stop=top)


def _frame(panel: _Panel) -> list[Markup]:
    """Grid and tick labels, with the panel's heading above."""
    series, y = panel.series, panel.y
    metric = metric_of(series.metric)
    percent = 100 if metric.unit == "share" else 1
    marks = []
    ticks = y.ticks(5) if series.last is not None else ()
    shown = replace(y, low=y.low * percent, high=y.high * percent)
    labels = svg.tick_labels(shown, [tick * percent for tick in ticks])
    for tick, words in zip(ticks, labels, strict=True):
        marks.append(svg.rule(_LEFT, y(tick), _RIGHT, y(tick), "grid"))
        marks.append(svg.text(_LEFT - 5, y(tick) + 4, words, anchor="end", class_="tick"))
    newest = "never measured" if series.last is None else f"newest {metric.show(series.last)}"
    if series.last is not None and series.points[-1].value is None:
        newest = f"no value now; before that {metric.show(series.last)}"
    heading = svg.element(
        "text",
        svg.element("tspan", series.precision, class_="strong"),
        svg.element("tspan", f"  {newest}", style="fill: var(--muted)"),
        x=_LEFT, y=y.stop - 8, class_="label", style="white-space: pre",
    )  # fmt: skip
    return [*marks, heading]


def _data(panel: _Panel) -> list[Markup]:
    tint = f"t-{panel.series.precision}"
    points = [_point(panel, number, tint) for number in range(len(panel.series.points))]
    levels = [_level(panel, level) for level in panel.series.levels]
    return [*points, *levels, *_steps(panel)]


def _point(panel: _Panel, number: int, tint: str) -> Markup:
    x, source = panel.place(number), panel.source(number)
    if x is None or source is None:
        return Markup("")
    point = panel.series.points[number]
    where = f"{when(source.started)} UTC, {source.file}, {commit_words(source.commit)}"
    if point.value is None:
        words = f"no value: {point.status}: {point.reason}\n{where}"
        y = panel.y.start - 5
        return svg.marker("cross", x, y, tooltip=words, class_="t-accent", radius=3.5)
    value = metric_of(panel.series.metric).show(point.value)
    p50 = "" if point.p50_ms is None else f" (p50 {point.p50_ms:,.2f} ms)"
    return svg.marker(
        "circle", x, panel.y(point.value), tooltip=f"{value}{p50}\n{where}", class_=tint,
        radius=2.0 if len(panel.window.records) > 120 else 2.8,
    )  # fmt: skip


def _level(panel: _Panel, level: LevelLine) -> Markup:
    """A line through the runs with a value; it breaks where there is none."""
    half = (panel.x(1) - panel.x(0)) / 2
    y = panel.y(level.value)
    runs: list[list[float]] = [[]]
    for number in range(level.first, level.last + 1):
        place = panel.place(number)
        if place is None or panel.series.points[number].value is None:
            runs.append([])
        else:
            runs[-1].append(place)
    return svg.join([
        svg.element(
            "line", x1=max(run[0] - half, _LEFT), y1=y, x2=min(run[-1] + half, _RIGHT), y2=y,
            class_=f"level t-{panel.series.precision}",
            style="stroke: var(--tint); stroke-width: 2; stroke-opacity: 0.75",
        )
        for run in runs if run
    ])  # fmt: skip


def _steps(panel: _Panel) -> list[Markup]:
    """A vertical mark between the records on both sides, with the change beside it."""
    marks, taken = [], [-1e9, -1e9]
    for step in panel.series.steps:
        after = panel.place(step.point)
        if after is None:
            continue
        before = panel.place(step.point - 1 - step.gap)
        x = (after + (before if before is not None else after)) / 2
        words = change_words(panel.series, step)
        row = 0 if x - taken[0] > (len(words) + 1) * svg.CHARACTER else 1
        taken[row] = x
        marks.append(_step(panel, step, words, x, row))
    return marks


def _step(panel: _Panel, step: Step, words: str, x: float, row: int) -> Markup:
    colour = "var(--pass)" if step.direction == "improvement" else "var(--regression)"
    top, bottom = panel.y.stop, panel.y.start
    metric = metric_of(panel.series.metric)
    tooltip = (
        f"{kind_words(step)}: {metric.title} {level_words(panel.series, step)} ({words})\n"
        f"since {when(step.started)} UTC, {step.file}\nchanged there: {cause_words(step)}\n"
        f"{step.confidence}"
    )
    band = _blur(panel, step, colour)
    line = svg.element(
        "line", x1=x, y1=top, x2=x, y2=bottom, class_=f"step {step.direction}",
        stroke_dasharray="2 3" if step.tentative else None,
        style=f"stroke: {colour}; stroke-width: 1.5",
    )  # fmt: skip
    reach = svg.element(
        "line", svg.element("title", tooltip), x1=x, y1=top, x2=x, y2=bottom,
        style="stroke: transparent; stroke-width: 12",
    )  # fmt: skip
    left = x > _RIGHT - (len(words) + 3) * svg.CHARACTER
    label = svg.element(
        "text", words + (" ?" if step.tentative else ""),
        x=x - 4 if left else x + 4,
        y=_label_height(panel, step.before if left else step.after, row),
        text_anchor="end" if left else "start", class_="halo strong", style=f"fill: {colour}",
    )  # fmt: skip
    return svg.join((band, line, label, reach))


def _blur(panel: _Panel, step: Step, colour: str) -> Markup:
    """A band over the places where the step may as well lie."""
    if step.earliest == step.latest:
        return Markup("")
    half = (panel.x(1) - panel.x(0)) / 2
    first, last = panel.place(step.earliest), panel.place(step.latest)
    left = max((first if first is not None else _LEFT) - 1.5 * half, _LEFT)
    right = min((last if last is not None else left) - 0.5 * half, _RIGHT)
    return svg.element(
        "rect", x=left, y=panel.y.stop, width=max(right - left, 0), height=_PANEL, class_="blur",
        style=f"fill: {colour}; fill-opacity: 0.14",
    )  # fmt: skip


def _label_height(panel: _Panel, level: float, row: int) -> float:
    """At the panel's edge that is farther from the level beside the label, and from its points."""
    high = panel.y(level) < (panel.y.start + panel.y.stop) / 2
    return panel.y.start - 12 - 13 * row if high else panel.y.stop + 10 + 13 * row


def _event_marks(series: Series, window: Window) -> tuple[list[tuple[float, int, str]], int]:
    """Position, row of the label and words of each event in the window, and how many rows."""
    x = window.scale()
    ends = [-1e9, -1e9, -1e9]
    marks = []
    for event in series.events:
        rank = window.rank(series.points[event.point])
        if rank is None:
            continue
        place, words = x(rank - 0.5), _event_words(event)
        width = (len(words) + 1) * svg.CHARACTER
        start = min(place, _RIGHT - width)
        row = next((r for r, end in enumerate(ends) if start > end), len(ends) - 1)
        ends[row] = start + width
        marks.append((place, row, words))
    return marks, max((row + 1 for _, row, _ in marks), default=0)


def _event_words(event: Event) -> str:
    return svg.shorten(f"{event.change.what} {event.change.after}", 160)


def _event(x: float, row: int, words: str, bottom: float) -> Markup:
    y = (row + 1) * _EVENT_ROW - 3
    width = (len(words) + 1) * svg.CHARACTER
    line = svg.element(
        "line", x1=x, y1=y + 3, x2=x, y2=bottom, class_="event", stroke_dasharray="5 4",
        style="stroke: var(--muted)",
    )  # fmt: skip
    left = max(min(x, _RIGHT - width), 0.0)
    return svg.join((line, svg.text(left, y, words, class_="tick")))


def _dates(window: Window, bottom: float) -> Markup:
    """Some records' dates, evenly over the ranks."""
    count = len(window.sources)
    wanted = min(_DATES, count)
    ranks = sorted({round(i * (count - 1) / max(wanted - 1, 1)) for i in range(wanted)})
    x = window.scale()
    how = _date_format([source.started for source in window.sources])
    named: list[tuple[int, str]] = []
    for rank in ranks:
        words = f"{window.sources[rank].started:{how}}"
        far = not named or x(rank) - x(named[-1][0]) > (len(words) + 2) * svg.CHARACTER
        if far and (not named or words != named[-1][1]):
            named.append((rank, words))
    return svg.join([
        svg.text(
            x(rank), bottom + 14, words, class_="tick",
            anchor="start" if rank == 0 and count > 1 else "end" if rank == count - 1 > 0 else "middle",
        )
        for rank, words in named
    ])  # fmt: skip


def _date_format(moments: Sequence[datetime]) -> str:
    first, last = moments[0], moments[-1]
    if first.date() == last.date():
        return "%H:%M"
    return "%d %b" if first.year == last.year else "%b %Y"


def _description(group: Sequence[Series]) -> str:
    """The chart in words, for whoever cannot see it."""
    lines = []
    for series in group:
        metric = metric_of(series.metric)
        steps = [f"{change_words(series, s)} since {when(s.started)}" for s in series.steps]
        found = ", ".join(steps) or "no step"
        lines.append(f"{series.precision}: newest {metric.show(series.last)}, {found}")
    return "; ".join(lines)
