"""Scales: where values land, and which ticks an axis gets."""

from __future__ import annotations

import itertools
import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxgate.report.charts.axes import finite, fitting, linear, linear_ticks, log_ticks, logarithmic

VALUES = st.floats(-1e12, 1e12)
POSITIVE = st.floats(1e-9, 1e12)


def leading_digits(value: float) -> Decimal:
    """1, 2 or 5 of a round step."""
    return Decimal(f"{value:.6e}".partition("e")[0])


@given(VALUES, VALUES, st.integers(2, 12))
def test_linear_ticks_are_few_rising_inside_and_evenly_round(a: float, b: float, most: int) -> None:
    low, high = min(a, b), max(a, b)
    if high - low <= 1e-6 * max(abs(low), abs(high)):
        return
    ticks = linear_ticks(low, high, most)
    assert len(ticks) <= most + 1
    assert all(low <= tick <= high for tick in ticks)
    assert all(one < two for one, two in itertools.pairwise(ticks))
    inner = [two - one for one, two in itertools.pairwise(ticks)]
    for step in inner:
        assert step == pytest.approx(inner[0], rel=1e-3)


@given(st.floats(1e-6, 1e9), st.integers(4, 12))
def test_steps_of_a_domain_from_zero_are_one_two_or_five(high: float, most: int) -> None:
    ticks = linear_ticks(0.0, high, most)
    assert leading_digits(ticks[1] - ticks[0]) in {1, 2, 5}


@given(POSITIVE, POSITIVE, st.integers(2, 9))
def test_log_ticks_rise_inside_the_domain(a: float, b: float, most: int) -> None:
    low, high = min(a, b), max(a, b)
    if high <= low * (1 + 1e-6):
        return
    ticks = log_ticks(low, high, most)
    assert len(ticks) <= most + 1
    assert all(low <= tick <= high for tick in ticks)
    assert all(one < two for one, two in itertools.pairwise(ticks))


def test_log_ticks_are_one_two_five_then_tens_alone() -> None:
    assert log_ticks(8, 120) == (10, 20, 50, 100)
    assert log_ticks(0.9, 2000) == (1, 10, 100, 1000)
    assert len(log_ticks(1e-9, 1e12)) <= 6


def test_a_log_domain_between_two_round_values_still_has_ticks() -> None:
    assert log_ticks(22, 47, 6) == (25, 30, 35, 40, 45)


@given(st.lists(VALUES, min_size=1))
def test_every_value_of_a_linear_scale_lies_between_its_ends(values: list[float]) -> None:
    for scale in (linear(values, 10, 110), linear(values, 10, 110, zero=True)):
        assert scale.low < scale.high
        assert all(10 - 1e-6 <= scale(value) <= 110 + 1e-6 for value in values)
    assert scale.low <= 0 <= scale.high


@given(st.lists(POSITIVE, min_size=1))
def test_every_value_of_a_log_scale_lies_between_its_ends(values: list[float]) -> None:
    scale = logarithmic(values, 110, 10)
    assert all(10 - 1e-6 <= scale(value) <= 110 + 1e-6 for value in values)


@pytest.mark.parametrize("values", [[], [0.0], [5.0], [-3.0, -3.0], [math.nan], [math.inf, 2.0]])
def test_degenerate_domains_have_a_width_and_ticks(values: list[float]) -> None:
    for scale in (linear(values, 0, 100), logarithmic(values, 0, 100), fitting(values, 0, 100)):
        assert scale.low < scale.high
        assert len(scale.ticks()) >= 2


def test_one_value_stands_inside_its_scale() -> None:
    assert 0 < linear([5.0], 0, 100)(5.0) < 100
    assert logarithmic([5.0], 0, 100)(5.0) == pytest.approx(50)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_scale_refuses_what_is_not_finite(value: float) -> None:
    with pytest.raises(ValueError, match="has no place"):
        linear([1, 2], 0, 100)(value)


def test_a_log_scale_refuses_zero() -> None:
    with pytest.raises(ValueError, match="has no place"):
        logarithmic([1, 2], 0, 100)(0.0)


def test_what_is_not_finite_or_absent_is_left_out() -> None:
    assert finite([1.0, None, math.nan, math.inf, -math.inf, 1e300]) == [1.0]


def test_a_wide_spread_gets_a_log_axis_and_a_narrow_one_does_not() -> None:
    assert fitting([1, 100], 0, 1).log
    assert not fitting([50, 100], 0, 1).log
    assert not fitting([0, 100], 0, 1).log


def test_a_reversed_scale_maps_high_to_the_top() -> None:
    scale = linear([0, 10], 200, 20)
    assert (scale(0), scale(10)) == (200, 20)
