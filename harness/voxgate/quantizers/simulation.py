"""Lower bits than this project runs, simulated: INT4 and FP8 in a float graph, for the Dice they cost.

No engine here computes in these formats. The graph is FP32's with weights and activations rounded to
what the format holds, by this project's own formulas, so its Dice is a projection and its size and
time are those of a float graph. The rounding is as plain as can be: the range of a tensor is the
greatest magnitude over all calibration patches, nothing is searched, trained or corrected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from voxgate.errors import QuantizationError
from voxgate.quantizers import schemes
from voxgate.quantizers.base import Quantized
from voxgate.quantizers.ranges import extremes
from voxgate.quantizers.rewrite import find_targets, rewrite
from voxgate.records.engine import GraphNode

if TYPE_CHECKING:
    import onnx

_FILE = "quantized.onnx"
_INLINE_BYTES = 2**30  # a protobuf holds no more than two of these
_THREADS = 0  # as many as the process has


class Simulation:
    """The quantizer of one scheme."""

    def __init__(self, scheme: str) -> None:
        self._scheme = schemes.get(scheme)

    def quantize(
        self,
        onnx: Path,
        images: NDArray[np.float32],
        method: str,
        folder: Path,
        float_layers: Sequence[GraphNode],
    ) -> Quantized:
        """Write ``quantized.onnx``, with float weights."""
        del method  # it has one; the spec refused every other name
        kept = [name for node in float_layers for name in (node.name, *node.outputs)]
        model = _load(onnx)
        targets = find_targets(model, kept)
        names = [target.activation for target in targets] if self._scheme.activations else []
        ranges = measure_ranges(onnx, images, tuple(dict.fromkeys(names)))
        rounded = rewrite(model, self._scheme, targets, ranges)
        _save(model, folder / _FILE)
        return Quantized(format="onnx-qdq", file=_FILE, quantize_nodes=rounded)


def measure_ranges(
    onnx: Path, images: NDArray[np.float32], names: Sequence[str]
) -> Mapping[str, np.float32]:
    """The greatest magnitude of each tensor over all images, (N, 1, D, H, W), one at a time.

    Raises:
        QuantizationError: a tensor is not finite; names it and the patch.
    """
    if not names:
        return {}
    measured, rows = extremes(onnx, images, _THREADS, names)
    for index, row in enumerate(rows):
        for name, pair in zip(measured, row, strict=True):
            if not np.isfinite(pair).all():
                msg = (
                    f"tensor {name!r} has values that are not finite on calibration patch "
                    f"{index}; find the layer that overflows before quantizing {onnx.name}"
                )
                raise QuantizationError(msg)
    return dict(zip(measured, np.abs(rows).max(axis=(0, 2)), strict=True))


def _load(path: Path) -> onnx.ModelProto:
    import onnx

    return onnx.load(path)


def _save(model: onnx.ModelProto, path: Path) -> None:
    import onnx

    weights = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    onnx.save(model, path, save_as_external_data=weights > _INLINE_BYTES)


INT4 = Simulation("int4")
INT4_INT8 = Simulation("int4-int8")
INT4_INT4 = Simulation("int4-int4")
FP8 = Simulation("fp8")
