"""A trend on a terminal: steps first, the most important worsening on top, then the last values."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from voxgate.records.trend import Series, Step, Trend
from voxgate.report.formats import count
from voxgate.report.page import visible
from voxgate.report.trend_words import (
    case_words,
    cause_words,
    change_words,
    commit_words,
    kind_words,
    level_words,
    when,
)
from voxgate.verdicts.trend.metrics import METRICS, metric_of

if TYPE_CHECKING:
    from rich.console import Console

_MOST_STEPS = 40  # the page and --json have them all
_DASH = "–"


def print_trend(console: Console, trend: Trend, others: int = 0) -> None:
    """The summary, the steps, a table of last values a machine, and the files left out."""
    _say(console, summary(trend), style="bold")
    steps = trend.steps()
    for (file, causes), group in by_cause(steps[:_MOST_STEPS]).items():
        _print_group(console, file, causes, group)
    if len(steps) > _MOST_STEPS:
        _say(console, f"and {len(steps) - _MOST_STEPS} more; --html and --json show them all")
    for machine, series_of in groupby(trend.series, key=lambda series: series.machine):
        _print_machine(console, machine, list(series_of))
    for skipped in trend.skipped:
        _say(console, f"left out: {skipped.file}: {skipped.reason}", style="yellow")
    if others:
        _say(
            console,
            f"not read, for want of the ending .json: {count(others, 'file')}",
            style="dim",
        )


def summary(trend: Trend) -> str:
    """How long the history is, and how many steps of which kind it has."""
    first, last = trend.records[0].started, trend.records[-1].started
    counts = {
        "worsening": 0, "worsening, since reversed": 0, "improvement": 0,
        "improvement, since reversed": 0, "tentative worsening": 0, "tentative improvement": 0,
    }  # fmt: skip
    for _, step in trend.steps():
        counts[kind_words(step)] += 1
    found = [f"{number} × {kind}" for kind, number in counts.items() if number]
    machines = len({record.machine for record in trend.records})
    span = f"{when(first)} to {when(last)} UTC" if first != last else f"{when(first)} UTC"
    return (
        f"{count(len(trend.records), 'record')} of {count(machines, 'kind')} of machine, {span}; "
        f"{count(len(trend.series), 'series', 'series')}: {', '.join(found) or 'no step'}"
    )


def by_cause(
    steps: list[tuple[Series, Step]],
) -> dict[tuple[str, str], list[tuple[Series, Step]]]:
    """The steps by file and by what changed there, in the order of the first of each."""
    groups: dict[tuple[str, str], list[tuple[Series, Step]]] = {}
    for series, step in steps:
        groups.setdefault((step.file, cause_words(step)), []).append((series, step))
    return groups


def _print_group(
    console: Console, file: str, causes: str, group: list[tuple[Series, Step]]
) -> None:
    first = group[0][1]
    for series, step in group:
        style = "green" if step.direction == "improvement" else "bold red" if step.lasts else "red"
        _say(
            console,
            f"{kind_words(step).upper()} {case_words(series)} {metric_of(series.metric).title} "
            f"{level_words(series, step)} ({change_words(series, step)}); "
            f"{step.confidence.partition(';')[0]}",
            style=style,
        )
    _say(console, f"  since {when(first.started)} UTC, {file}, {commit_words(first.commit)}")
    _say(console, f"  changed there: {causes}")


def _print_machine(console: Console, machine: str, series_of: list[Series]) -> None:
    from rich import box
    from rich.table import Table

    table = Table(
        title=visible(f"Newest values on {machine}"), title_justify="left", box=box.SIMPLE_HEAD
    )
    table.add_column("case")
    for metric in METRICS:
        table.add_column(metric.title, justify="right")
    table.add_column("records", justify="right")
    for case, group in groupby(series_of, key=case_words):
        own = {series.metric: series for series in group}
        cells = [_cell(own.get(metric.name)) for metric in METRICS]
        table.add_row(visible(case), *cells, _records(next(iter(own.values()))))
    console.print(table)


def _cell(series: Series | None) -> str:
    """The newest value, and how it changed at the newest step; stale ones in brackets."""
    if series is None:
        return _DASH
    shown = metric_of(series.metric).show(series.last)
    if series.points[-1].value is None:
        shown = f"({shown})"
    if not series.steps:
        return shown
    step = series.steps[-1]
    return f"{shown}\n{change_words(series, step)}{' ?' if step.tentative else ''}"


def _records(series: Series) -> str:
    without = sum(point.value is None for point in series.points)
    return f"{len(series.points)}" + (f"\n{without} without" if without else "")


def _say(console: Console, words: str, style: str | None = None) -> None:
    console.print(visible(words), style=style, highlight=False, soft_wrap=True)
