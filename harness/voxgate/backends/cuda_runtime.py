"""CUDA by NVIDIA's own bindings: a device, its memory, a stream, events and captured graphs.

The one file that imports them. They take a third of a second, where PyTorch takes several, and hold
no memory of their own on the device. Everything is on the first device that CUDA shows.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from voxgate.backends.base import accelerator_name
from voxgate.errors import DeviceError, DeviceMemoryError, HarnessError, UnavailableError
from voxgate.machine.sdk import import_sdk

_DEVICE = 0
_MIB = 2**20
_OUT_OF_MEMORY = "cudaErrorMemoryAllocation"

# Errors after which no call of this process succeeds, and those of a device that is not there.
_LOST = {
    "cudaErrorAssert", "cudaErrorContained", "cudaErrorContextIsDestroyed",
    "cudaErrorDevicesUnavailable", "cudaErrorDeviceUninitialized", "cudaErrorECCUncorrectable",
    "cudaErrorExternalDevice", "cudaErrorHardwareStackError", "cudaErrorIllegalAddress",
    "cudaErrorIllegalInstruction", "cudaErrorInvalidAddressSpace", "cudaErrorInvalidPc",
    "cudaErrorLaunchFailure", "cudaErrorLaunchTimeout", "cudaErrorMisalignedAddress",
    "cudaErrorMpsClientTerminated", "cudaErrorNoDevice", "cudaErrorNvlinkUncorrectable",
    "cudaErrorSystemNotReady", "cudaErrorTensorMemoryLeak", "cudaErrorUnknown",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """A GPU, or a slice of one; ``uuid`` is as NVML and CUDA_VISIBLE_DEVICES have it."""

    name: str
    uuid: str
    total_bytes: int


def reason_for_none() -> str:
    """Why no device can be used, in words; empty where one can.

    Raises:
        UnavailableError: the bindings are not installed.
    """
    try:
        count: int = _ask("cudaGetDeviceCount")
    except DeviceError as error:
        return str(error)
    return "" if count else "CUDA shows no GPU"


def device() -> Device:
    """The first device.

    Raises:
        DeviceError: there is none.
    """
    facts = _ask("cudaGetDeviceProperties", _DEVICE)
    name = facts.name.decode(errors="replace").rstrip("\0")
    return Device(
        name=name,
        uuid=accelerator_name(name, _uuid(facts)),
        total_bytes=int(facts.totalGlobalMem),
    )


def device_name() -> str:
    """The first device's name; empty where there is none, or nothing to ask with."""
    with contextlib.suppress(HarnessError):
        return device().name
    return ""


def create_context() -> bool:
    """CUDA's context and nothing else; False where there is no device."""
    if reason_for_none():
        return False
    _ask("cudaSetDevice", _DEVICE)
    _ask("cudaFree", 0)  # CUDA before 12 makes the context as late as this
    return True


def runtime_version() -> str:
    """The version of the bindings' own runtime, like "12.9"."""
    number: int = _ask("cudaRuntimeGetVersion")
    return f"{number // 1000}.{number % 1000 // 10}"


def free_memory() -> str:
    """The device's free memory in words."""
    try:
        # Not by _ask, whose errors ask this.
        error, free, total = _runtime().cudaMemGetInfo()
    except UnavailableError as missing:
        return f"free device memory is unknown: {missing}"
    if int(error) != 0:
        return f"free device memory is unknown: {error.name} in cudaMemGetInfo"
    return f"{free / _MIB:.0f} of {total / _MIB:.0f} MiB free on the device"


class DeviceBuffer:
    """Bytes on the device."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.address = int(_ask("cudaMalloc", size))

    def close(self) -> None:
        """Give them back."""
        _ask("cudaFree", self.address)


class PinnedBuffer:
    """An array in host memory that the device reads and writes without a copy on the way."""

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        kind = np.dtype(dtype)
        self.size = int(np.prod(shape)) * kind.itemsize
        self.address = int(_ask("cudaMallocHost", self.size))
        memory = (ctypes.c_byte * self.size).from_address(self.address)
        self.array: NDArray[np.generic] = np.frombuffer(memoryview(memory), kind).reshape(shape)

    def close(self) -> None:
        """Give it back; ``array`` must not be used any more."""
        _ask("cudaFreeHost", self.address)


class TensorBuffer:
    """A tensor's memory on the device and, pinned, on the host."""

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self.host = PinnedBuffer(shape, dtype)
        self.device = DeviceBuffer(self.host.size)

    def close(self) -> None:
        """Give both back."""
        self.device.close()
        self.host.close()


