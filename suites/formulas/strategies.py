"""What the properties are drawn from: bit widths, ranges, grids, and values hostile to them.

Single floats are Hypothesis's own and shrink. The bulk of an array comes from a seed, aimed at its
grid: exact ties, their neighbours, ends of the range, anything inside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray
from voxgate.quantization import formulas
from voxgate.quantization.grids import ROUNDINGS, Grid, Rounding, along

Float32 = NDArray[np.float32]

BITS = st.integers(2, 16)
ROUNDING = cast("st.SearchStrategy[Rounding]", st.sampled_from(ROUNDINGS))
SEEDS = st.integers(0, 2**32 - 1)
SUBNORMAL = float(np.finfo(np.float32).smallest_subnormal)
HUGE = float(np.finfo(np.float32).max)

# Bounds up to here dequantize without overflow, in every form and width.
_BOUND = 2.0**120
BOUNDS = st.one_of(
    st.floats(-_BOUND, _BOUND, width=32),
    st.floats(-1000, 1000, width=32),
    st.sampled_from([0.0, -0.0, SUBNORMAL, -SUBNORMAL, 1.0, -1.0, 127.5, _BOUND, -_BOUND]),
)
MAGNITUDES = BOUNDS.map(abs)
HOSTILE = st.one_of(
    st.floats(width=32, allow_nan=False),
    st.sampled_from([np.inf, -np.inf, HUGE, -HUGE, SUBNORMAL, -SUBNORMAL, 0.0, -0.0]),
)


def singles(values: ArrayLike) -> Float32:
    """The values as float32, whatever they were."""
    return np.asarray(values).astype(np.float32)


@st.composite
def ranges(draw: st.DrawFn) -> tuple[float, float]:
    """x_min and x_max in order: around zero, away from it, of one value, subnormal, huge."""
    low, high = sorted((draw(BOUNDS), draw(BOUNDS)))
    return low, high


@st.composite
def ranges_near_zero(draw: st.DrawFn) -> tuple[float, float]:
    """Ranges no further from zero than their own width; half of them do not contain it."""
    low, high = draw(ranges().filter(lambda r: r[0] < r[1]))
    width = np.float32(min(high - low, _BOUND))
    start = np.float32(draw(st.floats(-2, 1, width=32))) * width
    return float(start), float(np.float32(start + width))


# Steps of ordinary size: at the edges of float32 every runtime has bugs of its own.
_ORDINARY = st.floats(2.0**-16, 2.0**40, width=32)


def storable_symmetric(
    bits: st.SearchStrategy[int], narrow: st.SearchStrategy[bool] | None = None
) -> st.SearchStrategy[Grid]:
    """Symmetric grids that a runtime can be given: ties to even, a step of ordinary size."""
    return st.builds(
        lambda amax, bits, narrow: formulas.symmetric_grid(amax, bits, narrow=narrow),
        _ORDINARY, bits, st.sampled_from([False]) if narrow is None else narrow,
    )  # fmt: skip


def storable_grids(
    bits: st.SearchStrategy[int], narrow: st.SearchStrategy[bool] | None = None
) -> st.SearchStrategy[Grid]:
    """Grids of both forms that a runtime can be given; the zero point is a code."""
    affine = st.builds(
        lambda low, high, bits: formulas.affine_grid(-low, high, bits, include_zero=True),
        _ORDINARY, _ORDINARY, bits,
    )  # fmt: skip
    return st.one_of(affine, storable_symmetric(bits, narrow))


def affine_grids(*, include_zero: bool | None = None) -> st.SearchStrategy[Grid]:
    """Grids of the paper's equations that float32 resolves."""
    chosen = st.booleans() if include_zero is None else st.just(include_zero)
    return st.builds(
        lambda bounds, bits, zero, rounding: formulas.affine_grid(
            bounds[0], bounds[1], bits, include_zero=zero, rounding=rounding
        ),
        ranges_near_zero(), BITS, chosen, ROUNDING,
    )  # fmt: skip


def symmetric_grids() -> st.SearchStrategy[Grid]:
    """Grids of the symmetric form, narrow and full."""
    return st.builds(
        lambda amax, bits, narrow, rounding: formulas.symmetric_grid(
            amax, bits, narrow=narrow, rounding=rounding
        ),
        MAGNITUDES, BITS, st.booleans(), ROUNDING,
    )  # fmt: skip


