"""Eager PyTorch in FP32, on CUDA where there is one and on the CPU otherwise: the reference.

An engine is the safetensors file of the expanded weights; loading builds the architecture from the
model table, so nothing is unpickled.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness import models
from harness.backends import cuda
from harness.backends.base import Burst, HostTimed, Quiet, Tensor, import_sdk
from harness.backends.in_flight import time_in_flight
from harness.errors import BuildError, UnavailableError
from harness.models.network import load_network
from harness.requests import EngineOptions, Probe

if TYPE_CHECKING:
    import torch


def sdk() -> Any:
    """The torch package; UnavailableError where it is missing."""
    return import_sdk("torch", "PyTorch")


class PyTorch(Quiet):
    """Eager execution."""

    def probe(self) -> Probe:
        """Version, and the GPU's name where CUDA is there."""
        try:
            torch = sdk()
        except UnavailableError as error:
            return Probe(available=False, reason=str(error))
        version = str(torch.__version__)
        if not torch.cuda.is_available():
            return Probe(available=True, version=version, device="CPU")
        return cuda.probe_gpu(torch, version)

    def create_context(self, options: EngineOptions) -> bool:
        """CUDA's context and the allocator's smallest block, where CUDA is there."""
        del options
        return cuda.create_context(sdk())

    def build(self, source: str, options: EngineOptions) -> bytes:
        """The weights, after the network has accepted them."""
        engine = Path(source).read_bytes()
        self._network(engine, options)
        return engine

    def load(self, engine: bytes, options: EngineOptions) -> PyTorchSession:
        """The network on the best device, TF32 off."""
        torch = sdk()
        torch.set_num_threads(options.threads)
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        device = "cuda" if torch.cuda.is_available() else "cpu"
        network = self._network(engine, options)
        with cuda.memory_errors():
            kind = PyTorchCudaSession if device == "cuda" else PyTorchSession
            return kind(network.to(device))

    def _network(self, engine: bytes, options: EngineOptions) -> torch.nn.Module:
        spec = models.get(options.model)
        try:
            return load_network(spec, options.classes, engine)
        except (RuntimeError, KeyError, ValueError) as error:
            msg = f"these weights do not fit {spec.name} with {options.classes} classes: {error}"
            raise BuildError(msg) from error


class PyTorchSession(HostTimed):
    """A module in evaluation mode on the CPU."""

    def __init__(self, module: torch.nn.Module) -> None:
        self._module = module

    def infer(self, image: Tensor) -> tuple[NDArray[np.generic], int]:
        """A monotonic clock around the forward pass."""
        torch = sdk()
        with torch.inference_mode():
            tensor = torch.from_numpy(np.ascontiguousarray(image))
            start = time.perf_counter_ns()
            output = self._module(tensor)
            elapsed_ns = time.perf_counter_ns() - start
        result: NDArray[np.generic] = output.numpy()
        return result, elapsed_ns

    def layers(self) -> None:
        """Eager PyTorch keeps no list of what it executed."""

    def layer_times_ns(self) -> None:
        """Modules are no layers of a compiled engine."""

    def device_memory_bytes(self) -> int | None:
        """No device."""
        return None

    def close(self) -> None:
        """Free the module."""
        del self._module


class PyTorchCudaSession(PyTorchSession):
    """A module in evaluation mode on a GPU, on the stream that is current there."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__(module)
        self._input: Any = None
        self._output: Any = None

    def infer(self, image: Tensor) -> tuple[NDArray[np.generic], int]:
        """CUDA events around the forward pass, between the copies."""
        with cuda.memory_errors(), sdk().inference_mode():
            self._load(image)
            before = self.mark()
            self.enqueue()
            after = self.mark()
            self.wait(after)
            return self.output(), self.between_ns(before, after)

    def sample(self, image: Tensor, count: int) -> Burst:
        """CUDA events around each forward pass, several of them in flight."""
        with cuda.memory_errors(), sdk().inference_mode():
            self._load(image)
            return time_in_flight(self, count)

    def output(self) -> NDArray[np.generic]:
        """A copy of what the last forward pass left on the GPU."""
        result: NDArray[np.generic] = self._output.cpu().numpy()
        return result

    def enqueue(self) -> None:
        """One forward pass; eager PyTorch does not wait for it."""
        self._output = None  # its memory is free for this pass
        self._output = self._module(self._input)

    def mark(self) -> Any:
        """A recorded event."""
        event = sdk().cuda.Event(enable_timing=True)
        event.record()
        return event

    def wait(self, mark: Any) -> None:
        """Until the GPU has come to the event."""
        mark.synchronize()

    def between_ns(self, before: Any, after: Any) -> int:
        """By the GPU's clock."""
        elapsed_ms: float = before.elapsed_time(after)
        return round(elapsed_ms * 1e6)

    def device_memory_bytes(self) -> int:
        """The highest memory that torch's allocator held."""
        peak: int = sdk().cuda.max_memory_allocated()
        return peak

    def _load(self, image: Tensor) -> None:
        self._input = sdk().from_numpy(np.ascontiguousarray(image)).to("cuda")


BACKEND = PyTorch()
