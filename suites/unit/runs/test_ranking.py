"""The maths of a sensitivity analysis: SQNR, rank correlation, and the search for a small set."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxgate.runs.ranking import Found, agreement, decibels, differences, ranks, search, spearman

STATS: Any = pytest.importorskip("scipy.stats", reason="nilearn brings scipy")
NAMES = tuple("abcdefg")
coarse = st.integers(-4, 4).map(float)  # many ties
rankings = st.integers(2, 12).flatmap(
    lambda n: st.tuples(*(st.lists(coarse, min_size=n, max_size=n) for _ in "ab"))
)


@pytest.mark.parametrize(
    ("signal", "noise", "expected"),
    [(100.0, 1.0, 20.0), (1.0, 1.0, 0.0), (1.0, 1e3, -30.0), (5.0, 0.0, None), (0.0, 0.0, None)],
)
def test_sqnr_in_decibels(signal: float, noise: float, expected: float | None) -> None:
    assert decibels(signal, noise) == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize("sums", [(0.0, 1.0), (-1.0, 1.0), (1.0, math.nan), (math.inf, 1.0)])
def test_sums_that_are_none_are_refused(sums: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=r"sums of squares|nothing to compare"):
        decibels(*sums)


@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.floats(1e-3, 1e3))
def test_sqnr_is_a_ratio(signal: float, noise: float, scale: float) -> None:
    found, scaled = decibels(signal, noise), decibels(signal * scale, noise * scale)
    assert found is not None
    assert scaled == pytest.approx(found, abs=1e-9)
    assert decibels(signal, noise * 10) == pytest.approx(found - 10)


def test_ranks_share_the_mean_of_their_places() -> None:
    assert ranks([30.0, 10.0, 20.0, 10.0]) == [4.0, 1.5, 3.0, 1.5]


@given(rankings)
def test_rank_correlation_is_that_of_scipy(pair: tuple[list[float], list[float]]) -> None:
    a, b = pair
    found = spearman(a, b)
    if len(set(a)) == 1 or len(set(b)) == 1:
        assert found is None
    else:
        assert found == pytest.approx(float(STATS.spearmanr(a, b).statistic), abs=1e-12)


@given(rankings)
def test_rank_correlation_ignores_what_keeps_the_order(
    pair: tuple[list[float], list[float]],
) -> None:
    a, b = pair
    found = spearman(a, b)
    assert spearman(b, a) == found
    assert spearman([math.exp(value) for value in a], b) == found
    if found is not None:
        assert spearman(a, [-value for value in b]) == pytest.approx(-found)


@pytest.mark.parametrize("pair", [([1.0], [1.0, 2.0]), ([1.0, math.nan], [1.0, 2.0])])
def test_rankings_that_do_not_match_are_refused(pair: tuple[list[float], list[float]]) -> None:
    with pytest.raises(ValueError, match="without NaN are needed"):
        spearman(*pair)


def test_changes_of_a_few_voxels_mean_nothing() -> None:
    found = agreement([1e-6, -2e-6, 1.5e-6, 9e-6], [4.0, 1.0, 3.0, 2.0])
    assert (found.above_floor, found.rises) == (0, 0)
    assert "means nothing: no layer alone moves Dice by more than 0.00001" in found.words
    assert found.words.endswith("Rank by SQNR")


def test_a_rise_counts_as_much_as_a_loss_and_is_called_chance() -> None:
    noises = [float(10 - number) for number in range(10)]
    losses = [0.01 / (number + 1) for number in range(10)]
    signed = [loss if number % 2 else -loss for number, loss in enumerate(losses)]
    assert agreement(signed, noises).spearman == agreement(losses, noises).spearman
    found = agreement(signed, noises)
    assert (found.above_floor, found.rises) == (10, 5)
    assert "5 for the better, which is chance" in found.words


def test_alike_rankings_say_so_and_unlike_ones_do_not() -> None:
    losses = [0.1 * number for number in range(10)]
    alike = agreement(losses, [float(number**2) for number in range(10)])
    assert alike.spearman == pytest.approx(1.0)
    assert alike.above_floor == 9
    assert alike.words.endswith("SQNR ranks much as Dice does")
    unlike = agreement(losses, [1.0, 9.0, 2.0, 8.0, 3.0, 7.0, 4.0, 6.0, 5.0, 0.0])
    assert "That is no clear relation" in unlike.words
    few = agreement([3.0, 2.0, 1.0], [3.0, 2.0, 1.0])
    assert "+1.00 over 3 layers" in few.words
    assert "Too few layers to tell" in few.words


def test_a_ranking_of_one_layer_or_of_equal_ones_has_no_correlation() -> None:
    for losses in ([0.1], [0.1, 0.1], []):
        found = agreement(losses, [float(number) for number, _ in enumerate(losses)])
        assert found.spearman is None
        assert "No rank correlation" in found.words


def test_differences_are_of_classes_that_both_have() -> None:
    before, after = {"a": 0.9, "b": None, "c": 0.5}, {"a": 0.8, "b": 0.3, "c": None}
    assert differences(before, after) == {"a": pytest.approx(0.1)}


# --- the search --------------------------------------------------------------------------------------

shares = st.lists(st.integers(0, 1000), min_size=1, max_size=7)


Loss = Callable[[tuple[str, ...]], float]


def run(
    parts: dict[str, int], rest: int, margin: float, *, seed: int = 0, singles: bool = True
) -> tuple[Found, Loss, list[frozenset[str]]]:
    """A network whose layers' losses add up, searched in an order that may be wrong."""
    asked: list[frozenset[str]] = []

    def loss_of(layers: tuple[str, ...]) -> float:
        asked.append(frozenset(layers))
        return rest + sum(loss for name, loss in parts.items() if name not in layers)

    order = sorted(parts, key=lambda name: -parts[name])
    if seed:
        order.sort(key=lambda name: math.sin(seed * ord(name)))
    alone = {name: rest + sum(parts.values()) - parts[name] for name in parts} if singles else {}
    return search(order, alone, loss_of, margin), loss_of, asked


