"""The rules about time: what a few launches may say, and how often they are wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxgate.records.measurement import PairedLaunch
from voxgate.records.verdicts import Outcome, SelfTest, Verdict, worst_outcome
from voxgate.verdicts import rules

BASE_NS = 100_000_000


def launch(ratio: float, base_ns: int = BASE_NS) -> PairedLaunch:
    """A launch whose minima have that ratio; the slower samples beside them say nothing."""
    fastest = round(base_ns * ratio)
    return PairedLaunch(
        b_first=False, a_ns=(2 * base_ns, base_ns), b_ns=(fastest, fastest + base_ns)
    )


def launches(*ratios: float) -> list[PairedLaunch]:
    return [launch(ratio) for ratio in ratios]


def self_tested(supported: float) -> SelfTest:
    return SelfTest(engine_sha256="ab" * 32, launch_ratios=(1.0,), supported=supported)


def pair_until_decided(
    draw: Callable[[], float], tolerance: float = rules.TOLERANCE
) -> list[PairedLaunch]:
    """What a gate does: launches until one side leads, or there were enough of them."""
    pairs: list[PairedLaunch] = []
    while rules.needs_more_pairs(pairs, tolerance=tolerance):
        pairs.append(launch(draw()))
    return pairs


# --- paired launches ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratios", "outcome"),
    [
        ((1.0, 1.0, 1.0), "pass"),
        ((1.029, 0.9, 1.02), "pass"),
        ((1.04, 1.05, 1.031), "regression"),
        ((1.04, 1.0, 1.04, 1.04, 1.04), "regression"),
        ((1.04, 1.0, 1.0, 1.0, 1.0), "pass"),
        ((1.04, 1.04, 1.0), "inconclusive"),
        ((1.04, 1.0) * 7 + (1.04,), "inconclusive"),
    ],
)
def test_a_lead_of_three_launches_decides(ratios: tuple[float, ...], outcome: Outcome) -> None:
    assert rules.judge_paired(launches(*ratios)).outcome == outcome


def test_a_change_of_exactly_the_tolerance_is_within_it() -> None:
    exactly = launches(1.5, 1.5, 1.5)
    assert rules.judge_paired(exactly, tolerance=0.5).outcome == "pass"


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ([1.0], 3),
        ([1.1], 3),
        ([1.1, 1.0], 5),
        ([1.1, 1.0, 1.1, 1.0], 7),
        ([1.1, 1.0] * 8, 15),
    ],
)
def test_launches_go_on_until_one_side_leads_or_fifteen_are_there(
    ratios: list[float], expected: int
) -> None:
    left = iter([*ratios, *[ratios[0]] * 15])
    assert len(pair_until_decided(lambda: next(left))) == expected


def test_the_words_have_the_numbers_and_the_milliseconds_are_the_fastest() -> None:
    verdict = rules.judge_paired(launches(1.06, 1.05, 1.055))
    assert verdict.change == pytest.approx(0.055)
    assert [verdict.before, verdict.after] == pytest.approx([100.0, 105.0])
    assert verdict.unit == "ms"
    assert verdict.tolerance == rules.TOLERANCE
    for words in (
        "+5.5%",
        "3 of 3 launches",
        "(+6.0%, +5.0%, +5.5%)",
        "(100 → 105 ms)",
        "tolerance of 3.0%",
    ):
        assert words in verdict.words


def test_an_undecided_series_says_that_the_host_is_noisy() -> None:
    verdict = rules.judge_paired(launches(*[1.1, 0.9] * 7, 1.1))
    assert verdict.outcome == "inconclusive"
    assert "too noisy to tell" in verdict.words


@pytest.mark.parametrize(
    "pairs",
    [
        [],
        launches(1.2, 1.2),
        [*launches(1.0, 1.0), PairedLaunch(b_first=False, a_ns=(), b_ns=(1,))],
        [*launches(1.0, 1.0), PairedLaunch(b_first=False, a_ns=(1,), b_ns=())],
    ],
)
def test_too_few_or_empty_launches_say_nothing(pairs: list[PairedLaunch]) -> None:
    verdict = rules.judge_paired(pairs)
    assert verdict.outcome == "inconclusive"
    assert "3 are needed" in verdict.words


_ratios = st.lists(st.floats(0.5, 2.0), min_size=3, max_size=15)
_RANK: dict[Outcome, int] = {"pass": 0, "inconclusive": 1, "regression": 2}


@given(ratios=_ratios, scale=st.integers(1, 1000))
def test_the_unit_of_time_does_not_matter(ratios: list[float], scale: int) -> None:
    pairs = launches(*ratios)
    scaled = [
        replace(
            pair, a_ns=tuple(ns * scale for ns in pair.a_ns), b_ns=tuple(ns * scale for ns in pair.b_ns)
        )
        for pair in pairs
    ]  # fmt: skip
    first, second = rules.judge_paired(pairs), rules.judge_paired(scaled)
    assert (first.outcome, first.change) == (second.outcome, second.change)


@given(
    ratios=_ratios,
    factors=st.lists(st.floats(1.0, 3.0), min_size=15, max_size=15),
    supported=st.sampled_from([0.0, 0.02, 0.05, 0.3]),
)
def test_a_slower_engine_is_never_judged_more_mildly(
    ratios: list[float], factors: list[float], supported: float
) -> None:
    slower = [ratio * factor for ratio, factor in zip(ratios, factors, strict=False)]
    before, after = (
        rules.judge_paired(launches(*each), self_test=self_tested(supported)).outcome
        for each in (ratios, slower)
    )
    assert _RANK[after] >= _RANK[before]


@given(ratios=st.lists(st.floats(0.5, 2.0), min_size=3, max_size=15).filter(lambda r: len(r) % 2))
def test_swapping_the_engines_mirrors_the_change(ratios: list[float]) -> None:
    pairs = launches(*ratios)
    swapped = [replace(pair, a_ns=pair.b_ns, b_ns=pair.a_ns) for pair in pairs]
    first, second = rules.judge_paired(pairs), rules.judge_paired(swapped)
    assert first.change is not None
    assert second.change is not None
    assert (1 + first.change) * (1 + second.change) == pytest.approx(1.0)
    assert (first.before, first.after) == (second.after, second.before)
    if first.outcome == "regression":
        assert second.outcome == "pass"


@pytest.mark.parametrize(
    ("ratio", "supported", "outcome"),
    [
        (1.00, 0.03, "pass"),
        (1.00, 0.06, "inconclusive"),
        (1.05, 0.02, "regression"),
        (1.05, 0.06, "inconclusive"),
        (1.07, 0.06, "regression"),
    ],
)
def test_a_host_that_cannot_tell_the_tolerance_never_passes(
    ratio: float, supported: float, outcome: Outcome
) -> None:
    verdict = rules.judge_paired(launches(ratio, ratio, ratio), self_test=self_tested(supported))
    assert verdict.outcome == outcome
    assert ("differs from itself by 6.0%" in verdict.words) == (supported > 0.03)


# --- how often it is wrong -----------------------------------------------------------------------

Noise = Callable[[np.random.Generator], float]
RUNS = 1500


def log_normal(cv: float) -> Noise:
    return lambda generator: math.exp(cv * float(generator.standard_normal()))


def heavy_tailed(generator: np.random.Generator) -> float:
    """1 % as a rule, and every tenth launch is disturbed by up to half as much again."""
    disturbed = generator.random() < 0.1
    return log_normal(0.01)(generator) * (1 + 0.5 * generator.random() * disturbed)


def share_of(wanted: Outcome, noise: Noise, slowdown: float) -> float:
    """How often a series of paired launches ends so; both engines are disturbed for themselves."""
    generator = np.random.default_rng(7)

    def draw() -> float:
        return slowdown * noise(generator) / noise(generator)

    outcomes = [rules.judge_paired(pair_until_decided(draw)).outcome for _ in range(RUNS)]
    return outcomes.count(wanted) / RUNS


@pytest.mark.parametrize(
    "noise", [log_normal(0.01), log_normal(0.02), heavy_tailed], ids=["1%", "2%", "heavy"]
)
def test_equal_engines_are_called_slower_at_most_once_in_a_hundred(noise: Noise) -> None:
    assert share_of("regression", noise, 1.0) <= 0.01


@pytest.mark.parametrize("noise", [log_normal(0.01), heavy_tailed], ids=["1%", "heavy"])
def test_a_slowdown_of_five_percent_is_found(noise: Noise) -> None:
    assert share_of("regression", noise, 1.05) >= 0.95


def test_a_quiet_host_answers_at_once() -> None:
    generator = np.random.default_rng(7)
    noise = log_normal(0.003)
    counts = [len(pair_until_decided(lambda: noise(generator))) for _ in range(RUNS)]
    assert np.mean(counts) < 3.1


@pytest.mark.parametrize("cv", [0.005, 0.02, 0.04])
def test_with_the_tolerance_that_a_self_test_supports_a_confirmed_red_is_rare(cv: float) -> None:
    generator = np.random.default_rng(7)
    noise = log_normal(cv)

    def draw() -> float:
        return noise(generator) / noise(generator)

    def is_red(tolerance: float) -> bool:
        pairs = pair_until_decided(draw, tolerance)
        return rules.judge_paired(pairs, tolerance=tolerance).outcome == "regression"

    reds = 0
    for _ in range(RUNS):
        itself = launches(*(draw() for _ in range(rules.SELF_TEST_LAUNCHES)))
        supported = rules.self_test("ab" * 32, itself).supported
        reds += is_red(supported) and is_red(supported)
    assert reds / RUNS <= 0.01


# --- tails ---------------------------------------------------------------------------------------


def with_tail(share: float, count: int = 22) -> PairedLaunch:
    """B is as fast as A, but for a share of its samples, which take twice as long."""
    slow = round(share * count)
    b_ns = (BASE_NS,) * (count - slow) + (2 * BASE_NS,) * slow
    return PairedLaunch(b_first=False, a_ns=(BASE_NS,) * count, b_ns=b_ns)


def test_an_engine_that_is_slow_every_fifth_time_is_found_by_its_tail_alone() -> None:
    pairs = [with_tail(0.2)] * 3
    tail = rules.judge_tail(pairs)
    assert rules.judge_paired(pairs).outcome == "pass"
    assert tail is not None
    assert (tail.metric, tail.outcome, tail.change) == ("latency-p90", "regression", 1.0)
    assert (tail.before, tail.after) == (100.0, 200.0)
    assert "+100.0%" in tail.words
    assert "3 of 3" in tail.words


def test_one_launch_with_a_bad_tail_is_none() -> None:
    tail = rules.judge_tail([with_tail(0.2), with_tail(0.0), with_tail(0.0)])
    assert tail is not None
    assert tail.outcome == "pass"


def test_fewer_than_64_samples_have_no_tail() -> None:
    assert rules.judge_tail([with_tail(0.2, count=21)] * 3) is None
    assert rules.judge_tail([with_tail(0.2, count=40)] * 2) is None
    assert rules.judge_tail([with_tail(0.2, count=22)] * 3) is not None
    assert rules.judge_tail([]) is None


# --- confirmation --------------------------------------------------------------------------------


def verdict(outcome: Outcome, change: float | None = 0.05, words: str = "words") -> Verdict:
    return Verdict(metric="latency", outcome=outcome, words=words, change=change)


def test_only_a_red_is_confirmed() -> None:
    first = verdict("pass")
    assert rules.confirmed(first, verdict("regression")) is first
    alone = verdict("regression")
    assert rules.confirmed(alone, None) is alone


def test_a_red_that_comes_twice_is_one_and_tells_both_changes() -> None:
    found = rules.confirmed(verdict("regression", 0.05), verdict("regression", 0.07, "+7.0% fresh"))
    assert (found.outcome, found.change) == ("regression", 0.07)
    assert found.words == "+7.0% fresh; and +5.0% before"


@pytest.mark.parametrize("outcome", ["pass", "inconclusive"])
def test_fresh_launches_have_the_last_word(outcome: Outcome) -> None:
    found = rules.confirmed(verdict("regression", 0.05), verdict(outcome, 0.01, "fresh"))
    assert found.outcome == outcome
    assert found.words == "fresh; +5.0% in a first series was not confirmed"


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([], "failed"),
        (["pass"], "pass"),
        (["pass", "inconclusive"], "inconclusive"),
        (["unavailable", "inconclusive"], "unavailable"),
        (["failed", "unavailable", "pass"], "failed"),
        (["failed", "regression", "pass"], "regression"),
    ],
)
def test_the_worst_outcome_is_that_of_the_whole(outcomes: list[Outcome], expected: Outcome) -> None:
    assert worst_outcome(outcomes) == expected


# --- stored launches --------------------------------------------------------------------------------


def side(count: int, factor: float) -> list[list[int]]:
    """Launches of one side: each has one fast sample, and slow ones that say nothing."""
    return [[3 * BASE_NS, round(BASE_NS * factor), 2 * BASE_NS] for _ in range(count)]


def test_the_screen_compares_trimmed_minima() -> None:
    assert rules.screen(side(5, 1.0), side(5, 1.02)) == pytest.approx(1.02)
    disturbed = [*side(4, 1.0), [5 * BASE_NS]]  # a fifth at each end is cut off
    assert rules.screen(side(5, 1.0), disturbed) == pytest.approx(1.0)


@pytest.mark.parametrize("empty", [[], [[]], [[1], []]])
def test_a_side_without_samples_cannot_be_screened(empty: Sequence[Sequence[int]]) -> None:
    with pytest.raises(ValueError, match="without samples"):
        rules.screen(empty, side(1, 1.0))
    with pytest.raises(ValueError, match="without samples"):
        rules.screen(side(1, 1.0), empty)


# --- the self-test -------------------------------------------------------------------------------


def test_the_self_test_supports_the_third_largest_of_six_deviations() -> None:
    ratios = (1.0, 1.01, 1 / 1.02, 1.04, 1 / 1.08, 1.005)  # either side counts alike
    found = rules.self_test("cd" * 32, launches(*ratios))
    assert found.supported == pytest.approx(0.02, abs=1e-6)
    assert found.launch_ratios == pytest.approx(ratios)
    assert found.engine_sha256 == "cd" * 32


def test_a_self_test_without_launches_is_none() -> None:
    with pytest.raises(ValueError, match="at least one"):
        rules.self_test("cd" * 32, [])
