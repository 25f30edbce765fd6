"""ONNX Runtime on the CPU: an FP32 reference, and a fake-quant runtime for Q/DQ graphs.

An engine is the ONNX file itself, since that is what people deploy with this runtime. Quantize-
dequantize pairs are kept in float on purpose (session option disable_quant_qdq).
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from voxgate.backends.base import HostTimed, LayerTimes, Quiet, Tensor
from voxgate.errors import BuildError, UnavailableError
from voxgate.machine.sdk import import_sdk
from voxgate.records.engine import ExecutedLayer
from voxgate.records.runtime import EngineOptions, Probe

if TYPE_CHECKING:
    import onnxruntime

_WEIGHTED = {"Conv", "ConvTranspose", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul"}
_OPTIMIZED = "optimized.onnx"
# Events of the profiler: one a node, and one that ends an inference.
_KERNEL = "_kernel_time"
_RUN = "model_run"
_INTEGER = {"ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul", "QGemm"}


def sdk(distribution: str = "onnxruntime") -> Any:
    """The onnxruntime package; UnavailableError where it is missing, with what to install."""
    return import_sdk("onnxruntime", "ONNX Runtime", distribution)


class OnnxRuntime(Quiet):
    """The CPU provider."""

    def probe(self) -> Probe:
        """Version; the CPU provider is always there."""
        try:
            ort = sdk()
        except UnavailableError as error:
            return Probe(available=False, reason=str(error))
        return Probe(available=True, version=ort.__version__, device="CPUExecutionProvider")

    def create_context(self, options: EngineOptions) -> bool:
        """No accelerator."""
        del options
        return False

    def build(self, source: str, options: EngineOptions) -> bytes:
        """The ONNX file, after a session has accepted it."""
        engine = Path(source).read_bytes()
        self.load(engine, options).close()
        return engine

    def load(self, engine: bytes, options: EngineOptions) -> OnnxRuntimeSession:
        """A session; the optimized graph is kept to tell what is executed."""
        session, folder = open_session(engine, options, "CPUExecutionProvider", {})
        return OnnxRuntimeSession(session, folder, profiled=options.profiled)


def open_session(
    engine: bytes,
    options: EngineOptions,
    provider: str | tuple[str, dict[str, str]],
    entries: Mapping[str, str],
) -> tuple[onnxruntime.InferenceSession, tempfile.TemporaryDirectory[str]]:
    """A session on one provider, with further entries of its configuration; and its files.

    Raises:
        BuildError: the bytes are no graph, or one that the provider does not take.
    """
    settings = _settings(options)
    for name, value in entries.items():
        settings.add_session_config_entry(name, value)
    folder = tempfile.TemporaryDirectory(prefix="voxgate-ort-")
    settings.optimized_model_filepath = str(Path(folder.name) / _OPTIMIZED)
    settings.enable_profiling = options.profiled
    settings.profile_file_prefix = str(Path(folder.name) / "profile")
    try:  # without its own fallback, which would try again on another provider
        session = sdk().InferenceSession(engine, settings, [provider], enable_fallback=0)
    except Exception as error:
        folder.cleanup()
        msg = f"ONNX Runtime refused the model ({len(engine)} bytes): {error}"
        raise BuildError(msg) from error
    return session, folder


def run_file(path: Path, image: Tensor, options: EngineOptions) -> NDArray[np.generic]:
    """The output of an ONNX file, which may keep its weights in other files beside it.

    Raises:
        BuildError: ONNX Runtime refused the graph.
    """
    try:
        session = sdk().InferenceSession(path, _settings(options), ["CPUExecutionProvider"])
    except Exception as error:
        msg = f"ONNX Runtime refused {path.name}: {error}"
        raise BuildError(msg) from error
    (output,) = session.run(None, {session.get_inputs()[0].name: np.ascontiguousarray(image)})
    result: NDArray[np.generic] = output
    return result


def _settings(options: EngineOptions) -> onnxruntime.SessionOptions:
    settings = sdk().SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    settings.add_session_config_entry("session.disable_quant_qdq", "1")
    return settings


class OnnxRuntimeSession(HostTimed):
    """An inference session with one input and one output."""

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        folder: tempfile.TemporaryDirectory[str],
        *,
        profiled: bool = False,
    ) -> None:
        self._profiled = profiled
        self._session = session
        self._folder = folder
        self._input = session.get_inputs()[0].name

    def infer(self, image: Tensor) -> tuple[NDArray[np.generic], int]:
        """Time one run call."""
        feed = {self._input: np.ascontiguousarray(image)}
        start = time.perf_counter_ns()
        (output,) = self._session.run(None, feed)
        return output, time.perf_counter_ns() - start

    def layers(self) -> tuple[ExecutedLayer, ...]:
        """The weighted nodes of the optimized graph: integer operators are int8, others float."""
        import onnx

        graph = onnx.load(Path(self._folder.name) / _OPTIMIZED).graph
        return tuple(
            ExecutedLayer(
                name=node.name,
                kind=node.op_type,
                arithmetic="int8" if node.op_type in _INTEGER else "float",
                detail=node.domain or "onnx",
                sources=(node.name, *node.output),
            )
            for node in graph.node
            if node.op_type in _WEIGHTED | _INTEGER
        )

    def layer_times_ns(self) -> dict[str, int] | None:
        """What the profiler wrote of each node; it ends with this."""
        if not self._profiled:
            return None
        return _kernel_times(json.loads(Path(self._session.end_profiling()).read_bytes()))

    def device_memory_bytes(self) -> None:
        """A CPU has no memory of its own; of a GPU's the provider does not tell."""

    def close(self) -> None:
        """Free the session."""
        del self._session
        self._folder.cleanup()


def _kernel_times(events: list[dict[str, Any]]) -> dict[str, int]:
    """The median of each node; an inference ends with the event of its run."""
    times, inference = LayerTimes(), []
    for event in sorted(events, key=lambda event: int(event["ts"]) + int(event.get("dur", 0))):
        name = str(event["name"])
        if event.get("cat") == "Node" and name.endswith(_KERNEL):
            inference.append((name.removesuffix(_KERNEL), int(event["dur"]) * 1000))
        elif name == _RUN:
            times.add(inference)
            inference = []
    return times.medians()


BACKEND = OnnxRuntime()
