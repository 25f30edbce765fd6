"""The table of backends: facts that need no SDK, and the module that does the work."""

from __future__ import annotations

import importlib

from voxgate.backends.base import Backend, BackendSpec, Session
from voxgate.errors import UnavailableError, look_up
from voxgate.records.case import Precision, SourceKind
from voxgate.records.engine import GraphFacts, GraphNode
from voxgate.records.runtime import Probe

__all__ = ["BACKENDS", "Backend", "BackendSpec", "Session", "get", "load", "require"]

# Weights and activations of 4 bits, or floats of 8: rounded in float, where any runtime is as good.
_LOWER_BITS: dict[Precision, SourceKind] = {
    "fake-int4": "quantized",
    "fake-int4-int8": "quantized",
    "fake-int4-int4": "quantized",
    "fake-fp8": "quantized",
}


def _no_simulation(why: str) -> dict[Precision, str]:
    return dict.fromkeys(_LOWER_BITS, f"{why}; simulate it with openvino or onnxruntime")


_NO_FP16_CPU = "it computes in fp32, bf16 or int8; fp16 is for GPU backends"


def _tensorrt(name: str, title: str, packages: tuple[str, ...], install: str) -> BackendSpec:
    """TensorRT and its sibling differ in the module that holds the API."""
    module = name.replace("-", "_")
    return BackendSpec(
        name=name,
        title=title,
        module=f"voxgate.backends.{module}",
        sources={
            "fp32": "onnx",
            "tf32": "onnx",
            "fp16": "onnx",
            "int8": "quantized",
            "int8-fp16": "quantized",
        },
        default_precisions=("fp32", "tf32", "fp16", "int8", "int8-fp16"),
        default_quantizer="modelopt",
        formats=("onnx-qdq",),
        packages=packages,
        install=install,
        modules={module: packages[-1], "cuda.bindings": "cuda-bindings"},
        gpu_bound=True,
        reasons={
            "fake-int8": "it computes Q/DQ graphs in int8; use openvino or onnxruntime",
            "bf16": "use fp16 or tf32",
            **_no_simulation("it compiles Q/DQ nodes to kernels of their precision"),
        },
    )


def _pytorch(name: str, title: str) -> BackendSpec:
    """Eager and compiled PyTorch differ in the module that loads an engine."""
    module = name.replace("-", "_")
    return BackendSpec(
        name=name,
        title=title,
        module=f"voxgate.backends.{module}",
        sources={"fp32": "weights", "tf32": "weights", "fp16": "weights", "bf16": "weights"},
        default_precisions=("fp32",),  # which runs on a CPU, too
        default_quantizer=None,
        formats=(),
        packages=("torch", "monai"),
        install="pip install torch",
        modules={name: name for name in ("torch", "monai", "einops", "safetensors")},
        reasons={
            "int8": "it is the float reference here; use the openvino backend",
            "int8-fp16": "it is the float reference here; use the tensorrt backend",
            "fake-int8": "it is the float reference here; use openvino or onnxruntime",
            **_no_simulation("it is the float reference here"),
        },
    )


