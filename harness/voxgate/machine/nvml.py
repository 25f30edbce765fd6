"""NVIDIA's management library: what a GPU is, and what it does at one moment.

It is read from beside the process that is measured, whose own numbers would lack what its runtime
allocates outside its own allocator. Nothing here raises because something is missing: a machine
without a GPU, a driver or the package is told by a reason, a query that a GPU does not answer by
None. A GPU that is lost raises, and a driver that hangs makes all of this wait: `read_driver` gives it
up, everything else is for a thread or a process that somebody else gives up.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from voxgate.machine import gpu_handles
from voxgate.machine.bounded import within
from voxgate.records.gpu import GpuProcess

_ANSWER_S = 20.0  # loading the driver may take some; a driver that hangs takes for ever
_MPS_SERVER = "nvidia-cuda-mps-server"
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
    it holds with its children, ``device_bytes`` what everybody does. ``busy_percent`` is how much each
    process computed or copied since the reading before, by pid; it is asked where a process is foreign.
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
    busy_percent: dict[int, int] | None = None

    @property
    def says_something(self) -> bool:
        """Whether any query was answered: of a GPU that answers none nothing is known."""
        told = (self.device_bytes, self.sm_clock_mhz, self.memory_clock_mhz, self.temperature_c)
        return self.listed or any(value is not None for value in (*told, self.power_w))


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """A GPU by name, and how it is set up; None is what the driver does not tell.

    ``mig``: it is cut into slices, or is one of them; ``mps``: processes share it through a server.
    """

    name: str
    uuid: str
    memory_bytes: int | None
    persistence: bool | None
    power_cap_w: float | None = None
    ecc: bool | None = None
    mig: bool | None = None
    mps: bool | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Driver:
    """The driver and every GPU that it has; without one, ``reason`` says what is missing.

    ``first`` is the GPU that runs engines, as far as it is known. ``pids_visible`` tells whether the processes that
    the driver lists exist here; None while it lists none.
    """

    reason: str = ""
    version: str | None = None
    cuda: str | None = None
    gpus: tuple[Identity, ...] = ()
    first: Identity | None = None
    pids_visible: bool | None = None


class GpuLostError(Exception):
    """The driver cannot reach the GPU any more."""


class Device:
    """One GPU or slice of one; close it after use. Every method may raise `GpuLostError`."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle
        # A slice has no clocks, temperature and settings of its own.
        self._whole = gpu_handles.whole(nvml, handle)
        self._seen_us = time.time_ns() // 1000

    def identity(self) -> Identity:
        """What it is called, and how it is set up."""
        memory = self._memory()
        persistence = self._ask_whole("nvmlDeviceGetPersistenceMode")
        power_cap_mw = self._ask_whole("nvmlDeviceGetEnforcedPowerLimit")
        return Identity(
            name=self._ask("nvmlDeviceGetName") or "unknown",
            uuid=self._ask("nvmlDeviceGetUUID") or "",
            memory_bytes=None if memory is None else int(memory.total),
            persistence=None if persistence is None else bool(persistence),
            power_cap_w=None if power_cap_mw is None else power_cap_mw / 1e3,
            ecc=_current(self._ask_whole("nvmlDeviceGetEccMode")),
            mig=_current(self._ask_whole("nvmlDeviceGetMigMode")),
            mps=self._shared(),
        )

    def driver(self) -> str:
        """The driver's version."""
        try:
            return str(self._nvml.nvmlSystemGetDriverVersion())
        except self._nvml.NVMLError:
            return "unknown"

    def processes(self) -> tuple[GpuProcess, ...]:
        """Every process that computes, by the pids that the driver gives them.

        Clients of MPS are in a list of their own, and its server, which holds their contexts, is none.
        """
        direct = self._ask("nvmlDeviceGetComputeRunningProcesses_v3") or ()
        clients = self._clients() or ()
        found = {p.pid: p for p in (*direct, *clients) if not (clients and self._serves(p.pid))}
        return tuple(GpuProcess(pid=p.pid, memory_bytes=p.usedGpuMemory) for p in found.values())

    def read(self, pid: int) -> GpuSample:
        """The GPU now, as seen for the process ``pid`` and those that it started."""
        processes, memory = self.processes(), self._memory()
        # Stamped behind the memory: what is stamped before an engine's load was read before it.
        at_ns = time.monotonic_ns()
        own = [process for process in processes if _belongs(process.pid, pid)]
        foreign = tuple(process for process in processes if process not in own)
        told = [p.memory_bytes for p in own if p.memory_bytes is not None]
        power_mw = self._ask_whole("nvmlDeviceGetPowerUsage")
        return GpuSample(
            at_ns=at_ns,
            listed=bool(own),
            process_bytes=sum(told) if told else None,
            device_bytes=None if memory is None else int(memory.used),
            foreign=foreign,
            sm_clock_mhz=self._ask_whole("nvmlDeviceGetClockInfo", self._nvml.NVML_CLOCK_SM),
            memory_clock_mhz=self._ask_whole("nvmlDeviceGetClockInfo", self._nvml.NVML_CLOCK_MEM),
            temperature_c=self._ask_whole(
                "nvmlDeviceGetTemperature", self._nvml.NVML_TEMPERATURE_GPU
            ),
            power_w=None if power_mw is None else power_mw / 1e3,
            throttle_reasons=self._throttle_reasons(),
            busy_percent=self._busy_percent() if foreign else None,
        )

    def close(self) -> None:
        """Let go of the library."""
        _shut_down(self._nvml)

    def _ask(self, query: str, *arguments: Any) -> Any | None:
        """One answer; None where this GPU, its driver or the package has none."""
        return self._ask_of(self._handle, query, *arguments)

    def _ask_whole(self, query: str, *arguments: Any) -> Any | None:
        """The same of the GPU that this one is a slice of, if it is one."""
        return self._ask_of(self._whole, query, *arguments)

    def _ask_of(self, handle: Any, query: str, *arguments: Any) -> Any | None:
        function = getattr(self._nvml, query, None)
        if function is None:
            return None
        try:
            return function(handle, *arguments)
        except self._nvml.NVMLError as error:
            if gpu_handles.is_lost(self._nvml, error):
                msg = f"NVML says {str(error)!r} in {query}; 'nvidia-smi -q' and the kernel's log (Xid) tell more"
                raise GpuLostError(msg) from error
            return None

    def _clients(self) -> Any | None:
        return self._ask("nvmlDeviceGetMPSComputeRunningProcesses_v3")

    def _shared(self) -> bool | None:
        clients = self._clients()
        return None if clients is None else bool(clients)

    def _serves(self, pid: int) -> bool:
        """Whether a process is the server of MPS."""
        function = getattr(self._nvml, "nvmlSystemGetProcessName", None)
        try:
            return function is not None and str(function(pid)).endswith(_MPS_SERVER)
        except self._nvml.NVMLError:
            return False

    def _busy_percent(self) -> dict[int, int] | None:
        """What processes used since the last time; the driver measures several times a second."""
        found = self._ask("nvmlDeviceGetProcessUtilization", self._seen_us)
        if found is None:
            return None
        most: dict[int, int] = {}
        for sample in found:
            busy = max(sample.smUtil, sample.memUtil)
            most[sample.pid] = max(most.get(sample.pid, 0), busy)
            self._seen_us = max(self._seen_us, sample.timeStamp)
        return most

    def _memory(self) -> Any | None:
        """Version 2, which does not count what the driver reserves for itself, where it is there."""
        version = getattr(self._nvml, "nvmlMemory_v2", None)
        info = self._ask("nvmlDeviceGetMemoryInfo", version) if version is not None else None
        return info if info is not None else self._ask("nvmlDeviceGetMemoryInfo")

    def _throttle_reasons(self) -> tuple[str, ...] | None:
        bits = self._ask_whole("nvmlDeviceGetCurrentClocksEventReasons")
        if bits is None:  # the older name
            bits = self._ask_whole("nvmlDeviceGetCurrentClocksThrottleReasons")
        if bits is None:
            return None
        return tuple(name for name, end in _THROTTLE_REASONS.items() if bits & self._bit(end))

    def _bit(self, end: str) -> int:
        older = getattr(self._nvml, f"nvmlClocksThrottleReason{end}", 0)
        return int(getattr(self._nvml, f"nvmlClocksEventReason{end}", older))


