"""What a simulation rounds to: number formats of weights and activations, and their arithmetic. Pure.

Integers are the symmetric form of voxgate.quantization.formulas with all codes, floats that of voxgate.quantization.float8;
weights have one scale for each output channel, activations one for the tensor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from voxgate.errors import look_up
from voxgate.quantization import float8
from voxgate.quantization.formulas import fake_quantize, symmetric_grid, value_range
from voxgate.quantization.grids import Grid

Float32: TypeAlias = NDArray[np.float32]
IntegerFormat = Literal["int4", "int8"]
NumberFormat = Literal["int4", "int8", "fp8"]

BITS: dict[IntegerFormat, int] = {"int4": 4, "int8": 8}


@dataclass(frozen=True, kw_only=True, slots=True)
class Scheme:
    """The formats of a simulation; activations without one stay float."""

    weights: NumberFormat
    activations: NumberFormat | None = None


SCHEMES: dict[str, Scheme] = {
    "int4": Scheme(weights="int4"),
    "int4-int8": Scheme(weights="int4", activations="int8"),
    "int4-int4": Scheme(weights="int4", activations="int4"),
    "fp8": Scheme(weights="fp8", activations="fp8"),
}


def get(name: str) -> Scheme:
    """The scheme of that name.

    Raises:
        UsageError: no such scheme; the message lists them.
    """
    return look_up("scheme", name, SCHEMES)


def integer_grid(
    amax: NDArray[np.float32], kind: IntegerFormat, axis: int | None, name: str
) -> Grid:
    """The grid of an integer format; the arguments and errors are those of `symmetric_grid`."""
    return symmetric_grid(amax, BITS[kind], axis=axis, name=name)


def fake_quantize_weights(
    weights: Float32, kind: NumberFormat, axis: int | None, name: str
) -> Float32:
    """The weights as a format holds them, each slice along ``axis`` with a scale of its own.

    Args:
        weights: float32 of any shape.
        kind: what they are rounded to.
        axis: that of the output channels; None for one scale.
        name: the tensor's, for messages.

    Raises:
        QuantizationError: values that are not finite, no values, or another dtype.
    """
    low, high = value_range(weights, axis, name=name)
    amax = np.maximum(-low, high)
    if kind != "fp8":
        return fake_quantize(weights, integer_grid(amax, kind, axis, name))
    scale = float8.scale_of(amax, name=name)
    if axis is not None:
        scale = scale.reshape([-1 if i == axis else 1 for i in range(weights.ndim)])
    return float8.fake_quantize(weights, scale, name=name)
