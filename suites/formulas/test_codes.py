"""What quantize, dequantize and fake_quantize keep on any grid, affine or symmetric."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import assume, example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from voxgate.quantization import formulas
from voxgate.quantization.grids import SMALLEST_STEP, Grid, Rounding

from suites.formulas.profile import examples
from suites.formulas.strategies import (
    BITS,
    HOSTILE,
    SEEDS,
    SUBNORMAL,
    Float32,
    error_of,
    grids,
    grids_and_values,
    inside,
    singles,
    slack,
    values_on,
)

Drawn = tuple[Grid, Float32]


def make(grid: Grid, scale: float, rounding: Rounding) -> Grid:
    """The same codes and zero point with another step and rounding."""
    return Grid(
        scale=np.asarray(scale, np.float32),
        zero_point=grid.zero_point,
        lowest=grid.lowest,
        highest=grid.highest,
        rounding=rounding,
    )


@examples
@given(drawn=grids_and_values())
def test_quantizing_twice_changes_nothing(drawn: Drawn) -> None:
    grid, x = drawn
    once = formulas.fake_quantize(x, grid)
    assert np.array_equal(formulas.fake_quantize(once, grid), once)


@examples
@given(drawn=grids_and_values())
def test_order_is_kept(drawn: Drawn) -> None:
    grid, x = drawn
    codes = formulas.quantize(np.sort(x), grid).astype(int)
    assert np.all(np.diff(codes) >= 0)
    # Pairs, as infinity minus infinity is not a number.
    values = formulas.fake_quantize(np.sort(x), grid)
    assert np.all(values[:-1] <= values[1:])


@examples
@given(grid=grids())
def test_every_code_survives_the_round_trip(grid: Grid) -> None:
    codes = np.arange(grid.lowest, grid.highest + 1)
    values = formulas.dequantize(codes, grid)
    assert np.array_equal(formulas.quantize(values, grid), codes)
    assert np.all(np.diff(values) > 0)


@examples
@given(drawn=grids_and_values())
def test_codes_stay_on_the_grid(drawn: Drawn) -> None:
    grid, x = drawn
    codes = formulas.quantize(x, grid)
    assert codes.min() >= grid.lowest
    assert codes.max() <= grid.highest
    assert codes.dtype == grid.code_type


@examples
@given(drawn=grids_and_values())
def test_values_inside_move_by_half_a_step_at_most(drawn: Drawn) -> None:
    grid, x = drawn
    x = inside(grid, x)
    assert np.all(error_of(x, grid) <= float(grid.scale) / 2 + slack(x))


@examples
@given(drawn=grids_and_values())
def test_no_other_code_is_nearer(drawn: Drawn) -> None:
    grid, x = drawn
    x = x[np.isfinite(x)]
    codes = formulas.quantize(x, grid).astype(int)
    error = error_of(x, grid)
    for other in (np.maximum(codes - 1, grid.lowest), np.minimum(codes + 1, grid.highest)):
        exact = (other - int(grid.zero_point)) * float(grid.scale)
        tolerance = slack(x) + slack(np.asarray(exact, np.float32))
        assert np.all(error <= np.abs(exact - x.astype(np.float64)) + tolerance)


@examples
@given(
    shape=npst.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=3),
    grid=grids(),
    seed=SEEDS,
)
@example(shape=(0,), grid=formulas.symmetric_grid(1.0), seed=0)
@example(shape=(), grid=formulas.symmetric_grid(1.0), seed=0)
def test_shape_and_types_are_kept(shape: tuple[int, ...], grid: Grid, seed: int) -> None:
    x = values_on(grid, seed, int(np.prod(shape))).reshape(shape)
    before = x.copy()
    codes, fake = formulas.quantize(x, grid), formulas.fake_quantize(x, grid)
    assert codes.shape == fake.shape == shape
    assert codes.dtype.kind == ("u" if grid.lowest == 0 else "i")
    assert fake.dtype == np.float32
    assert codes.dtype.itemsize == (1 if grid.highest - grid.lowest < 256 else 2)
    assert np.array_equal(x, before)


@examples
@given(drawn=grids_and_values())
def test_dequantize_is_a_product(drawn: Drawn) -> None:
    grid, x = drawn
    codes = formulas.quantize(x, grid)
    exact = [
        Fraction(int(code) - int(grid.zero_point)) * Fraction(float(grid.scale)) for code in codes
    ]
    assert np.array_equal(formulas.dequantize(codes, grid), singles([float(v) for v in exact]))
    assert np.array_equal(formulas.dequantize(codes, grid), formulas.fake_quantize(x, grid))


@examples
@given(
    grid=grids(),
    power=st.integers(-60, 60),
    halves=st.lists(st.integers(-(2**18), 2**18), min_size=1),
)
@example(grid=formulas.symmetric_grid(127.0), power=0, halves=[1, 3, 5, -1, -3])
def test_ties_of_an_exact_step(grid: Grid, power: int, halves: list[int]) -> None:
    zero = int(grid.zero_point)
    x = np.ldexp(np.asarray(halves, np.float32), power - 1)
    even = formulas.quantize(x, make(grid, 2.0**power, "half-even"))
    away = formulas.quantize(x, make(grid, 2.0**power, "half-away"))
    for half, by_even, by_away in zip(halves, even, away, strict=True):
        to_even = round(Fraction(half, 2)) + zero
        magnitude = (abs(half) + 1) // 2
        from_zero = (magnitude if half > 0 else -magnitude) + zero
        assert by_even == min(max(to_even, grid.lowest), grid.highest)
        assert by_away == min(max(from_zero, grid.lowest), grid.highest)


@examples
@given(drawn=grids_and_values())
@example(drawn=(formulas.symmetric_grid(127.0), singles([0.49999997, -0.49999997])))
def test_the_roundings_differ_at_ties_alone(drawn: Drawn) -> None:
    grid, x = drawn
    step = float(grid.scale)
    even, away = (
        formulas.quantize(x, make(grid, step, rounding)).astype(int)
        for rounding in ("half-even", "half-away")
    )
    with np.errstate(over="ignore", under="ignore"):
        ratio = np.abs(x / grid.scale)
    tie = np.isfinite(ratio) & (ratio - np.floor(np.where(np.isfinite(ratio), ratio, 0)) == 0.5)
    assert np.array_equal(even[~tie], away[~tie])
    assert np.all(np.abs(even - away) <= 1)


@examples
@given(drawn=grids_and_values(), power=st.integers(-8, 8))
def test_a_scaled_tensor_has_the_same_codes(drawn: Drawn, power: int) -> None:
    grid, x = drawn
    factor = np.float32(2.0**power)
    x = x[np.isinf(x) | (x == 0) | ((np.abs(x) > 2.0**-110) & (np.abs(x) < 2.0**119))]
    assume(grid.scale > 2.0**-110)
    scaled = make(grid, float(grid.scale * factor), grid.rounding)
    assert np.array_equal(formulas.quantize(x * factor, scaled), formulas.quantize(x, grid))
    with np.errstate(over="ignore"):  # saturated: both are then infinite
        before = formulas.fake_quantize(x, grid) * factor
    assert np.array_equal(formulas.fake_quantize(x * factor, scaled), before)


@examples
@given(drawn=grids_and_values(), seed=SEEDS)
def test_each_value_is_quantized_alone(drawn: Drawn, seed: int) -> None:
    grid, x = drawn
    order = np.random.default_rng(seed).permutation(len(x))
    assert np.array_equal(formulas.quantize(x[order], grid), formulas.quantize(x, grid)[order])
    folded = formulas.quantize(x.reshape(1, -1, 1), grid)
    assert np.array_equal(folded.ravel(), formulas.quantize(x, grid))


@examples
@given(value=HOSTILE, bits=BITS)
def test_any_finite_value_has_a_range_of_its_own(value: float, bits: int) -> None:
    x = np.asarray(value, np.float32)
    assume(np.isfinite(x) and abs(x) < 2.0**120)
    grid = formulas.affine_grid(*formulas.value_range(x), bits)
    assert error_of(x, grid) <= grid.scale / 2


@examples
@given(scale=st.floats(SUBNORMAL, SMALLEST_STEP, width=32), seed=SEEDS)
@example(scale=SUBNORMAL, seed=0)  # 1 / s is infinite: torch makes code 127 of zero here
def test_a_subnormal_step_from_a_file_is_taken_as_it_is(scale: float, seed: int) -> None:
    grid = make(formulas.symmetric_grid(1.0), scale, "half-even")
    assert formulas.quantize(singles(0), grid) == 0
    codes = np.random.default_rng(seed).integers(-128, 128, 16)
    assert np.array_equal(formulas.quantize(formulas.dequantize(codes, grid), grid), codes)
