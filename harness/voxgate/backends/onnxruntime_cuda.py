"""ONNX Runtime's CUDA provider: the float graph in fp32 and, where tensor cores may round, in tf32.

An engine is the ONNX file, as on the CPU. Input and output stay on the GPU, and inferences are enqueued
on a stream of ours, so that time is CUDA events as with the other GPU runtimes. Nothing runs on the CPU:
a graph that the provider takes in part only is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from voxgate.backends import cuda_runtime
from voxgate.backends.base import Burst, Quiet, Tensor
from voxgate.backends.in_flight import time_in_flight
from voxgate.backends.onnxruntime import OnnxRuntimeSession, open_session, sdk
from voxgate.errors import (
    BuildError,
    DeviceError,
    DeviceMemoryError,
    EngineOutputError,
    UnavailableError,
)
from voxgate.records.runtime import EngineOptions, Probe

if TYPE_CHECKING:
    import tempfile

PROVIDER = "CUDAExecutionProvider"
_TITLE = "ONNX Runtime"
_ADVICE = (
    "install it in an environment of its own with \"pip install 'onnxruntime-gpu[cuda,cudnn]' onnx "
    'cuda-bindings msgspec numpy", as its files replace those of onnxruntime, and name that '
    "environment's Python: --python onnxruntime-cuda=PATH"
)
_ON_THE_GPU_ALONE = {"session.disable_cpu_ep_fallback": "1"}
_NO_WAITING = ("disable_synchronize_execution_providers", "1")
_OUT_OF_MEMORY = ("out of memory", "Failed to allocate memory", "CUDNN_STATUS_ALLOC_FAILED")


class OnnxRuntimeCuda(Quiet):
    """The CUDA provider."""

    def probe(self) -> Probe:
        """Version and GPU; without the provider or a GPU, what to install."""
        try:
            ort = sdk("onnxruntime-gpu")
            version = str(ort.__version__)
            if PROVIDER not in ort.get_available_providers():
                msg = f"this {_TITLE} {version} has no CUDA provider; {_ADVICE}"
                return Probe(available=False, version=version, reason=msg)
            reason = cuda_runtime.reason_for_none()
            if reason:
                msg = f"{_TITLE}'s CUDA provider needs a GPU: {reason}"
                return Probe(available=False, version=version, reason=msg)
            device = cuda_runtime.device()
        except UnavailableError as error:
            return Probe(available=False, reason=str(error))
        return Probe(available=True, version=version, device=device.name, accelerator=device.uuid)

    def create_context(self, options: EngineOptions) -> bool:
        """CUDA's context."""
        del options
        return cuda_runtime.create_context()

    def build(self, source: str, options: EngineOptions) -> bytes:
        """The ONNX file, after a session has accepted it."""
        engine = Path(source).read_bytes()
        self.load(engine, options).close()
        return engine

    def load(self, engine: bytes, options: EngineOptions) -> OnnxRuntimeCudaSession:
        """A session whose nodes are all on the GPU.

        Raises:
            UnavailableError: the provider's libraries do not load.
            BuildError: the bytes are no graph, or part of it would run on the CPU.
            DeviceMemoryError: the GPU has no room for it.
        """
        with suppress(AttributeError):  # older versions have none; finds what pip installed
            sdk().preload_dlls()
        stream = cuda_runtime.Stream()
        provider = (PROVIDER, _provider_options(options, stream))
        try:
            with _memory_errors():
                session, folder = open_session(engine, options, provider, _ON_THE_GPU_ALONE)
        except BuildError as error:
            self._explain(engine, options, provider, error)
            raise
        return OnnxRuntimeCudaSession(session, folder, stream)

    def _explain(
        self,
        engine: bytes,
        options: EngineOptions,
        provider: tuple[str, dict[str, str]],
        error: BuildError,
    ) -> None:
        """Without its libraries the provider leaves everything to the CPU, and says the same."""
        session, folder = open_session(engine, options, provider, {})
        used = session.get_providers()
        del session
        folder.cleanup()
        if PROVIDER not in used:
            msg = f"{_TITLE}'s CUDA provider does not load, as CUDA or cuDNN is missing; {_ADVICE}"
            raise UnavailableError(msg) from error


