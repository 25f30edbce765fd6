"""Inline SVG: elements, marks with tooltips, axes. Text from records is escaped here.

Positions are in units of the viewBox, whose width is `WIDTH`: text of 12 units is 10 px high on a
phone and 14 px on a desktop. Colours are CSS classes of the page; a mark has a shape beside its
colour, so that neither is needed to tell the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from markupsafe import Markup, escape

from voxgate.report.charts.axes import Scale

WIDTH = 400.0
CHARACTER = 6.9  # of a text of 12 units, on average
# A delta is a hollow triangle, a ring a hollow circle: what they lie upon can be seen through them.
Shape = Literal["circle", "square", "diamond", "triangle", "cross", "ring", "delta"]
Anchor = Literal["start", "middle", "end"]
Words = Callable[[float], str]


def element(tag: str, *children: str, **attributes: str | float | None) -> Markup:
    """One element. Children that are no Markup are escaped, and so is every attribute.

    ``class_`` stands for class, an underscore inside a name for a hyphen (``viewBox`` is kept); an
    attribute that is None is left out.
    """
    written = Markup("").join(
        Markup(' {}="{}"').format(name.rstrip("_").replace("_", "-"), _written(value))
        for name, value in attributes.items()
        if value is not None
    )
    return Markup("<{0}{1}>{2}</{0}>").format(tag, written, join(children))


def join(parts: Sequence[str]) -> Markup:
    """Elements one after the other."""
    return Markup("").join(escape(part) for part in parts)


def drawing(title: str, description: str, height: float, *content: str) -> Markup:
    """A whole chart, `WIDTH` wide, with the words that stand for it where it cannot be seen."""
    return element(
        "svg", element("title", title), element("desc", description), *content,
        viewBox=f"0 0 {WIDTH:g} {height:g}", role="img", class_="chart",
    )  # fmt: skip


def text(
    x: float, y: float, words: str, *, anchor: Anchor = "start", class_: str = "label"
) -> Markup:
    """Words with their baseline at ``y``."""
    return element("text", words, x=x, y=y, text_anchor=anchor, class_=class_)


def shorten(words: str, width: float) -> str:
    """The words, cut with an ellipsis to about a width."""
    most = max(int(width / CHARACTER), 2)
    return words if len(words) <= most else f"{words[: most - 1]}…"


def rule(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """A straight line that marks no datum."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def bar(x: float, y: float, width: float, height: float, *, tooltip: str, class_: str) -> Markup:
    """A mark: a rectangle at least a hair wide, so that a small value is not an absent one."""
    return element(
        "rect", element("title", tooltip), x=x, y=y, width=max(width, 0.75), height=height,
        class_=f"mark {class_}",
    )  # fmt: skip


def marker(
    shape: Shape, x: float, y: float, *, tooltip: str, class_: str, radius: float = 4.5
) -> Markup:
    """A mark: one datum as a small shape around a point."""
    return element(
        "path", element("title", tooltip), d=_SHAPES[shape](x, y, radius),
        class_=f"mark {_STROKED.get(shape, 'filled')} {class_}",
    )  # fmt: skip


def curve(points: Sequence[tuple[float, float]], class_: str) -> Markup:
    """A line through points; it marks no datum, so put markers on it."""
    places = " ".join(f"{x:.2f},{y:.2f}" for x, y in points)
    return element("polyline", points=places, class_=f"curve {class_}")


def arrow(start: tuple[float, float], end: tuple[float, float], class_: str) -> Markup:
    """A line with a head at its end that stops short of the mark there; nothing if too short."""
    (x1, y1), (x2, y2) = start, end
    length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
    if length < 16:
        return Markup("")
    dx, dy = (x2 - x1) / length, (y2 - y1) / length
    tip, base = (x2 - 6 * dx, y2 - 6 * dy), (x2 - 12 * dx, y2 - 12 * dy)
    head = (
        f"M{tip[0]:.2f},{tip[1]:.2f}L{base[0] - 3 * dy:.2f},{base[1] + 3 * dx:.2f}"
        f"L{base[0] + 3 * dy:.2f},{base[1] - 3 * dx:.2f}Z"
    )
    shaft = rule(x1 + 6 * dx, y1 + 6 * dy, *base, f"arrow {class_}")
    return join((shaft, element("path", d=head, class_=f"arrowhead {class_}")))


