"""How a simulation is told from an engine wherever a precision is shown."""

from __future__ import annotations

from collections.abc import Iterable

from voxgate.records.case import PROJECTED_PRECISIONS, SIMULATED_PRECISIONS, Precision
from voxgate.records.run import CaseResult

MARK = "\N{DAGGER}"


def name_of(precision: Precision) -> str:
    """The precision, marked where it is computed in float."""
    return f"{precision} (simulated)" if precision in SIMULATED_PRECISIONS else precision


def short_name_of(precision: Precision) -> str:
    """The same where there is little room, with a sign that stands before `footnote`, too."""
    return f"{precision}{MARK}" if precision in SIMULATED_PRECISIONS else precision


def words_of(case: CaseResult) -> str:
    """The marked precision, and the status of a case that is not ok."""
    name = name_of(case.precision)
    return name if case.status == "ok" else f"{name} ({case.status})"


def gain(precision: Precision, ratio: float | None) -> float | None:
    """A ratio of size or time; None of a projection, whose size and time are a float engine's."""
    return None if precision in PROJECTED_PRECISIONS else ratio


def footnote(cases: Iterable[CaseResult]) -> str:
    """What stands below a table with simulations; empty without."""
    found = dict.fromkeys(c.precision for c in cases if c.precision in SIMULATED_PRECISIONS)
    projected = [precision for precision in found if precision in PROJECTED_PRECISIONS]
    if not found:
        return ""
    words = "Simulated: values rounded in float arithmetic; size and latency are a float engine's."
    if projected:
        words += f" No engine here computes in what {', '.join(projected)} simulate: only their Dice is a finding."  # fmt: skip
    return words
