"""The 8-bit floats of FP8 inference, E4M3FN: four bits of exponent, three of mantissa, no infinity.

The format is that of Micikevicius et al., "FP8 Formats for Deep Learning" (arXiv 2209.05433), as
ONNX's FLOAT8E4M3FN has it: bias 7, subnormal numbers down to 2^-9, 448 the greatest. Two codes are
NaN. All arithmetic is float32 with ties to the even neighbour, like that of voxgate.quantization.formulas.

What is beyond 448 becomes 448 here, infinities too, as QuantizeLinear does by default and PyTorch
2.13's cast as well. A cast in ml_dtypes makes NaN of everything beyond 464, the tie between 448 and
what would be the next number; of the tie itself it makes 448.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voxgate.errors import QuantizationError
from voxgate.quantization.grids import SMALLEST_STEP, first_bad

Float32: TypeAlias = NDArray[np.float32]
Codes8: TypeAlias = NDArray[np.uint8]

HIGHEST = 448.0
LOWEST_EXPONENT = -6  # of normal numbers; below it the step stays what it is there
MANTISSA_BITS = 3
SMALLEST = 2.0 ** (LOWEST_EXPONENT - MANTISSA_BITS)

_BIAS = 7
_SIGN, _NAN = 0x80, 0x7F


def encode(x: Float32, *, name: str = "tensor") -> Codes8:
    """The code of the nearest E4M3 number, the even one of two; saturates at 448.

    Args:
        x: float32 of any shape, empty ones and infinities too.
        name: the tensor's, for messages.

    Returns:
        uint8 of x's shape: sign, exponent, mantissa. A negative zero keeps its sign.

    Raises:
        QuantizationError: NaN, or another dtype than float32.
    """
    _check_values(x, name)
    magnitude = np.minimum(np.abs(x), np.float32(HIGHEST)).astype(np.float64)
    # frexp gives 0.5 <= f < 1, so its exponent is one above the binade's.
    exponent = np.frexp(np.maximum(magnitude, 2.0**LOWEST_EXPONENT))[1] - 1
    # A whole number of steps, at most 16: rint decides ties, and 16 is the next binade's first.
    steps = np.rint(np.ldexp(magnitude, MANTISSA_BITS - exponent)).astype(np.int64)
    # The codes of a binade follow those of the one below, and subnormal ones those of zero.
    codes = (exponent - LOWEST_EXPONENT) * 2**MANTISSA_BITS + steps
    return np.asarray(codes + np.where(np.signbit(x), _SIGN, 0)).astype(np.uint8)


def decode(codes: Codes8, *, name: str = "tensor") -> Float32:
    """The number of every code, exactly.

    Raises:
        QuantizationError: one of the two codes of NaN, or another dtype than uint8.
    """
    if codes.dtype != np.uint8:
        msg = f"{name!r}: E4M3 codes of {codes.dtype}; they are uint8: encode first"
        raise QuantizationError(msg)
    whole = (codes & _NAN).astype(np.int64)
    good = whole != _NAN
    if not np.all(good):
        msg = f"{name!r}: a code is {first_bad(codes, good)}, which is E4M3's NaN: encode finite values"
        raise QuantizationError(msg)
    binade, mantissa = whole >> MANTISSA_BITS, whole & (2**MANTISSA_BITS - 1)
    normal = binade > 0
    steps = mantissa + np.where(normal, 2**MANTISSA_BITS, 0)
    exponent = np.where(normal, binade - _BIAS, LOWEST_EXPONENT) - MANTISSA_BITS
    magnitude = np.ldexp(steps.astype(np.float32), exponent)
    return np.asarray(np.where(codes & _SIGN, -magnitude, magnitude)).astype(np.float32)


def scale_of(amax: ArrayLike, *, name: str = "tensor") -> Float32:
    """The scale that brings a magnitude to 448: amax / 448, rounded to float32 once.

    It is 1 where amax is 0, as of a constant zero, and at least 2^-126, which every runtime divides
    by. Rounded down it leaves amax / scale a little above 448, which saturates to what it should be.

    Args:
        amax: greatest magnitudes of any shape, rounded to float32.
        name: the tensor's, for messages.

    Raises:
        QuantizationError: an amax that is negative, NaN or infinite.
    """
    with np.errstate(over="ignore"):  # then it is infinite, and refused
        magnitude = np.asarray(amax).astype(np.float32)
    good = np.isfinite(magnitude) & (magnitude >= 0)
    if not np.all(good):
        msg = (
            f"{name!r}: amax is {first_bad(magnitude, good)}; give the greatest magnitude, finite "
            "and 0 or more"
        )
        raise QuantizationError(msg)
    scale = np.where(magnitude > 0, magnitude.astype(np.float64) / HIGHEST, 1.0)
    return np.asarray(np.maximum(scale, SMALLEST_STEP)).astype(np.float32)


def fake_quantize(x: Float32, scale: Float32, *, name: str = "tensor") -> Float32:
    """What is left of x after FP8: decode(encode(x / scale)) * scale, in float32.

    Args:
        x: float32 of any shape.
        scale: float32, positive and finite, of a shape that broadcasts to x's.
        name: the tensor's, for messages.

    Raises:
        QuantizationError: NaN in x, another dtype, or a scale that is none.
    """
    _check_values(x, name)
    good = np.isfinite(scale) & (scale > 0)
    if scale.dtype != np.float32 or not np.all(good):
        found = scale.dtype if scale.dtype != np.float32 else first_bad(scale, good)
        msg = f"{name!r}: a scale is {found}; scales are positive, finite float32"
        raise QuantizationError(msg)
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(decode(encode(np.asarray(x / scale), name=name)) * scale)


def _check_values(x: NDArray[Any], name: str) -> None:
    if x.dtype != np.float32:
        msg = f"{name!r} is {x.dtype}; runtimes quantize float32: convert it first"
        raise QuantizationError(msg)
    good = ~np.isnan(x)
    if not np.all(good):
        msg = (
            f"{name!r}: a value is {first_bad(x, good)}; NaN is refused, since nothing can be "
            "computed from it: find the layer that makes it"
        )
        raise QuantizationError(msg)
