"""Dice of the new engine against the accepted one: not worse by more than a margin. Pure.

Each class is judged for itself, since a mean over organs hides the one that was lost. The patches are
the same on both sides, so their differences are averaged by subject, and the subjects resampled: a
paired bootstrap. With fewer than three subjects, or where they are unknown, there is no bound, and
the mean alone is compared with the margin; the words of the verdict say so.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from voxgate.metrics.bootstrap import ABSENT, Estimate, estimate, subject_words
from voxgate.records.measurement import Dice
from voxgate.records.verdicts import Outcome, Verdict

DICE_MARGIN = 0.005

Scores = Mapping[str, float | None]

_NOBODY: Mapping[str, str] = MappingProxyType({})


def judge_dice(
    before: Dice,
    after: Dice,
    *,
    margin: float = DICE_MARGIN,
    subjects: Mapping[str, str] = _NOBODY,
) -> tuple[Verdict, ...]:
    """One verdict a class; of other cases or classes, a single one that is inconclusive.

    regression: the subjects at hand lost more than ``margin`` in the mean. pass: even the lower bound
    of the mean difference is within it, or there is no bound and the mean is. Otherwise they are too
    few to tell, which is inconclusive. ``subjects`` is by patch; a side's own record comes first.
    """
    if set(before.per_case) != set(after.per_case):
        other = sorted(set(before.per_case) ^ set(after.per_case))
        return (_unknown(f"other cases were evaluated than in the baseline: {other[0]}"),)
    if set(before.per_class) != set(after.per_class):
        odd = sorted(set(before.per_class) ^ set(after.per_class))
        return (_unknown(f"other classes were evaluated than in the baseline: {odd[0]}"),)
    known = {**subjects, **before.subjects, **after.subjects}
    verdicts = [
        _judge_class(name, estimate(differences, known), before, after, margin)
        for name in before.per_class
        if (differences := paired_differences(name, before.per_case, after.per_case))
    ]
    return tuple(verdicts) or (_unknown("no case has any class, before or now"),)


def paired_differences(
    name: str, before: Mapping[str, Scores], after: Mapping[str, Scores]
) -> dict[str, float]:
    """After minus before of a class, for each patch where it is in truth or a prediction."""
    pairs = {patch: (before[patch].get(name), after[patch].get(name)) for patch in sorted(before)}
    return {
        patch: (ABSENT if new is None else new) - (ABSENT if old is None else old)
        for patch, (old, new) in pairs.items()
        if old is not None or new is not None
    }


def _judge_class(name: str, found: Estimate, before: Dice, after: Dice, margin: float) -> Verdict:
    between = "" if found.low is None else f"between {found.low:+.4f} and {found.high:+.4f}, "
    return Verdict(
        metric="dice",
        subject=name,
        outcome=_outcome(found, margin),
        words=(
            f"{name} {found.mean:+.4f} ({between}{subject_words(found.subjects)}); "
            f"margin {margin:g}"
        ),
        unit="Dice",
        before=before.per_class[name],
        after=after.per_class[name],
        change=found.mean,
        tolerance=margin,
    )


def _outcome(found: Estimate, margin: float) -> Outcome:
    if found.mean < -margin:
        return "regression"
    return "pass" if found.low is None or found.low >= -margin else "inconclusive"


def _unknown(words: str) -> Verdict:
    return Verdict(metric="dice", outcome="inconclusive", words=words, unit="Dice")
