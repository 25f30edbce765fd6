"""The comparison of rules as a person reads it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from voxgate.verdicts.rules import TOLERANCE

from benchmarks.resampling import AA, EFFECTS, SECTIONS, STORED_LAUNCHES
from benchmarks.rules_report import BARS, JUDGED_BY_BARS, Bar, Cell, Evidence, Report, Row

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_WITH_INTERVAL = (AA.name, "+5 %")


def print_report(console: Console, report: Report, *, markdown: bool) -> None:
    """The rules, the bars, and what all of it rests on."""
    for table in (rules_table(report, markdown=markdown), bars_table(report, markdown=markdown)):
        console.print(table)
    for line in (*notes(report), *(_evidence_line(found) for found in report.evidence)):
        console.print(f"- {line}", highlight=False, soft_wrap=True)


def rules_table(report: Report, *, markdown: bool) -> Table:
    """A section a state, a line a rule, a column an effect: percent of comparisons called slower."""
    table = _table("Called slower, % of comparisons", markdown=markdown)
    for heading in ("state", "rule"):
        table.add_column(heading, no_wrap=True)
    for heading in (*(effect.name for effect in EFFECTS), "undecided", "launches", "hosts"):
        table.add_column(heading, justify="right")
    for section in SECTIONS:
        table.add_section()
        for row in report.overall:
            if row.section == section:
                cells = [_share(row, effect.name) for effect in EFFECTS]
                undecided = row.cells[AA.name]
                table.add_row(
                    section, row.rule, *cells,
                    f"{100 * undecided.inconclusive / undecided.comparisons:.0f}",
                    str(row.launches), str(len(row.hosts)),
                )  # fmt: skip
    return table


def bars_table(report: Report, *, markdown: bool) -> Table:
    """A line a rule, state and engine, all engines together first: each bar, met or missed."""
    table = _table("The bars", markdown=markdown)
    for heading in ("rule", "state", "engine and host", *(str(bar) for bar in BARS)):
        table.add_column(heading, justify="left")
    for rule in JUDGED_BY_BARS:
        table.add_section()
        for row in (*report.overall, *report.rows):
            if row.rule == rule:
                found = (_verdict(bar, row.cells[bar.effect]) for bar in BARS)
                table.add_row(rule, row.section, row.subject or "all", *found)
    return table


def notes(report: Report) -> Iterable[str]:
    """How to read the tables."""
    launches = sum(found.solo_launches + found.paired_launches for found in report.evidence)
    yield (
        f"{report.comparisons} comparisons per engine, host and state, drawn from {launches} recorded "
        f"launches on {report.hosts} host{'s' if report.hosts != 1 else ''}; the intervals are of the "
        "drawing, the bounds below of the launches"
    )
    yield (
        f"rules of stored samples: {STORED_LAUNCHES} launches a side, pooled; in mixed each side is "
        "quiet or noisy, for paired and alternating launches each launch; alternating ones were "
        "recorded one after the other"
    )
    tail = next(effect for effect in EFFECTS if effect.tail_share)
    yield (
        f"tail: {tail.tail_share:.0%} of B's samples take {tail.tail_factor:g} times as long; the "
        "other slowdowns multiply every sample of B; undecided is at A/A"
    )
    yield (
        "approximated: criterion by 1000 of its 100000 resamples, the same for every comparison; U "
        "tests by the normal distribution; conbench without its dropping of outliers, from 15 launches"
    )
    yield (
        "an engine whose file is the accepted one, byte for byte, is not paired: its false alarms are "
        "none, and the A/A column is of changed files of equal speed"
    )
    for line in report.left_out:
        yield f"left out, with too few launches: {line}"


def _evidence_line(found: Evidence) -> str:
    foreign = "" if found.foreign is None else f", others took {found.foreign:.0%} of the cores"
    return (
        f"{found.subject}, {found.state}: {found.solo_launches} solo launches of "
        f"{found.solo_samples} samples, minima spread by {found.spread:.1%}{foreign}; "
        f"{found.paired_launches} paired ones of {found.pairs} pairs, {found.beyond} beyond {TOLERANCE:.0%}, {found.missed} that miss 5 %. If they are "
        f"independent, at 95 %: the confirmed rule's false alarms are at most "
        f"{found.false_alarms_at_most:.1%}, it finds 5 % in at least {found.found_at_least:.1%}. "
        f"Tolerance supported: {found.supported:.1%} by the self-test over all. "
        f"Equal engines take {found.taken:.1f} launches on average"
    )


def _share(row: Row, effect: str) -> str:
    cell = row.cells[effect]
    share = f"{100 * cell.share:.1f}"
    if not row.ours or effect not in _WITH_INTERVAL:
        return share
    low, high = cell.interval
    return f"{share} ({100 * low:.1f}–{100 * high:.1f})"


def _verdict(bar: Bar, cell: Cell) -> str:
    return f"{100 * cell.share:.1f} {'met' if bar.met(cell) else 'MISSED'}"


def _table(title: str, *, markdown: bool) -> Table:
    from rich import box
    from rich.table import Table

    if markdown:
        return Table(box=box.MARKDOWN)
    return Table(title=title, title_justify="left")
