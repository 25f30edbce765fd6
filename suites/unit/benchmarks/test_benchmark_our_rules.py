"""The rules over many comparisons give the answers of the gate's own, one by one."""

from __future__ import annotations

import numpy as np
import pytest
from voxgate.records.measurement import PairedLaunch
from voxgate.records.verdicts import SelfTest, Verdict, worst_outcome
from voxgate.verdicts import alternating, rules

from benchmarks import our_rules
from benchmarks.our_rules import Answer
from benchmarks.resampling import EFFECTS, Draws, Effect, Floats, draw, stratify
from suites.support.recorded import TRIALS, drawn, make_recording


@pytest.fixture(scope="module")
def wild() -> list[Draws]:
    """Comparisons near every threshold: launches that differ, samples that scatter, all slowdowns."""
    calm, rough = drawn(spread=0.02, noise=0.05), drawn(noise=2.0, launches=60)
    undecided = rough.slowed(Effect(name="x", factor=1.03), np.random.default_rng(2))
    return [
        *(calm.slowed(effect, np.random.default_rng(2)) for effect in EFFECTS),
        rough,
        undecided,
    ]


def pairs_of(launches: Floats) -> list[PairedLaunch]:
    return [
        PairedLaunch(b_first=False, a_ns=tuple(a.tolist()), b_ns=tuple(b.tolist()))
        for a, b in launches
    ]


def test_the_stored_screen_is_the_gates(wild: list[Draws]) -> None:
    for draws in wild:
        expected = [rules.screen(a.tolist(), b.tolist()) for a, b in draws.stored]
        assert our_rules.minima_ratio(draws.stored) == pytest.approx(expected)


def series_of(launches: Floats) -> list[PairedLaunch]:
    """The launches that a gate would make."""
    pairs: list[PairedLaunch] = []
    for pair in pairs_of(launches):
        if rules.needs_more_pairs(pairs):
            pairs.append(pair)
    return pairs


def test_the_paired_rule_is_the_gates(wild: list[Draws]) -> None:
    seen = set()
    for draws in wild:
        answer, series = our_rules.paired(draws), draws.series[0]
        for i, launches in enumerate(draws.first):
            pairs = series_of(launches)
            verdict = rules.judge_paired(pairs)
            assert our_rules.taken(series)[i] == len(pairs)
            assert our_rules.median_change(series)[i] == pytest.approx(verdict.change)
            assert outcome_of(answer, i) == verdict.outcome
            seen.add(verdict.outcome)
    assert seen == {"pass", "regression", "inconclusive"}


def outcome_of(answer: Answer, index: int) -> str:
    assert not (answer.flagged[index] and answer.inconclusive[index])
    if answer.flagged[index]:
        return "regression"
    return "inconclusive" if answer.inconclusive[index] else "pass"


def test_a_red_is_confirmed_as_the_gate_does(wild: list[Draws]) -> None:
    for draws in wild:
        answer = our_rules.paired_confirmed(draws)
        for i, (first, fresh) in enumerate(zip(draws.first, draws.fresh, strict=True)):
            verdicts = [rules.judge_paired(series_of(launches)) for launches in (first, fresh)]
            assert outcome_of(answer, i) == rules.confirmed(*verdicts).outcome


def test_the_tail_rule_is_the_gates(wild: list[Draws]) -> None:
    seen = set()
    for draws in wild:
        found = our_rules.tail(draws).flagged
        for i, launches in enumerate(draws.first):
            verdict = rules.judge_tail(series_of(launches))
            assert verdict is not None
            assert found[i] == (verdict.outcome == "regression")
            seen.add(verdict.outcome)
    assert seen == {"pass", "regression"}


def test_a_tail_of_too_few_samples_is_not_judged() -> None:
    (stratum,) = stratify([make_recording(pairs=20)])
    draws = draw(stratum, "quiet", 5, np.random.default_rng(1))
    slow = draws.slowed(Effect(name="x", factor=2.0), np.random.default_rng(1))
    assert rules.judge_tail(series_of(slow.first[0])) is None
    assert not our_rules.tail(slow).flagged.any()


def test_the_supported_tolerance_is_the_self_tests(wild: list[Draws]) -> None:
    expected = [rules.self_test("", pairs_of(x)).supported for x in wild[0].self_test]
    assert our_rules.supported(wild[0]) == pytest.approx(expected)


def test_the_gate_is_self_test_times_and_tails(wild: list[Draws]) -> None:
    def verdicts(launches: Floats, told: SelfTest) -> list[Verdict]:
        pairs = series_of(launches)
        found = [rules.judge_paired(pairs, self_test=told), rules.judge_tail(pairs)]
        return [verdict for verdict in found if verdict]

    seen = set()
    for draws in wild:
        answer = our_rules.gate(draws)
        for i in range(TRIALS):
            told = rules.self_test("", pairs_of(draws.self_test[i]))
            both = (verdicts(launches[i], told) for launches in (draws.first, draws.fresh))
            expected = worst_outcome(
                rules.confirmed(*each).outcome for each in zip(*both, strict=True)
            )
            assert outcome_of(answer, i) == expected
            seen.add(expected)
    assert seen == {"pass", "regression", "inconclusive"}


def test_the_alternating_rule_stops_when_five_launches_decide(wild: list[Draws]) -> None:
    for draws in wild:
        answer = our_rules.alternating(draws)
        for i, (a, b) in enumerate(draws.alternating.tolist()):
            few = alternating.judge_alternating(a[:5], b[:5]).outcome
            whole = alternating.judge_alternating(a, b).outcome
            assert outcome_of(answer, i) == (whole if few == "inconclusive" else few)
