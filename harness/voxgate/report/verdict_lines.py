"""Verdicts on a terminal: what is red first and in full, what is fine in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxgate.records.verdicts import CaseVerdicts, GateRecord, Outcome, Verdict

if TYPE_CHECKING:
    from rich.console import Console

STYLES: dict[Outcome, str] = {
    "pass": "green",
    "regression": "bold red",
    "inconclusive": "bold yellow",
    "failed": "bold red",
    "unavailable": "bold yellow",
}
_LATEST_FIRST: tuple[Outcome, ...] = ("pass", "inconclusive", "unavailable", "failed", "regression")


def print_gate(console: Console, record: GateRecord) -> None:
    """One line a case that passed; every finding of one that did not; the sum below."""
    for case in sorted(record.cases, key=lambda case: _LATEST_FIRST.index(case.outcome)):
        console.print(
            f"{case.outcome.upper()} {case.case}", style=STYLES[case.outcome], highlight=False
        )
        for line in case_lines(case):
            console.print(f"  {line}", highlight=False, soft_wrap=True)
    console.print(
        f"gate: {record.outcome} ({summary(record)})",
        style=STYLES[record.outcome],
        highlight=False,
        soft_wrap=True,
    )


def case_lines(case: CaseVerdicts) -> list[str]:
    """What there is to say of a case: of one that passed in short, otherwise all that did not."""
    if case.reason is not None:
        return [case.reason]
    if case.outcome == "pass":
        return ["; ".join(brief(verdict) for verdict in case.verdicts)]
    return [
        f"{verdict.metric}: {verdict.outcome}: {verdict.words}"
        for verdict in case.verdicts
        if verdict.outcome != "pass"
    ]


def brief(verdict: Verdict) -> str:
    """A passed verdict in a few words."""
    name = f"{verdict.metric} {verdict.subject}".strip()
    if verdict.change is None:
        return name
    if verdict.unit in {"Dice", "share"}:
        return f"{name} {verdict.change:+.4f}"
    return f"{name} {verdict.change:+.1%}"


def summary(record: GateRecord) -> str:
    """How many cases have which outcome, the worst first."""
    counts = {
        outcome: sum(case.outcome == outcome for case in record.cases)
        for outcome in reversed(_LATEST_FIRST)
    }
    return (
        ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count) or "no case"
    )
