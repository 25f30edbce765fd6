"""A TensorRT engine that runs: buffers, events and a stream of its own, by CUDA's bindings.

Time is CUDA events around the enqueue on that stream, without copies. With ``cuda_graph`` the
enqueue is captured once and replayed; without it, `TensorRtSession.replay` does so beside.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from voxgate.backends import cuda_runtime
from voxgate.backends.base import Burst, LayerTimes, Tensor
from voxgate.backends.in_flight import time_in_flight
from voxgate.backends.tensorrt_inspector import kernels_sha256, parse_layers
from voxgate.backends.tensorrt_log import Words
from voxgate.errors import BuildError, DeviceError, DeviceMemoryError, EngineOutputError
from voxgate.records.engine import ExecutedLayer

if TYPE_CHECKING:
    import tensorrt as trt


# TensorRT's types that an array can have; its own table breaks with some versions of NumPy.
_TYPES = {
    "FLOAT": "float32", "HALF": "float16", "INT8": "int8", "INT32": "int32", "INT64": "int64",
    "UINT8": "uint8", "BOOL": "bool",
}  # fmt: skip


class TensorRtSession:
    """An execution context with one image in and one tensor of logits out."""

    def __init__(
        self,
        sdk: Any,
        runtime: trt.Runtime,
        engine: trt.ICudaEngine,
        *,
        log: Any,
        cuda_graph: bool = False,
        profiled: bool = False,
    ) -> None:
        self._sdk = sdk
        self._runtime = runtime  # must outlive the engine
        self._engine = engine
        self._log = log
        words = Words(log)
        context: trt.IExecutionContext = engine.create_execution_context()
        if context is None:
            if words.errors() and not words.out_of_memory():
                msg = f"no execution context: {words.last()}"
                raise BuildError(msg)
            size = _scratch_bytes(engine) / 2**20
            msg = (
                f"no execution context, which needs {size:.0f} MiB of device memory: {words.last()}; "
                f"{cuda_runtime.free_memory()}"
            )
            raise DeviceMemoryError(msg)
        self._context = context
        self._input, self._output = _tensor_names(sdk, engine)
        self._stream = cuda_runtime.Stream()
        self._shape: tuple[int, ...] = ()
        self._buffers: tuple[cuda_runtime.TensorBuffer, cuda_runtime.TensorBuffer] | None = None
        self._wants_graph = cuda_graph and not profiled  # a replayed graph has no layers
        self._profiler = _profiler(sdk) if profiled else None
        if self._profiler is not None:
            context.profiler = self._profiler
        self._graph: cuda_runtime.Graph | None = None

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
            self._drop_graph()

    def output(self) -> NDArray[np.generic]:
        """A copy of what the last inference left in the output's buffer."""
        assert self._buffers is not None
        _, target = self._buffers
        self._stream.copy_out(target.host, target.device)
        self._stream.synchronize()
        return target.host.array.copy()

    def mark(self) -> cuda_runtime.Event:
        """A recorded event."""
        return self._stream.mark()

    def wait(self, mark: cuda_runtime.Event) -> None:
        """Until the GPU has come to the event."""
        mark.wait()

    def between_ns(self, before: cuda_runtime.Event, after: cuda_runtime.Event) -> int:
        """By the GPU's clock."""
        return after.since_ns(before)

    def _load(self, image: Tensor) -> None:
        """Copy an image into the input's buffer."""
        source, _ = self._buffers_for(image.shape)
        self._stream.synchronize()  # an earlier copy may still read the host's memory
        source.host.array[...] = image
        self._stream.copy_in(source.device, source.host)

    def layers(self) -> tuple[ExecutedLayer, ...] | None:
        """The weighted layers with the precision that the builder gave them."""
        return parse_layers(self._information())

    def kernels_sha256(self) -> str | None:
        """Over what the inspector lists; None of an engine without details."""
        return kernels_sha256(self._information())

    def _information(self) -> str:
        inspector: trt.EngineInspector = self._engine.create_engine_inspector()
        inspector.execution_context = self._context
        return str(inspector.get_engine_information(self._sdk.LayerInformationFormat.JSON))

    def layer_times_ns(self) -> dict[str, int] | None:
        """What the profiler was told, which each enqueue does as it is."""
        return None if self._profiler is None else self._profiler.medians() or None

    def device_memory_bytes(self) -> int:
        """Activations and scratch that the engine asks for, without its weights."""
        return _scratch_bytes(self._engine)

    def close(self) -> None:
        """Free the graph and the context before the engine, the engine before its runtime."""
        with contextlib.suppress(DeviceError):  # of a device that is lost nothing can be freed
            self._stream.synchronize()
            self._drop_graph()
            self._drop_buffers()
            self._stream.close()
        del self._context, self._profiler, self._engine, self._runtime

    def _buffers_for(
        self, shape: tuple[int, ...]
    ) -> tuple[cuda_runtime.TensorBuffer, cuda_runtime.TensorBuffer]:
        """Memory of the input and the output; new where the shape is another."""
        if self._buffers is not None and self._shape == shape:
            return self._buffers
        self._drop_graph()
        self._drop_buffers()
        if not self._context.set_input_shape(self._input, shape):
            wanted = tuple(self._engine.get_tensor_shape(self._input))
            msg = f"the engine takes {wanted}, not an image of {shape}"
            raise EngineOutputError(msg)
        source = self._allocate(self._input, shape)
        target = self._allocate(self._output, tuple(self._context.get_tensor_shape(self._output)))
        for name, buffer in ((self._input, source), (self._output, target)):
            self._context.set_tensor_address(name, buffer.device.address)
        self._shape, self._buffers = shape, (source, target)
        return self._buffers

    def _allocate(self, name: str, shape: tuple[int, ...]) -> cuda_runtime.TensorBuffer:
        named = str(self._engine.get_tensor_dtype(name)).rpartition(".")[2]
        if named not in _TYPES:
            msg = f"tensor {name!r} has the type {named}, which no array has"
            raise EngineOutputError(msg)
        try:
            return cuda_runtime.TensorBuffer(shape, _TYPES[named])
        except DeviceMemoryError as error:
            msg = f"no device memory for tensor {name!r} of {shape} {_TYPES[named]}: {error}"
            raise DeviceMemoryError(msg) from error

    def _drop_buffers(self) -> None:
        for buffer in self._buffers or ():
            buffer.close()
        self._buffers = None

    def _drop_graph(self) -> None:
        if self._graph is not None:
            self._graph.close()
        self._graph = None

    def enqueue(self) -> None:
        """One inference on the stream, by the graph where one is captured."""
        if self._graph is not None:
            self._graph.launch(self._stream)
            return
        self._execute()
        if self._wants_graph:  # after one plain run, as lazy initialization must not be captured
            self._graph = self._capture()

    def _execute(self) -> None:
        words = Words(self._log)
        if self._context.execute_async_v3(self._stream.address):
            return
        msg = f"the engine refused to run: {words.last()}"
        memory = words.out_of_memory()
        raise (DeviceMemoryError if memory else EngineOutputError)(msg)

    def _capture(self) -> cuda_runtime.Graph:
        return self._stream.capture(self._execute)


def _scratch_bytes(engine: trt.ICudaEngine) -> int:
    """Activations and scratch; the second name came with version 10, and 11 has no other."""
    size: int | None = getattr(engine, "device_memory_size_v2", None)
    older: int | None = getattr(engine, "device_memory_size", None) if size is None else None
    return size or older or 0


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