BACKENDS: dict[str, BackendSpec] = {
    spec.name: spec
    for spec in (
        BackendSpec(
            name="openvino",
            title="OpenVINO",
            module="voxgate.backends.openvino",
            sources={
                "fp32": "onnx",
                "fake-int8": "quantized",
                "int8": "quantized",
                "bf16": "onnx",
                **_LOWER_BITS,
            },
            default_precisions=("fp32", "fake-int8", "int8"),
            default_quantizer="nncf",
            formats=("openvino-ir", "onnx-qdq"),
            packages=("openvino",),
            install="pip install openvino",
            modules={"openvino": "openvino"},
            reasons={"fp16": _NO_FP16_CPU},
        ),
        BackendSpec(
            name="onnxruntime",
            title="ONNX Runtime",
            module="voxgate.backends.onnxruntime",
            sources={"fp32": "onnx", "fake-int8": "quantized", **_LOWER_BITS},
            default_precisions=("fp32", "fake-int8"),
            default_quantizer="modelopt",
            formats=("onnx-qdq",),
            packages=("onnxruntime",),
            install="pip install onnxruntime",
            modules={"onnxruntime": "onnxruntime", "onnx": "onnx"},
            reasons={
                "int8": "its CPU provider runs 3D Q/DQ graphs in float; use the openvino backend",
                "bf16": "its CPU provider has no bf16 convolutions",
                "fp16": _NO_FP16_CPU,
            },
        ),
        BackendSpec(
            name="onnxruntime-cuda",
            title="ONNX Runtime on CUDA",
            module="voxgate.backends.onnxruntime_cuda",
            sources={"fp32": "onnx", "tf32": "onnx"},
            default_precisions=("fp32", "tf32"),
            default_quantizer=None,
            formats=(),
            packages=("onnxruntime-gpu",),
            install="pip install 'onnxruntime-gpu[cuda,cudnn]' onnx cuda-bindings",
            modules={
                "onnxruntime": "onnxruntime-gpu",
                "onnx": "onnx",
                "cuda.bindings": "cuda-bindings",
            },
            gpu_bound=True,
            reasons={
                "int8": "its CUDA provider runs 3D Q/DQ graphs in float; use the tensorrt backend",
                "int8-fp16": "its CUDA provider runs 3D Q/DQ graphs in float; use the tensorrt backend",
                "fake-int8": "it is a float engine here; use openvino or onnxruntime",
                "fp16": "no graph in half precision is made for it; use pytorch or tensorrt",
                "bf16": "no graph in bf16 is made for it; use the pytorch backend",
                **_no_simulation("it is a float engine here"),
            },
        ),
        _pytorch("pytorch", "PyTorch"),
        _pytorch("pytorch-compile", "PyTorch, compiled"),
        _tensorrt(
            name="tensorrt",
            title="TensorRT",
            packages=("tensorrt", "tensorrt-cu12", "tensorrt-cu13"),
            install="pip install tensorrt-cu13 cuda-bindings",
        ),
        _tensorrt(
            name="tensorrt-rtx",
            title="TensorRT-RTX",
            packages=("tensorrt-rtx-cu12", "tensorrt-rtx-cu13", "tensorrt-rtx"),
            install="pip install tensorrt-rtx",
        ),
        BackendSpec(
            name="fake",
            title="Fake (for tests)",
            module="voxgate.backends.fake",
            sources={"fp32": "spec", "fake-int8": "spec", "int8": "spec"},
            default_precisions=("fp32", "fake-int8", "int8"),
            default_quantizer=None,
            formats=(),
            packages=(),
            install="it is always there",
            reasons={},
            graph=GraphFacts(
                nodes=(
                    GraphNode(name="conv1", op_type="Conv", outputs=("a",), macs=1_000),
                    GraphNode(name="conv2", op_type="Conv", outputs=("b",), macs=9_000),
                ),
                parameters=10_000,
                opset=0,
            ),
        ),
    )
}


def get(name: str) -> BackendSpec:
    """The facts of the backend of that name.

    Raises:
        UsageError: no such backend; the message lists them.
    """
    return look_up("backend", name, BACKENDS)


def load(name: str) -> Backend:
    """The backend's working half; only workers call this."""
    backend: Backend = importlib.import_module(get(name).module).BACKEND
    return backend


def require(name: str, precision: Precision, probe: Probe) -> None:
    """Refuse a backend or precision that this machine does not have.

    Raises:
        UnavailableError: says why, and what to install or use.
    """
    spec = get(name)
    if not probe.available:
        raise UnavailableError(probe.reason or f"{spec.title} is missing: {spec.install}")
    if precision not in spec.sources:
        why = spec.reasons.get(precision, "it has no such precision")
        msg = f"{spec.title} cannot build {precision}: {why}"
        raise UnavailableError(msg)
    if precision in probe.refused:
        msg = (
            f"{spec.title} {probe.version} cannot run {precision} here: {probe.refused[precision]}"
        )
        raise UnavailableError(msg)
