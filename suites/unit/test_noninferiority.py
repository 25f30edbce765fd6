"""Dice against the accepted engine: each class for itself, over the same cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.noninferiority import DICE_MARGIN, bounds, judge_dice, paired_differences
from harness.stages.evaluate import summarize
from harness.types import Dice
from harness.verdicts import Outcome, gravest

Scores = Mapping[str, float | None]


def dice(**per_case: Scores) -> Dice:
    names = list(next(iter(per_case.values())))
    return summarize({case: dict(scores) for case, scores in per_case.items()}, ["rest", *names])


def liver(*scores: float | None) -> Dice:
    """One class in as many cases; another keeps the mean from being empty."""
    return dice(**{f"case{i}": {"liver": score, "bone": 0.9} for i, score in enumerate(scores)})


def outcome_of(before: Dice, after: Dice, name: str = "liver") -> Outcome:
    return next(v.outcome for v in judge_dice(before, after) if v.subject == name)


@pytest.mark.parametrize(
    ("before", "after", "outcome"),
    [
        ((0.9, 0.8, 0.7), (0.9, 0.8, 0.7), "pass"),
        ((0.9, 0.8, 0.7), (0.95, 0.85, 0.75), "pass"),
        ((0.9, 0.8, 0.7), (0.897, 0.797, 0.697), "pass"),  # all within the margin
        ((0.9, 0.8, 0.7), (0.894, 0.794, 0.694), "regression"),
        ((0.9, 0.9, 0.9), (0.9, 0.9, 0.888), "inconclusive"),  # -0.004, from one case in three
        ((0.9, 0.9, 0.9), (0.95, 0.95, 0.78), "regression"),  # -0.007 in spite of two gains
    ],
)
def test_a_class_may_lose_the_margin_and_no_more(
    before: tuple[float, ...], after: tuple[float, ...], outcome: Outcome
) -> None:
    assert outcome_of(liver(*before), liver(*after)) == outcome


def test_each_class_has_a_verdict_and_a_lost_one_does_not_hide_in_the_mean() -> None:
    organs = {f"organ{i}": 0.9 for i in range(10)}
    before = dice(a=organs, b=organs)
    better = dict.fromkeys(organs, 0.99) | {"organ3": 0.5}
    verdicts = {v.subject: v.outcome for v in judge_dice(before, dice(a=better, b=better))}
    assert verdicts.pop("organ3") == "regression"
    assert set(verdicts.values()) == {"pass"}
    assert len(verdicts) == 9


@pytest.mark.parametrize(("cases", "outcome"), [(8, "regression"), (300, "inconclusive")])
def test_an_organ_lost_in_one_of_many_cases_does_not_pass(cases: int, outcome: Outcome) -> None:
    before = liver(*[0.9] * cases)
    after = liver(0.0, *[0.9] * (cases - 1))
    assert outcome_of(before, after) == outcome


def test_the_words_and_numbers_of_a_loss() -> None:
    (verdict,) = (v for v in judge_dice(liver(0.9, 0.9), liver(0.88, 0.9)) if v.subject == "liver")
    assert [verdict.before, verdict.after] == pytest.approx([0.9, 0.89])
    assert verdict.change == pytest.approx(-0.01)
    assert verdict.words == "liver -0.0100 (between -0.0200 and +0.0000, 2 cases); margin 0.005"


def test_a_class_that_is_absent_on_both_sides_has_no_verdict() -> None:
    absent = liver(None, None)
    assert [v.subject for v in judge_dice(absent, absent)] == ["bone"]


def test_a_class_that_appears_where_there_is_none_is_lost_dice() -> None:
    verdicts = judge_dice(liver(None, 0.9), liver(0.0, 0.9))
    (found,) = (v for v in verdicts if v.subject == "liver")
    assert found.outcome == "regression"
    assert found.change == pytest.approx(-0.5)


def test_a_class_that_no_longer_appears_where_there_is_none_is_gained_dice() -> None:
    assert outcome_of(liver(0.0, 0.9), liver(None, 0.9)) == "pass"


def test_only_cases_with_the_class_count() -> None:
    before: dict[str, Scores] = {"a": {"liver": 0.5}, "b": {"liver": None}, "c": {"liver": None}}
    after: dict[str, Scores] = {"a": {"liver": 0.4}, "b": {"liver": None}, "c": {"liver": 0.0}}
    assert paired_differences("liver", before, after) == pytest.approx([-0.1, -1.0])


def test_without_any_class_there_is_no_pass() -> None:
    nothing = Dice(mean=0.0, per_class={"liver": None}, per_case={"a": {"liver": None}})
    (verdict,) = judge_dice(nothing, nothing)
    assert verdict.outcome == "inconclusive"
    no_case = Dice(mean=0.0, per_class={}, per_case={})
    assert gravest(v.outcome for v in judge_dice(no_case, no_case)) == "inconclusive"


def test_other_cases_cannot_be_compared() -> None:
    (verdict,) = judge_dice(dice(a={"liver": 0.9}), dice(b={"liver": 0.9}))
    assert verdict.outcome == "inconclusive"
    assert verdict.words == "other cases were evaluated than in the baseline: a"


def test_other_classes_cannot_be_compared() -> None:
    after = dice(a={"liver": 0.9, "spleen": 0.9})
    (verdict,) = judge_dice(dice(a={"liver": 0.9}), after)
    assert verdict.outcome == "inconclusive"
    assert verdict.words == "other classes were evaluated than in the baseline: spleen"


_scores = st.lists(st.floats(0.2, 1.0), min_size=1, max_size=12)


@given(scores=_scores)
def test_identical_scores_pass(scores: list[float]) -> None:
    assert {v.outcome for v in judge_dice(liver(*scores), liver(*scores))} == {"pass"}


@given(scores=_scores, loss=st.floats(DICE_MARGIN * 1.01, 0.2))
def test_a_loss_of_more_than_the_margin_in_every_case_is_a_regression(
    scores: list[float], loss: float
) -> None:
    lower = [score - loss for score in scores]
    assert outcome_of(liver(*scores), liver(*lower)) == "regression"


@given(scores=_scores, losses=st.lists(st.floats(0.0, 0.2), min_size=12, max_size=12))
def test_worse_scores_are_never_judged_more_mildly(
    scores: list[float], losses: list[float]
) -> None:
    rank = {"pass": 0, "inconclusive": 1, "regression": 2}
    middle = [score - loss / 2 for score, loss in zip(scores, losses, strict=False)]
    worst = [score - loss for score, loss in zip(scores, losses, strict=False)]
    before = liver(*scores)
    assert rank[outcome_of(before, liver(*worst))] >= rank[outcome_of(before, liver(*middle))]


@given(differences=st.lists(st.floats(-1.0, 1.0), min_size=1, max_size=20))
def test_the_bounds_hold_the_mean_and_are_the_same_every_time(differences: list[float]) -> None:
    values = np.array(differences)
    low, high = bounds(values)
    assert low - 1e-12 <= values.mean() <= high + 1e-12
    assert min(differences) - 1e-12 <= low
    assert high <= max(differences) + 1e-12
    assert bounds(values) == (low, high)


def test_the_margin_can_be_chosen() -> None:
    before, after = liver(0.9, 0.9), liver(0.88, 0.88)
    wide = judge_dice(before, after, margin=0.05)
    assert {v.outcome for v in wide} == {"pass"}
    assert {v.tolerance for v in wide} == {0.05}
    assert outcome_of(before, replace(after)) == "regression"
