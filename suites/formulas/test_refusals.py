"""Bad input is an error that names the tensor and the value, whatever else is right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxgate.errors import QuantizationError
from voxgate.quantization import formulas
from voxgate.quantization.grids import MOST_STEPS, Grid

from suites.formulas.profile import examples
from suites.formulas.strategies import BOUNDS, SEEDS, SUBNORMAL, affine_grids, values_on

NAME = "decoder.0.weight"


def refused(*words: str) -> pytest.RaisesExc[QuantizationError]:
    """The error, with the tensor's name and every word in its message."""
    return pytest.RaisesExc(
        QuantizationError, check=lambda e: all(word in str(e) for word in (NAME, *words))
    )


def grid_of(scale: object, zero_point: object = 0, axis: int | None = None) -> Grid:
    return Grid(
        scale=np.asarray(scale, np.float32),
        zero_point=np.asarray(zero_point, np.int64),
        lowest=-128,
        highest=127,
        axis=axis,
        name=NAME,
    )


@examples
@given(bits=st.one_of(st.integers(max_value=1), st.integers(min_value=17)))
def test_bits_outside_of_2_to_16(bits: int) -> None:
    with pytest.raises(QuantizationError, match=f"{NAME!r}: {bits} bits; codes have 2 to 16"):
        formulas.affine_grid(0, 1, bits, name=NAME)
    with pytest.raises(QuantizationError, match=f"{NAME!r}: {bits} bits; codes have 2 to 16"):
        formulas.symmetric_grid(1, bits, name=NAME)


@examples
@given(
    bad=st.one_of(st.floats(max_value=0, width=32), st.sampled_from([np.inf, np.nan])),
    at=st.integers(0, 3),
)
def test_a_scale_that_is_not_positive_and_finite(bad: float, at: int) -> None:
    with pytest.raises(QuantizationError) as caught:
        grid_of(bad)
    assert f"{NAME!r}: the scale is {np.float32(bad)}; it must be positive" in str(caught.value)
    scales = np.ones(4, np.float32)
    scales[at] = bad
    with pytest.raises(QuantizationError) as caught:
        grid_of(scales, np.zeros(4), axis=0)
    assert f"{np.float32(bad)} at ({at},)" in str(caught.value)


@examples
@given(bound=BOUNDS, bad=st.sampled_from([np.nan, np.inf, -np.inf, 1e39]))
def test_a_range_that_is_not_finite(bound: float, bad: float) -> None:
    with pytest.raises(QuantizationError, match=f"{NAME!r}: x_min is"):
        formulas.affine_grid(bad, bound, name=NAME)
    with pytest.raises(QuantizationError, match=f"{NAME!r}: x_max is"):
        formulas.affine_grid(bound, bad, name=NAME)
    with pytest.raises(QuantizationError, match=f"{NAME!r}: amax is"):
        formulas.symmetric_grid(bad, name=NAME)


@examples
@given(low=BOUNDS, high=BOUNDS)
def test_a_range_the_wrong_way_around(low: float, high: float) -> None:
    if low > high:
        with pytest.raises(QuantizationError, match=f"{NAME!r}: x_min is .*, above x_max"):
            formulas.affine_grid(low, high, name=NAME)
    if low < 0:
        with pytest.raises(QuantizationError, match=f"{NAME!r}: amax is .*0 or more"):
            formulas.symmetric_grid([1.0, low], axis=0, name=NAME)


