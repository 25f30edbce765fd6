"""The rule for two runtimes that cannot share a process: launches of both in turn. Pure.

The i-th launches of both sides are neighbours in time, so their difference has little of the host's
drift, but all of what differs between two processes: on a shared host that is 10 % and more, and any
fixed number of launches with a fixed threshold then cries wolf. So the launches' own spread decides
whether they suffice: exact sign-flip tests (under no change each pair's difference is as likely to
have the other sign) acquit only what is surely below a slowdown that matters, convict only what is
surely slower than nothing and beyond the tolerance, and otherwise ask for more launches, or for a
quieter host.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

from voxgate.records.verdicts import Outcome, Verdict
from voxgate.verdicts.rules import TOLERANCE, Launches, percent, trimmed_mean

LAUNCHES = 5  # on each side, at first; five pairs can acquit
MORE_LAUNCHES = 10
# Beyond the tolerance: what must be found. A rule finds a change of its threshold every second time.
MATTERS = 0.02

_MOST_DOUBT = 0.005  # that a convicted runtime is no slower at all
_MOST_RISK = 0.05  # that an acquitted one is slower by what matters
_FLIPS = 20_000  # beyond 2^14 sign patterns they are drawn
_EXACT = 14
_SEED = 0


def differences(a: Launches, b: Launches) -> NDArray[np.float64]:
    """The logarithm of min(B)/min(A) of each pair of neighbouring launches, (N,).

    Raises:
        ValueError: a launch has no samples.
    """
    return np.array([math.log(min(new) / min(old)) for old, new in zip(a, b, strict=False)])


def needs_more_launches(a: Launches, b: Launches, *, tolerance: float = TOLERANCE) -> bool:
    """Whether the launches so far do not decide, and more are worth it."""
    short = min(len(a), len(b)) < LAUNCHES + MORE_LAUNCHES
    return short and judge_alternating(a, b, tolerance=tolerance).outcome == "inconclusive"


def judge_alternating(a: Launches, b: Launches, *, tolerance: float = TOLERANCE) -> Verdict:
    """Runtime B against A, from the samples of alternating launches in the order they were taken."""
    launches = min(len(a), len(b))
    if launches < LAUNCHES or not all(all(side) for side in (a, b)):
        words = f"{launches} launches a side with samples; {LAUNCHES} are needed"
        return Verdict(metric="latency", outcome="inconclusive", words=words, tolerance=tolerance)
    found = differences(a, b)
    change = math.expm1(trimmed_mean(sorted(found.tolist())))
    outcome = _decide(found, change, tolerance)
    words = (
        f"{percent(change)}: fastest samples of {launches} alternating launches a side; single pairs "
        f"say {percent(math.expm1(found.min()))} to {percent(math.expm1(found.max()))}; tolerance {tolerance:.1%}"
    )
    if outcome == "inconclusive":
        words += f"; too far apart to tell {tolerance + MATTERS:.0%} from nothing"
    return Verdict(
        metric="latency",
        outcome=outcome,
        words=words,
        unit="ms",
        before=min(map(min, a)) / 1e6,
        after=min(map(min, b)) / 1e6,
        change=change,
        tolerance=tolerance,
    )


def chance(found: NDArray[np.float64]) -> float:
    """How likely random signs of the (N,) differences give as great a sum; 1 when it is not positive.

    Exact up to 14 pairs, by seeded draws beyond.
    """
    signs = _signs(len(found))
    # The observed signs are among the exact ones; dust must not exclude their equals.
    beyond = int((signs @ found >= found.sum() - 1e-12).sum())
    return beyond / len(signs) if len(found) <= _EXACT else (beyond + 1) / (len(signs) + 1)


@functools.cache
def _signs(count: int) -> NDArray[np.float64]:
    """All patterns of that many signs, or many of them, (P, N)."""
    if count <= _EXACT:
        patterns = np.arange(2**count)[:, None] >> np.arange(count) & 1
    else:
        patterns = np.random.default_rng(_SEED).integers(0, 2, (_FLIPS, count))
    return np.where(patterns == 1, -1.0, 1.0)


def _decide(found: NDArray[np.float64], change: float, tolerance: float) -> Outcome:
    if change > tolerance:
        return "regression" if chance(found) <= _MOST_DOUBT else "inconclusive"
    matters = math.log1p(tolerance + MATTERS)
    return "pass" if chance(matters - found) <= _MOST_RISK else "inconclusive"
