"""The ledger on a terminal: a line for each model, and what could not be told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from voxgate.records.run import RunRecord
from voxgate.report import formats
from voxgate.report.ledger_words import (
    METRICS,
    STEPS,
    LedgerView,
    change,
    has_intervals,
    missing,
    oddities,
    surface_means,
    views_of,
)

if TYPE_CHECKING:
    from rich.console import Console


def print_ledgers(console: Console, record: RunRecord, *, wide: bool) -> None:
    """Nothing, where nothing was compared; a narrow terminal gets no interval."""
    from rich import box
    from rich.table import Table

    views = views_of(record)
    told = [view for view in views if view.ledger.steps]
    if told:
        table = Table(
            title="Where the Dice goes: mean over classes and cases"
            + (", the total with its 95 % interval" if wide and has_intervals(told) else ""),
            title_justify="left",
            box=box.HEAVY_HEAD if wide else box.SIMPLE_HEAD,
            padding=(0, 1) if wide else 0,
        )
        rows = [_cells(view, told, wide=wide) for view in told]
        for heading in rows[0]:
            left = heading in {"case", "of", "lost most", "worst case"}
            table.add_column(heading, justify="left" if left else "right")
        for row in rows:
            table.add_row(*row.values())
        console.print(table)
    for view in views:
        if view.ledger.metric == "dice" and (odd := oddities(view)):
            console.print(f"{view.label}: {odd}", highlight=False, soft_wrap=True)
    for words in missing(views):
        console.print(words, highlight=False, soft_wrap=True)


def _cells(view: LedgerView, views: Sequence[LedgerView], *, wide: bool) -> dict[str, str]:
    """By heading; surfaces have columns where any ledger's row has them and there is room."""
    cells = {"case": view.label}
    if len({each.ledger.metric for each in views}) > 1:
        cells["of"] = METRICS[view.ledger.metric]
    for step in STEPS:
        loss = view.loss(step, None)
        mean = formats.difference(loss.mean if loss else None)
        cells[step] = change(loss) if wide and step == "total" else mean
    return cells | _lost_most(view, wide=wide) | (_surfaces(view, views) if wide else {})


def _lost_most(view: LedgerView, *, wide: bool) -> dict[str, str]:
    """The class, and on a wide terminal the case in which it lost most."""
    losses = [(name, loss) for name in view.classes if (loss := view.last(name)) is not None]
    name, loss = min(losses, key=lambda pair: pair[1].mean)
    cells = {"lost most": f"{name} {formats.difference(loss.mean)}"}
    if wide:
        cells["worst case"] = f"{loss.worst_case} {formats.difference(loss.worst)}"
    return cells


def _surfaces(view: LedgerView, views: Sequence[LedgerView]) -> dict[str, str]:
    if all(each.row.surfaces is None for each in views):
        return {}
    return dict(zip(("NSD", "HD95 mm"), surface_means(view.row), strict=True))
