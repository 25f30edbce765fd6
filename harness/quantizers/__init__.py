"""The table of quantizers."""

from __future__ import annotations

import importlib

from harness.errors import look_up
from harness.quantizers.base import Quantizer, QuantizerSpec

__all__ = ["QUANTIZERS", "Quantizer", "QuantizerSpec", "get", "load"]

QUANTIZERS: dict[str, QuantizerSpec] = {
    spec.name: spec
    for spec in (
        QuantizerSpec(
            name="nncf",
            title="NNCF",
            module="harness.quantizers.nncf",
            format="openvino-ir",
            methods=("min-max", "max", "percentile"),
            packages=("nncf", "openvino"),
        ),
        QuantizerSpec(
            name="nncf-default",
            title="NNCF's defaults",
            module="harness.quantizers.nncf",
            attribute="DEFAULT",
            format="openvino-ir",
            methods=("min-max",),
            packages=("nncf", "openvino"),
        ),
        QuantizerSpec(
            name="modelopt",
            title="NVIDIA ModelOpt",
            module="harness.quantizers.modelopt",
            format="onnx-qdq",
            methods=("max", "entropy"),
            packages=(
                "nvidia-modelopt",
                "onnx",
                "onnx-graphsurgeon",
                "onnxruntime",
                "onnxslim",
                "torch",
            ),
        ),
    )
}


def get(name: str) -> QuantizerSpec:
    """The facts of the quantizer of that name.

    Raises:
        UsageError: no such quantizer; the message lists them.
    """
    return look_up("quantizer", name, QUANTIZERS)


def load(name: str) -> Quantizer:
    """The quantizer's working half; only workers call this."""
    spec = get(name)
    quantizer: Quantizer = getattr(importlib.import_module(spec.module), spec.attribute)
    return quantizer
