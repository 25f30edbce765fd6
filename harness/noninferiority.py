"""Dice of the new engine against the accepted one: not worse by more than a margin. Pure.

Each class is judged for itself, since a mean over organs hides the one that was lost. The cases are
the same on both sides, so their differences are, too, what is resampled: a paired bootstrap.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from harness.types import Dice
from harness.verdicts import Outcome, Verdict

DICE_MARGIN = 0.005
CONFIDENCE = 0.95  # of each of the two one-sided bounds

_RESAMPLES = 10_000
_SEED = 0
# A class that both truth and prediction lack is segmented as well as can be.
ABSENT = 1.0

Scores = Mapping[str, float | None]


def judge_dice(before: Dice, after: Dice, *, margin: float = DICE_MARGIN) -> tuple[Verdict, ...]:
    """One verdict a class; of other cases or classes, a single one that is inconclusive.

    regression: the cases at hand lost more than ``margin`` in the mean. pass: even the lower bound of
    the mean difference is within it. Otherwise they are too few to tell, which is inconclusive.
    """
    if set(before.per_case) != set(after.per_case):
        other = sorted(set(before.per_case) ^ set(after.per_case))
        return (_unknown(f"other cases were evaluated than in the baseline: {other[0]}"),)
    if set(before.per_class) != set(after.per_class):
        odd = sorted(set(before.per_class) ^ set(after.per_class))
        return (_unknown(f"other classes were evaluated than in the baseline: {odd[0]}"),)
    verdicts = [
        _judge_class(name, differences, before, after, margin)
        for name in before.per_class
        if len(differences := paired_differences(name, before.per_case, after.per_case))
    ]
    return tuple(verdicts) or (_unknown("no case has any class, before or now"),)


def paired_differences(
    name: str, before: Mapping[str, Scores], after: Mapping[str, Scores]
) -> NDArray[np.float64]:
    """After minus before of a class, for each case where it is in truth or a prediction."""
    pairs = [(before[case].get(name), after[case].get(name)) for case in sorted(before)]
    return np.array(
        [
            (ABSENT if new is None else new) - (ABSENT if old is None else old)
            for old, new in pairs
            if old is not None or new is not None
        ],
        dtype=np.float64,
    )


def bounds(differences: NDArray[np.float64], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The two one-sided bounds of the mean by bootstrap over cases; (N,) with N >= 1.

    Each holds with ``confidence``, so of an interval both of 0.975 hold with 0.95.
    """
    means = differences[_picks(len(differences))].mean(axis=1)
    low, high = np.quantile(means, [1 - confidence, confidence])
    return float(low), float(high)


@functools.lru_cache(maxsize=2)
def _picks(cases: int) -> NDArray[np.int64]:
    """The resamples of so many cases; the same for every class, so they are drawn once."""
    generator = np.random.default_rng(_SEED)
    return generator.integers(0, cases, (_RESAMPLES, cases))


def _judge_class(
    name: str, differences: NDArray[np.float64], before: Dice, after: Dice, margin: float
) -> Verdict:
    low, high = bounds(differences)
    change = float(differences.mean())
    return Verdict(
        metric="dice",
        subject=name,
        outcome=_outcome(change, low, margin),
        words=(
            f"{name} {change:+.4f} (between {low:+.4f} and {high:+.4f}, {len(differences)} cases); "
            f"margin {margin:g}"
        ),
        unit="Dice",
        before=before.per_class[name],
        after=after.per_class[name],
        change=change,
        tolerance=margin,
    )


def _outcome(change: float, low: float, margin: float) -> Outcome:
    if change < -margin:
        return "regression"
    return "pass" if low >= -margin else "inconclusive"


def _unknown(words: str) -> Verdict:
    return Verdict(metric="dice", outcome="inconclusive", words=words, unit="Dice")
