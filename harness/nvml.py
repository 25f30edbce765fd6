"""NVIDIA's management library: what a GPU is, and what it does at one moment.

It is read from beside the process that is measured, whose own numbers would lack what its runtime
allocates outside its own allocator. Nothing here raises because something is missing: a machine
without a GPU, a driver or the package is told by a reason, a query that a GPU does not answer by
None.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.types import GpuProcess

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_NO_PACKAGE = "the module pynvml is missing; install it with 'pip install nvidia-ml-py'"

# Why a GPU runs below the clocks that it was given, and the ends of the constants' names. Idleness,
# clocks set by somebody, sync boost and displays are no such reasons.
_THROTTLE_REASONS = {
    "hardware slowdown": "HwSlowdown",
    "hardware thermal slowdown": "HwThermalSlowdown",
    "software thermal slowdown": "SwThermalSlowdown",
    "power brake": "HwPowerBrakeSlowdown",
    "power cap": "SwPowerCap",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuSample:
    """A GPU at one moment of `time.monotonic_ns`; None is what the GPU or driver does not tell.

    ``listed``: the watched process is among those that the driver lists; ``process_bytes`` is what
    it holds with its children, ``device_bytes`` what everybody does.
    """

    at_ns: int
    listed: bool
    process_bytes: int | None
    device_bytes: int | None
    foreign: tuple[GpuProcess, ...]
    sm_clock_mhz: int | None
    memory_clock_mhz: int | None
    temperature_c: int | None
    power_w: float | None
    throttle_reasons: tuple[str, ...] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """A GPU by name; ``persistence`` is None where the driver does not tell."""

    name: str
    uuid: str
    memory_bytes: int | None
    persistence: bool | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Driver:
    """The driver and every GPU that it has; without one, ``reason`` says what is missing.

    ``first`` is the first GPU that CUDA may use. ``pids_visible`` tells whether the processes that
    the driver lists exist here; None while it lists none.
    """

    reason: str = ""
    version: str | None = None
    cuda: str | None = None
    gpus: tuple[Identity, ...] = ()
    first: Identity | None = None
    pids_visible: bool | None = None


class Device:
    """One GPU; close it after use."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle

    def identity(self) -> Identity:
        """What it is called."""
        memory = self._memory()
        persistence = self._ask("nvmlDeviceGetPersistenceMode")
        return Identity(
            name=self._ask("nvmlDeviceGetName") or "unknown",
            uuid=self._ask("nvmlDeviceGetUUID") or "",
            memory_bytes=None if memory is None else int(memory.total),
            persistence=None if persistence is None else bool(persistence),
        )

    def driver(self) -> str:
        """The driver's version."""
        try:
            return str(self._nvml.nvmlSystemGetDriverVersion())
        except self._nvml.NVMLError:
            return "unknown"

    def processes(self) -> tuple[GpuProcess, ...]:
        """Every process with a compute context, by the pids that the driver gives them."""
        found = self._ask("nvmlDeviceGetComputeRunningProcesses_v3") or ()
        return tuple(GpuProcess(pid=p.pid, memory_bytes=p.usedGpuMemory) for p in found)

    def read(self, pid: int) -> GpuSample:
        """The GPU now, as seen for the process ``pid`` and those that it started."""
        processes, memory = self.processes(), self._memory()
        # Stamped behind the memory: what is stamped before an engine's load was read before it.
        at_ns = time.monotonic_ns()
        own = [process for process in processes if _belongs(process.pid, pid)]
        told = [p.memory_bytes for p in own if p.memory_bytes is not None]
        power_mw = self._ask("nvmlDeviceGetPowerUsage")
        return GpuSample(
            at_ns=at_ns,
            listed=bool(own),
            process_bytes=sum(told) if told else None,
            device_bytes=None if memory is None else int(memory.used),
            foreign=tuple(process for process in processes if process not in own),
            sm_clock_mhz=self._ask("nvmlDeviceGetClockInfo", self._nvml.NVML_CLOCK_SM),
            memory_clock_mhz=self._ask("nvmlDeviceGetClockInfo", self._nvml.NVML_CLOCK_MEM),
            temperature_c=self._ask("nvmlDeviceGetTemperature", self._nvml.NVML_TEMPERATURE_GPU),
            power_w=None if power_mw is None else power_mw / 1e3,
            throttle_reasons=self._throttle_reasons(),
        )

    def close(self) -> None:
        """Let go of the library."""
        _shut_down(self._nvml)

    def _ask(self, query: str, *arguments: Any) -> Any | None:
        """One answer; None where this GPU, its driver or the package has none."""
        function = getattr(self._nvml, query, None)
        if function is None:
            return None
        try:
            return function(self._handle, *arguments)
        except self._nvml.NVMLError:
            return None

    def _memory(self) -> Any | None:
        """Version 2, which does not count what the driver reserves for itself, where it is there."""
        version = getattr(self._nvml, "nvmlMemory_v2", None)
        info = self._ask("nvmlDeviceGetMemoryInfo", version) if version is not None else None
        return info if info is not None else self._ask("nvmlDeviceGetMemoryInfo")

    def _throttle_reasons(self) -> tuple[str, ...] | None:
        bits = self._ask("nvmlDeviceGetCurrentClocksEventReasons")
        if bits is None:  # the older name
            bits = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons")
        if bits is None:
            return None
        return tuple(name for name, end in _THROTTLE_REASONS.items() if bits & self._bit(end))

    def _bit(self, end: str) -> int:
        older = getattr(self._nvml, f"nvmlClocksThrottleReason{end}", 0)
        return int(getattr(self._nvml, f"nvmlClocksEventReason{end}", older))


