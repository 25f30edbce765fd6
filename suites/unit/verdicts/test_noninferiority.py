"""Dice against the accepted engine: each class for itself, over the same cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxgate.datasets.subjects import subjects_of
from voxgate.metrics.bootstrap import bounds, estimate, subject_words
from voxgate.metrics.dice import summarize
from voxgate.records.measurement import Dice
from voxgate.records.verdicts import Outcome, worst_outcome
from voxgate.verdicts.dice import DICE_MARGIN, judge_dice, paired_differences

Scores = Mapping[str, float | None]


def dice(**per_case: Scores) -> Dice:
    """Every case is a subject of its own."""
    names = list(next(iter(per_case.values())))
    found = summarize({case: dict(scores) for case, scores in per_case.items()}, ["rest", *names])
    return replace(found, subjects={case: case for case in per_case})


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
    assert verdict.words == "liver -0.0100 (2 subjects: no interval); margin 0.005"


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
    assert paired_differences("liver", before, after) == pytest.approx({"a": -0.1, "c": -1.0})


def test_without_any_class_there_is_no_pass() -> None:
    nothing = Dice(mean=0.0, per_class={"liver": None}, per_case={"a": {"liver": None}})
    (verdict,) = judge_dice(nothing, nothing)
    assert verdict.outcome == "inconclusive"
    no_case = Dice(mean=0.0, per_class={}, per_case={})
    assert worst_outcome(v.outcome for v in judge_dice(no_case, no_case)) == "inconclusive"


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


# --- patches are not subjects ------------------------------------------------------------------------


def of_subjects(found: Dice, *subjects: str) -> Dice:
    return replace(found, subjects=dict(zip(found.per_case, subjects, strict=True)))


def words_of(before: Dice, after: Dice, subjects: Mapping[str, str] | None = None) -> str:
    verdicts = judge_dice(before, after, subjects=subjects or {})
    return next(v.words for v in verdicts if v.subject == "liver")


def test_the_words_of_a_bound_count_subjects() -> None:
    words = words_of(liver(0.9, 0.9, 0.9), liver(0.89, 0.89, 0.89))
    assert words == "liver -0.0100 (between -0.0100 and -0.0100, 3 subjects); margin 0.005"


@pytest.mark.parametrize(
    ("subjects", "words"),
    [
        (("a",) * 8, "1 subject: no interval"),
        (("a", "b") * 4, "2 subjects: no interval"),
    ],
)
def test_many_patches_of_few_subjects_have_no_bound(subjects: tuple[str, ...], words: str) -> None:
    """Eight patches of one head would be inconclusive if they were eight subjects."""
    before, after = liver(*[0.9] * 8), liver(*[0.9] * 6, 0.885, 0.88)
    assert outcome_of(before, after) == "inconclusive"
    before, after = of_subjects(before, *subjects), of_subjects(after, *subjects)
    assert outcome_of(before, after) == "pass"
    assert f"({words}); margin" in words_of(before, after)


def test_patches_of_one_subject_count_once() -> None:
    subjects = ("a", "a", "a", "b", "c")
    before = of_subjects(liver(*[0.9] * 5), *subjects)
    after = of_subjects(liver(0.87, 0.87, 0.87, 0.9, 0.9), *subjects)
    (verdict,) = (v for v in judge_dice(before, after) if v.subject == "liver")
    assert verdict.change == pytest.approx(-0.01)  # not -0.018, and not from five
    assert "3 subjects" in verdict.words
    found = estimate({"1": -0.03, "2": 0.0, "3": -0.03}, {"1": "a", "2": "b", "3": "a"})
    assert found.mean == pytest.approx(-0.015)
    assert (found.low, found.subjects) == (None, 2)


def test_where_nobody_names_the_subjects_there_is_no_bound() -> None:
    before, after = (replace(liver(*s), subjects={}) for s in ((0.9,) * 3, (0.9, 0.9, 0.888)))
    assert "(subjects unknown: no interval)" in words_of(before, after)
    assert outcome_of(before, after) == "pass"
    lost = replace(liver(0.9, 0.9, 0.88), subjects={})
    assert outcome_of(before, lost) == "regression"
    known = {"case0": "a", "case1": "a"}  # one patch is unknown, so nobody knows how many there are
    assert "subjects unknown" in words_of(before, after, known)
    assert "1 subject:" in words_of(before, after, {**known, "case2": "a"})


@given(scores=_scores, losses=st.lists(st.floats(-0.02, 0.05), min_size=12, max_size=12))
def test_without_a_bound_a_mean_loss_over_the_margin_is_a_regression_all_the_same(
    scores: list[float], losses: list[float]
) -> None:
    worse = [score - loss for score, loss in zip(scores, losses, strict=False)]
    before, after = liver(*scores), liver(*worse)
    bounded = outcome_of(before, after)
    before, after = (of_subjects(side, *["head"] * len(scores)) for side in (before, after))
    assert outcome_of(before, after) == ("pass" if bounded == "inconclusive" else bounded)


def test_a_record_of_before_takes_its_subjects_from_the_task() -> None:
    old = Dice(mean=0.9, per_class={"grey": 0.9}, per_case={})
    brain = subjects_of("mni152", old)
    assert set(brain.values()) == {"right-front"}
    assert len(brain) == 8
    assert subjects_of("phantom-mini")["body-2003"] == "body-2003"
    assert subjects_of("no-such-task", old, None) == {}
    told = replace(old, subjects={"body-2000": "somebody"})
    assert subjects_of("phantom-mini", told)["body-2000"] == "somebody"


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (None, "subjects unknown: no interval"),
        (1, "1 subject: no interval"),
        (2, "2 subjects: no interval"),
        (3, "3 subjects"),
    ],
)
def test_too_few_subjects_are_said(count: int | None, words: str) -> None:
    assert subject_words(count) == words
