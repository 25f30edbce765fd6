"""Charts of a run: latency against size, ratios to FP32, int8 coverage.

Each takes the groups of a record and gives None where there is nothing to draw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markupsafe import Markup

from voxgate.records.case import INT8_PRECISIONS, Precision
from voxgate.records.engine import Share
from voxgate.records.run import CaseResult
from voxgate.report import formats, simulated
from voxgate.report.charts import labels, svg
from voxgate.report.charts.axes import Scale, finite, fitting
from voxgate.report.names import Group, look, precisions_of
from voxgate.report.page import Chart, Mark

_LEFT, _RIGHT = 46.0, 388.0


def size_against_latency(groups: Sequence[Group]) -> Chart | None:
    """One point a case, an arrow from FP32 to INT8 of each model."""
    points = {
        (group.label, name): (case.engine_bytes / formats.MB, case.latency_ms.median)
        for group in groups
        for name, case in group.measured.items()
        if case.engine_bytes and case.latency_ms and finite([case.latency_ms.median])
    }
    if not points:
        return None
    x = fitting((size for size, _ in points.values()), _LEFT, _RIGHT)
    y = fitting((latency for _, latency in points.values()), 312, 26)
    places = {key: (x(size), y(latency)) for key, (size, latency) in points.items()}
    return Chart(
        title="Latency against engine size",
        legend=legend(groups),
        drawing=svg.drawing(
            "Latency against engine size",
            f"{formats.count(len(points), 'engine')}; an arrow leads from FP32 to INT8 of a model.",
            350,
            svg.x_axis(x, 26, 312, "engine size, MB"),
            svg.y_axis(y, _LEFT, _RIGHT, "median latency, ms"),
            *(svg.arrow(*line, "t-other") for line in _steps(groups, places)),
            *(_point(key, points[key], place) for key, place in places.items()),
            *_names(groups, places),
        ),
        note=f"Left and down is better.{_scale_words(x, y)}",
    )


def latency_bars(groups: Sequence[Group]) -> Chart | None:
    """Median latency in FP32, simulated and in real INT8, as the paper's Figure 2 has it."""
    ms = formats.milliseconds(_median_ms(c) for group in groups for c in group.measured.values())
    title = "Latency: FP32, simulated and real INT8"
    return _bars(groups, title, _median_ms, lambda value: f"{ms(value)} ms")


def size_bars(groups: Sequence[Group]) -> Chart | None:
    """Engine size in FP32, simulated and in real INT8."""
    title = "Engine size: FP32, simulated and real INT8"
    return _bars(
        groups, title, lambda case: case.engine_bytes, lambda v: f"{formats.megabytes(v)} MB"
    )


def _bars(
    groups: Sequence[Group],
    title: str,
    value: Callable[[CaseResult], float | None],
    words: formats.Words,
) -> Chart | None:
    """One bar a case, as long as its share of FP32 of the same model."""
    rows = [_relative(group, value) for group in groups]
    drawn = [(group, row) for group, row in zip(groups, rows, strict=True) if row]
    if not drawn:
        return None
    longest = max(part for _, row in drawn for part, _ in row.values())
    x = Scale(low=0, high=1.02 * max(longest, 1.0), start=70, stop=300)
    top, content = 8.0, []
    for group, row in drawn:
        content.append(svg.text(0, top + 10, group.label, class_="label strong"))
        for name, (part, absolute) in row.items():
            top += 15
            content.append(_bar_row(group.label, name, x, top, (part, words(absolute))))
        top += 24
    missing = [group.label for group in groups if group.label not in {g.label for g, _ in drawn}]
    return Chart(
        title=title,
        drawing=svg.drawing(
            title,
            f"{formats.count(len(drawn), 'model')}; bars relative to FP32 of the same model.",
            top + 34,
            svg.x_axis(x, 4, top, "relative to FP32 of the same model", "{:g}×".format),
            svg.rule(x(1), 4, x(1), top, "reference"),
            *content,
        ),
        note=f"Not drawn, since FP32 was not measured: {formats.some(missing)}." if missing else "",
    )