def open_device(index: int = 0, uuid: str = "") -> tuple[Device | None, str]:
    """The GPU of that UUID, else the one that CUDA calls ``index``; or None and why there is none.

    CUDA's numbers are this library's with CUDA_DEVICE_ORDER=PCI_BUS_ID or equal GPUs; a UUID has no
    such condition.
    """
    nvml, reason = _start_up()
    if nvml is None:
        return None, reason
    try:
        handle = _by_uuid(nvml, uuid)
        if handle is None:
            handle = _by_cuda_index(nvml, index)
    except nvml.NVMLError as error:
        handle, reason = None, f"NVML has no such GPU: {error}"
    if handle is None:
        _shut_down(nvml)
        return None, reason or f"{_VISIBLE}={os.environ.get(_VISIBLE, '')} shows no GPU {index}"
    return Device(nvml, handle), ""


def read_driver() -> Driver:
    """The driver, its GPUs, and whether it lists processes by the pids of this machine."""
    nvml, reason = _start_up()
    if nvml is None:
        return Driver(reason=reason)
    try:
        devices = [Device(nvml, handle) for handle in _handles(nvml)]
        number = nvml.nvmlSystemGetCudaDriverVersion_v2()
        driver = Driver(
            version=str(nvml.nvmlSystemGetDriverVersion()),
            cuda=f"{number // 1000}.{number % 1000 // 10}",
            gpus=tuple(device.identity() for device in devices),
            first=_first(),
            pids_visible=_exist([p.pid for device in devices for p in device.processes()]),
        )
    except nvml.NVMLError as error:
        driver = Driver(reason=f"NVML does not answer: {error}")
    _shut_down(nvml)
    return driver


def _first() -> Identity | None:
    device, _ = open_device()
    if device is None:
        return None
    identity = device.identity()
    device.close()
    return identity


def _start_up() -> tuple[Any | None, str]:
    """The library, started; or None and what is missing."""
    try:
        import pynvml
    except ImportError:
        return None, _NO_PACKAGE
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return None, f"no NVIDIA driver ({error}); install one, or use a CPU backend"
    return pynvml, ""


def _shut_down(nvml: Any) -> None:
    try:
        nvml.nvmlShutdown()
    except nvml.NVMLError:
        return


def _handles(nvml: Any) -> list[Any]:
    count = nvml.nvmlDeviceGetCount()
    return [nvml.nvmlDeviceGetHandleByIndex(number) for number in range(count)]


def _by_cuda_index(nvml: Any, index: int) -> Any | None:
    """The GPU that CUDA_VISIBLE_DEVICES has at that place; None where it shows none there."""
    listed = os.environ.get(_VISIBLE)
    if listed is None:
        return nvml.nvmlDeviceGetHandleByIndex(index)
    shown = [entry.strip() for entry in listed.split(",")]
    if index >= len(shown):
        return None
    if shown[index].isdecimal():
        return nvml.nvmlDeviceGetHandleByIndex(int(shown[index]))
    return _by_uuid(nvml, shown[index])


def _by_uuid(nvml: Any, uuid: str) -> Any | None:
    """The GPU whose UUID begins so, as CUDA abbreviates them; a MIG instance by its whole UUID."""
    if uuid.startswith("MIG-"):
        return nvml.nvmlDeviceGetHandleByUUID(uuid)
    if not uuid.startswith("GPU-"):
        return None
    found = (h for h in _handles(nvml) if nvml.nvmlDeviceGetUUID(h).startswith(uuid))
    return next(found, None)


def _belongs(pid: int, worker: int) -> bool:
    """Whether a process is the worker or of the session that it leads, as what it starts is."""
    if pid == worker:
        return True
    try:
        return os.getsid(pid) == worker
    except (OSError, AttributeError):  # gone or somebody else's; a system without sessions
        return False


def _exist(pids: Sequence[int]) -> bool | None:
    import psutil  # not above: workers ask for memory alone, and have no such package

    return all(psutil.pid_exists(pid) for pid in pids) if pids else None
