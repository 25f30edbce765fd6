"""Eager PyTorch, on CUDA where there is one and on the CPU otherwise: the reference, and what people run.

An engine is the safetensors file of the expanded weights, in float32 for every precision; loading
builds the architecture from the model table, so nothing is unpickled.

``fp32`` is the reference: TF32 off, PyTorch's own memory format and choice of algorithms. The others
are set up as users of nnU-Net and MONAI do it on a GPU: TF32 allowed, weights channels-last, cuDNN times
its algorithms and takes the fastest. ``fp16`` and ``bf16`` are autocast over the float32 weights.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from voxgate import models
from voxgate.backends import cuda
from voxgate.backends.base import Burst, HostTimed, Quiet, Tensor
from voxgate.backends.in_flight import time_in_flight
from voxgate.errors import BuildError, UnavailableError
from voxgate.machine.environment import isa_flags
from voxgate.machine.sdk import import_sdk
from voxgate.models.network import load_network
from voxgate.records.case import Precision
from voxgate.records.runtime import EngineOptions, Probe

if TYPE_CHECKING:
    import torch

_BF16_CPU = {"avx512_bf16", "amx_bf16"}
_AMPERE = (8, 0)  # the first compute capability with TF32 and bf16
_VOLUMES = 5  # dimensions of a batch of volumes, and of a 3D convolution's weight


@dataclass(frozen=True, kw_only=True, slots=True)
class Mode:
    """How a precision is computed: the type that autocast casts to, and whether a GPU is tuned."""

    autocast: str = ""
    tuned: bool = True


_REFERENCE = Mode(tuned=False)
MODES: dict[Precision, Mode] = {
    "fp32": _REFERENCE,
    "tf32": Mode(),
    "fp16": Mode(autocast="float16"),
    "bf16": Mode(autocast="bfloat16"),
}


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
            refused = _refused_by_cpu(version)
            return Probe(available=True, version=version, device="CPU", refused=refused)
        refused = _refused_by_gpu(torch.cuda.get_device_capability(0))
        return replace(cuda.probe_gpu(torch, version), refused=refused)

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
        """The network on the best device, set up for its precision."""
        torch, mode = sdk(), MODES[options.precision]
        torch.set_num_threads(options.threads)
        torch.backends.cuda.matmul.allow_tf32 = mode.tuned
        torch.backends.cudnn.allow_tf32 = mode.tuned
        torch.backends.cudnn.benchmark = mode.tuned
        network = self._network(engine, options)
        if not torch.cuda.is_available():
            return PyTorchSession(network, mode)
        with cuda.memory_errors():
            network = network.to("cuda")
            if mode.tuned:
                _to_channels_last(network)
            return PyTorchCudaSession(network, mode)

    def _network(self, engine: bytes, options: EngineOptions) -> torch.nn.Module:
        spec = models.get(options.model)
        try:
            return load_network(spec, options.classes, engine)
        except (RuntimeError, KeyError, ValueError) as error:
            msg = f"these weights do not fit {spec.name} with {options.classes} classes: {error}"
            raise BuildError(msg) from error


def _refused_by_cpu(version: str) -> dict[str, str]:
    cause = f"PyTorch {version} sees no CUDA GPU"
    refused = {
        "tf32": f"it is a format of NVIDIA's tensor cores, and {cause}",
        "fp16": f"it is for GPUs, and {cause}",
    }
    if not _BF16_CPU & set(isa_flags()):
        refused["bf16"] = f"this CPU has no bf16 instructions (AVX512-BF16 or AMX), and {cause}"
    return refused


def _refused_by_gpu(capability: tuple[int, int]) -> dict[str, str]:
    if capability >= _AMPERE:
        return {}
    has = ".".join(map(str, capability))
    return dict.fromkeys(
        ("tf32", "bf16"), f"it came with compute capability 8.0; this GPU has {has}"
    )


def _to_channels_last(network: torch.nn.Module) -> None:
    """Weights of 3D convolutions as tensor cores read them; `Module.to` would refuse 4D tensors."""
    for tensor in itertools.chain(network.parameters(), network.buffers()):
        if tensor.dim() == _VOLUMES:
            tensor.data = tensor.data.contiguous(memory_format=sdk().channels_last_3d)


class PyTorchSession(HostTimed):
    """A module in evaluation mode on the CPU."""

    device = "cpu"

    def __init__(self, module: torch.nn.Module, mode: Mode = _REFERENCE) -> None:
        self._module = module
        self._mode = mode

    def infer(self, image: Tensor) -> tuple[NDArray[np.generic], int]:
        """A monotonic clock around the forward pass."""
        with self._computing():
            tensor = sdk().from_numpy(np.ascontiguousarray(image))
            start = time.perf_counter_ns()
            output = self._module(tensor)
            elapsed_ns = time.perf_counter_ns() - start
        return _as_numpy(output), elapsed_ns

    def sample(self, image: Tensor, count: int) -> Burst:
        """One inference after the other."""
        with self._computing():
            return super().sample(image, count)

    def compile(self) -> None:
        """Hand the module to `torch.compile`, as it comes; its next forward pass compiles it."""
        self._module = sdk().compile(self._module)

    def layers(self) -> None:
        """PyTorch keeps no list of what it executed."""

    def layer_times_ns(self) -> None:
        """Modules are no layers of a compiled engine."""

    def device_memory_bytes(self) -> int | None:
        """No device."""
        return None

    def close(self) -> None:
        """Free the module."""
        del self._module

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """No gradients. Autocast casts a weight once in here, like once in a volume of windows."""
        torch = sdk()
        with torch.inference_mode():
            if not self._mode.autocast:
                yield
                return
            with torch.autocast(self.device, dtype=getattr(torch, self._mode.autocast)):
                yield


class PyTorchCudaSession(PyTorchSession):
    """A module in evaluation mode on a GPU, on the stream that is current there."""

    device = "cuda"

    def __init__(self, module: torch.nn.Module, mode: Mode = _REFERENCE) -> None:
        super().__init__(module, mode)
        self._input: Any = None
        self._output: Any = None

    def infer(self, image: Tensor) -> tuple[NDArray[np.generic], int]:
        """CUDA events around the forward pass, between the copies."""
        with cuda.memory_errors(), self._computing():
            self._load(image)
            before = self.mark()
            self.enqueue()
            after = self.mark()
            self.wait(after)
            return self.output(), self.between_ns(before, after)

    def sample(self, image: Tensor, count: int) -> Burst:
        """CUDA events around each forward pass, several of them in flight."""
        with cuda.memory_errors(), self._computing():
            self._load(image)
            return time_in_flight(self, count)

    def output(self) -> NDArray[np.generic]:
        """A copy of what the last forward pass left on the GPU."""
        return _as_numpy(self._output)

    def enqueue(self) -> None:
        """One forward pass; PyTorch does not wait for it."""
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
        """The highest memory that torch's allocator handed out; what it reserves is more."""
        peak: int = sdk().cuda.max_memory_allocated()
        return peak

    def _load(self, image: Tensor) -> None:
        torch = sdk()
        self._input = torch.from_numpy(np.ascontiguousarray(image)).to("cuda")
        if self._mode.tuned:
            self._input = self._input.contiguous(memory_format=torch.channels_last_3d)


def _as_numpy(output: torch.Tensor) -> NDArray[np.generic]:
    """In float32, made on the host: NumPy has no bf16, and a copy on the GPU would count as memory."""
    result: NDArray[np.generic] = output.cpu().float().numpy()
    return result


BACKEND = PyTorch()
