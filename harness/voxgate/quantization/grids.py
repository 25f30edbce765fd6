"""The grid that a tensor is quantized to: steps, zero points, the codes between; checked when made.

Everything that can be wrong about a grid is refused here, with the tensor's name and the value, so
that the arithmetic of voxgate.quantization.formulas has no cases left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from voxgate.errors import QuantizationError

Rounding: TypeAlias = Literal["half-even", "half-away"]
ROUNDINGS: tuple[Rounding, ...] = get_args(Rounding)

FEWEST_BITS, MOST_BITS = 2, 16
# Dividing by a smaller step overflows where 1 / step is taken first, and divides by 0 where
# subnormal numbers are flushed; a range that needs one is given this one.
SMALLEST_STEP = float(np.finfo(np.float32).tiny)
# Value / step and code * step are each off by 2**-24 of themselves. Up to here that is a quarter of
# a step in all; four times as far, neighbouring codes would be one float32.
MOST_STEPS = 2**21


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Grid:
    """The values (code - zero_point) * scale for the codes from lowest to highest.

    ``scale`` is float32, of shape () for one grid or (channels,) for one along ``axis``, positive and
    finite; ``zero_point`` int64 of the same shape. ``axis`` may be negative. ``name`` is the tensor's,
    for messages.

    Raises:
        QuantizationError: a scale, zero point, code, axis or rounding that makes no grid.
    """

    scale: NDArray[np.float32]
    zero_point: NDArray[np.int64]
    lowest: int
    highest: int
    axis: int | None = None
    rounding: Rounding = "half-even"
    name: str = "tensor"

    def __post_init__(self) -> None:
        check_rounding(self.rounding, self.name)
        _check_codes(self)
        _check_scale(self)
        _check_zero_point(self)

    @property
    def code_type(self) -> np.dtype[Any]:
        """The smallest integer type of NumPy that holds every code: (u)int8 or (u)int16."""
        kinds = ("uint8", "uint16") if self.lowest >= 0 else ("int8", "int16")
        return np.dtype(kinds[0] if self.highest <= np.iinfo(kinds[0]).max else kinds[1])

    @property
    def storable(self) -> bool:
        """Whether every zero point is itself a code, which all file formats and runtimes demand."""
        return bool(np.all((self.zero_point >= self.lowest) & (self.zero_point <= self.highest)))


def check_bits(bits: int, name: str) -> int:
    """The number of bits, where codes of that width exist here.

    Raises:
        QuantizationError: it is no integer from 2 to 16.
    """
    if isinstance(bits, bool) or not isinstance(bits, (int, np.integer)):
        msg = f"{name!r}: {bits!r} bits; give an integer from {FEWEST_BITS} to {MOST_BITS}"
        raise QuantizationError(msg)
    if not FEWEST_BITS <= bits <= MOST_BITS:
        msg = (
            f"{name!r}: {bits} bits; codes have {FEWEST_BITS} to {MOST_BITS}: one bit has no "
            "symmetric form, and more than 16 is finer than the arithmetic of float32"
        )
        raise QuantizationError(msg)
    return int(bits)


def check_rounding(rounding: Rounding, name: str) -> None:
    """Refuse a rounding that is not offered.

    Raises:
        QuantizationError: it is none of ROUNDINGS; names them.
    """
    if rounding not in ROUNDINGS:
        msg = f"{name!r}: unknown rounding {rounding!r}; choose from {', '.join(ROUNDINGS)}"
        raise QuantizationError(msg)


def resolve_axis(axis: int, dims: tuple[int, ...], name: str) -> int:
    """The axis counted from the front.

    Raises:
        QuantizationError: an array of these dimensions has no such axis.
    """
    if not -len(dims) <= axis < len(dims):
        msg = (
            f"{name!r}: axis {axis} is none of an array of shape {dims}; output channels are axis 0 "
            "of a Conv's weights and axis 1 of a ConvTranspose's"
        )
        raise QuantizationError(msg)
    return axis % len(dims)


def along(values: NDArray[Any], dims: tuple[int, ...], grid: Grid) -> NDArray[Any]:
    """Scales or zero points, shaped so that they broadcast over an array of these dimensions.

    Raises:
        QuantizationError: the array has no such axis, or not one slice a value along it.
    """
    if grid.axis is None:
        return values
    axis = resolve_axis(grid.axis, dims, grid.name)
    if dims[axis] != len(values):
        msg = (
            f"{grid.name!r}: {len(values)} scales for the {dims[axis]} slices of {dims} along axis "
            f"{axis}; give one a slice"
        )
        raise QuantizationError(msg)
    return values.reshape([-1 if i == axis else 1 for i in range(len(dims))])


def first_bad(values: NDArray[Any], good: NDArray[np.bool_]) -> str:
    """The first value that is not good, and where it is."""
    where = tuple(int(i) for i in np.argwhere(~good)[0])
    at = f" at {where}" if where else ""
    return f"{values[where]}{at}"


def _check_codes(grid: Grid) -> None:
    if not (grid.lowest <= 0 < grid.highest and grid.highest - grid.lowest < 2**MOST_BITS):
        msg = (
            f"{grid.name!r}: codes from {grid.lowest} to {grid.highest}; they must contain 0, go up "
            f"from it, and be at most 2**{MOST_BITS}"
        )
        raise QuantizationError(msg)


def _check_scale(grid: Grid) -> None:
    dims = 0 if grid.axis is None else 1
    if grid.scale.dtype != np.float32:
        msg = f"{grid.name!r}: scales of {grid.scale.dtype}; runtimes divide in float32: convert it"
        raise QuantizationError(msg)
    if grid.scale.ndim != dims:
        needed = "one a channel, as (channels,)" if dims else "one, as (); name an axis for more"
        msg = f"{grid.name!r}: scales of shape {grid.scale.shape}; give {needed}"
        raise QuantizationError(msg)
    good = np.isfinite(grid.scale) & (grid.scale > 0)
    if not np.all(good):
        msg = (
            f"{grid.name!r}: the scale is {first_bad(grid.scale, good)}; it must be positive and "
            "finite in float32: calibrate on images that reach this tensor"
        )
        raise QuantizationError(msg)


def _check_zero_point(grid: Grid) -> None:
    found = grid.zero_point
    if found.dtype != np.int64 or found.shape != grid.scale.shape:
        msg = (
            f"{grid.name!r}: zero points of {found.dtype} and shape {found.shape}; give int64 of "
            f"the scales' shape {grid.scale.shape}"
        )
        raise QuantizationError(msg)
    good = (found >= -MOST_STEPS) & (found <= MOST_STEPS)
    if not np.all(good):
        msg = (
            f"{grid.name!r}: the zero point is {first_bad(found, good)}, more than {MOST_STEPS} "
            "steps from the codes, where float32 cannot tell neighbouring codes apart: let the "
            "range include zero, or take fewer bits"
        )
        raise QuantizationError(msg)
