"""Where to write names beside points so that they cover neither points nor each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from voxgate.report.charts import svg

_HEIGHT = 12.0
_GAP = 8.0


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, in units of the viewBox."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """The area that both cover."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(width, 0.0) * max(height, 0.0)

    @property
    def area(self) -> float:
        """Width times height."""
        return (self.right - self.left) * (self.bottom - self.top)


@dataclass(frozen=True, slots=True)
class Label:
    """Words and the left end of their baseline."""

    words: str
    x: float
    y: float


Point = tuple[float, float]


def place(
    names: Sequence[tuple[str, Sequence[Point]]], bounds: Box, lines: Iterable[tuple[Point, Point]]
) -> list[Label]:
    """For each name a place beside one of its points, the least covered one first come, first served.

    ``lines`` and all points are in the way; leaving ``bounds`` is worst of all.
    """
    taken = [_around(point) for _, points in names for point in points]
    taken += [box for line in lines for box in _along(*line)]
    labels = []
    for words, points in names:
        boxes = [box for point in points for box in _candidates(words, point)]
        best = min(boxes, key=lambda box: _cost(box, bounds, taken))
        taken.append(best)
        labels.append(Label(words, best.left, best.bottom - 3))
    return labels


def _cost(box: Box, bounds: Box, taken: Sequence[Box]) -> float:
    outside = box.area - box.overlap(bounds)
    return 10 * outside + sum(box.overlap(other) for other in taken)


def _around(point: Point, radius: float = 5.0) -> Box:
    x, y = point
    return Box(x - radius, y - radius, x + radius, y + radius)


def _along(start: Point, end: Point, steps: int = 24) -> list[Box]:
    """Small boxes along a line."""
    (x1, y1), (x2, y2) = start, end
    return [
        _around((x1 + (x2 - x1) * i / steps, y1 + (y2 - y1) * i / steps), 1.5)
        for i in range(steps + 1)
    ]


def _candidates(words: str, point: Point) -> list[Box]:
    """Right, left, above, below, then the corners."""
    x, y = point
    width = len(words) * svg.CHARACTER + 2
    lefts = (x + _GAP, x - _GAP - width, x - width / 2)
    tops = (y - _HEIGHT / 2, y - _GAP - _HEIGHT, y + _GAP)
    order = ((0, 0), (1, 0), (2, 1), (2, 2), (0, 1), (0, 2), (1, 1), (1, 2))
    return [
        Box(lefts[i], tops[j], lefts[i] + width, tops[j] + _HEIGHT) for i, j in order
    ]  # fmt: skip
