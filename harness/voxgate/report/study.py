"""A calibration study as a page, as Markdown and as lines: every combination, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from voxgate.records.study import StudyPoint, StudyRecord
from voxgate.report import formats
from voxgate.report.charts.study import study_charts
from voxgate.report.environment import environment_facts, subtitle
from voxgate.report.page import (
    Banner,
    Block,
    Cell,
    Charts,
    Column,
    Facts,
    Fold,
    Page,
    Section,
    Table,
)
from voxgate.report.run import first_line, problem

if TYPE_CHECKING:
    from rich.console import Console

HEADINGS = (
    "method",
    "patches",
    "seed",
    "mean Dice",
    "lost",
    "worst class",
    "its loss",
    "int8 MACs",
)
NUMERIC = (False, True, True, True, True, False, True, True)

_MOST_REASONS = 5


def study_page(record: StudyRecord) -> Page:
    """The page of a study: banner, charts, tables, environment."""
    charts = study_charts(record)
    drawn: list[Block] = [Charts(charts=charts)] if charts else []
    sections = (
        Section(title="Dice and coverage", blocks=(*drawn, mean_table(record))),
        Section(title="Every combination", blocks=(point_table(record), *_classes(record))),
        Section(title="Calibration data", blocks=_provenance(record)),
        Section(title="Environment", blocks=(Facts(pairs=_facts(record)),)),
    )
    return Page(
        title=record.title,
        subtitle=subtitle(record),
        banner=study_banner(record),
        sections=tuple(section for section in sections if section.blocks),
        footer=f"VoxGate {record.voxgate}. Everything here is in the record, and more.",
    )


def study_banner(record: StudyRecord) -> Banner:
    """How many were measured, and which lost least and most."""
    rows = {"FP32": record.reference, **{name_of(p): p.case for p in record.points}}
    bad = {name: row for name, row in rows.items() if row.status != "ok"}
    measured = len(record.points) - sum(point.case.status != "ok" for point in record.points)
    of = f"{measured} of {formats.count(len(record.points), 'combination')} measured."
    headline = f"{of} {_extremes(record)}".strip()
    if not bad:
        return Banner(tone="plain", word="measured", headline=headline)
    reasons = [
        Cell(text=f"{name}: {first_line(problem(row))}", tone="failed", note=row.status)
        for name, row in list(bad.items())[:_MOST_REASONS]
    ]
    if len(bad) > _MOST_REASONS:
        reasons.append(Cell(text=f"{len(bad) - _MOST_REASONS} more below."))
    return Banner(tone="failed", word="failed", headline=headline, reasons=tuple(reasons))


def name_of(point: StudyPoint) -> str:
    """A combination in words."""
    patches = formats.count(point.count, "patch", "patches")
    return f"{point.method}, {patches}" + ("" if point.seed is None else f", seed {point.seed}")


def point_row(record: StudyRecord, point: StudyPoint) -> tuple[str, ...]:
    """A combination under `HEADINGS`; what was not measured is a dash."""
    lost = record.lost_per_class(point)
    worst = max(lost, key=lambda name: lost[name]) if lost else None
    return (
        point.method,
        f"{point.count}",
        formats.DASH if point.seed is None else f"{point.seed}",
        formats.dice(point.case.dice.mean if point.case.dice else None),
        formats.difference(record.lost(point)),
        worst or formats.DASH,
        formats.difference(lost[worst] if worst else None),
        formats.share(point.int8_macs),
    )


def point_table(record: StudyRecord) -> Table:
    """One row a combination; a failed one says so."""
    rows = []
    for point in record.points:
        first, *rest = point_row(record, point)
        failed = point.case.status != "ok"
        cell = Cell(text=f"{first} (failed)", tone="failed", note=first_line(problem(point.case)))
        rows.append((cell if failed else first, *rest))
    dice = record.reference.dice
    return Table(
        caption=f"Lost against FP32's mean Dice of {formats.dice(dice.mean if dice else None)}",
        columns=tuple(
            Column(heading=heading, numeric=numeric)
            for heading, numeric in zip(HEADINGS, NUMERIC, strict=True)
        ),
        rows=tuple(rows),
        grouped=True,
    )


def mean_table(record: StudyRecord) -> Table:
    """Over the seeds: the mean loss of each method and number of patches, and how far they spread."""
    rows = []
    for (method, count), own in _by_choice(record).items():
        lost = [value for point in own if (value := record.lost(point)) is not None]
        spread = max(lost) - min(lost) if len(lost) > 1 else None
        rows.append((
            method,
            f"{count}",
            f"{len(lost)}",
            formats.difference(fmean(lost) if lost else None),
            formats.number(spread, ".4f"),
        ))  # fmt: skip
    return Table(
        caption="Mean Dice lost, over the seeds",
        columns=(
            Column(heading="method"),
            Column(heading="patches", numeric=True),
            Column(heading="measured", numeric=True),
            Column(heading="mean", numeric=True),
            Column(heading="spread", numeric=True, note="the largest minus the least"),
        ),
        rows=tuple(rows),
        grouped=True,
    )


def print_study(console: Console, record: StudyRecord) -> None:
    """The table of combinations, what failed, and where the time went."""
    from rich.table import Table as RichTable

    table = RichTable(title=record.title, title_justify="left")
    for heading, numeric in zip(HEADINGS, NUMERIC, strict=True):
        table.add_column(heading, justify="right" if numeric else "left")
    previous = None
    for point in record.points:
        if previous is not None and point.method != previous:
            table.add_section()
        previous = point.method
        table.add_row(*point_row(record, point))
    console.print(table)
    dice = record.reference.dice
    console.print(f"FP32: mean Dice {formats.dice(dice.mean if dice else None)}", highlight=False)
    named = [("FP32", record.reference), *((name_of(p), p.case) for p in record.points)]
    for name, row in named:
        if row.status != "ok":
            console.print(f"{row.status.upper()} {name}", style="bold red", highlight=False)
            console.print(f"  {problem(row)}", highlight=False)
    timing = record.timing
    console.print(
        f"{timing.wall_s:.1f} s; {timing.artifacts_built} artifacts built, "
        f"{timing.artifacts_reused} reused",
        highlight=False,
    )


def _extremes(record: StudyRecord) -> str:
    means = {
        choice: fmean(lost)
        for choice, own in _by_choice(record).items()
        if (lost := [value for point in own if (value := record.lost(point)) is not None])
    }
    if not means:
        return ""
    least, most = min(means, key=lambda c: means[c]), max(means, key=lambda c: means[c])
    words = [
        f"{how} Dice is lost with {method} and {formats.count(count, 'patch', 'patches')} "
        f"({formats.difference(means[method, count])})"
        for how, (method, count) in (("least", least), ("most", most))
    ]
    return f"The {words[0]}, the {words[1]}; means over the seeds."


def _by_choice(record: StudyRecord) -> dict[tuple[str, int], list[StudyPoint]]:
    found: dict[tuple[str, int], list[StudyPoint]] = {}
    for point in record.points:
        found.setdefault((point.method, point.count), []).append(point)
    return found


def _classes(record: StudyRecord) -> tuple[Block, ...]:
    """What each class loses, folded."""
    names = list(dict.fromkeys(n for p in record.points for n in record.lost_per_class(p)))
    if not names:
        return ()
    rows = tuple(
        (name_of(point), *(formats.difference(lost.get(name)) for name in names))
        for point in record.points
        if (lost := record.lost_per_class(point))
    )
    table = Table(
        caption="Dice lost by class; a minus is a gain",
        columns=(Column(heading="combination"), *(Column(heading=n, numeric=True) for n in names)),
        rows=rows,
    )
    return (Fold(summary="Every class", blocks=(table,)),)


def _provenance(record: StudyRecord) -> tuple[Block, ...]:
    """Which patches each combination saw, folded; the methods of one choice share them."""
    rows: dict[tuple[int, int | None], Sequence[tuple[str, ...]]] = {}
    for point in record.points:
        made = point.case.calibration
        if made is not None:
            seed = formats.DASH if point.seed is None else f"{point.seed}"
            rows.setdefault(
                (point.count, point.seed),
                [(f"{point.count}", seed, p.name, p.case, p.sha256[:12]) for p in made.patches],
            )
    if not rows:
        return ()
    headings = ("patches", "seed", "patch", "case", "SHA-256")
    table = Table(
        caption=f"From {record.config.get('calibration_source', record.task)}",
        columns=tuple(Column(heading=heading) for heading in headings),
        rows=tuple(row for own in rows.values() for row in own),
        grouped=True,
    )
    return (Fold(summary=formats.count(len(table.rows), "patch", "patches"), blocks=(table,)),)


def _facts(record: StudyRecord) -> tuple[tuple[str, str], ...]:
    return (
        *environment_facts(record.environment),
        ("started", record.timing.started),
        ("the study took", f"{record.timing.wall_s:,.1f} s"),
    )
