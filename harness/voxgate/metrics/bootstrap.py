"""The mean of a change, and its interval by a bootstrap over subjects. Pure.

Patches of one subject overlap and resemble each other, so they are no sample: they are averaged
first, and what is resampled are the subjects. All patches of a task have one shape, so the mean
weighted by voxels is the plain mean over the patches.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95  # of each of the two one-sided bounds
LEAST_SUBJECTS = 3  # with fewer there is no interval

_RESAMPLES = 10_000
_SEED = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A mean over subjects; ``subjects`` is None where they are unknown.

    ``low`` and ``high`` are None where there are too few subjects for an interval.
    """

    mean: float
    low: float | None
    high: float | None
    subjects: int | None


def estimate(
    per_patch: Mapping[str, float], subjects: Mapping[str, str], confidence: float = CONFIDENCE
) -> Estimate:
    """The mean of at least one patch's change, and its bounds; ``subjects`` is by patch.

    If the subject of any patch is unknown, the mean is over the patches and has no interval.
    """
    if any(patch not in subjects for patch in per_patch):
        mean = float(np.mean(list(per_patch.values())))
        return Estimate(mean=mean, low=None, high=None, subjects=None)
    groups: dict[str, list[float]] = {}
    for patch, value in per_patch.items():
        groups.setdefault(subjects[patch], []).append(value)
    means = np.array([np.mean(values) for values in groups.values()], dtype=np.float64)
    enough = len(means) >= LEAST_SUBJECTS
    low, high = bounds(means, confidence) if enough else (None, None)
    return Estimate(mean=float(means.mean()), low=low, high=high, subjects=len(means))


def subject_words(subjects: int | None) -> str:
    """How many subjects a mean is over, and whether that is too few for an interval."""
    if subjects is None:
        return "subjects unknown: no interval"
    words = f"{subjects} subject{'' if subjects == 1 else 's'}"
    return words if subjects >= LEAST_SUBJECTS else f"{words}: no interval"


def bounds(differences: NDArray[np.float64], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The two one-sided bounds of the mean by bootstrap over subjects; (N,) with N >= 1.

    Each holds with ``confidence``, so of an interval both of 0.975 hold with 0.95.
    """
    means = differences[_picks(len(differences))].mean(axis=1)
    low, high = np.quantile(means, [1 - confidence, confidence])
    return float(low), float(high)


@functools.lru_cache(maxsize=2)
def _picks(subjects: int) -> NDArray[np.int64]:
    """The resamples of so many subjects; the same for every class, so they are drawn once."""
    generator = np.random.default_rng(_SEED)
    return generator.integers(0, subjects, (_RESAMPLES, subjects))


# A class that both truth and prediction lack is segmented as well as can be.
ABSENT = 1.0
