"""OpenVINO on the CPU: FP32, bf16, fake INT8 and real INT8 in one runtime.

Facts that this file rests on, seen with OpenVINO 2026.4: without INFERENCE_PRECISION_HINT an FP32
engine is silently bf16 on CPUs that have it; LP_TRANSFORMS_MODE=NO leaves quantize nodes in float
arithmetic; the runtime model's `originalLayersNames` and the element types of each layer's inputs
tell what is executed and in which precision. An imported engine needs the same properties again.

An engine is constants plus the topology as XML, 2 MB of it for a quantized transformer. OpenVINO's
hook for encrypting the XML deflates it here, in every precision, so that an engine's size is that
of its weights; loading one by hand takes the same hook (`topology_codec`). An imported engine no
longer knows which operations a fused one stands for, so their names are kept behind the blob.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from voxgate.backends.base import HostTimed, LayerTimes, Quiet, Tensor
from voxgate.backends.openvino_pairs import join_pairs
from voxgate.errors import BuildError, UnavailableError
from voxgate.machine.sdk import import_sdk
from voxgate.records.case import SIMULATED_PRECISIONS
from voxgate.records.engine import Arithmetic, ExecutedLayer
from voxgate.records.runtime import EngineOptions, Probe

if TYPE_CHECKING:
    import openvino

_WEIGHTED = {"Convolution", "Deconvolution", "FullyConnected", "MatMul", "GroupConvolution"}
_INT8_TYPES = {"i8", "u8"}

# A fused attention reads queries, keys and values, and whatever else in float.
_FUSED = "Subgraph"
_ATTENTION_INPUTS = 3

_MARK = b"VOXGATE1"


def sdk() -> Any:
    """The openvino package; UnavailableError where it is missing."""
    return import_sdk("openvino", "OpenVINO")


def read_folded(path: Path) -> Any:
    """A model whose constants are computed; FakeQuantize nodes on them stay."""
    passes = import_sdk("openvino.passes", "OpenVINO")
    model = sdk().Core().read_model(path)
    manager = passes.Manager()
    manager.register_pass(passes.ConstantFolding())
    manager.run_passes(model)
    return model


def topology_codec() -> list[Callable[[bytes], bytes]]:
    """The pair for OpenVINO's CACHE_ENCRYPTION_CALLBACKS: deflate and inflate."""
    return [zlib.compress, zlib.decompress]


class OpenVino(Quiet):
    """The CPU default."""

    def probe(self) -> Probe:
        """Version, CPU, and bf16 where the CPU computes in it."""
        try:
            ov = sdk()
        except UnavailableError as error:
            return Probe(available=False, reason=str(error))
        core = ov.Core()
        if "CPU" not in core.available_devices:
            return Probe(available=False, reason="this OpenVINO has no CPU device; reinstall it")
        capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        refused = {}
        if "BF16" not in capabilities:
            refused["bf16"] = "this CPU has no bf16 instructions (AVX512-BF16 or AMX)"
        if "INT8" not in capabilities:
            refused["int8"] = "this CPU has no int8 instructions that OpenVINO uses"
        return Probe(
            available=True,
            version=ov.get_version().split("-")[0],
            device=core.get_property("CPU", "FULL_DEVICE_NAME").strip(),
            refused=refused,
        )

    def create_context(self, options: EngineOptions) -> bool:
        """No accelerator."""
        del options
        return False

    def build(self, source: str, options: EngineOptions) -> bytes:
        """Compile a graph (ONNX, Q/DQ ONNX or OpenVINO IR) and serialize the compiled model."""
        core = sdk().Core()
        try:
            model = core.read_model(source)
            if options.precision not in SIMULATED_PRECISIONS:  # they compute each pair as it stands
                join_pairs(model)
            compiled = core.compile_model(model, "CPU", _properties(options))
            blob = compiled.export_model()
        except RuntimeError as error:
            msg = f"OpenVINO could not build {source}: {error}{_advice(source)}"
            raise BuildError(msg) from error
        # Releases up to 2025 return bytes, later ones a stream.
        engine = blob if isinstance(blob, bytes) else bytes(blob.getvalue())
        return _with_names(engine, compiled)

    def load(self, engine: bytes, options: EngineOptions) -> OpenVinoSession:
        """Import a serialized compiled model."""
        try:
            blob, names = _without_names(engine)
            compiled = sdk().Core().import_model(blob, "CPU", _properties(options))
        except (RuntimeError, ValueError) as error:
            msg = f"OpenVINO refused the engine ({len(engine)} bytes): {error}"
            raise BuildError(msg) from error
        return OpenVinoSession(compiled, names, profiled=options.profiled)