class Event:
    """A moment in a stream."""

    def __init__(self) -> None:
        self._handle = _ask("cudaEventCreate")

    def record(self, stream: Stream) -> None:
        """Behind all that the stream has so far."""
        _ask("cudaEventRecord", self._handle, stream.handle)

    def wait(self) -> None:
        """Until the device has come to it."""
        _ask("cudaEventSynchronize", self._handle)

    def since_ns(self, earlier: Event) -> int:
        """The device's time from an earlier event; both are done."""
        elapsed_ms: float = _ask("cudaEventElapsedTime", earlier._handle, self._handle)
        return round(elapsed_ms * 1e6)

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # the device is lost, or the process is ending
            _ask("cudaEventDestroy", self._handle)


class Graph:
    """Launches that were captured, to be launched again as one."""

    def __init__(self, captured: Any) -> None:
        self._handle = _ask("cudaGraphInstantiate", captured, 0)
        _ask("cudaGraphDestroy", captured)

    def launch(self, stream: Stream) -> None:
        """All of it, on a stream."""
        _ask("cudaGraphLaunch", self._handle, stream.handle)

    def close(self) -> None:
        """Free it."""
        _ask("cudaGraphExecDestroy", self._handle)


class Stream:
    """A queue of the device that waits for no other one."""

    def __init__(self) -> None:
        self.handle = _ask("cudaStreamCreateWithFlags", _runtime().cudaStreamNonBlocking)

    @property
    def address(self) -> int:
        """The handle as TensorRT takes it."""
        return int(self.handle)

    def copy_in(self, target: DeviceBuffer, source: PinnedBuffer) -> None:
        """From the host to the device."""
        kind = _runtime().cudaMemcpyKind.cudaMemcpyHostToDevice
        _ask("cudaMemcpyAsync", target.address, source.address, source.size, kind, self.handle)

    def copy_out(self, target: PinnedBuffer, source: DeviceBuffer) -> None:
        """From the device to the host."""
        kind = _runtime().cudaMemcpyKind.cudaMemcpyDeviceToHost
        _ask("cudaMemcpyAsync", target.address, source.address, target.size, kind, self.handle)

    def mark(self) -> Event:
        """A new event behind all that is enqueued so far."""
        event = Event()
        event.record(self)
        return event

    def synchronize(self) -> None:
        """Until the device has done everything."""
        _ask("cudaStreamSynchronize", self.handle)

    def capture(self, enqueue: Callable[[], None]) -> Graph:
        """What ``enqueue`` puts on this stream, as a graph; nothing of it runs now."""
        mode = _runtime().cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self.synchronize()
        _ask("cudaStreamBeginCapture", self.handle, mode)
        try:
            enqueue()
        except HarnessError:
            with contextlib.suppress(DeviceError):  # what was enqueued is broken, too
                _ask("cudaStreamEndCapture", self.handle)
            raise
        return Graph(_ask("cudaStreamEndCapture", self.handle))

    def close(self) -> None:
        """Free it."""
        _ask("cudaStreamDestroy", self.handle)


@functools.cache
def _runtime() -> Any:
    return import_sdk("cuda.bindings.runtime", "CUDA for Python", "cuda-bindings")


def _ask(function: str, *arguments: Any) -> Any:
    """The answer of one function of CUDA's runtime.

    Raises:
        DeviceMemoryError: an allocation failed; with the sizes.
        DeviceError: anything else; says whether the device is lost.
        UnavailableError: the bindings are not installed.
    """
    error, *answers = getattr(_runtime(), function)(*arguments)
    if int(error) != 0:
        raise _problem(function, error)
    return answers[0] if len(answers) == 1 else tuple(answers)


def _problem(function: str, error: Any) -> HarnessError:
    _, words = _runtime().cudaGetErrorString(error)
    said = f"CUDA says '{words.decode(errors='replace')}' ({error.name}) in {function}"
    if error.name == _OUT_OF_MEMORY:
        return DeviceMemoryError(f"{said}; {free_memory()}")
    if error.name in _LOST:
        said += "; the GPU is lost to this process, 'nvidia-smi -q' and the kernel's log (Xid) tell more"
    return DeviceError(said)


def _uuid(facts: Any) -> bytes:
    """The driver's second version tells a slice's own, where the device is one."""
    found: bytes = facts.uuid.bytes
    with contextlib.suppress(UnavailableError, AttributeError, RuntimeError):
        driver = import_sdk("cuda.bindings.driver", "CUDA for Python", "cuda-bindings")
        error, number = driver.cuDeviceGet(_DEVICE)
        if int(error) != 0:
            return found
        error, uuid = driver.cuDeviceGetUuid_v2(number)
        return bytes(uuid.bytes) if int(error) == 0 else found
    return found
