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
from harness.backends.base import Tensor, import_sdk
from harness.errors import BuildError, UnavailableError
from harness.models.network import load_network
from harness.requests import EngineOptions, Probe

if TYPE_CHECKING:
    import torch


def sdk() -> Any:
    """The torch package; UnavailableError where it is missing."""
    return import_sdk("torch", "PyTorch")


class PyTorch:
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
            return PyTorchSession(network.to(device), device)

    def _network(self, engine: bytes, options: EngineOptions) -> torch.nn.Module:
        spec = models.get(options.model)
        try:
            return load_network(spec, options.classes, engine)
        except (RuntimeError, KeyError, ValueError) as error:
            msg = f"these weights do not fit {spec.name} with {options.classes} classes: {error}"
            raise BuildError(msg) from error


class PyTorchSession:
    """A module in evaluation mode."""

    def __init__(self, module: torch.nn.Module, device: str) -> None:
        self._module = module
        self._device = device

    def infer(self, image: Tensor) -> tuple[NDArray[np.generic], int]:
        """CUDA events around the forward pass on a GPU, a monotonic clock on a CPU."""
        torch = sdk()
        with cuda.memory_errors(), torch.inference_mode():
            tensor = torch.from_numpy(np.ascontiguousarray(image)).to(self._device)
            if self._device == "cuda":
                output, elapsed_ns = self._timed_cuda(tensor)
            else:
                start = time.perf_counter_ns()
                output = self._module(tensor)
                elapsed_ns = time.perf_counter_ns() - start
        result: NDArray[np.generic] = output.cpu().numpy()
        return result, elapsed_ns

    def _timed_cuda(self, tensor: torch.Tensor) -> tuple[Any, int]:
        torch = sdk()
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        before.record()
        output = self._module(tensor)
        after.record()
        after.synchronize()
        return output, round(before.elapsed_time(after) * 1e6)

    def layers(self) -> None:
        """Eager PyTorch keeps no list of what it executed."""

    def layer_times_ns(self) -> None:
        """Modules are no layers of a compiled engine."""

    def device_memory_bytes(self) -> int | None:
        """The highest memory that torch's allocator held, on CUDA only."""
        if self._device != "cuda":
            return None
        peak: int = sdk().cuda.max_memory_allocated()
        return peak

    def close(self) -> None:
        """Free the module."""
        del self._module


BACKEND = PyTorch()