def coverage(groups: Sequence[Group]) -> Chart | None:
    """One stacked bar an INT8 case: the shares of multiply-accumulates."""
    rows = [
        (group.label, case.int8_coverage.by_macs)
        for group in groups
        for case in group.cases.values()
        if case.int8_coverage and case.precision in INT8_PRECISIONS
    ]
    rows = [row for row in rows if finite([row[1].int8, row[1].float, row[1].unmapped])]
    if not rows:
        return None
    x = Scale(low=0, high=1, start=108, stop=336)
    bottom = 10 + 24 * len(rows)
    return Chart(
        title="What the INT8 engines execute, by multiply-accumulates",
        legend=(
            Mark(words="int8, full height", shape="square", class_="t-int8"),
            Mark(words="float, half height", shape="square", class_="t-fp32"),
            Mark(words="unmapped, thin", shape="square", class_="t-accent"),
        ),
        drawing=svg.drawing(
            "Int8 coverage by multiply-accumulates",
            "; ".join(f"{label}: {formats.share(shares.int8)} int8" for label, shares in rows),
            bottom + 34,
            svg.x_axis(x, 4, bottom, "share of multiply-accumulates", "{:.0%}".format),
            *(_stack(label, shares, x, 10 + 24 * i) for i, (label, shares) in enumerate(rows)),
        ),
    )


def legend(groups: Sequence[Group]) -> tuple[Mark, ...]:
    """The precisions that occur."""
    return tuple(
        Mark(words=simulated.name_of(name), shape=look(name).shape, class_=look(name).class_)
        for name in precisions_of(groups)
    )


_Places = dict[tuple[str, Precision], labels.Point]


def _steps(
    groups: Sequence[Group], places: _Places
) -> list[tuple[labels.Point, labels.Point]]:  # fmt: skip
    """From FP32 to INT8, where both are drawn."""
    found = []
    for group in groups:
        end = group.quantized
        if end and (group.label, "fp32") in places and (group.label, end.precision) in places:
            found.append((places[group.label, "fp32"], places[group.label, end.precision]))
    return found


def _point(key: tuple[str, Precision], value: tuple[float, float], place: labels.Point) -> Markup:
    (label, name), (size, latency) = key, value
    return svg.marker(
        look(name).shape, *place, class_=look(name).class_,
        tooltip=f"{label} {name}: {size:,.2f} MB, {latency:,.2f} ms",
    )  # fmt: skip


def _names(groups: Sequence[Group], places: _Places) -> list[Markup]:
    """The models' names beside their INT8 point, or another of theirs."""
    order: list[Precision] = ["int8", "int8-fp16", "fp32", *precisions_of(groups)]
    named = []
    for group in groups:
        own = [places[group.label, name] for name in order if (group.label, name) in places]
        if own:
            named.append((svg.shorten(group.label, 130), own))
    bounds = labels.Box(_LEFT, 14, svg.WIDTH, 312)
    found = labels.place(named, bounds, _steps(groups, places))
    return [svg.text(at.x, at.y, at.words, class_="label halo") for at in found]


def _scale_words(x: Scale, y: Scale) -> str:
    logarithmic = [name for name, scale in (("size", x), ("latency", y)) if scale.log]
    return f" Logarithmic: {' and '.join(logarithmic)}." if logarithmic else ""


def _median_ms(case: CaseResult) -> float | None:
    return case.latency_ms.median if case.latency_ms else None


def _relative(
    group: Group, value: Callable[[CaseResult], float | None]
) -> dict[Precision, tuple[float, float]]:
    """Share of FP32 and absolute value of each measured case; empty without FP32."""
    found = {name: value(case) for name, case in group.measured.items()}
    reference = found.get("fp32")
    if not reference or not finite([reference]):
        return {}
    return {name: (v / reference, v) for name, v in found.items() if v is not None and finite([v])}


def _bar_row(label: str, name: Precision, x: Scale, top: float, value: tuple[float, str]) -> Markup:
    part, absolute = value
    return svg.join((
        svg.text(64, top + 10, name, anchor="end", class_="value"),
        svg.bar(
            x(0), top, x(part) - x(0), 11, class_=look(name).class_,
            tooltip=f"{label} {name}: {absolute}, {part:.3f} of FP32",
        ),
        svg.text(svg.WIDTH, top + 10, absolute, anchor="end"),
    ))  # fmt: skip


def _stack(label: str, shares: Share, x: Scale, top: float) -> Markup:
    parts = (
        ("int8", shares.int8, 14.0, "t-int8"),
        ("float", shares.float, 8.0, "t-fp32"),
        ("unmapped", shares.unmapped, 4.0, "t-accent"),
    )
    drawn, start = [], 0.0
    for words, part, height, class_ in parts:
        if part > 0:
            tooltip = f"{label}: {formats.share(part)} {words}"
            where = (x(start), top + 7 - height / 2, x(start + part) - x(start), height)
            drawn.append(svg.bar(*where, tooltip=tooltip, class_=class_))
        start += part
    return svg.join((
        svg.text(0, top + 11, svg.shorten(label, 102)),
        *drawn,
        svg.text(svg.WIDTH, top + 11, formats.share(shares.int8), anchor="end"),
    ))  # fmt: skip