class OpenVinoSession(HostTimed):
    """A compiled model with one infer request."""

    def __init__(
        self, compiled: openvino.CompiledModel, names: dict[str, str], *, profiled: bool = False
    ) -> None:
        self._compiled = compiled
        self._names = names
        self._times = LayerTimes() if profiled else None
        self._request = compiled.create_infer_request()

    def infer(self, image: Tensor) -> tuple[NDArray[np.generic], int]:
        """Time the synchronous inference alone; the input is shared, not copied."""
        tensor = sdk().Tensor(np.ascontiguousarray(image), shared_memory=True)
        self._request.set_input_tensor(tensor)
        start = time.perf_counter_ns()
        self._request.infer()
        elapsed_ns = time.perf_counter_ns() - start
        if self._times is not None:
            self._times.add(_executed_ns(self._request))
        return self._request.get_output_tensor(0).data, elapsed_ns

    def layers(self) -> tuple[ExecutedLayer, ...]:
        """The weighted layers of the runtime model."""
        operations = self._compiled.get_runtime_model().get_ordered_ops()
        return tuple(
            layer
            for operation in operations
            if (layer := _executed_layer(operation, self._names)) is not None
        )

    def layer_times_ns(self) -> dict[str, int] | None:
        """What the performance counters say of every operation that was executed."""
        return None if self._times is None else self._times.medians()

    def device_memory_bytes(self) -> None:
        """A CPU has no memory of its own."""

    def close(self) -> None:
        """Drop the request before the model it belongs to."""
        del self._request, self._compiled


def _advice(source: str) -> str:
    """What to do about a graph in OpenVINO's own format, which grows with its releases."""
    if not source.endswith(".xml"):
        return ""
    return (
        "; if this release is older than the one that wrote the graph, quantize with "
        "--quantizer modelopt, whose ONNX older releases read, too"
    )


def _properties(options: EngineOptions) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": "bf16" if options.precision == "bf16" else "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": options.threads,
        "NUM_STREAMS": 1,
        "CACHE_ENCRYPTION_CALLBACKS": topology_codec(),
    }
    if options.profiled:
        properties["PERF_COUNT"] = True
    if options.precision in SIMULATED_PRECISIONS:
        properties["LP_TRANSFORMS_MODE"] = "NO"
    return properties


def _with_names(blob: bytes, compiled: Any) -> bytes:
    """The blob, what its fused operations stand for as deflated JSON, its length, and a mark."""
    names = {}
    for operation in compiled.get_runtime_model().get_ordered_ops():
        info = operation.get_rt_info()
        if info["layerType"].astype(str) == _FUSED:
            names[operation.get_friendly_name()] = info["originalLayersNames"].astype(str)
    payload = zlib.compress(json.dumps(names).encode())
    return blob + payload + len(payload).to_bytes(8, "little") + _MARK


def _without_names(engine: bytes) -> tuple[bytes, dict[str, str]]:
    """The two parts of `_with_names`; a plain blob has no names.

    Raises:
        ValueError: the names are damaged.
    """
    if not engine.endswith(_MARK):
        return engine, {}
    end = len(engine) - len(_MARK) - 8
    start = end - int.from_bytes(engine[end : end + 8], "little")
    try:
        return engine[:start], json.loads(zlib.decompress(engine[max(start, 0) : end]))
    except zlib.error as error:
        msg = f"the names behind the blob are damaged: {error}"
        raise ValueError(msg) from error


def _executed_ns(request: Any) -> list[tuple[str, int]]:
    """The operations of the last inference, with the time of each; fused ones are not executed."""
    return [
        (info.node_name, round(info.real_time.total_seconds() * 1e9))
        for info in request.get_profiling_info()
        if info.status == info.Status.EXECUTED
    ]


def _executed_layer(operation: Any, names: dict[str, str]) -> ExecutedLayer | None:
    info = {key: value.astype(str) for key, value in operation.get_rt_info().items()}
    kind, name = info.get("layerType", ""), operation.get_friendly_name()
    types = [port.get_element_type().to_string() for port in operation.inputs()]
    if kind == _FUSED and len(types) >= _ATTENTION_INPUTS:
        arithmetic = _attention_arithmetic(types)
    elif kind in _WEIGHTED:
        types = types[:2]
        arithmetic = _arithmetic(types)
    else:
        return None
    return ExecutedLayer(
        name=name,
        kind=kind,
        arithmetic=arithmetic,
        detail=f"{'x'.join(types)} {info.get('primitiveType', '')}",
        sources=_sources(names.get(name, info.get("originalLayersNames", ""))),
    )


def _arithmetic(types: list[str]) -> Arithmetic:
    """int8 only when both the activations and the weights are 8-bit."""
    if len(types) < 2:
        return "unknown"
    return "int8" if all(kind in _INT8_TYPES for kind in types) else "float"


def _attention_arithmetic(types: list[str]) -> Arithmetic:
    """int8 only when queries, keys and values are; a float one makes both products float."""
    return "int8" if sum(kind in _INT8_TYPES for kind in types) >= _ATTENTION_INPUTS else "float"


def _sources(names: str) -> tuple[str, ...]:
    """Graph nodes behind a layer; OpenVINO splits a biased or rescaled one and adds a suffix."""
    return tuple(
        name.removesuffix("/WithoutBiases").removesuffix("/DequantizationMultiply")
        for name in names.split(",")
        if name
    )


BACKEND = OpenVino()
