"""The paper's equations 2 and 3, and what a range means once values pass through it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from voxgate.errors import QuantizationError
from voxgate.quantization import formulas
from voxgate.quantization.grids import MOST_STEPS, SMALLEST_STEP, Grid, Rounding

from suites.formulas.profile import examples
from suites.formulas.strategies import (
    BITS,
    BOUNDS,
    ROUNDING,
    Float32,
    affine_grids,
    error_of,
    grids_and_values,
    range_slack,
    ranges,
    ranges_near_zero,
    singles,
    slack,
)

Bounds = tuple[float, float]


def exactly(value: float) -> Fraction:
    return Fraction(float(np.float32(value)))


@examples
@given(bounds=ranges_near_zero(), bits=BITS)
def test_the_step_is_equation_2(bounds: Bounds, bits: int) -> None:
    grid = formulas.affine_grid(*bounds, bits)
    step = (exactly(bounds[1]) - exactly(bounds[0])) / (2**bits - 1)
    wanted = max(np.float32(float(step)), np.float32(SMALLEST_STEP))
    assert grid.scale == wanted
    assert (grid.lowest, grid.highest) == (0, 2**bits - 1)


@examples
@given(bounds=ranges_near_zero(), bits=BITS)
@example(bounds=(-127.5, 127.5), bits=8)  # a tie: -127.5 goes to -128, which is even
@example(bounds=(-126.5, 128.5), bits=8)  # and -126.5 to -126
def test_the_zero_point_is_equation_3(bounds: Bounds, bits: int) -> None:
    grid = formulas.affine_grid(*bounds, bits)
    # The exact ratio; float32 may only differ from it where it is a tie to within its rounding.
    ratio = exactly(bounds[0]) / exactly(float(grid.scale))
    assert abs(int(grid.zero_point) + ratio) <= Fraction(1, 2) + abs(ratio) * Fraction(1, 2**24)
    if np.float32(float(ratio)) == ratio:
        assert grid.zero_point == -round(ratio)  # Python's round takes ties to even, too


@examples
@given(bounds=ranges_near_zero(), bits=BITS, rounding=ROUNDING)
def test_x_min_is_code_0(bounds: Bounds, bits: int, rounding: Rounding) -> None:
    grid = formulas.affine_grid(*bounds, bits, rounding=rounding)
    assert formulas.quantize(singles(bounds[0]), grid) == 0


@examples
@given(bounds=ranges_near_zero(), bits=BITS, rounding=ROUNDING)
@example(bounds=(-0.5, 254.5), bits=8, rounding="half-even")  # x_max is code 254: 254.5 is a tie
def test_x_max_is_the_highest_code_or_one_less(
    bounds: Bounds, bits: int, rounding: Rounding
) -> None:
    grid = formulas.affine_grid(*bounds, bits, rounding=rounding)
    assume(grid.scale > SMALLEST_STEP)
    assert formulas.quantize(singles(bounds[1]), grid) >= grid.highest - 1


@examples
@given(bounds=ranges_near_zero(), bits=BITS, rounding=ROUNDING, shares=st.lists(st.floats(0, 1)))
def test_the_error_inside_the_range_is_half_a_step(
    bounds: Bounds, bits: int, rounding: Rounding, shares: list[float]
) -> None:
    low, high = bounds
    grid = formulas.affine_grid(low, high, bits, rounding=rounding)
    x = np.asarray([low, high, *[low + share * (high - low) for share in shares]], np.float32)
    assert np.all(error_of(x, grid) <= float(grid.scale) / 2 + range_slack(x, grid))


@examples
@given(drawn=grids_and_values(affine_grids))
def test_values_outside_of_the_range_saturate(drawn: tuple[Grid, Float32]) -> None:
    grid, x = drawn
    ends = formulas.dequantize(np.array([0, grid.highest]), grid)
    codes = formulas.quantize(x, grid)
    assert np.all(codes[x <= ends[0]] == 0)
    assert np.all(codes[x >= ends[1]] == grid.highest)
    assert list(formulas.quantize(singles([-np.inf, np.inf]), grid)) == [0, grid.highest]


@examples
@given(bounds=ranges(), bits=BITS, rounding=ROUNDING)
def test_a_range_with_zero_holds_it_exactly(bounds: Bounds, bits: int, rounding: Rounding) -> None:
    grid = formulas.affine_grid(*bounds, bits, include_zero=True, rounding=rounding)
    assert 0 <= grid.zero_point <= grid.highest
    assert grid.storable
    zeros = formulas.fake_quantize(singles([0.0, -0.0]), grid)
    assert list(zeros) == [0, 0]


@examples
@given(bounds=ranges_near_zero().filter(lambda r: r[0] > 0 or r[1] < 0), bits=BITS)
def test_without_zero_the_zero_point_may_leave_the_codes(bounds: Bounds, bits: int) -> None:
    grid = formulas.affine_grid(*bounds, bits)
    if bounds[0] > grid.scale:
        assert grid.zero_point < 0
        assert not grid.storable
    if -bounds[1] > grid.scale:
        assert grid.zero_point > grid.highest - 1
    widened = formulas.affine_grid(*bounds, bits, include_zero=True)
    assert widened.storable
    assert widened.scale >= grid.scale


@examples
@given(value=BOUNDS, bits=BITS, rounding=ROUNDING)
@example(value=0.0, bits=8, rounding="half-even")
@example(value=1e-45, bits=8, rounding="half-even")  # its step would be subnormal
def test_a_range_of_one_value_holds_it(value: float, bits: int, rounding: Rounding) -> None:
    grid = formulas.affine_grid(value, value, bits, rounding=rounding)
    kept = formulas.fake_quantize(singles(value), grid)
    if value == 0 or abs(value) >= SMALLEST_STEP:
        assert kept == np.float32(value)
    else:
        assert abs(kept - value) <= SMALLEST_STEP / 2


@examples
@given(bounds=ranges_near_zero(), bits=st.integers(2, 15))
def test_another_bit_halves_the_step(bounds: Bounds, bits: int) -> None:
    coarse = formulas.affine_grid(*bounds, bits).scale
    fine = formulas.affine_grid(*bounds, bits + 1).scale
    assert float(fine) <= max(float(coarse) / 2, SMALLEST_STEP)


@examples
@given(start=st.floats(1, 2.0**100, width=32), bits=BITS)
@example(start=100.0, bits=16)
def test_a_range_too_far_from_zero_is_refused(start: float, bits: int) -> None:
    low = singles(start)
    high = singles(np.nextafter(low, singles(np.inf)))
    steps = float(low) / (float(high) - float(low)) * (2**bits - 1)
    if steps > MOST_STEPS + 1:
        with pytest.raises(QuantizationError, match=f"more than {MOST_STEPS} steps"):
            formulas.affine_grid(low, high, bits)
    grid = formulas.affine_grid(low, high, bits, include_zero=True)
    assert error_of(low, grid) <= grid.scale / 2 + slack(low)
