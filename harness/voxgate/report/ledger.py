"""The ledger as tables: of each class, and of each class in each case."""

from __future__ import annotations

from collections.abc import Sequence

from voxgate.records.run import RunRecord
from voxgate.report import formats
from voxgate.report.charts.ledger import ledger_chart
from voxgate.report.ledger_words import (
    MEANING,
    METRICS,
    STEPS,
    LedgerView,
    case_surface,
    class_change,
    counted,
    has_intervals,
    hd95,
    missing,
    nsd,
    views_of,
    where,
)
from voxgate.report.page import Block, Charts, Column, Fold, Prose, Table

MOST_CASES = 400  # rows of single cases; the record has them all

Row = tuple[str, ...]


def ledger_blocks(record: RunRecord) -> tuple[Block, ...]:
    """The section of the report; empty where nothing can be compared."""
    views = views_of(record)
    if not views:
        return ()
    dice = [view for view in views if view.ledger.metric == "dice"]
    drawn, unsaid = ledger_chart(dice), missing(views)
    classes, cases = class_table(views), case_table(views)
    blocks: list[Block] = [Prose(paragraphs=(MEANING,), quiet=True)]
    blocks += [Charts(charts=(drawn,))] if drawn else []
    blocks += [Prose(paragraphs=unsaid, quiet=True)] if unsaid else []
    blocks += [Fold(summary="Every class", blocks=(classes,))] if classes else []
    blocks += [Fold(summary="Every class in every case", blocks=(cases,))] if cases else []
    return tuple(blocks)


def class_headings(views: Sequence[LedgerView]) -> tuple[Column, ...]:
    """Columns of `class_rows`; those of surfaces where any were measured."""
    surfaces = _surface_columns(views)
    return (
        Column(heading="case"),
        Column(heading="class"),
        Column(heading="of"),
        *(Column(heading=step, numeric=True) for step in STEPS),
        Column(heading="cases", numeric=True, note="that count; absent ones do not"),
        Column(heading="worst case", note="of the last step"),
        *surfaces,
    )


def class_rows(views: Sequence[LedgerView]) -> tuple[Row, ...]:
    """One a class and metric, in the order of the record."""
    surfaces = bool(_surface_columns(views))
    return tuple(
        (
            view.label,
            name,
            METRICS[view.ledger.metric],
            *("absent" if view.last(name) is None else class_change(view, s, name) for s in STEPS),
            counted(view, name),
            _worst(view, name),
            *((nsd(view.row, name), hd95(view.row, name)) if surfaces else ()),
        )
        for view in views
        for name in view.classes
    )


def class_table(views: Sequence[LedgerView]) -> Table | None:
    """Every class with every step."""
    rows = class_rows(views)
    if not rows:
        return None
    interval = ", with the 95 % interval of the mean" if has_intervals(views) else ""
    caption = f"Change by class{interval}; absent: in neither truth nor prediction"
    return Table(caption=caption, columns=class_headings(views), rows=rows, grouped=True)


def case_table(views: Sequence[LedgerView]) -> Table | None:
    """Every class in every case: what is missed or invented first, then the largest losses."""
    surfaces = _surface_columns(views)
    ranked = sorted(
        (
            (_rank(view, case, name), view, case, name)
            for view in views
            for name in view.classes
            for case in view.cases
        ),
        key=lambda entry: entry[0],
    )
    if not ranked:
        return None
    left = len(ranked) - MOST_CASES
    caption = "Change by case; missed: in the truth alone, invented: in the prediction alone"
    if surfaces:
        caption += "; either has NSD 0 and an infinite HD95"
    return Table(
        caption=caption + (f"; {left:,} more in the record" if left > 0 else ""),
        columns=(
            Column(heading="case"),
            Column(heading="patch"),
            Column(heading="class"),
            Column(heading="of"),
            Column(heading="class is"),
            *(Column(heading=step, numeric=True) for step in STEPS),
            *surfaces,
        ),
        rows=tuple(
            (
                view.label,
                case,
                name,
                METRICS[view.ledger.metric],
                where(view, case, name),
                *_changes(view, case, name),
                *(case_surface(view.row, case, name) if surfaces else ()),
            )
            for _, view, case, name in ranked[:MOST_CASES]
        ),
    )


def _surface_columns(views: Sequence[LedgerView]) -> tuple[Column, ...]:
    tolerances = {view.row.surfaces.tolerance_mm for view in views if view.row.surfaces}
    if not tolerances:
        return ()
    within = " or ".join(f"{mm:g} mm" for mm in sorted(tolerances))
    return (
        Column(heading="NSD", numeric=True, note=f"share of the surfaces within {within}"),
        Column(heading="HD95 mm", numeric=True, note="mean of the finite distances"),
    )


def _worst(view: LedgerView, name: str) -> str:
    loss = view.last(name)
    return f"{loss.worst_case} {formats.difference(loss.worst)}" if loss else formats.DASH


def _changes(view: LedgerView, case: str, name: str) -> list[str]:
    cells = []
    for step in STEPS:
        loss = view.loss(step, name)
        value = loss.per_case.get(case) if loss else None
        absent = view.last(name) is None or (loss is not None and value is None)
        cells.append("absent" if absent else formats.difference(value))
    return cells


def _rank(view: LedgerView, case: str, name: str) -> tuple[int, float]:
    loss, words = view.last(name), where(view, case, name)
    value = loss.per_case.get(case) if loss else None
    odd = "missed" in words or "invented" in words
    return (0 if odd else 1 if value is not None else 2), value or 0.0