def x_axis(
    scale: Scale, top: float, bottom: float, title: str, words: Words | None = None, most: int = 6
) -> Markup:
    """Grid lines from ``top`` to ``bottom``, tick labels below, and the axis's title below these.

    The labels and the title take the 34 units below ``bottom``.
    """
    ticks = scale.ticks(most)
    labels = tick_labels(scale, ticks, words)
    return join((
        *(rule(scale(tick), top, scale(tick), bottom, "grid") for tick in ticks),
        *(
            text(inside(scale(tick), label), bottom + 14, label, anchor="middle", class_="tick")
            for tick, label in zip(ticks, labels, strict=True)
        ),
        text((scale.start + scale.stop) / 2, bottom + 29, title, anchor="middle", class_="axis"),
    ))  # fmt: skip


def y_axis(
    scale: Scale, left: float, right: float, title: str, words: Words | None = None, most: int = 6
) -> Markup:
    """Grid lines from ``left`` to ``right``, tick labels left of them, and the title above.

    The title takes the 20 units above the scale's upper end.
    """
    ticks, top = scale.ticks(most), min(scale.start, scale.stop)
    labels = tick_labels(scale, ticks, words)
    return join((
        *(rule(left, scale(tick), right, scale(tick), "grid") for tick in ticks),
        *(
            text(left - 5, scale(tick) + 4, label, anchor="end", class_="tick")
            for tick, label in zip(ticks, labels, strict=True)
        ),
        text(0, top - 9, title, class_="axis"),
    ))  # fmt: skip


def tick_labels(
    scale: Scale, ticks: Sequence[float], words: Words | None = None
) -> tuple[str, ...]:
    """The ticks in words; by default numbers, on a linear scale with equally many decimals."""
    if words is not None:
        return tuple(words(tick) for tick in ticks)
    short = tuple(f"{tick:,.6g}" for tick in ticks)
    if scale.log or any("e" in label for label in short):
        return short
    decimals = max((len(label.partition(".")[2]) for label in short), default=0)
    return tuple(f"{tick:,.{decimals}f}" for tick in ticks)


def swatch(shape: Shape, class_: str) -> Markup:
    """A shape for a legend in the text."""
    drawn = element(
        "path", d=_SHAPES[shape](6, 6, 4.5), class_=f"{_STROKED.get(shape, 'filled')} {class_}"
    )
    return element("svg", drawn, viewBox="0 0 12 12", aria_hidden="true", class_="swatch")


def _written(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")


def inside(x: float, words: str) -> float:
    """The middle of a label, moved so that its ends stay on the drawing."""
    half = len(words) * CHARACTER / 2 + 3
    return min(max(x, half), WIDTH - half)


def _circle(x: float, y: float, r: float) -> str:
    return f"M{x - r:.2f},{y:.2f}a{r:g},{r:g} 0 1 0 {2 * r:g},0a{r:g},{r:g} 0 1 0 {-2 * r:g},0Z"


def _square(x: float, y: float, r: float) -> str:
    side = 0.88 * r
    return f"M{x - side:.2f},{y - side:.2f}h{2 * side:.2f}v{2 * side:.2f}h{-2 * side:.2f}Z"


def _diamond(x: float, y: float, r: float) -> str:
    return f"M{x:.2f},{y - r:.2f}L{x + r:.2f},{y:.2f}L{x:.2f},{y + r:.2f}L{x - r:.2f},{y:.2f}Z"


def _triangle(x: float, y: float, r: float) -> str:
    return f"M{x:.2f},{y - r:.2f}L{x + r:.2f},{y + 0.8 * r:.2f}H{x - r:.2f}Z"


def _cross(x: float, y: float, r: float) -> str:
    s = 0.8 * r
    return f"M{x - s:.2f},{y - s:.2f}L{x + s:.2f},{y + s:.2f}M{x - s:.2f},{y + s:.2f}L{x + s:.2f},{y - s:.2f}"


_SHAPES: dict[Shape, Callable[[float, float, float], str]] = {
    "circle": _circle,
    "square": _square,
    "diamond": _diamond,
    "triangle": _triangle,
    "cross": _cross,
    "ring": _circle,
    "delta": _triangle,
}
_STROKED: dict[Shape, str] = {"cross": "stroked", "ring": "stroked", "delta": "stroked"}
