"""Dice against cases solved by hand and against its definition on sets of voxels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from voxgate.errors import EngineOutputError
from voxgate.metrics.dice import dice_scores, summarize, to_labels

CLASSES = ("background", "grey", "white")

Labels = NDArray[np.uint8]


def _labels(*values: int) -> Labels:
    return np.array(values, np.uint8).reshape(1, 1, -1)


@pytest.mark.parametrize(
    ("prediction", "truth", "grey", "white"),
    [
        ((0, 1, 1, 2), (0, 1, 1, 2), 1.0, 1.0),
        ((1, 1, 2, 2), (2, 2, 1, 1), 0.0, 0.0),
        ((1, 1, 1, 1), (1, 1, 1, 2), 6 / 7, 0.0),
        ((0, 1, 1, 2), (0, 0, 1, 2), 2 / 3, 1.0),
        ((0, 0, 1, 1), (0, 0, 0, 1), 2 / 3, None),
        ((0, 0, 0, 2), (0, 0, 0, 0), None, 0.0),
        ((0, 0, 0, 0), (0, 0, 0, 2), None, 0.0),
        ((0, 0, 0, 0), (0, 0, 0, 0), None, None),
    ],
)
def test_small_volumes(
    prediction: tuple[int, ...], truth: tuple[int, ...], grey: float | None, white: float | None
) -> None:
    scores = dice_scores(_labels(*prediction), _labels(*truth), CLASSES)
    assert scores == {"grey": grey, "white": white}


def test_background_alone_has_no_score() -> None:
    assert dice_scores(_labels(0, 0), _labels(0, 0), ("background",)) == {}


def test_counts_beyond_eight_bits_do_not_overflow() -> None:
    ones = np.ones((8, 8, 8), np.uint8)
    half = ones.copy()
    half[:4] = 0
    # |P| = 512, |T| = 256, |P n T| = 256
    assert dice_scores(ones, half, CLASSES)["grey"] == pytest.approx(2 / 3)


def test_many_classes_do_not_overflow_the_labels_type() -> None:
    names = tuple(f"class-{i}" for i in range(200))
    volume = np.arange(200, dtype=np.uint8).reshape(2, 10, 10)
    assert set(dice_scores(volume, volume, names).values()) == {1.0}


def _naive(prediction: Labels, truth: Labels, label: int) -> float | None:
    ours = {tuple(i) for i in np.argwhere(prediction == label).tolist()}
    theirs = {tuple(i) for i in np.argwhere(truth == label).tolist()}
    if not ours and not theirs:
        return None
    return 2 * len(ours & theirs) / (len(ours) + len(theirs))


_volumes = arrays.arrays(np.uint8, (2, 3, 2), elements=st.integers(0, 2))


@given(_volumes, _volumes)
def test_equals_the_definition_on_sets(prediction: Labels, truth: Labels) -> None:
    expected = {name: _naive(prediction, truth, i) for i, name in enumerate(CLASSES) if i}
    assert dice_scores(prediction, truth, CLASSES) == expected


@given(_volumes, _volumes)
def test_is_symmetric(prediction: Labels, truth: Labels) -> None:
    assert dice_scores(prediction, truth, CLASSES) == dice_scores(truth, prediction, CLASSES)


@given(_volumes)
def test_volume_against_itself_is_perfect(volume: Labels) -> None:
    assert set(dice_scores(volume, volume, CLASSES).values()) <= {1.0, None}


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.int64])
def test_type_of_the_labels_does_not_matter(kind: type[np.integer[Any]]) -> None:
    prediction, truth = _labels(0, 1, 1, 2).astype(kind), _labels(0, 0, 1, 2)
    assert dice_scores(prediction, truth, CLASSES) == {"grey": 2 / 3, "white": 1.0}


# --- the mean ------------------------------------------------------------------------------------


def test_mean_is_over_cases_first_and_classes_second() -> None:
    dice = summarize({"a": {"grey": 1.0, "white": 0.5}, "b": {"grey": 0.5, "white": None}}, CLASSES)
    assert dice.per_class == {"grey": 0.75, "white": 0.5}
    assert dice.mean == 0.625
    assert dice.per_case == {
        "a": {"grey": 1.0, "white": 0.5},
        "b": {"grey": 0.5, "white": None},
    }


def test_class_in_no_case_does_not_count() -> None:
    dice = summarize({"a": {"grey": 0.5, "white": None}}, CLASSES)
    assert dice.per_class == {"grey": 0.5, "white": None}
    assert dice.mean == 0.5


def test_class_that_was_missed_counts_as_zero() -> None:
    assert summarize({"a": {"grey": 1.0, "white": 0.0}}, CLASSES).mean == 0.5


@pytest.mark.parametrize("per_case", [{}, {"a": {"grey": None, "white": None}}])
def test_nothing_to_average_is_an_error(per_case: dict[str, dict[str, float | None]]) -> None:
    with pytest.raises(EngineOutputError, match="no evaluation case holds a foreground class"):
        summarize(per_case, CLASSES)


# --- from logits to labels -----------------------------------------------------------------------


def test_most_likely_class_wins() -> None:
    logits = np.zeros((1, 3, 1, 1, 4), np.float32)
    logits[0, 0, 0, 0] = [5, 0, -1, -9]
    logits[0, 1, 0, 0] = [1, 3, -2, -8]
    logits[0, 2, 0, 0] = [2, 1, -3, -7]
    assert to_labels(logits, 3, (1, 1, 4)).tolist() == [[[0, 1, 0, 2]]]


@pytest.mark.parametrize(
    "shape", [(1, 2, 4, 4, 4), (2, 3, 4, 4, 4), (3, 4, 4, 4), (1, 3, 4, 4, 2), (1, 3, 64)]
)
def test_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(EngineOutputError, match="expected") as caught:
        to_labels(np.zeros(shape, np.float32), 3, (4, 4, 4))
    assert str(shape) in str(caught.value)
    assert "(1, 3, 4, 4, 4)" in str(caught.value)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_value_that_is_not_finite_is_refused(bad: float) -> None:
    logits = np.zeros((1, 3, 2, 2, 2), np.float32)
    logits[0, 1, 1, 0, 1] = bad
    with pytest.raises(EngineOutputError, match="1 of 24 values"):
        to_labels(logits, 3, (2, 2, 2))
