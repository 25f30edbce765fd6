"""Quantization as the paper's equations 1 to 3 say, and in the symmetric form of TensorRT and ModelOpt.

Equations, from Qu et al., "Post-Training Quantization for 3D Medical Image Segmentation"
(arXiv 2501.17343), for unsigned codes of k bits:

    (1)  x_q = clamp(round(x / s) + z, 0, 2^k - 1)
    (2)  s   = (x_max - x_min) / (2^k - 1)
    (3)  z   = -round(x_min / s)

The symmetric form has z = 0, signed codes and s = amax / (2^(k-1) - 1). All arithmetic is that of the
runtimes: float32, a division rather than a product with 1 / s, and ties to the even neighbour.
docs/formulas.md tells how each edge is decided and which runtime agrees bit for bit.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voxgate.errors import QuantizationError
from voxgate.quantization.grids import (
    SMALLEST_STEP,
    Grid,
    Rounding,
    along,
    check_bits,
    check_rounding,
    first_bad,
    resolve_axis,
)

Float32: TypeAlias = NDArray[np.float32]
Codes: TypeAlias = NDArray[np.integer[Any]]


def value_range(
    x: Float32, axis: int | None = None, *, name: str = "tensor"
) -> tuple[Float32, Float32]:
    """The least and the greatest value, of all or of each slice along an axis.

    Args:
        x: float32 of any shape.
        axis: None for one range; may be negative.
        name: the tensor's, for messages.

    Returns:
        Two float32 arrays of shape (), or (x.shape[axis],).

    Raises:
        QuantizationError: no such axis, an empty slice, NaN or infinity, or another dtype.
    """
    _check_float32(x, name)
    kept = None if axis is None else resolve_axis(axis, x.shape, name)
    others = tuple(i for i in range(x.ndim) if i != kept)
    if any(x.shape[i] == 0 for i in others):
        msg = f"{name!r} of shape {x.shape} has no values, so it has no range: leave it in float"
        raise QuantizationError(msg)
    _check_finite(x, name, "a value")
    return np.asarray(x.min(axis=others)), np.asarray(x.max(axis=others))


def affine_grid(
    x_min: ArrayLike,
    x_max: ArrayLike,
    bits: int = 8,
    *,
    axis: int | None = None,
    include_zero: bool = False,
    rounding: Rounding = "half-even",
    name: str = "tensor",
) -> Grid:
    """Equations 2 and 3: unsigned codes over a range.

    A range without zero has its zero point outside of the codes, as the equations say, and then no
    runtime can store it (``Grid.storable``); ``include_zero`` widens the range to zero first. A
    range of one value c has the step |c|, or 1 where c is 0: c itself is then code 0, exactly.

    Args:
        x_min: of shape (), or (channels,) with an axis; rounded to float32, like x_max.
        x_max: of the same shape, nowhere below x_min.
        bits: k, from 2 to 16.
        axis: that of the channels in the tensor; may be negative.
        include_zero: what runtimes need.
        rounding: for ties, of x_min / s here, and of x / s when the grid is used.
        name: the tensor's, for messages.

    Raises:
        QuantizationError: a range that is NaN, infinite, the wrong way around or of the wrong shape,
            too far from zero for float32, or bits outside of 2 to 16.
    """
    top = 2 ** check_bits(bits, name) - 1
    check_rounding(rounding, name)
    low, high = _as_range(x_min, x_max, name)
    if include_zero:
        low, high = np.minimum(low, np.float32(0)), np.maximum(high, np.float32(0))
    # In float64 the width of a range of float32 cannot overflow.
    width = high.astype(np.float64) - low.astype(np.float64)
    step = np.where(width > 0, width / top, _constant_step(low))
    scale = _as_scale(step)
    # In float32, and rounded like x / s: x_min itself is then always code 0.
    zero_point = -_whole_steps(low, scale, rounding)
    return Grid(
        scale=scale,
        zero_point=np.asarray(np.clip(zero_point, -(2.0**62), 2.0**62)).astype(np.int64),
        lowest=0,
        highest=top,
        axis=axis,
        rounding=rounding,
        name=name,
    )


def symmetric_grid(
    amax: ArrayLike,
    bits: int = 8,
    *,
    axis: int | None = None,
    narrow: bool = False,
    rounding: Rounding = "half-even",
    name: str = "tensor",
) -> Grid:
    """The form of TensorRT and ModelOpt: signed codes, zero point 0, amax at the highest code.

    Where amax is 0 the step is 1, as of a constant zero.

    Args:
        amax: the greatest magnitude, of shape (), or (channels,) with an axis; rounded to float32.
        bits: k, from 2 to 16.
        axis: that of the channels in the tensor; may be negative.
        narrow: without the lowest code, -2^(k-1); the step is the same.
        rounding: for ties of x / s.
        name: the tensor's, for messages.

    Raises:
        QuantizationError: an amax that is negative, NaN, infinite or of the wrong shape, or bits
            outside of 2 to 16.
    """
    highest = 2 ** (check_bits(bits, name) - 1) - 1
    magnitude = _as_bound(amax, name, "amax")
    good = magnitude >= 0
    if not np.all(good):
        msg = f"{name!r}: amax is {first_bad(magnitude, good)}; give the greatest magnitude, 0 or more"
        raise QuantizationError(msg)
    step = np.where(magnitude > 0, magnitude.astype(np.float64) / highest, 1.0)
    scale = _as_scale(step)
    return Grid(
        scale=scale,
        zero_point=np.zeros(scale.shape, np.int64),
        lowest=-highest if narrow else -highest - 1,
        highest=highest,
        axis=axis,
        rounding=rounding,
        name=name,
    )


def quantize(x: Float32, grid: Grid) -> Codes:
    """Equation 1: the code of every value; those outside of the range get the nearest end's.

    Infinities saturate. NaN is refused: it has no code, and each runtime makes another of it.

    Args:
        x: float32 of any shape, empty ones too; with one slice a scale along the grid's axis.
        grid: from affine_grid or symmetric_grid, or with scales from a file.

    Returns:
        Codes of x's shape, in grid.code_type.

    Raises:
        QuantizationError: NaN, another dtype than float32, or an axis or shape that does not fit.
    """
    _check_float32(x, grid.name)
    good = ~np.isnan(x)
    if not np.all(good):
        msg = (
            f"{grid.name!r}: a value is {first_bad(x, good)}; NaN has no code: find the layer that "
            "makes it, or quantize from a healthy checkpoint"
        )
        raise QuantizationError(msg)
    steps = _whole_steps(x, along(grid.scale, x.shape, grid), grid.rounding)
    # Clamped while still a float: far outside of the range a float has no integer.
    codes = steps + along(grid.zero_point, x.shape, grid)
    return np.asarray(np.clip(codes, grid.lowest, grid.highest)).astype(grid.code_type)


def dequantize(codes: Codes, grid: Grid) -> Float32:
    """The value of every code, (code - z) * s in float32; infinite where that overflows.

    Args:
        codes: integers of any shape, between the grid's lowest and highest.
        grid: that of the codes.

    Returns:
        float32 of the same shape.

    Raises:
        QuantizationError: no integers, a code outside of the grid, or a shape that does not fit.
    """
    if not np.issubdtype(codes.dtype, np.integer):
        msg = f"{grid.name!r}: codes of {codes.dtype}; they are integers: quantize first"
        raise QuantizationError(msg)
    good = (codes >= grid.lowest) & (codes <= grid.highest)
    if not np.all(good):
        msg = (
            f"{grid.name!r}: a code is {first_bad(codes, good)}; this grid's go from {grid.lowest} "
            f"to {grid.highest}: take the grid that the codes were made with"
        )
        raise QuantizationError(msg)
    # Exact: a Grid keeps its zero points below 2^22.
    steps = (codes.astype(np.int64) - along(grid.zero_point, codes.shape, grid)).astype(np.float32)
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(steps * along(grid.scale, codes.shape, grid))


def fake_quantize(x: Float32, grid: Grid) -> Float32:
    """What is left of x after quantize and dequantize; arguments and errors are theirs."""
    return dequantize(quantize(x, grid), grid)


def _whole_steps(x: Float32, scale: Float32, rounding: Rounding) -> NDArray[np.float64]:
    """round(x / s), the division in float32; float64 then holds it, and its sum with z, exactly."""
    with np.errstate(over="ignore", under="ignore"):
        ratio = np.asarray(x / scale)
    if rounding == "half-even":
        return np.rint(ratio).astype(np.float64)
    # Not floor(|r| + 0.5): that sum rounds 0.49999997 up to 1.
    whole = np.trunc(ratio)
    with np.errstate(invalid="ignore"):  # infinity minus infinity: no step further
        away = np.abs(ratio - whole) >= np.float32(0.5)
    return np.asarray(whole + np.copysign(away.astype(np.float32), ratio)).astype(np.float64)


def _constant_step(value: Float32) -> NDArray[np.float64]:
    """The step of a range of one value: one step reaches it."""
    return np.where(value != 0, np.abs(value.astype(np.float64)), 1.0)


def _as_scale(step: NDArray[np.float64]) -> Float32:
    return np.asarray(np.maximum(step, SMALLEST_STEP)).astype(np.float32)


def _as_range(x_min: ArrayLike, x_max: ArrayLike, name: str) -> tuple[Float32, Float32]:
    low, high = _as_bound(x_min, name, "x_min"), _as_bound(x_max, name, "x_max")
    if low.shape != high.shape:
        msg = f"{name!r}: x_min of shape {low.shape} and x_max of {high.shape}; give one a channel"
        raise QuantizationError(msg)
    good = low <= high
    if not np.all(good):
        msg = (
            f"{name!r}: x_min is {first_bad(low, good)}, above x_max, {first_bad(high, good)}; "
            "exchange them"
        )
        raise QuantizationError(msg)
    return low, high


def _as_bound(value: ArrayLike, name: str, what: str) -> Float32:
    with np.errstate(over="ignore"):  # then it is infinite, and refused
        bound = np.asarray(value).astype(np.float32)
    _check_finite(bound, name, what)
    return bound


def _check_finite(values: Float32, name: str, what: str) -> None:
    good = np.isfinite(values)
    if not np.all(good):
        msg = (
            f"{name!r}: {what} is {first_bad(values, good)}; a range must be finite in float32: "
            "calibrate on images without NaN, and look for an overflow before this tensor"
        )
        raise QuantizationError(msg)


def _check_float32(x: NDArray[Any], name: str) -> None:
    if x.dtype != np.float32:
        msg = f"{name!r} is {x.dtype}; runtimes quantize float32: convert it first"
        raise QuantizationError(msg)