def grids() -> st.SearchStrategy[Grid]:
    """Grids of both forms."""
    return st.one_of(affine_grids(), symmetric_grids())


def values_on(grid: Grid, seed: int, count: int = 48) -> Float32:
    """Values aimed at a grid of one scale: codes, ties, their neighbours, beyond the ends."""
    generator = np.random.default_rng(seed)
    zero = float(grid.zero_point)
    half_codes = generator.integers(2 * grid.lowest - 9, 2 * grid.highest + 10, count) / 2
    anywhere = generator.uniform(grid.lowest - 2, grid.highest + 2, count)
    steps = np.where(generator.random(count) < 0.7, half_codes, anywhere) - zero
    with np.errstate(over="ignore", under="ignore"):
        values = (steps * float(grid.scale)).astype(np.float32)
        toward = generator.choice([-np.inf, np.inf], count).astype(np.float32)
        nudged = np.nextafter(values, toward)
    return np.where(generator.random(count) < 0.3, nudged, values)


@st.composite
def grids_and_values(
    draw: st.DrawFn, source: Callable[[], st.SearchStrategy[Grid]] = grids
) -> tuple[Grid, Float32]:
    """A grid, and values that are hard for it, infinities included."""
    grid = draw(source())
    extra = np.asarray(draw(st.lists(HOSTILE, max_size=4)), np.float32)
    return grid, np.concatenate([extra, values_on(grid, draw(SEEDS))])


def inside(grid: Grid, x: Float32) -> Float32:
    """Those values that lie between the grid's least and greatest."""
    ends = formulas.dequantize(np.array([grid.lowest, grid.highest]), grid)
    return np.asarray(x[(x >= ends[0]) & (x <= ends[1])])


def error_of(x: Float32, grid: Grid) -> NDArray[np.float64]:
    """How far fake_quantize moves each value, in float64, where the difference is exact enough."""
    return np.abs(formulas.fake_quantize(x, grid).astype(np.float64) - x.astype(np.float64))


def slack(x: Float32) -> NDArray[np.float64]:
    """What float32 adds to half a step: the division and the product each round by 2**-24 of x.

    Below the normal numbers they round by half a subnormal instead.
    """
    return np.abs(x.astype(np.float64)) * 2.0**-22 + 2 * SUBNORMAL


def range_slack(x: Float32, grid: Grid) -> NDArray[np.float64]:
    """Slack for x in its calibrated range: the step is rounded, too, and a code counts many of it.

    So the end of the range farther from zero decides, not x.
    """
    codes = np.float32(grid.highest - grid.lowest)
    return slack(x) + slack(along(grid.scale * codes, x.shape, grid))


@st.composite
def tensors(draw: st.DrawFn, least_dims: int = 1) -> NDArray[Any]:
    """Small float32 arrays of one to four dimensions, their channels at different scales."""
    dims = tuple(draw(st.lists(st.integers(1, 4), min_size=least_dims, max_size=4)))
    generator = np.random.default_rng(draw(SEEDS))
    values = generator.standard_normal(dims) * np.exp2(
        generator.integers(-12, 12, dims[0])
    ).reshape([-1, *[1] * (len(dims) - 1)])
    return values.astype(np.float32)


@st.composite
def tensors_and_axes(draw: st.DrawFn) -> tuple[Float32, int]:
    """A tensor and one of its axes, counted from either end."""
    x = draw(tensors())
    return x, draw(st.integers(-x.ndim, x.ndim - 1))


@st.composite
def channel_grids(draw: st.DrawFn, x: Float32, axis: int) -> Grid:
    """A grid a channel of x, in either form, over the range of each."""
    bits, rounding = draw(BITS), draw(ROUNDING)
    low, high = formulas.value_range(x, axis)
    if draw(st.booleans()):
        amax = np.maximum(np.abs(low), np.abs(high))
        return formulas.symmetric_grid(amax, bits, axis=axis, rounding=rounding)
    return formulas.affine_grid(low, high, bits, axis=axis, include_zero=True, rounding=rounding)
