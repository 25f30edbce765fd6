"""Launches of two runtimes in turn: few acquit, only many convict, and noise is not taken for either."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from voxgate.records.verdicts import Outcome
from voxgate.verdicts import alternating
from voxgate.verdicts.alternating import LAUNCHES, MORE_LAUNCHES, chance, judge_alternating

MOST = LAUNCHES + MORE_LAUNCHES
BASE_NS = 100_000_000


def side(minima: Sequence[float]) -> list[tuple[int, ...]]:
    """One launch a minimum, in units of 100 ms; the slower samples beside it say nothing."""
    return [(2 * BASE_NS, round(BASE_NS * minimum)) for minimum in minima]


def by_enumeration(found: Sequence[float]) -> float:
    """What `chance` computes, term by term."""
    sums = [
        sum(sign * value for sign, value in zip(signs, found, strict=True))
        for signs in itertools.product((1, -1), repeat=len(found))
    ]
    return sum(total >= sum(found) - 1e-12 for total in sums) / len(sums)


@pytest.mark.parametrize(
    ("count", "ratio", "outcome"),
    [
        (LAUNCHES, 1.0, "pass"),
        (LAUNCHES, 1.02, "pass"),
        (LAUNCHES, 0.5, "pass"),
        (LAUNCHES, 1.05, "inconclusive"),
        (LAUNCHES, 2.0, "inconclusive"),
        (MOST, 1.05, "regression"),
        (MOST, 1.0, "pass"),
        (LAUNCHES - 1, 1.0, "inconclusive"),
    ],
)
def test_five_launches_acquit_and_only_more_convict(
    count: int, ratio: float, outcome: Outcome
) -> None:
    a, b = side([1.0] * count), side([ratio] * count)
    assert judge_alternating(a, b).outcome == outcome
    if count >= LAUNCHES:
        assert alternating.needs_more_launches(a, b) == (outcome == "inconclusive")


def test_no_more_launches_are_asked_for_after_fifteen() -> None:
    a, b = side([1.0] * MOST), side([1.3, 0.8, 1.1] * (MOST // 3))
    assert judge_alternating(a, b).outcome == "inconclusive"
    assert not alternating.needs_more_launches(a, b)


def test_a_host_that_slows_down_for_both_is_not_held_against_b() -> None:
    drift = [1 + 0.1 * i for i in range(LAUNCHES)]
    assert judge_alternating(side(drift), side(drift)).outcome == "pass"


def test_launches_without_samples_say_nothing() -> None:
    a, b = side([1.0] * LAUNCHES), [*side([1.0] * (LAUNCHES - 1)), ()]
    found = judge_alternating(a, b)
    assert found.outcome == "inconclusive"
    assert "are needed" in found.words


def test_words_name_change_spread_and_tolerance() -> None:
    words = judge_alternating(side([1.0] * 5), side([1.0, 1.2, 0.9, 1.1, 1.0])).words
    for part in ("5 alternating launches a side", "-10.0%", "+20.0%", "tolerance 3.0%"):
        assert part in words


@given(st.lists(st.floats(-0.3, 0.3), min_size=1, max_size=9))
def test_the_chance_is_that_of_all_signs(found: list[float]) -> None:
    assert chance(np.array(found)) == pytest.approx(by_enumeration(found))


def test_beyond_fourteen_pairs_the_signs_are_drawn_and_never_impossible() -> None:
    found = np.full(MOST, 0.05)
    assert 0 < chance(found) < 1e-3
    assert chance(found) == chance(found)


def rates(change: float, spread: float, runs: int = 1000) -> dict[Outcome, float]:
    """How the whole rule ends, of launches that spread by that much about a change."""
    generator = np.random.default_rng(1)

    def minima(count: int, level: float) -> NDArray[np.float64]:
        return level * np.exp(generator.normal(0, spread, count))

    ends: dict[Outcome, float] = {}
    for _ in range(runs):
        a, b = side(minima(MOST, 1.0).tolist()), side(minima(MOST, 1 + change).tolist())
        few = (a[:LAUNCHES], b[:LAUNCHES])
        sides = (a, b) if alternating.needs_more_launches(*few) else few
        outcome = judge_alternating(*sides).outcome
        ends[outcome] = ends.get(outcome, 0.0) + 1 / runs
    return ends


@pytest.mark.parametrize("spread", [0.005, 0.02, 0.05, 0.15])
def test_false_alarms_are_rare_however_far_launches_spread(spread: float) -> None:
    assert rates(0.0, spread).get("regression", 0.0) <= 0.01


@pytest.mark.parametrize(("spread", "caught"), [(0.005, 0.99), (0.02, 0.93)])
def test_five_percent_are_caught_where_launches_allow_it(spread: float, caught: float) -> None:
    assert rates(0.05, spread).get("regression", 0.0) >= caught


@pytest.mark.parametrize("spread", [0.02, 0.05, 0.15])
def test_five_percent_rarely_pass(spread: float) -> None:
    assert rates(0.05, spread).get("pass", 0.0) <= 0.10  # 5 % at each of two looks
