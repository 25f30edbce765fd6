"""How sure a share is: of drawn comparisons, and of what few launches can prove at all. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable

from voxgate.verdicts.rules import LEAD, MOST_PAIRED_LAUNCHES

_Z = 1.959964  # 95 %
_ALPHA = 0.05
_STEPS = 60


def wilson(hits: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share, of ``hits`` in ``count`` drawings.

    Raises:
        ZeroDivisionError: nothing was drawn.
    """
    share, spread = hits / count, _Z**2 / count
    middle = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread**2 / 4) / (1 + spread)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def most(hits: int, count: int) -> float:
    """The largest share that ``hits`` in ``count`` independent launches leave possible, at 95 %.

    Clopper's and Pearson's bound; of no hits about three over the count.
    """
    if hits >= count:
        return 1.0
    return _solve(lambda share: binomial_cdf(hits, count, share) - _ALPHA)


def false_alarms_at_most(beyond: int, launches: int) -> float:
    """What the launches prove of the confirmed rule's false alarms: at most this share, at 95 %.

    ``beyond`` of the paired ``launches`` exceed the tolerance.
    """
    return red(most(beyond, launches)) ** 2


def found_at_least(missed: int, launches: int) -> float:
    """The same of a slowdown that ``missed`` of the launches do not show: found at least so often."""
    return red(1 - most(missed, launches)) ** 2


def red(share: float) -> float:
    """The probability that launches beyond the tolerance come to lead, each with that probability.

    Grows with ``share``; a series without a leader is not red.
    """
    leads = {0: 1.0}
    found = 0.0
    for _ in range(MOST_PAIRED_LAUNCHES):
        after: dict[int, float] = {}
        for lead, probability in leads.items():
            for step, chance in ((1, share), (-1, 1 - share)):
                after[lead + step] = after.get(lead + step, 0.0) + probability * chance
        found += after.get(LEAD, 0.0)
        leads = {lead: chance for lead, chance in after.items() if abs(lead) < LEAD}
    return found


def binomial_cdf(hits: int, count: int, share: float) -> float:
    """The probability of at most ``hits`` in ``count``."""
    return sum(
        math.comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(hits + 1)
    )  # fmt: skip


def _solve(falling: Callable[[float], float]) -> float:
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return high
