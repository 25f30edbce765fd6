"""Where the Dice goes: each step of each class as a mean, with its interval where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from voxgate.metrics.bootstrap import subject_words
from voxgate.records.dice import Loss, Step
from voxgate.report import formats
from voxgate.report.charts import svg
from voxgate.report.charts.axes import Scale, finite, linear
from voxgate.report.ledger_words import STEPS, LedgerView, change
from voxgate.report.names import Look
from voxgate.report.page import Chart, Mark

MOST_ROWS = 20  # more are not read; the table has them all
_STEP = 12.0
_GAP = 8.0

_LOOKS: dict[Step, Look] = {
    "quantization": Look(shape="delta", class_="t-fake-int8"),
    "backend": Look(shape="square", class_="t-int8"),
    "total": Look(shape="circle", class_="t-fp32"),
}


@dataclass(frozen=True, slots=True)
class _Row:
    """One class of one ledger, with the steps that could be told."""

    view: LedgerView
    name: str
    losses: dict[Step, Loss]

    @property
    def change(self) -> float:
        """Of the last step."""
        return self.losses[next(step for step in reversed(STEPS) if step in self.losses)].mean

    @property
    def height(self) -> float:
        """A line a step."""
        return _STEP * len(self.losses) + _GAP


def ledger_chart(views: Sequence[LedgerView]) -> Chart | None:
    """A row of dots, with their intervals, for each of the classes that lose most; None without any."""
    rows = sorted((row for view in views for row in _rows_of(view)), key=lambda row: row.change)
    if not rows:
        return None
    shown = rows[:MOST_ROWS]
    alone = len({row.view.label for row in rows}) == 1
    ends = [v for row in shown for loss in row.losses.values() for v in _ends(loss)]
    x = linear(ends, 142, 330, zero=True)
    tops = [22 + sum(row.height for row in shown[:i]) for i in range(len(shown) + 1)]
    return Chart(
        title="Change of Dice by step, the largest loss first",
        legend=tuple(
            Mark(words=step, shape=_LOOKS[step].shape, class_=_LOOKS[step].class_)
            for step in STEPS
            if any(step in row.losses for row in shown)
        ),
        drawing=svg.drawing(
            "Where the Dice goes",
            "; ".join(_words(row) for row in shown[:5]),
            tops[-1] + 34,
            svg.text(svg.WIDTH, 12, "Δ at the end", anchor="end", class_="axis"),
            svg.x_axis(x, 16, tops[-1], "after minus before, Dice", most=4),
            svg.rule(x(0), 16, x(0), tops[-1], "reference"),
            *(_drawn(row, x, top, alone=alone) for row, top in zip(shown, tops, strict=False)),
        ),
        note=(
            f"{formats.count(len(rows) - MOST_ROWS, 'class', 'classes')} more in the table below."
            if len(rows) > MOST_ROWS
            else ""
        ),
    )


def _rows_of(view: LedgerView) -> list[_Row]:
    rows = []
    for name in view.classes:
        found = {step: loss for step in STEPS if (loss := view.loss(step, name)) is not None}
        drawn = {s: e for s, e in found.items() if len(finite(_ends(e))) == 3}
        rows += [_Row(view, name, drawn)] if drawn else []
    return rows


def _ends(loss: Loss) -> tuple[float, float, float]:
    """Low, mean and high; all the mean where there is no interval."""
    if loss.low is None or loss.high is None:
        return loss.mean, loss.mean, loss.mean
    return loss.low, loss.mean, loss.high


def _drawn(row: _Row, x: Scale, top: float, *, alone: bool) -> Markup:
    label = row.name if alone else f"{row.view.label} · {row.name}"
    middle = top + row.height / 2
    parts = []
    for i, (step, loss) in enumerate(row.losses.items()):
        y, drawn = top + _GAP / 2 + _STEP * (i + 0.5), _LOOKS[step]
        tooltip = (
            f"{row.view.label}, {row.name}, {step}: {change(loss)}, {subject_words(loss.subjects)}"
        )
        low, _, high = _ends(loss)
        parts += [svg.curve([(x(low), y), (x(high), y)], drawn.class_)] if low < high else []
        parts.append(
            svg.marker(drawn.shape, x(loss.mean), y, tooltip=tooltip, class_=drawn.class_, radius=4)
        )
    return svg.join((
        svg.text(0, middle + 4, svg.shorten(label, 136)),
        *parts,
        svg.text(svg.WIDTH, middle + 4, formats.difference(row.change), anchor="end"),
    ))  # fmt: skip


def _words(row: _Row) -> str:
    steps = ", ".join(f"{step} {formats.difference(e.mean)}" for step, e in row.losses.items())
    return f"{row.view.label}, {row.name}: {steps}"
