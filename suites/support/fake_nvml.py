"""A stand-in for the module pynvml: a machine whose GPUs and driver a test decides."""

from __future__ import annotations

import sys
import threading
import types
from dataclasses import dataclass, field
from typing import Any

import pytest

MIB = 2**20
UUIDS = ("GPU-aaaa1111", "GPU-bbbb2222")


MIG_UUID = "MIG-cccc3333"
MIG_HANDLE, MIG_PARENT = 100, 1
_GPU_IS_LOST = 15


class NVMLError(Exception):
    value = 0


class NotSupportedError(NVMLError):
    value = 3


class NotFoundError(NVMLError):
    value = 6


class GpuIsLostError(NVMLError):
    value = _GPU_IS_LOST

    def __str__(self) -> str:
        return "GPU is lost"


@dataclass
class FakeNvml:
    """Names are pynvml's. ``unsupported`` queries raise; ``absent`` ones are not in the module.

    ``processes`` may be a function, which is then called for every reading; ``clients`` are those of
    MPS. ``use`` is what each process used lately, by pid; None is a driver that does not tell.
    ``lost`` is a GPU that fell off the bus, ``hung`` a driver that answers when the event is set.
    """

    driver_loaded: bool = True
    processes: Any = ()
    used: int = 700 * MIB
    reserved: int = 300 * MIB
    reasons: int = 0
    sm_clock: int = 1980
    unsupported: set[str] = field(default_factory=set)
    absent: set[str] = field(default_factory=set)
    users: int = 0
    memory_versions: list[int | None] = field(default_factory=list)
    clients: Any = ()
    use: dict[int, int] | None = None
    lost: bool = False
    hung: threading.Event | None = None
    names: tuple[str, ...] = ("Fake 0", "Fake 1")

    def install(self, monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
        """Be what ``import pynvml`` finds."""
        module = types.ModuleType("pynvml")
        module.NVMLError = NVMLError  # type: ignore[attr-defined]
        for name in self._names():
            if name not in self.absent:
                setattr(module, name, self._guarded(name))
        monkeypatch.setitem(sys.modules, "pynvml", module)
        for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
            monkeypatch.delenv(name, raising=False)
        return self

    def _names(self) -> list[str]:
        own = [name for name in dir(self) if name.startswith("nvml")]
        return [*own, *_CONSTANTS]

    def _guarded(self, name: str) -> Any:
        if name in _CONSTANTS:
            return _CONSTANTS[name]

        def query(*arguments: Any) -> Any:
            if self.hung is not None:
                self.hung.wait()
            if name in self.unsupported:
                raise NotSupportedError(name)
            if self.lost and name.startswith("nvmlDevice"):
                raise GpuIsLostError
            return getattr(self, name)(*arguments)

        return query

    def nvmlInit(self) -> None:  # noqa: N802
        if not self.driver_loaded:
            msg = "Driver Not Loaded"
            raise NVMLError(msg)
        self.users += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.users -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(UUIDS)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        if index >= len(UUIDS):
            msg = "Invalid Argument"
            raise NVMLError(msg)
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> int:  # noqa: N802
        if uuid == MIG_UUID:
            return MIG_HANDLE
        msg = f"Not Found: {uuid}"
        raise NotFoundError(msg)

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, handle: int) -> int:  # noqa: N802
        if handle == MIG_HANDLE:
            return MIG_PARENT
        raise NotSupportedError

    def nvmlDeviceGetUUID(self, handle: int) -> str:  # noqa: N802
        return MIG_UUID if handle == MIG_HANDLE else UUIDS[handle]

    def nvmlDeviceGetName(self, handle: int) -> str:  # noqa: N802
        return "Fake slice" if handle == MIG_HANDLE else self.names[handle]

    def nvmlDeviceGetPersistenceMode(self, handle: int) -> int:  # noqa: N802
        return 1 - _whole(handle)

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "580.1"

    def nvmlSystemGetCudaDriverVersion_v2(self) -> int:  # noqa: N802
        return 13020

    def nvmlDeviceGetMemoryInfo(self, handle: int, version: int | None = None) -> Any:  # noqa: N802
        del handle
        self.memory_versions.append(version)
        used = self.used if version else self.used + self.reserved
        return types.SimpleNamespace(total=8192 * MIB, used=used)

    def nvmlDeviceGetComputeRunningProcesses_v3(self, handle: int) -> list[Any]:  # noqa: N802
        del handle
        found = self.processes() if callable(self.processes) else self.processes
        return [types.SimpleNamespace(pid=pid, usedGpuMemory=held) for pid, held in found]

    def nvmlDeviceGetMPSComputeRunningProcesses_v3(self, handle: int) -> list[Any]:  # noqa: N802
        del handle
        return [types.SimpleNamespace(pid=pid, usedGpuMemory=held) for pid, held in self.clients]

    def nvmlSystemGetProcessName(self, pid: int) -> str:  # noqa: N802
        return "/usr/bin/nvidia-cuda-mps-server" if pid == MPS_SERVER_PID else "/usr/bin/python"

    def nvmlDeviceGetProcessUtilization(self, handle: int, since_us: int) -> list[Any]:  # noqa: N802
        del handle
        if self.use is None:
            raise NotSupportedError
        if not self.use:
            raise NotFoundError
        return [
            types.SimpleNamespace(pid=pid, smUtil=busy, memUtil=0, timeStamp=since_us + 1)
            for pid, busy in self.use.items()
        ]

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: int) -> int:  # noqa: N802
        _whole(handle)
        return 700_000

    def nvmlDeviceGetEccMode(self, handle: int) -> list[int]:  # noqa: N802
        _whole(handle)
        return [1, 0]

    def nvmlDeviceGetMigMode(self, handle: int) -> list[int]:  # noqa: N802
        return [int(_whole(handle) == MIG_PARENT), 0]

    def nvmlDeviceGetClockInfo(self, handle: int, kind: int) -> int:  # noqa: N802
        _whole(handle)
        return self.sm_clock if kind == 1 else 3201

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> int:  # noqa: N802
        return 40 + _whole(handle) + sensor

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:  # noqa: N802
        return 250_500 + _whole(handle)

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: int) -> int:  # noqa: N802
        _whole(handle)
        return self.reasons

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: int) -> int:  # noqa: N802
        _whole(handle)
        return self.reasons


def _whole(handle: int) -> int:
    """A slice has no clocks and settings of its own."""
    if handle == MIG_HANDLE:
        raise NotSupportedError
    return handle


MPS_SERVER_PID = 2**22 + 9
IDLE, CLOCKS_SET, POWER_CAP, SLOWDOWN, SW_THERMAL, HW_THERMAL, BRAKE = 1, 2, 4, 8, 32, 64, 128

_CONSTANTS: dict[str, int] = {
    "NVML_CLOCK_SM": 1,
    "NVML_CLOCK_MEM": 2,
    "NVML_TEMPERATURE_GPU": 0,
    "NVML_ERROR_GPU_IS_LOST": _GPU_IS_LOST,
    "nvmlMemory_v2": 33554472,
} | {
    f"nvmlClocks{kind}Reason{end}": bit
    for kind in ("Event", "Throttle")
    for end, bit in {
        "GpuIdle": IDLE,
        "ApplicationsClocksSetting": CLOCKS_SET,
        "SwPowerCap": POWER_CAP,
        "HwSlowdown": SLOWDOWN,
        "SwThermalSlowdown": SW_THERMAL,
        "HwThermalSlowdown": HW_THERMAL,
        "HwPowerBrakeSlowdown": BRAKE,
    }.items()
}
