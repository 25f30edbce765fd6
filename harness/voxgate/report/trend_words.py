"""How a trend's steps are put into words, on the terminal and on the page alike."""

from __future__ import annotations

from datetime import datetime

from voxgate.records.trend import Change, Nearby, Series, Step
from voxgate.report.environment import short_commit
from voxgate.report.formats import count
from voxgate.verdicts.trend.metrics import metric_of

# Of the row itself; they are put into words of their own.
_HASHES = ("engine", "weights", "calibration data")
_MOST_NEARBY = 3


def when(moment: datetime) -> str:
    """Date and minute, in UTC like all of a history."""
    return f"{moment:%Y-%m-%d %H:%M}"


def commit_words(commit: str | None) -> str:
    """The first digits of a commit, or that none is known."""
    return "no commit" if commit is None else f"commit {short_commit(commit)}"


def case_words(series: Series) -> str:
    """The four names of the case."""
    return f"{series.model}/{series.task}/{series.backend}/{series.precision}"


def kind_words(step: Step) -> str:
    """Worsening or improvement, confirmed or not, standing or made good."""
    if step.tentative:
        return f"tentative {step.direction}"
    if not step.lasts:
        return f"{step.direction}, since reversed"
    return step.direction


def change_words(series: Series, step: Step) -> str:
    """How much: percent for times and sizes, the difference for Dice and shares."""
    metric = metric_of(series.metric)
    if not metric.ratios and metric.unit == "share":
        return f"{(step.after - step.before) * 100:+.2f} points"
    if not metric.ratios:
        return f"{step.after - step.before:+.{metric.decimals}f}"
    if step.change_percent is None:
        return "from nothing"
    decimals = 1 if abs(step.change_percent) >= 1 else 2
    return f"{step.change_percent:+.{decimals}f} %"


def level_words(series: Series, step: Step) -> str:
    """The levels on both sides, with their unit; as many digits as tell them apart."""
    metric = metric_of(series.metric)
    before, after = metric.show(step.before), metric.show(step.after)
    if before == after:
        before, after = f"{step.before:.7g}", f"{step.after:.7g} {metric.unit}"
    number, _, unit = before.partition(" ")
    if unit and after.endswith(f" {unit}"):  # once is enough
        before = number
    return f"{before} → {after}"


def cause_words(step: Step) -> str:
    """What differs between the records on both sides of a step, and of its neighbours in the blur."""
    parts = _changes(step.changed) or ["nothing that the records name"]
    if step.same_engine:
        parts.append("the engine is the same file, byte for byte")
    if step.gap:
        parts.append(f"{count(step.gap, 'record')} without a value just before")
    parts += [
        f"or {_offset(near)} ({near.file}): {', '.join(_changes(near.changed))}"
        for near in step.nearby[:_MOST_NEARBY]
    ]
    return "; ".join(parts)


def _offset(near: Nearby) -> str:
    return f"{count(abs(near.offset), 'record')} {'later' if near.offset > 0 else 'earlier'}"


def _changes(changed: tuple[Change, ...]) -> list[str]:
    """Versions with both sides; of hashes only that they differ, in the end."""
    named = [_change(change) for change in changed if change.what not in _HASHES]
    return named + [f"another {change.what}" for change in changed if change.what in _HASHES]


def _change(change: Change) -> str:
    sides = [side or "none" for side in (change.before, change.after)]
    if change.what == "commit":
        sides = [short_commit(side) for side in sides]
    return f"{change.what} {sides[0]} → {sides[1]}"
