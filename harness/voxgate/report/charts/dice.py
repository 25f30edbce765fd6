"""Dice of each class before and after quantization, the largest losses first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from voxgate.records.case import Precision
from voxgate.report import formats, simulated
from voxgate.report.charts import svg
from voxgate.report.charts.axes import Scale, finite, linear
from voxgate.report.charts.run import legend
from voxgate.report.names import Group, look
from voxgate.report.page import Chart, Column, Table

MOST_ROWS = 20  # more are not read; the table has them all
_ROW = 25.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassRow:
    """One class of one model: Dice by precision, and what INT8 gains on FP32 (a loss is negative).

    Where INT8 was not measured, the change is the simulation's.
    """

    model: str
    name: str
    dice: dict[Precision, float | None]
    change: float | None

    @property
    def absent(self) -> bool:
        """In neither truth nor prediction of any precision."""
        return all(value is None for value in self.dice.values())

    @property
    def drawn(self) -> dict[Precision, float]:
        """What has a place on an axis."""
        return {name: value for name, v in self.dice.items() for value in finite([v])}


def class_rows(groups: Sequence[Group]) -> tuple[ClassRow, ...]:
    """Every class of every model, the largest loss first, absent ones last."""
    rows = [row for group in groups for row in _rows_of(group)]
    return tuple(sorted(rows, key=_rank))


def dice_chart(groups: Sequence[Group]) -> Chart | None:
    """A row of dots for each of the classes that lose most."""
    rows = class_rows(groups)
    present = [row for row in rows if row.drawn]
    if not present:
        return None
    shown = present[:MOST_ROWS]
    alone = len({row.model for row in present}) == 1
    x = linear((value for row in shown for value in row.dice.values()), 142, 330)
    bottom = 22 + _ROW * len(shown)
    return Chart(
        title="Dice of each class, the largest loss first",
        legend=legend(groups),
        drawing=svg.drawing(
            "Dice of each class",
            "; ".join(_words(row) for row in shown[:5]),
            bottom + 34,
            svg.text(svg.WIDTH, 12, "Δ to FP32", anchor="end", class_="axis"),
            svg.x_axis(x, 16, bottom, "Dice", most=4),
            *(_row(row, _label(row, alone=alone), x, 22 + _ROW * i) for i, row in enumerate(shown)),
        ),
        note=_note(present, [row for row in rows if row.absent]),
    )


def dice_table(groups: Sequence[Group]) -> Table | None:
    """Every class with every precision."""
    rows = class_rows(groups)
    if not rows:
        return None
    names = tuple(dict.fromkeys(name for row in rows for name in row.dice))
    return Table(
        caption="Dice on held-out patches; absent: in neither truth nor prediction",
        columns=(
            Column(heading="model"),
            Column(heading="class"),
            *(Column(heading=simulated.name_of(name), numeric=True) for name in names),
            Column(heading="Δ to FP32", numeric=True),
        ),
        rows=tuple(
            (
                row.model,
                row.name,
                *(_cell(row, name) for name in names),
                formats.difference(row.change),
            )
            for row in rows
        ),
    )


def _cell(row: ClassRow, name: Precision) -> str:
    if name not in row.dice:
        return formats.DASH
    value = row.dice[name]
    return "absent" if value is None else formats.dice(value)


def _rows_of(group: Group) -> list[ClassRow]:
    per_class = {name: case.dice.per_class for name, case in group.measured.items() if case.dice}
    classes = dict.fromkeys(name for values in per_class.values() for name in values)
    rows = []
    for name in classes:
        dice = {precision: values.get(name) for precision, values in per_class.items()}
        rows.append(ClassRow(model=group.label, name=name, dice=dice, change=_change(dice)))
    return rows


def _change(dice: dict[Precision, float | None]) -> float | None:
    before = dice.get("fp32")
    chain: tuple[Precision, ...] = ("int8", "int8-fp16", "fake-int8")
    after = next((dice[name] for name in chain if dice.get(name) is not None), None)
    return None if before is None or after is None else after - before


def _rank(row: ClassRow) -> tuple[bool, bool, float]:
    """Absent last; then what cannot be judged; then by loss."""
    return row.absent, row.change is None, row.change or 0.0


def _row(row: ClassRow, label: str, x: Scale, top: float) -> Markup:
    middle = top + _ROW / 2
    values = row.drawn
    ends = x(min(values.values())), x(max(values.values()))
    return svg.join((
        svg.text(0, middle + 4, svg.shorten(label, 136)),
        svg.rule(ends[0], middle, ends[1], middle, "leader"),
        *(
            svg.marker(  # one below the other, since they often coincide
                look(name).shape, x(value), top + _ROW * (i + 1) / (len(values) + 1), class_=look(name).class_,
                tooltip=f"{row.model}, {row.name}, {name}: {value:.4f}",
            )
            for i, (name, value) in enumerate(values.items())
        ),
        svg.text(svg.WIDTH, middle + 4, formats.difference(row.change), anchor="end"),
    ))  # fmt: skip


def _label(row: ClassRow, *, alone: bool) -> str:
    """The class, and its model where there are others."""
    return row.name if alone else f"{row.model} · {row.name}"


def _words(row: ClassRow) -> str:
    return f"{row.model}, {row.name}: {formats.difference(row.change)}"


def _note(present: Sequence[ClassRow], absent: Sequence[ClassRow]) -> str:
    sentences = []
    if len(present) > MOST_ROWS:
        more = len(present) - MOST_ROWS
        sentences.append(f"{formats.count(more, 'class', 'classes')} more in the table below.")
    if absent:
        names = formats.some(f"{row.model} · {row.name}" for row in absent)
        sentences.append(f"Absent, in neither truth nor prediction: {names}.")
    return " ".join(sentences)