@examples
@given(dims=st.lists(st.integers(1, 3), max_size=4).map(tuple), axis=st.integers(-9, 9))
def test_an_axis_that_the_tensor_lacks(dims: tuple[int, ...], axis: int) -> None:
    x = np.ones(dims, np.float32)
    grid = grid_of([1.0, 1.0], [0, 0], axis=axis)
    if not -len(dims) <= axis < len(dims):
        with pytest.raises(QuantizationError) as caught:
            formulas.quantize(x, grid)
        assert f"{NAME!r}: axis {axis} is none of an array of shape {dims}" in str(caught.value)
        with pytest.raises(QuantizationError, match=f"axis {axis} is none of"):
            formulas.value_range(x, axis, name=NAME)
    elif dims[axis] != 2:
        with pytest.raises(QuantizationError) as caught:
            formulas.dequantize(np.ones(dims, np.int8), grid)
        assert f"2 scales for the {dims[axis]} slices of {dims}" in str(caught.value)


@examples
@given(grid=affine_grids(), seed=SEEDS, at=st.integers(0, 47))
def test_nan_has_no_code(grid: Grid, seed: int, at: int) -> None:
    x = values_on(grid, seed)
    x[at] = np.nan
    with pytest.raises(QuantizationError, match=rf"a value is nan at \({at},\); NaN has no code"):
        formulas.quantize(x, grid)
    with pytest.raises(QuantizationError, match=rf"a value is nan at \({at},\); a range must be"):
        formulas.value_range(x)


@examples
@given(grid=affine_grids(), beyond=st.integers(1, 1000))
def test_a_code_of_another_grid(grid: Grid, beyond: int) -> None:
    for code in (grid.lowest - beyond, grid.highest + beyond):
        with pytest.raises(QuantizationError, match=f"a code is {code}; this grid's go from 0 to"):
            formulas.dequantize(np.array(code), grid)


@pytest.mark.parametrize("bits", [8.0, True, "8", None])
def test_bits_that_are_no_integer(bits: object) -> None:
    with pytest.raises(QuantizationError, match="give an integer from 2 to 16"):
        formulas.affine_grid(0, 1, bits, name=NAME)  # type: ignore[arg-type]


def test_types_and_shapes() -> None:
    grid = grid_of(1.0)
    with pytest.raises(QuantizationError, match=f"{NAME!r} is float64; runtimes quantize float32"):
        formulas.quantize(np.ones(3), grid)  # type: ignore[arg-type]
    with pytest.raises(QuantizationError, match="codes of float32; they are integers"):
        formulas.dequantize(np.ones(3, np.float32), grid)
    with pytest.raises(QuantizationError, match=r"scales of shape \(2,\); give one, as \(\)"):
        formulas.symmetric_grid([1, 2], name=NAME)
    with pytest.raises(QuantizationError, match=r"scales of shape \(\); give one a channel"):
        formulas.symmetric_grid(1, axis=0, name=NAME)
    with pytest.raises(QuantizationError, match=r"x_min of shape \(2,\) and x_max of \(3,\)"):
        formulas.affine_grid([0, 0], [1, 1, 1], axis=0, name=NAME)
    with pytest.raises(QuantizationError, match=r"shape \(3, 0\) has no values"):
        formulas.value_range(np.ones((3, 0), np.float32), 0, name=NAME)
    with pytest.raises(QuantizationError, match="unknown rounding 'up'; choose from half-even"):
        formulas.affine_grid(0, 1, rounding="up", name=NAME)  # type: ignore[arg-type]


def test_grids_from_elsewhere() -> None:
    with pytest.raises(QuantizationError, match="scales of float64; runtimes divide in float32"):
        Grid(scale=np.ones(()), zero_point=np.array(0), lowest=0, highest=1)  # type: ignore[arg-type]
    with pytest.raises(QuantizationError, match=r"zero points of int64 and shape \(2,\)"):
        grid_of(1.0, [0, 0])
    with pytest.raises(QuantizationError, match=f"zero point is {MOST_STEPS + 1}, more than"):
        grid_of(1.0, MOST_STEPS + 1)
    with pytest.raises(QuantizationError, match="codes from 1 to 9; they must contain 0"):
        Grid(scale=np.float32(1) * np.ones((), "f4"), zero_point=np.array(0), lowest=1, highest=9)
    assert grid_of(SUBNORMAL).scale > 0
