"""PyTorch multiplies with 1 / s where the formulas divide by s: equal but next to ties.

The product is off by less than 2**-23 of itself, so a value that close to a tie may get the other
neighbour's code. Where s is a power of two the two are the same, and agreement is bit for bit.
"""

from __future__ import annotations

import functools
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from voxgate.quantization import formulas
from voxgate.quantization.grids import Grid

from suites.formulas.agreement import assert_codes_agree
from suites.formulas.profile import examples
from suites.formulas.strategies import (
    BITS,
    SEEDS,
    Float32,
    grids_and_values,
    singles,
    storable_grids,
    storable_symmetric,
    values_on,
)

BYTE = st.just(8)


@functools.cache
def torch() -> Any:
    return pytest.importorskip("torch", reason="pip install torch")


def quantized(x: Float32, grid: Grid) -> Any:
    """A quantized tensor, of one scale or of one a channel."""
    kind = torch().qint8 if grid.lowest < 0 else torch().quint8
    tensor = torch().from_numpy(np.ascontiguousarray(x))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # quantized tensors are deprecated
        if grid.axis is None:
            scale, zero = float(grid.scale), int(grid.zero_point)
            return torch().quantize_per_tensor(tensor, scale, zero, kind)
        scales = torch().from_numpy(grid.scale.astype(np.float64))
        zeros = torch().from_numpy(grid.zero_point)
        return torch().quantize_per_channel(tensor, scales, zeros, grid.axis, kind)


def faked(x: Float32, grid: Grid) -> Float32:
    """The output of torch.fake_quantize_*, for any number of bits."""
    ends = grid.lowest, grid.highest
    tensor = torch().from_numpy(np.ascontiguousarray(x))
    if grid.axis is None:
        scale, zero = float(grid.scale), int(grid.zero_point)
        out = torch().fake_quantize_per_tensor_affine(tensor, scale, zero, *ends)
    else:
        scales = torch().from_numpy(grid.scale)
        zeros = torch().from_numpy(grid.zero_point.astype(np.int32))
        out = torch().fake_quantize_per_channel_affine(tensor, scales, zeros, grid.axis, *ends)
    return np.asarray(out.numpy(), np.float32)


def tolerance(grid: Grid, *, added: bool = False) -> float:
    """In steps: two roundings of the greatest ratio, and one of its sum with the zero point."""
    greatest = float(np.max(np.abs(grid.zero_point))) + grid.highest - grid.lowest + 2
    return greatest * (2.0**-22 if added else 2.0**-23)


def with_power_of_two(grid: Grid) -> Grid:
    return replace(grid, scale=np.exp2(np.round(np.log2(grid.scale))).astype(np.float32))


def byte_grids() -> st.SearchStrategy[Grid]:
    return storable_grids(BYTE)


def any_grids() -> st.SearchStrategy[Grid]:
    return storable_grids(BITS, st.booleans())


def codes_of(tensor: Any) -> NDArray[Any]:
    return np.asarray(tensor.int_repr().numpy())


@examples
@given(drawn=grids_and_values(byte_grids))
@example(drawn=(formulas.affine_grid(-5, 250), singles([0.5, 1.5, 2.5])))  # see the next test
def test_quantize_per_tensor_agrees_but_next_to_ties(drawn: tuple[Grid, Float32]) -> None:
    grid, x = drawn
    codes = codes_of(quantized(x, grid))
    assert_codes_agree(codes, x, grid, tolerance_steps=tolerance(grid, added=True))


def test_quantize_per_tensor_rounds_after_it_adds_the_zero_point() -> None:
    """With an odd zero point a tie goes to the odd neighbour: 0.5 + 5 is rounded to 6."""
    grid, x = formulas.affine_grid(-5, 250), singles([0.5, 1.5, 2.5])
    assert list(codes_of(quantized(x, grid))) == [6, 6, 8]
    assert list(formulas.quantize(x, grid)) == [5, 7, 7]
    assert list(faked(x, grid)) == [0, 2, 2]  # torch's own simulation rounds first


@examples
@given(grid=byte_grids(), halves=st.lists(st.integers(-600, 600), min_size=1))
def test_quantize_per_tensor_of_a_power_of_two_agrees_bit_for_bit(
    grid: Grid, halves: list[int]
) -> None:
    """Every tie there is, with an even zero point."""
    grid = replace(with_power_of_two(grid), zero_point=np.asarray(grid.zero_point // 2 * 2))
    x = singles(halves) / np.float32(2) * grid.scale
    assert_codes_agree(codes_of(quantized(x, grid)), x, grid)


@examples
@given(grid=byte_grids(), seed=SEEDS)
def test_torch_dequantizes_bit_for_bit(grid: Grid, seed: int) -> None:
    tensor = quantized(values_on(grid, seed), grid)
    assert np.array_equal(tensor.dequantize().numpy(), formulas.dequantize(codes_of(tensor), grid))


@examples
@given(drawn=grids_and_values(any_grids))
def test_fake_quantize_per_tensor_agrees_but_next_to_ties(drawn: tuple[Grid, Float32]) -> None:
    grid, x = drawn
    values = faked(x, grid)
    codes = formulas.quantize(values, grid)
    # Its output lies on the grid to the last bit, so the codes tell all.
    assert np.array_equal(values, formulas.dequantize(codes, grid))
    assert_codes_agree(codes, x, grid, tolerance_steps=tolerance(grid))


@examples
@given(drawn=grids_and_values(any_grids))
def test_fake_quantize_of_a_power_of_two_agrees_bit_for_bit(drawn: tuple[Grid, Float32]) -> None:
    grid, x = with_power_of_two(drawn[0]), drawn[1]
    x = np.concatenate([x, values_on(grid, len(x))])
    assert np.array_equal(faked(x, grid), formulas.fake_quantize(x, grid))


@st.composite
def channels(draw: st.DrawFn) -> tuple[Grid, Float32]:
    """Symmetric byte grids of three channels along either axis, with hard values."""
    made = [draw(storable_symmetric(BYTE)) for _ in range(3)]
    axis = draw(st.sampled_from([0, 1]))
    x = np.stack([values_on(grid, draw(SEEDS), 8) for grid in made], axis)
    scale = np.stack([grid.scale for grid in made])
    zero = np.zeros(3, np.int64)
    return Grid(scale=scale, zero_point=zero, lowest=-128, highest=127, axis=axis), x


@examples
@given(drawn=channels())
def test_both_agree_along_an_axis_but_next_to_ties(drawn: tuple[Grid, Float32]) -> None:
    grid, x = drawn
    codes = codes_of(quantized(x, grid))
    assert_codes_agree(codes, x, grid, tolerance_steps=tolerance(grid, added=True))
    simulated = formulas.quantize(faked(x, grid), grid)
    assert_codes_agree(simulated, x, grid, tolerance_steps=tolerance(grid))


@pytest.mark.xfail(strict=True, reason="torch 2.13 multiplies with 1 / s, which is infinite")
def test_torch_keeps_zero_at_a_subnormal_scale() -> None:
    """It makes code 127 of zero; the formulas give no range a step below the normal numbers."""
    grid = Grid(scale=np.array(1e-40, np.float32), zero_point=np.array(0), lowest=-128, highest=127)
    assert codes_of(quantized(singles([0.0]), grid))[0] == 0