@settings(max_examples=200)
@given(shares, st.integers(0, 300), st.integers(0, 3000), st.integers(0, 5))
def test_the_search_keeps_its_promises(
    losses: list[int], rest: int, margin: int, seed: int
) -> None:
    parts = dict(zip(NAMES, losses, strict=False))
    found, loss_of, asked = run(parts, rest, margin, seed=seed)
    assert len(asked) == len(set(asked))  # no set is measured twice
    if found.layers is None:
        assert loss_of(tuple(parts)) > margin
        return
    assert loss_of(found.layers) <= margin
    for name in found.layers:
        assert loss_of(tuple(other for other in found.layers if other != name)) > margin
    sets = (c for n in range(len(parts) + 1) for c in itertools.combinations(parts, n))
    fewest = next(len(chosen) for chosen in sets if loss_of(chosen) <= margin)
    if found.proven:
        assert len(found.layers) == fewest
    if not seed:
        assert len(found.layers) == fewest  # losses that add up: the right order finds the best


@given(shares, st.integers(1, 3000))
def test_sets_of_up_to_two_are_proven_where_every_layer_was_measured(
    losses: list[int], margin: int
) -> None:
    parts = dict(zip(NAMES, losses, strict=False))
    found, _, _ = run(parts, 0, margin)
    assert found.layers is not None
    assert found.proven == (len(found.layers) <= 2)
    found, _, _ = run(parts, 0, margin, singles=False)
    assert found.proven == (not found.layers)


def test_a_margin_that_is_met_asks_for_one_measurement() -> None:
    found, _, asked = run({"a": 3, "b": 2}, 0, 5)
    assert (found.layers, found.proven, len(asked)) == ((), True, 1)


def test_a_network_without_layers_ends() -> None:
    found = search((), {}, lambda _: 1.0, 0.5)
    assert found.layers is None


def test_bisection_spares_measurements() -> None:
    parts = {f"layer{number}": 100 for number in range(64)}
    found, _, asked = run(parts, 0, 5000, singles=False)
    assert found.layers is not None
    assert len(found.layers) == 14
    assert len(asked) <= 2 + 6 + 14


def test_members_that_two_others_need_together_are_found_out() -> None:
    """Two layers that cancel: the order is wrong, and single losses tell nothing."""
    needed = {frozenset("ad"), frozenset("abd"), frozenset("acd"), frozenset("abcd")}
    found = search(tuple("abcd"), {}, lambda layers: 0.0 if set(layers) in needed else 1.0, 0.5)
    assert set(found.layers or ()) == {"a", "d"}
