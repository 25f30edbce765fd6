"""What every post-training quantizer offers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from voxgate.errors import unknown_name
from voxgate.records.case import QuantizedFormat
from voxgate.records.engine import GraphNode


@dataclass(frozen=True, kw_only=True, slots=True)
class QuantizerSpec:
    """What can be said of a quantizer without importing its SDK.

    ``methods`` are the calibration methods that it really has; the first is the default. ``scheme``
    is what a simulation rounds to.
    """

    name: str
    title: str
    module: str
    format: QuantizedFormat
    methods: tuple[str, ...]
    packages: tuple[str, ...]
    attribute: str = "QUANTIZER"
    scheme: str = ""

    def check_method(self, method: str) -> str:
        """The method, or the default for an empty name.

        Raises:
            UsageError: the quantizer would silently run another one, or none.
        """
        if not method:
            return self.methods[0]
        if method not in self.methods:
            kind = f"calibration method of {self.name}"
            raise unknown_name(kind, method, self.methods)
        return method


class Quantizer(Protocol):
    """Turns a float ONNX graph and calibration images into a fake-quantized graph."""

    def quantize(
        self,
        onnx: Path,
        images: NDArray[np.float32],
        method: str,
        folder: Path,
        float_layers: Sequence[GraphNode],
    ) -> Quantized:
        """Write the quantized graph into ``folder``; ``images`` is (N, 1, D, H, W).

        The inputs and weights of ``float_layers`` get no quantize nodes.

        Raises:
            QuantizationError: the SDK failed, or quantized nothing.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantized:
    """A fake-quantized graph: float weights, with quantize-dequantize nodes in it.

    Of a simulation ``quantize_nodes`` counts the tensors that are rounded, its weights included.
    ``quantized_macs`` is the share of multiply-accumulates whose operands are both quantized, and
    ``float_nodes`` are the weighted nodes of the others; None where the format does not tell.
    """

    format: QuantizedFormat
    file: str
    quantize_nodes: int
    quantized_macs: float | None = None
    float_nodes: tuple[str, ...] = ()
