"""The signed form with zero point 0: zero is exact, signs mirror, the narrow range drops one code."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from voxgate.quantization import formulas
from voxgate.quantization.grids import SMALLEST_STEP, Grid, Rounding

from suites.formulas.profile import examples
from suites.formulas.strategies import (
    BITS,
    HUGE,
    MAGNITUDES,
    ROUNDING,
    Float32,
    error_of,
    grids_and_values,
    singles,
    slack,
    symmetric_grids,
)


@examples
@given(amax=MAGNITUDES.filter(bool), bits=BITS, narrow=st.booleans())
def test_the_step_is_amax_over_the_highest_code(amax: float, bits: int, *, narrow: bool) -> None:
    grid = formulas.symmetric_grid(amax, bits, narrow=narrow)
    highest = 2 ** (bits - 1) - 1
    step = Fraction(float(np.float32(amax))) / highest
    assert grid.scale == max(np.float32(float(step)), np.float32(SMALLEST_STEP))
    assert (grid.lowest, grid.highest) == (-highest if narrow else -highest - 1, highest)
    assert grid.zero_point == 0
    assert grid.storable


@examples
@given(grid=symmetric_grids())
def test_zero_is_code_0_and_exact(grid: Grid) -> None:
    zeros = singles([0.0, -0.0])
    assert list(formulas.quantize(zeros, grid)) == [0, 0]
    assert list(formulas.fake_quantize(zeros, grid)) == [0, 0]


@examples
@given(drawn=grids_and_values(symmetric_grids))
def test_signs_mirror_up_to_the_lowest_code(drawn: tuple[Grid, Float32]) -> None:
    grid, x = drawn
    codes, mirrored = (formulas.quantize(v, grid).astype(int) for v in (x, -x))
    highest = grid.highest
    assert np.array_equal(np.clip(-codes, -highest, highest), np.clip(mirrored, -highest, highest))


@examples
@given(amax=MAGNITUDES, bits=BITS, rounding=ROUNDING, drawn=grids_and_values(symmetric_grids))
def test_the_narrow_range_lacks_the_lowest_code_alone(
    amax: float, bits: int, rounding: Rounding, drawn: tuple[Grid, Float32]
) -> None:
    full = formulas.symmetric_grid(amax, bits, rounding=rounding)
    narrow = formulas.symmetric_grid(amax, bits, narrow=True, rounding=rounding)
    assert narrow.scale == full.scale
    codes = formulas.quantize(drawn[1], full)
    wanted = np.maximum(codes, narrow.lowest)
    assert np.array_equal(formulas.quantize(drawn[1], narrow), wanted)


@examples
@given(amax=MAGNITUDES, bits=BITS, narrow=st.booleans())
def test_amax_is_the_highest_code(amax: float, bits: int, *, narrow: bool) -> None:
    grid = formulas.symmetric_grid(amax, bits, narrow=narrow)
    ends = formulas.quantize(singles([amax, -amax]), grid).astype(int)
    if grid.scale > SMALLEST_STEP and amax > 0:
        assert list(ends) == [grid.highest, -grid.highest]
    else:
        assert list(ends) == [-ends[1], ends[1]]


@examples
@given(
    amax=MAGNITUDES,
    bits=BITS,
    rounding=ROUNDING,
    narrow=st.booleans(),
    shares=st.lists(st.floats(-1, 1)),
)
def test_the_error_up_to_amax_is_half_a_step(
    amax: float, bits: int, rounding: Rounding, shares: list[float], *, narrow: bool
) -> None:
    grid = formulas.symmetric_grid(amax, bits, narrow=narrow, rounding=rounding)
    x = np.asarray([amax, -amax, *[share * amax for share in shares]], np.float32)
    assert np.all(error_of(x, grid) <= float(grid.scale) / 2 + slack(x))


@examples
@given(drawn=grids_and_values(symmetric_grids))
def test_values_beyond_amax_saturate(drawn: tuple[Grid, Float32]) -> None:
    grid, x = drawn
    codes = formulas.quantize(x, grid)
    assert np.all(codes[x >= grid.highest * grid.scale] == grid.highest)
    assert np.all(codes[x <= grid.lowest * grid.scale] == grid.lowest)


@pytest.mark.parametrize("bits", range(2, 17))
def test_every_tie_at_step_1(bits: int) -> None:
    highest = 2 ** (bits - 1) - 1
    ties = np.arange(-highest, highest, dtype=np.float32) + np.float32(0.5)
    codes = formulas.quantize(ties, formulas.symmetric_grid(highest, bits)).astype(int)
    assert list(codes) == [min(round(float(tie)), highest) for tie in ties]
    away = formulas.quantize(ties, formulas.symmetric_grid(highest, bits, rounding="half-away"))
    assert np.array_equal(away, ties + np.sign(ties) / 2)


@examples
@given(amax=st.floats(2.0**127, HUGE, width=32), bits=BITS)
@example(amax=HUGE, bits=2)
@example(amax=HUGE, bits=8)  # -128 * s is beyond float32: so it is in every runtime
def test_the_lowest_code_may_overflow_and_the_narrow_range_never_does(
    amax: float, bits: int
) -> None:
    full = formulas.symmetric_grid(amax, bits)
    narrow = formulas.symmetric_grid(amax, bits, narrow=True)
    lowest = formulas.dequantize(np.array(full.lowest), full)
    with np.errstate(over="ignore"):
        assert lowest == np.float32(full.lowest) * full.scale
    # To the last bit: the step is rounded, so the highest code may pass the largest float32.
    for code in (narrow.lowest + 1, narrow.highest - 1):
        assert np.isfinite(formulas.dequantize(np.array(code), narrow))
