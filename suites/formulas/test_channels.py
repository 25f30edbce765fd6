"""One grid a channel, along any axis."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DataObject
from voxgate.quantization import formulas
from voxgate.quantization.grids import Grid, along

from suites.formulas.profile import examples
from suites.formulas.strategies import (
    BITS,
    SEEDS,
    Float32,
    channel_grids,
    error_of,
    range_slack,
    singles,
    tensors_and_axes,
)

Drawn = tuple[Float32, int]


def with_channels(grid: Grid, index: Any, axis: int | None) -> Grid:
    """The grid of some channels, in some order, or of one."""
    return Grid(
        scale=np.asarray(grid.scale[index]),
        zero_point=np.asarray(grid.zero_point[index]),
        lowest=grid.lowest,
        highest=grid.highest,
        axis=axis,
        rounding=grid.rounding,
    )


@examples
@given(drawn=tensors_and_axes(), data=st.data())
def test_channels_may_be_permuted(drawn: Drawn, data: DataObject) -> None:
    x, axis = drawn
    grid = data.draw(channel_grids(x, axis))
    order = data.draw(st.permutations(range(x.shape[axis])))
    permuted = with_channels(grid, np.asarray(order), axis)
    wanted = np.take(formulas.quantize(x, grid), order, axis)
    assert np.array_equal(formulas.quantize(np.take(x, order, axis), permuted), wanted)
    fake = np.take(formulas.fake_quantize(x, grid), order, axis)
    assert np.array_equal(formulas.fake_quantize(np.take(x, order, axis), permuted), fake)


@examples
@given(drawn=tensors_and_axes(), data=st.data())
def test_each_channel_is_a_tensor_of_its_own(drawn: Drawn, data: DataObject) -> None:
    x, axis = drawn
    grid = data.draw(channel_grids(x, axis))
    fake = formulas.fake_quantize(x, grid)
    for channel in range(x.shape[axis]):
        alone = with_channels(grid, channel, None)
        part = np.take(x, channel, axis)
        assert np.array_equal(np.take(fake, channel, axis), formulas.fake_quantize(part, alone))


@examples
@given(drawn=tensors_and_axes(), data=st.data())
def test_an_axis_counts_from_either_end(drawn: Drawn, data: DataObject) -> None:
    x, axis = drawn
    grid = data.draw(channel_grids(x, axis))
    other = axis - x.ndim if axis >= 0 else axis + x.ndim
    same = with_channels(grid, slice(None), other)
    assert np.array_equal(formulas.quantize(x, same), formulas.quantize(x, grid))
    assert np.array_equal(formulas.value_range(x, other), formulas.value_range(x, axis))


@examples
@given(drawn=tensors_and_axes(), data=st.data())
def test_an_axis_may_be_moved(drawn: Drawn, data: DataObject) -> None:
    x, axis = drawn
    grid = data.draw(channel_grids(x, axis))
    target = data.draw(st.integers(0, x.ndim - 1))
    moved = np.moveaxis(x, axis, target)
    there = with_channels(grid, slice(None), target)
    wanted = np.moveaxis(formulas.quantize(x, grid), axis, target)
    assert np.array_equal(formulas.quantize(moved, there), wanted)


@examples
@given(drawn=tensors_and_axes())
def test_the_range_of_a_channel(drawn: Drawn) -> None:
    x, axis = drawn
    low, high = formulas.value_range(x, axis)
    assert low.shape == high.shape == (x.shape[axis],)
    for channel in range(x.shape[axis]):
        part = np.take(x, channel, axis)
        assert (low[channel], high[channel]) == (part.min(), part.max())
    assert formulas.value_range(x) == (x.min(), x.max())


@examples
@given(drawn=tensors_and_axes(), data=st.data())
def test_calibrated_channels_move_by_half_their_step(drawn: Drawn, data: DataObject) -> None:
    x, axis = drawn
    assert_moved_by_half_a_step(x, data.draw(channel_grids(x, axis)))


def assert_moved_by_half_a_step(x: Float32, grid: Grid) -> None:
    steps = along(grid.scale, x.shape, grid)
    assert np.all(error_of(x, grid) <= steps.astype(np.float64) / 2 + range_slack(x, grid))


def test_the_shorter_side_of_a_range_pays_for_the_step_of_the_whole() -> None:
    """x_max = 10.6 of a range 606 wide: the step's own rounding, times 65535, is the range's."""
    x = singles([[-595.20789, 10.579451], [-1.2900865e-04, 1.2734375e-03]])
    low, high = formulas.value_range(x, 0)
    assert_moved_by_half_a_step(
        x, formulas.affine_grid(low, high, 16, axis=0, include_zero=True, rounding="half-away")
    )


@examples
@given(drawn=tensors_and_axes(), bits=BITS, symmetric=st.booleans())
def test_one_step_a_channel_is_never_greater(drawn: Drawn, bits: int, *, symmetric: bool) -> None:
    x, axis = drawn
    fine, coarse = (calibrated(x, bits, a, symmetric=symmetric) for a in (axis, None))
    assert np.all(
        fine.scale[x.any(tuple(i for i in range(x.ndim) if i != axis % x.ndim))] <= coarse.scale
    )
    # So the greatest error is at most what one step for all could have cost.
    assert np.all(error_of(x, fine) <= float(coarse.scale) / 2 + range_slack(x, coarse))


@examples
@given(drawn=tensors_and_axes(), bits=BITS, seed=SEEDS)
def test_equal_channels_gain_nothing(drawn: Drawn, bits: int, seed: int) -> None:
    x, axis = drawn
    channel = np.take(x, [seed % x.shape[axis]], axis)
    same = np.repeat(channel, 3, axis)
    fine, coarse = (calibrated(same, bits, a, symmetric=True) for a in (axis, None))
    assert np.array_equal(formulas.fake_quantize(same, fine), formulas.fake_quantize(same, coarse))


def calibrated(x: Float32, bits: int, axis: int | None, *, symmetric: bool) -> Grid:
    low, high = formulas.value_range(x, axis)
    if symmetric:
        return formulas.symmetric_grid(np.maximum(-low, high), bits, axis=axis)
    return formulas.affine_grid(low, high, bits, axis=axis, include_zero=True)


def test_a_tensor_that_lies_on_one_grid_is_worse_off_with_two() -> None:
    """Never worse holds for the bound, half a step, and not for the error of every tensor."""
    x = singles([[127, 1], [100, 1]])
    fine, coarse = (calibrated(x, 8, axis, symmetric=True) for axis in (0, None))
    assert error_of(x, coarse).max() == 0
    assert 0.2 < error_of(x, fine).max() <= 0.5


def test_no_channels_at_all() -> None:
    x = np.zeros((0, 3), np.float32)
    grid = formulas.affine_grid(*formulas.value_range(x, 0), axis=0)
    assert formulas.fake_quantize(x, grid).shape == (0, 3)