class OnnxRuntimeCudaSession(OnnxRuntimeSession):
    """An inference session on a GPU, whose input and output lie in memory of ours."""

    device_type = "cuda"

    def __init__(
        self,
        session: Any,
        folder: tempfile.TemporaryDirectory[str],
        stream: cuda_runtime.Stream,
    ) -> None:
        super().__init__(session, folder)
        self._stream = stream
        self._settings = sdk().RunOptions()
        self._settings.add_run_config_entry(*_NO_WAITING)
        self._source = _allocate(session.get_inputs()[0])
        self._target = _allocate(session.get_outputs()[0])
        self._binding = session.io_binding()
        bind = self._binding.bind_input, self._binding.bind_output
        ends = session.get_inputs()[0], session.get_outputs()[0]
        for place, end, buffer in zip(bind, ends, (self._source, self._target), strict=True):
            place(
                name=end.name, device_type=self.device_type, device_id=0, element_type=np.float32,
                shape=tuple(end.shape), buffer_ptr=buffer.device.address,
            )  # fmt: skip

    def infer(self, image: Tensor) -> tuple[NDArray[np.generic], int]:
        """CUDA events around the run, between the copies."""
        self._load(image)
        before = self.mark()
        self.enqueue()
        after = self.mark()
        self.wait(after)
        return self.output(), self.between_ns(before, after)

    def sample(self, image: Tensor, count: int) -> Burst:
        """CUDA events around each run, several of them in flight."""
        self._load(image)
        return time_in_flight(self, count)

    def output(self) -> NDArray[np.generic]:
        """A copy of what the last run left on the GPU."""
        self._stream.copy_out(self._target.host, self._target.device)
        self._stream.synchronize()
        return self._target.host.array.copy()

    def enqueue(self) -> None:
        """One run; with a stream of ours and this option it does not wait for the GPU."""
        with _memory_errors():
            self._session.run_with_iobinding(self._binding, self._settings)

    def mark(self) -> cuda_runtime.Event:
        """A recorded event."""
        return self._stream.mark()

    def wait(self, mark: cuda_runtime.Event) -> None:
        """Until the GPU has come to the event."""
        mark.wait()

    def between_ns(self, before: cuda_runtime.Event, after: cuda_runtime.Event) -> int:
        """By the GPU's clock."""
        return after.since_ns(before)

    def layer_times_ns(self) -> None:
        """Its profiler times the launches of kernels on the host, not the kernels."""

    def close(self) -> None:
        """Free the session before what it uses."""
        with suppress(DeviceError):  # of a device that is lost nothing can be freed
            self._stream.synchronize()
        del self._binding
        super().close()
        with suppress(DeviceError):
            self._source.close()
            self._target.close()
            self._stream.close()

    def _load(self, image: Tensor) -> None:
        if image.shape != self._source.host.array.shape:
            msg = f"the engine takes {self._source.host.array.shape}, not an image of {image.shape}"
            raise EngineOutputError(msg)
        self._stream.synchronize()  # an earlier copy may still read the host's memory
        self._source.host.array[...] = image
        self._stream.copy_in(self._source.device, self._source.host)


def _provider_options(options: EngineOptions, stream: cuda_runtime.Stream) -> dict[str, str]:
    return {
        "device_id": "0",
        "use_tf32": "1" if options.precision == "tf32" else "0",
        "user_compute_stream": str(stream.address),
    }


def _allocate(end: Any) -> cuda_runtime.TensorBuffer:
    """Memory of an input or output, of which the exported graph tells the whole shape."""
    return cuda_runtime.TensorBuffer(tuple(end.shape), np.float32)


@contextmanager
def _memory_errors() -> Iterator[None]:
    """Tell memory that ran out from other refusals, by the words of either.

    Raises:
        DeviceMemoryError: an allocation failed.
    """
    try:
        yield
    except Exception as error:
        if not any(sign in str(error) for sign in _OUT_OF_MEMORY):
            raise
        msg = f"{_TITLE}: {str(error).splitlines()[0]}; {cuda_runtime.free_memory()}"
        raise DeviceMemoryError(msg) from error


BACKEND = OnnxRuntimeCuda()
