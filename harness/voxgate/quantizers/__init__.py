"""The table of quantizers."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from voxgate.errors import look_up
from voxgate.quantizers.base import Quantizer, QuantizerSpec
from voxgate.records.case import Precision

__all__ = ["QUANTIZERS", "SIMULATIONS", "Quantizer", "QuantizerSpec", "find", "get", "load"]

QUANTIZERS: dict[str, QuantizerSpec] = {
    spec.name: spec
    for spec in (
        QuantizerSpec(
            name="nncf",
            title="NNCF",
            module="voxgate.quantizers.nncf",
            format="openvino-ir",
            methods=("min-max", "max", "percentile"),
            packages=("nncf", "openvino"),
        ),
        QuantizerSpec(
            name="nncf-default",
            title="NNCF's defaults",
            module="voxgate.quantizers.nncf",
            attribute="DEFAULT",
            format="openvino-ir",
            methods=("min-max",),
            packages=("nncf", "openvino"),
        ),
        QuantizerSpec(
            name="modelopt",
            title="NVIDIA ModelOpt",
            module="voxgate.quantizers.modelopt",
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


def _simulation(attribute: str, scheme: str, words: str) -> QuantizerSpec:
    return QuantizerSpec(
        name="simulation",
        title=f"a simulation of {words}",
        module="voxgate.quantizers.simulation",
        attribute=attribute,
        scheme=scheme,
        format="onnx-qdq",
        methods=("max",),
        packages=("numpy", "onnx", "onnxruntime"),
    )


# The precisions that bring their own quantizer, whatever other one was asked for.
SIMULATIONS: Mapping[Precision, QuantizerSpec] = {
    "fake-int4": _simulation("INT4", "int4", "INT4 weights"),
    "fake-int4-int8": _simulation("INT4_INT8", "int4-int8", "INT4 weights, INT8 activations"),
    "fake-int4-int4": _simulation("INT4_INT4", "int4-int4", "INT4 weights and activations"),
    "fake-fp8": _simulation("FP8", "fp8", "FP8 weights and activations (E4M3)"),
}


def get(name: str) -> QuantizerSpec:
    """The facts of the quantizer of that name.

    Raises:
        UsageError: no such quantizer; the message lists them.
    """
    return look_up("quantizer", name, QUANTIZERS)


def find(name: str, scheme: str = "") -> QuantizerSpec:
    """The facts of a quantizer as a worker is asked for it: with the scheme of a simulation.

    Raises:
        UsageError: no such quantizer or scheme.
    """
    if not scheme:
        return get(name)
    known = {f"{spec.name} {spec.scheme}": spec for spec in SIMULATIONS.values()}
    return look_up("simulation", f"{name} {scheme}", known)


def load(name: str, scheme: str = "") -> Quantizer:
    """The quantizer's working half; only workers call this."""
    spec = find(name, scheme)
    quantizer: Quantizer = getattr(importlib.import_module(spec.module), spec.attribute)
    return quantizer
