"""A stand-in for the module pynvml: a machine whose GPUs and driver a test decides."""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass, field
from typing import Any

import pytest

MIB = 2**20
UUIDS = ("GPU-aaaa1111", "GPU-bbbb2222")


class NVMLError(Exception):
    pass


class NotSupportedError(NVMLError):
    pass


@dataclass
class FakeNvml:
    """Names are pynvml's. ``unsupported`` queries raise; ``absent`` ones are not in the module.

    ``processes`` may be a function, which is then called for every reading.
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

    def install(self, monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
        """Be what ``import pynvml`` finds."""
        module = types.ModuleType("pynvml")
        module.NVMLError = NVMLError  # type: ignore[attr-defined]
        for name in self._names():
            if name not in self.absent:
                setattr(module, name, self._guarded(name))
        monkeypatch.setitem(sys.modules, "pynvml", module)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        return self

    def _names(self) -> list[str]:
        own = [name for name in dir(self) if name.startswith("nvml")]
        return [*own, *_CONSTANTS]

    def _guarded(self, name: str) -> Any:
        if name in _CONSTANTS:
            return _CONSTANTS[name]

        def query(*arguments: Any) -> Any:
            if name in self.unsupported:
                raise NotSupportedError(name)
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
        msg = f"Not Found: {uuid}"
        raise NVMLError(msg)

    def nvmlDeviceGetUUID(self, handle: int) -> str:  # noqa: N802
        return UUIDS[handle]

    def nvmlDeviceGetName(self, handle: int) -> str:  # noqa: N802
        return f"Fake {handle}"

    def nvmlDeviceGetPersistenceMode(self, handle: int) -> int:  # noqa: N802
        return 1 - handle

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

    def nvmlDeviceGetClockInfo(self, handle: int, kind: int) -> int:  # noqa: N802
        del handle
        return self.sm_clock if kind == 1 else 3201

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> int:  # noqa: N802
        return 40 + handle + sensor

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:  # noqa: N802
        return 250_500 + handle

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: int) -> int:  # noqa: N802
        del handle
        return self.reasons

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: int) -> int:  # noqa: N802
        del handle
        return self.reasons


IDLE, CLOCKS_SET, POWER_CAP, SLOWDOWN, SW_THERMAL, HW_THERMAL, BRAKE = 1, 2, 4, 8, 32, 64, 128

_CONSTANTS: dict[str, int] = {
    "NVML_CLOCK_SM": 1,
    "NVML_CLOCK_MEM": 2,
    "NVML_TEMPERATURE_GPU": 0,
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
