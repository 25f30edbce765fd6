"""A comparison as a person reads it: the outcome, a table A against B, verdicts, changed layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from voxgate.records.run import CaseResult
from voxgate.records.verdicts import CaseComparison, ComparisonRecord, LayerChange, Outcome, Verdict
from voxgate.report.terminal import cells
from voxgate.report.verdict_lines import STYLES

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_DASH = "–"
_MOST_LAYERS = 5
_SUMMARY: dict[Outcome, str] = {
    "pass": "B is no worse than A in what was compared",
    "regression": "B is worse than A",
    "inconclusive": "it cannot be told whether B is worse than A",
    "failed": "a case was not compared",
    "unavailable": "a case is not available on a side",
}
_MEASURED = ("size MB", "memory MiB", "latency ms", "mean Dice", "int8 MACs", "build s")


def print_comparison(console: Console, record: ComparisonRecord) -> None:
    """Which is which, the table, and each case's verdicts with their numbers."""
    console.print(f"A: {record.title_a}", highlight=False, soft_wrap=True)
    console.print(f"B: {record.title_b}", highlight=False, soft_wrap=True)
    console.print(build_table(record))
    for case in record.cases:
        _print_case(console, case)
    console.print(
        f"{record.outcome.upper()}: {_SUMMARY[record.outcome]}",
        style=STYLES[record.outcome], highlight=False,
    )  # fmt: skip


def build_table(record: ComparisonRecord) -> Table:
    """Two lines a case, A's above B's."""
    from rich.table import Table

    table = Table()
    for heading in ("case", "", *_MEASURED, "outcome"):
        left = heading in {"case", "", "outcome"}
        table.add_column(heading, justify="left" if left else "right", overflow="fold")
    rows = [{row.case: row for row in side.cases} for side in (record.a, record.b)]
    for case in record.cases:
        table.add_section()
        name = f"{case.model} {case.backend} {case.precision}"
        table.add_row(name, "A", *_cells(rows[0].get(case.case)), "")
        table.add_row("", "B", *_cells(rows[1].get(case.case)), case.outcome)
    return table


def _cells(row: CaseResult | None) -> tuple[str, ...]:
    return (_DASH,) * len(_MEASURED) if row is None else cells(row, _MEASURED)


def _print_case(console: Console, case: CaseComparison) -> None:
    def line(text: str, style: str = "") -> None:
        console.print(f"  {text}", style=style, highlight=False, soft_wrap=True)

    console.print(
        f"{case.outcome.upper()} {case.case}", style=STYLES[case.outcome], highlight=False
    )
    if case.reason:
        line(case.reason)
    good_dice = [v for v in case.verdicts if (v.metric, v.outcome) == ("dice", "pass")]
    for verdict in case.verdicts:
        if verdict not in good_dice:
            line(_words(verdict), "" if verdict.outcome == "pass" else STYLES[verdict.outcome])
    if good_dice:
        each = ", ".join(f"{v.subject} {v.change:+.4f}" for v in good_dice)
        line(f"dice: pass; {each}; margin {good_dice[0].tolerance:g}")
    if case.agreement is not None:
        line(_agreement(case))
    for change in shown_changes(case.layers):
        line(f"layer: {describe_change(change)}", "yellow" if _is_other(change) else "")
    for unsaid in case.unsaid:
        line(f"not said: {unsaid}")


def _words(verdict: Verdict) -> str:
    return f"{verdict.metric}: {verdict.outcome}; {verdict.words}"


def _agreement(case: CaseComparison) -> str:
    dice = ", ".join(
        f"{name} {_format(value, '.4f')}" for name, value in (case.agreement_dice or {}).items()
    )
    alike = "all voxels" if case.agreement == 1 else f"{case.agreement:.6%} of voxels"
    return f"labels: {alike} alike; Dice of B's labels against A's: {dice}"


def shown_changes(layers: Sequence[LayerChange]) -> list[LayerChange]:
    """The first ones that changed at all, and the sum of what is beside the weighted layers."""
    changed = [c for c in layers if _is_other(c) or _moved_ns(c)]
    weighted = [c for c in changed if c.sources]
    return weighted[:_MOST_LAYERS] + [c for c in changed if not c.sources]


def _is_other(change: LayerChange) -> bool:
    return change.arithmetic_changed or not (change.before and change.after)


def _moved_ns(change: LayerChange) -> int | None:
    if change.before_ns is None or change.after_ns is None:
        return None
    return change.after_ns - change.before_ns


def describe_change(change: LayerChange) -> str:
    """A layer on both sides, its times, and what is new."""
    if not change.after:
        return f"only A executes {change.before}"
    if not change.before:
        return f"only B executes {change.after}"
    times = ""
    if (moved := _moved_ns(change)) is not None:
        assert change.before_ns is not None
        before_ms, moved_ms = change.before_ns / 1e6, moved / 1e6
        times = f" {before_ms:.2f} → {before_ms + moved_ms:.2f} ms ({moved_ms:+.2f} ms)"
    if change.before == change.after:
        return f"{change.before}{times}"
    return f"{change.before} → {change.after}{times}"


def _format(value: float | None, how: str) -> str:
    return _DASH if value is None else f"{value:{how}}"
