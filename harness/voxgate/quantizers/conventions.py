"""How each quantizer turns what it saw into a scale: one table, with where each entry comes from.

Both follow the symmetric form of `voxgate.quantization.formulas`. What is beyond it:

- ModelOpt (0.47, on ONNX Runtime's quantizer) takes the greatest magnitude over all patches. The
  output of a Softmax gets the range 0 to 1 without being measured, and the quantized inputs of a
  Concat share one range with its quantized output.
- NNCF (3.4) takes the mean over the patches of each patch's greatest magnitude. Where no mean of
  the least values is negative, codes are unsigned. A range is at least 1 % of the widest channel's,
  and at least 8e-5: channels of zeros get these. Weights leave the lowest code out. The weights of
  the first convolutions get twice their range, so that 8-bit products of old CPUs' instructions do not
  overflow in 16 bits. The quantized inputs of a Concat share one range.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Aggregation = Literal["max", "mean"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Convention:
    """A quantizer's habits.

    ``floor_share`` and ``floor`` bound a range from below, as a share of the tensor's widest channel
    and absolutely. ``first_factor`` widens the range of a first convolution's weights.
    ``aggregations`` is by calibration method; a method that is missing computes its ranges by no
    formula. ``fixed`` are greatest magnitudes by the type of the operation that makes a tensor.
    """

    aggregations: dict[str, Aggregation]
    narrow_weights: bool = False
    unsigned_activations: bool = False
    floor_share: float = 0.0
    floor: float = 0.0
    first_factor: float = 1.0
    fixed: dict[str, float] = field(default_factory=dict)


_MODELOPT = Convention(aggregations={"max": "max"}, fixed={"Softmax": 1.0})
_NNCF = Convention(
    aggregations={"min-max": "mean", "max": "max"},
    narrow_weights=True,
    unsigned_activations=True,
    floor_share=0.01,
    floor=8e-5,
    first_factor=2.0,
)

CONVENTIONS: dict[str, Convention] = {
    "modelopt": _MODELOPT,
    "modelopt-default": _MODELOPT,
    "nncf": _NNCF,
    "nncf-default": _NNCF,
}
