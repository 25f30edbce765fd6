"""How much Dice an engine lost against FP32 of the same run, and when that is too much. Pure.

Times that are inconclusive say nothing of an engine's answers, so such a case counts here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from voxgate.metrics.expectations import MOST_DICE_LOST
from voxgate.records.run import CaseResult

_MEASURED = frozenset({"ok", "inconclusive"})


def dice_lost(case: CaseResult, cases: Iterable[CaseResult]) -> float | None:
    """FP32's mean Dice less the case's; negative for a gain, None where one of them has none."""
    if case.dice is None or case.precision == "fp32":
        return None
    network = (case.model, case.task, case.backend, "fp32")
    references = (
        other.dice
        for other in cases
        if (other.model, other.task, other.backend, other.precision) == network
        and other.status in _MEASURED
    )
    reference = next(references, None)
    return None if reference is None else reference.mean - case.dice.mean


def keeps(lost: float) -> bool:
    """Whether a loss is none to speak of. What is no number is a loss."""
    return lost <= MOST_DICE_LOST


def doubts(cases: Sequence[CaseResult]) -> tuple[str, ...]:
    """One sentence for every case that lost too much, whatever its times are."""
    return tuple(
        f"{case.case} lost {lost:.3f} of FP32's mean Dice, and {MOST_DICE_LOST} may be lost"
        for case in cases
        if (lost := dice_lost(case, cases)) is not None and not keeps(lost)
    )
