"""The rules of `voxgate.verdicts.rules` over many comparisons at once; the unit tests hold both to the same answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from voxgate.records.verdicts import Outcome
from voxgate.verdicts import alternating as alternating_rule
from voxgate.verdicts.rules import (
    LEAD,
    MOST_PAIRED_LAUNCHES,
    SCREEN,
    SELF_TEST_LAUNCHES,
    TAIL_SAMPLES,
    TAIL_TOLERANCE,
    TOLERANCE,
)

from benchmarks.recording import Kind
from benchmarks.resampling import Draws, Floats, Ints, Series
from benchmarks.tool_rules import Bools

_TRIMMED = 0.2
_EXCEEDING = 2 * 0.177  # the share of a self-test's launches that may be off by more


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """Per comparison: called a regression, or called undecided; neither is a pass."""

    flagged: Bools
    inconclusive: Bools


Rule = Callable[[Draws], Answer]


def decided(flagged: Bools) -> Answer:
    """The answer of a rule that is never in doubt."""
    return Answer(flagged=flagged, inconclusive=np.zeros_like(flagged))


# --- stored and alternating launches ---------------------------------------------------------------


def minima_ratio(launches: Floats) -> Floats:
    """B's trimmed mean of launch minima over A's, from (comparison, side, launch, sample)."""
    minima = np.sort(launches.min(axis=3), axis=2)
    cut = int(_TRIMMED * minima.shape[2])
    means: Floats = minima[:, :, cut : minima.shape[2] - cut].mean(axis=2)
    return means[:, 1] / means[:, 0]


def stored(limit: float) -> Rule:
    """Against stored launches, without a paired run."""
    return lambda draws: decided(minima_ratio(draws.stored) > 1 + limit)


def alternating(draws: Draws) -> Answer:
    """Two interpreters, by the rule itself: five launches a side, or ten more."""
    found = [_alternating(sides) for sides in draws.alternating.min(axis=3, keepdims=True)]
    return Answer(
        flagged=np.array([outcome == "regression" for outcome in found]),
        inconclusive=np.array([outcome == "inconclusive" for outcome in found]),
    )


def _alternating(sides: Floats) -> Outcome:
    a, b = sides.tolist()
    few = (a[: alternating_rule.LAUNCHES], b[: alternating_rule.LAUNCHES])
    outcome = alternating_rule.judge_alternating(*few).outcome
    return (
        alternating_rule.judge_alternating(a, b).outcome if outcome == "inconclusive" else outcome
    )


# --- paired launches -------------------------------------------------------------------------------


def taken(series: Series) -> Ints:
    """How many launches it takes until one side of the tolerance leads, or no more are made."""
    leading = np.abs(_leads(series.minima, TOLERANCE)) >= LEAD
    first: Ints = leading.argmax(axis=1) + 1
    return np.where(leading.any(axis=1), first, MOST_PAIRED_LAUNCHES)


def median_change(series: Series) -> Floats:
    """The median of B over A, of the launches taken, minus 1."""
    count = taken(series)[:, None]
    unused = np.arange(series.minima.shape[1]) >= count
    ordered = np.sort(np.where(unused, np.inf, series.minima), axis=1)
    low, high = (np.take_along_axis(ordered, k, axis=1) for k in ((count - 1) // 2, count // 2))
    middle: Floats = (low + high)[:, 0] / 2
    return middle - 1


def supported(draws: Draws) -> Floats:
    """The tolerance that the host supports, by the self-test."""
    ratios = Series.of(draws.self_test).minima
    ordered: Floats = np.sort(np.abs(np.log(ratios)), axis=1)[:, ::-1]
    return np.expm1(ordered[:, int(_EXCEEDING * SELF_TEST_LAUNCHES)])


def judge_times(series: Series) -> Answer:
    """Launches until one side leads; without a leader the host is too noisy."""
    lead = _at(_leads(series.minima, TOLERANCE), taken(series))
    return Answer(flagged=lead >= LEAD, inconclusive=np.abs(lead) < LEAD)


def judge_tails(series: Series) -> Bools:
    """90th percentiles of the same launches; False where they have too few samples to tell."""
    count = taken(series)
    lead = _at(_leads(series.tails, TAIL_TOLERANCE), count)
    slow: Bools = (lead >= LEAD) & (count * series.samples >= TAIL_SAMPLES)
    return slow


def judge_with_self_test(series: Series, told: Floats) -> Answer:
    """Where the host supports no such tolerance, only what is beyond the supported one is red."""
    answer, noisy = judge_times(series), told > TOLERANCE
    flagged: Bools = answer.flagged & (~noisy | (median_change(series) > told))
    return Answer(flagged=flagged, inconclusive=~flagged & (answer.inconclusive | noisy))


def confirm(first: Answer, fresh: Answer) -> Answer:
    """Of a red, fresh launches have the last word."""
    return Answer(
        flagged=first.flagged & fresh.flagged,
        inconclusive=np.where(first.flagged, fresh.inconclusive, first.inconclusive),
    )


def one_pair(draws: Draws) -> Answer:
    """A single paired launch."""
    return decided(draws.series[0].minima[:, 0] > 1 + TOLERANCE)


def median_of_three(draws: Draws) -> Answer:
    """Three paired launches, and their median."""
    return decided(np.median(draws.series[0].minima[:, :3], axis=1) > 1 + TOLERANCE)


def paired(draws: Draws) -> Answer:
    """Launches until one side leads, not confirmed."""
    return judge_times(draws.series[0])


def paired_confirmed(draws: Draws) -> Answer:
    """The same, and a red once more."""
    first, fresh = draws.series
    return confirm(judge_times(first), judge_times(fresh))


def screened(draws: Draws) -> Answer:
    """Paired only where the stored screen looks slower."""
    looks_slower = minima_ratio(draws.stored) > 1 + SCREEN
    answer = paired(draws)
    return Answer(
        flagged=looks_slower & answer.flagged, inconclusive=looks_slower & answer.inconclusive
    )


def tail(draws: Draws) -> Answer:
    """90th percentiles, not confirmed."""
    return decided(judge_tails(draws.series[0]))


def tail_confirmed(draws: Draws) -> Answer:
    """The same, and a red once more."""
    first, fresh = draws.series
    return decided(judge_tails(first) & judge_tails(fresh))


def gate(draws: Draws) -> Answer:
    """All that a gate asks of the clock: self-test, times and tails, each red confirmed."""
    told = supported(draws)
    first, fresh = (judge_with_self_test(series, told) for series in draws.series)
    times, tails = confirm(first, fresh), tail_confirmed(draws).flagged
    red: Bools = times.flagged | tails
    return Answer(flagged=red, inconclusive=~red & times.inconclusive)


def _leads(ratios: Floats, tolerance: float) -> Ints:
    """After each launch, how many more were beyond the tolerance than within it."""
    return np.where(ratios > 1 + tolerance, 1, -1).cumsum(axis=1)


def _at(leads: Ints, count: Ints) -> Ints:
    found: Ints = np.take_along_axis(leads, count[:, None] - 1, axis=1)[:, 0]
    return found


# --- as the table and its bars name them -----------------------------------------------------------

CONFIRMED = f"paired to a lead of {LEAD}, red confirmed"
GATE = "gate: self-test, that, and p90"
ALTERNATING = "two interpreters, alternating"

_OF_SOLO: Mapping[str, Rule] = {
    f"stored minima > {TOLERANCE:.0%}": stored(TOLERANCE),
    f"stored minima > {SCREEN:.1%} (screen)": stored(SCREEN),
    ALTERNATING: alternating,
}
_OF_BOTH: Mapping[str, Rule] = {f"screen, then paired to a lead of {LEAD}": screened}
_OF_PAIRS: Mapping[str, Rule] = {
    "1 paired launch": one_pair,
    "3 paired launches, median": median_of_three,
    f"paired to a lead of {LEAD}": paired,
    CONFIRMED: paired_confirmed,
    "p90 of such launches": tail,
    "p90, red confirmed": tail_confirmed,
    GATE: gate,
}

RULES: Mapping[str, Rule] = {**_OF_SOLO, **_OF_BOTH, **_OF_PAIRS}


def kinds(name: str) -> frozenset[Kind]:
    """The launches that a rule of ours looks at."""
    found: set[Kind] = set()
    if name not in _OF_PAIRS:
        found.add("solo")
    if name not in _OF_SOLO:
        found.add("pair")
    return frozenset(found)