def open_device(accelerator: str = "") -> tuple[Device | None, str]:
    """The GPU that a probe names; or None and why there is none.

    By its UUID, or a slice's. Where a runtime tells none, it is the first that CUDA may use, if all are
    alike or numbered as this library numbers them; another one is never taken for it.
    """
    nvml, reason = _start_up()
    if nvml is None:
        return None, reason
    try:
        handle, reason = gpu_handles.find(nvml, accelerator)
    except nvml.NVMLError as error:
        handle, reason = None, f"NVML has no GPU {accelerator}: {error}"
    if handle is None:
        _shut_down(nvml)
        return None, reason
    return Device(nvml, handle), ""


def read_driver(accelerator: str = "") -> Driver:
    """The driver, its GPUs, and whether it lists processes by the pids of this machine.

    ``accelerator`` is the probe's of what runs engines here, or empty where nothing was asked.
    """
    try:
        return within(_ANSWER_S, lambda: _read_driver(accelerator))
    except TimeoutError as error:
        return Driver(reason=f"NVML does not answer: {error}; is the driver hung?")
    except GpuLostError as error:
        return Driver(reason=f"a GPU is lost: {error}")


def _read_driver(accelerator: str) -> Driver:
    nvml, reason = _start_up()
    if nvml is None:
        return Driver(reason=reason)
    try:
        devices = [Device(nvml, handle) for handle in gpu_handles.every(nvml)]
        number = nvml.nvmlSystemGetCudaDriverVersion_v2()
        return Driver(
            version=str(nvml.nvmlSystemGetDriverVersion()),
            cuda=f"{number // 1000}.{number % 1000 // 10}",
            gpus=tuple(device.identity() for device in devices),
            first=_identity(accelerator),
            pids_visible=_exist([p.pid for device in devices for p in device.processes()]),
        )
    except nvml.NVMLError as error:
        return Driver(reason=f"NVML does not answer: {error}")
    finally:
        _shut_down(nvml)


def _identity(accelerator: str) -> Identity | None:
    device, _ = open_device(accelerator)
    if device is None:
        return None
    try:
        return device.identity()
    finally:
        device.close()


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


def _current(modes: Any | None) -> bool | None:
    """The mode that is on now, of it and the one after the next start."""
    return None if modes is None else bool(modes[0])


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
