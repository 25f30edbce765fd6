"""A TensorRT engine that runs: buffers and events by PyTorch, a stream of its own.

Time is CUDA events around the enqueue on that stream, without copies. With ``cuda_graph`` the
enqueue is captured once and replayed; without it, `TensorRtSession.replay` does so beside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.backends import cuda
from harness.backends.base import Burst, LayerTimes, Tensor, import_sdk
from harness.backends.in_flight import time_in_flight
from harness.backends.tensorrt_inspector import parse_layers
from harness.errors import BuildError, DeviceMemoryError, EngineOutputError
from harness.types import ExecutedLayer

if TYPE_CHECKING:
    import tensorrt as trt


class TensorRtSession:
    """An execution context with one image in and one tensor of logits out."""

    def __init__(
        self,
        sdk: Any,
        runtime: trt.Runtime,
        engine: trt.ICudaEngine,
        *,
        cuda_graph: bool = False,
        profiled: bool = False,
    ) -> None:
        self._sdk = sdk
        self._runtime = runtime  # must outlive the engine
        self._engine = engine
        context: trt.IExecutionContext = engine.create_execution_context()
        if context is None:
            size = engine.device_memory_size_v2
            msg = f"no execution context: it needs {size / 2**20:.0f} MiB of device memory; {cuda.free_memory()}"
            raise DeviceMemoryError(msg)
        self._context = context
        self._input, self._output = _tensor_names(sdk, engine)
        self._torch = import_sdk("torch", "PyTorch")
        self._stream = self._torch.cuda.Stream()
        self._buffers: tuple[Any, Any] | None = None
        self._wants_graph = cuda_graph and not profiled  # a replayed graph has no layers
        self._profiler = _profiler(sdk) if profiled else None
        if self._profiler is not None:
            context.profiler = self._profiler
        self._graph: Any = None

    def infer(self, image: Tensor) -> tuple[NDArray[np.generic], int]:
        """Copy in, enqueue between two events, copy out; ns are of the enqueue alone."""
        self._load(image)
        before = self.mark()
        self.enqueue()
        after = self.mark()
        self.wait(after)
        logits = self.output()
        if self._profiler is not None:
            self._profiler.end_inference()
        return logits, self.between_ns(before, after)

    def sample(self, image: Tensor, count: int) -> Burst:
        """Events around each enqueue, several inferences in flight, nothing fetched."""
        self._load(image)
        if self._wants_graph and self._graph is None:
            self.enqueue()  # captures
        return time_in_flight(self, count)

    def replay(self, image: Tensor, count: int) -> Burst | None:
        """The same by a graph that is kept for this call; None where `sample` replays one anyway."""
        if self._wants_graph or self._profiler is not None:
            return None
        self._load(image)
        self.enqueue()  # lazy initialization must not be captured
        self._graph = self._capture()
        try:
            return time_in_flight(self, count)
        finally:
            self._graph = None

    def output(self) -> NDArray[np.generic]:
        """A copy of what the last inference left in the output's buffer."""
        assert self._buffers is not None
        with self._torch.cuda.stream(self._stream):
            logits: NDArray[np.generic] = self._buffers[1].cpu().numpy()
        return logits

    def mark(self) -> Any:
        """A recorded event."""
        event = self._torch.cuda.Event(enable_timing=True)
        event.record(self._stream)
        return event

    def wait(self, mark: Any) -> None:
        """Until the GPU has come to the event."""
        mark.synchronize()

    def between_ns(self, before: Any, after: Any) -> int:
        """By the GPU's clock."""
        elapsed_ms: float = before.elapsed_time(after)
        return round(elapsed_ms * 1e6)

    def _load(self, image: Tensor) -> None:
        """Copy an image into the input's buffer."""
        source, _ = self._buffers_for(image.shape)
        with self._torch.cuda.stream(self._stream):
            source.copy_(self._torch.from_numpy(np.ascontiguousarray(image)))

    def layers(self) -> tuple[ExecutedLayer, ...] | None:
        """The weighted layers with the precision that the builder gave them."""
        inspector: trt.EngineInspector = self._engine.create_engine_inspector()
        inspector.execution_context = self._context
        return parse_layers(inspector.get_engine_information(self._sdk.LayerInformationFormat.JSON))

    def layer_times_ns(self) -> dict[str, int] | None:
        """What the profiler was told, which each enqueue does as it is; never seen to run."""
        return None if self._profiler is None else self._profiler.medians() or None

    def device_memory_bytes(self) -> int:
        """Activations and scratch that the engine asks for, without its weights."""
        size: int = self._engine.device_memory_size_v2
        return size

    def close(self) -> None:
        """Free the graph and the context before the engine, the engine before its runtime."""
        del self._graph, self._buffers, self._context, self._profiler, self._engine, self._runtime

    def _buffers_for(self, shape: tuple[int, ...]) -> tuple[Any, Any]:
        """Device tensors of the input and the output; new ones where the shape is another."""
        if self._buffers is not None and tuple(self._buffers[0].shape) == shape:
            return self._buffers
        if not self._context.set_input_shape(self._input, shape):
            wanted = tuple(self._engine.get_tensor_shape(self._input))
            msg = f"the engine takes {wanted}, not an image of {shape}"
            raise EngineOutputError(msg)
        source = self._allocate(self._input, shape)
        target = self._allocate(self._output, tuple(self._context.get_tensor_shape(self._output)))
        for name, buffer in ((self._input, source), (self._output, target)):
            self._context.set_tensor_address(name, buffer.data_ptr())
        self._graph = None
        self._buffers = source, target
        return self._buffers

    def _allocate(self, name: str, shape: tuple[int, ...]) -> Any:
        torch = self._torch
        kind = np.dtype(self._sdk.nptype(self._engine.get_tensor_dtype(name))).name
        try:
            return torch.empty(shape, dtype=getattr(torch, kind), device="cuda")
        except torch.OutOfMemoryError as error:
            msg = f"no device memory for tensor {name!r} of {shape} {kind}: {error}; {cuda.free_memory()}"
            raise DeviceMemoryError(msg) from error

    def enqueue(self) -> None:
        """One inference on the stream, by the graph where one is captured."""
        if self._graph is not None:
            self._graph.replay()
            return
        if not self._context.execute_async_v3(self._stream.cuda_stream):
            msg = "the engine refused to run; the worker's log says why"
            raise EngineOutputError(msg)
        if self._wants_graph:  # after one plain run, as lazy initialization must not be captured
            self._graph = self._capture()

    def _capture(self) -> Any:
        torch = self._torch
        self._stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream):
            self._context.execute_async_v3(self._stream.cuda_stream)
        return graph


def _profiler(sdk: Any) -> Any:
    """Gathers what TensorRT reports of each layer of an inference."""

    class Profiler(sdk.IProfiler):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self._times, self._inference = LayerTimes(), list[tuple[str, int]]()

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self._inference.append((layer_name, round(ms * 1e6)))

        def end_inference(self) -> None:
            self._times.add(self._inference)
            self._inference = []

        def medians(self) -> dict[str, int]:
            return self._times.medians()

    return Profiler()


def _tensor_names(sdk: Any, engine: trt.ICudaEngine) -> tuple[str, str]:
    """The one input and the one output of a segmentation network.

    Raises:
        BuildError: the engine has another number of either.
    """
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    inputs = [n for n in names if engine.get_tensor_mode(n) == sdk.TensorIOMode.INPUT]
    outputs = [n for n in names if n not in inputs]
    if len(inputs) != 1 or len(outputs) != 1:
        msg = f"the engine has inputs {inputs} and outputs {outputs}, not one of each"
        raise BuildError(msg)
    return inputs[0], outputs[0]
