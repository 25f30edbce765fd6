"""What is read of GPUs through NVML, on machines that have all, some or none of it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from harness.environment import read_environment
from harness.nvml import Device, open_device, read_driver
from suites.unit.fake_nvml import (
    BRAKE,
    CLOCKS_SET,
    HW_THERMAL,
    IDLE,
    MIB,
    POWER_CAP,
    SLOWDOWN,
    SW_THERMAL,
    UUIDS,
    FakeNvml,
)

OWN, FOREIGN = 2**22 + 1, 2**22 + 2  # above any pid of Linux


def opened(index: int = 0, uuid: str = "") -> Device:
    device, reason = open_device(index, uuid)
    assert device is not None, reason
    return device


def test_without_the_module_there_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    device, reason = open_device()
    assert device is None
    assert "pip install nvidia-ml-py" in reason
    assert "pip install nvidia-ml-py" in read_driver().reason


def test_without_a_driver_there_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeNvml(driver_loaded=False).install(monkeypatch)
    device, reason = open_device()
    assert device is None
    assert "no NVIDIA driver (Driver Not Loaded)" in reason
    assert read_driver().gpus == ()


def test_a_sample_has_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeNvml(processes=[(OWN, 500 * MIB), (FOREIGN, 9 * MIB)], reasons=POWER_CAP).install(
        monkeypatch
    )
    sample = opened().read(OWN)
    assert sample.listed
    assert (sample.process_bytes, sample.device_bytes) == (500 * MIB, 700 * MIB)
    assert [(p.pid, p.memory_bytes) for p in sample.foreign] == [(FOREIGN, 9 * MIB)]
    assert (sample.sm_clock_mhz, sample.memory_clock_mhz) == (1980, 3201)
    assert (sample.temperature_c, sample.power_w) == (40, 250.5)
    assert sample.throttle_reasons == ("power cap",)


def test_what_the_worker_started_counts_as_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeNvml(processes=[(os.getpid(), 3 * MIB), (FOREIGN, MIB)]).install(monkeypatch)
    sample = opened().read(os.getsid(0))
    assert sample.process_bytes == 3 * MIB
    assert [process.pid for process in sample.foreign] == [FOREIGN]


def test_another_session_is_foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as other:
        FakeNvml(processes=[(other.pid, MIB)]).install(monkeypatch)
        sample = opened().read(os.getpid())
        other.communicate(b"\n")
    assert not sample.listed
    assert [process.pid for process in sample.foreign] == [other.pid]


def test_a_listed_process_of_unknown_size_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeNvml(processes=[(OWN, None)]).install(monkeypatch)
    sample = opened().read(OWN)
    assert sample.listed
    assert sample.process_bytes is None


@pytest.mark.parametrize(
    ("query", "missing"),
    [
        ("nvmlDeviceGetComputeRunningProcesses_v3", "process_bytes"),
        ("nvmlDeviceGetMemoryInfo", "device_bytes"),
        ("nvmlDeviceGetClockInfo", "sm_clock_mhz"),
        ("nvmlDeviceGetClockInfo", "memory_clock_mhz"),
        ("nvmlDeviceGetTemperature", "temperature_c"),
        ("nvmlDeviceGetPowerUsage", "power_w"),
    ],
)
@pytest.mark.parametrize("how", ["unsupported", "absent"])
def test_a_query_that_is_not_answered_leaves_its_field_out(
    monkeypatch: pytest.MonkeyPatch, query: str, missing: str, how: str
) -> None:
    fake = FakeNvml(processes=[(OWN, MIB)])
    getattr(fake, how).add(query)
    fake.install(monkeypatch)
    sample = opened().read(OWN)
    fields = ("process_bytes", "device_bytes", "sm_clock_mhz", "temperature_c", "power_w")
    assert getattr(sample, missing) is None
    others = [name for name in fields if not (name == missing or "Clock" in query)]
    assert all(getattr(sample, name) is not None for name in others)


def test_memory_of_version_2_is_preferred(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeNvml().install(monkeypatch)
    assert opened().read(OWN).device_bytes == 700 * MIB
    assert fake.memory_versions == [33554472]


def test_an_old_package_gives_memory_of_version_1(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeNvml(absent={"nvmlMemory_v2"}).install(monkeypatch)
    assert opened().read(OWN).device_bytes == 1000 * MIB
    assert fake.memory_versions == [None]


def test_an_old_driver_gives_memory_of_version_1(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeNvml().install(monkeypatch)
    whole = fake.nvmlDeviceGetMemoryInfo

    def refuse_version_2(handle: int, version: int | None = None) -> object:
        if version:
            raise sys.modules["pynvml"].NVMLError
        return whole(handle)

    monkeypatch.setattr(fake, "nvmlDeviceGetMemoryInfo", refuse_version_2)
    assert opened().read(OWN).device_bytes == 1000 * MIB


@pytest.mark.parametrize(
    ("bits", "names"),
    [
        (0, ()),
        (IDLE | CLOCKS_SET, ()),
        (HW_THERMAL | SLOWDOWN, ("hardware slowdown", "hardware thermal slowdown")),
        (SW_THERMAL | IDLE, ("software thermal slowdown",)),
        (BRAKE, ("power brake",)),
        (POWER_CAP, ("power cap",)),
    ],
)
@pytest.mark.parametrize("kind", ["Event", "Throttle"])
def test_throttling_has_names_and_idleness_is_none(
    monkeypatch: pytest.MonkeyPatch, bits: int, names: tuple[str, ...], kind: str
) -> None:
    fake = FakeNvml(reasons=bits)
    if kind == "Throttle":  # a driver of before the new name
        fake.unsupported.add("nvmlDeviceGetCurrentClocksEventReasons")
    fake.install(monkeypatch)
    assert opened().read(OWN).throttle_reasons == names


def test_a_gpu_that_does_not_tell_its_throttling_is_not_called_steady(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queries = {f"nvmlDeviceGetCurrentClocks{kind}Reasons" for kind in ("Event", "Throttle")}
    FakeNvml(unsupported=queries).install(monkeypatch)
    assert opened().read(OWN).throttle_reasons is None


@pytest.mark.parametrize(
    ("visible", "index", "uuid"),
    [
        (None, 0, UUIDS[0]),
        (None, 1, UUIDS[1]),
        ("1", 0, UUIDS[1]),
        ("1,0", 1, UUIDS[0]),
        (" 1 , 0", 0, UUIDS[1]),
        (UUIDS[1], 0, UUIDS[1]),
        ("GPU-bbbb", 0, UUIDS[1]),
    ],
)
def test_visible_devices_are_honoured(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, index: int, uuid: str
) -> None:
    FakeNvml().install(monkeypatch)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert opened(index).identity().uuid == uuid


@pytest.mark.parametrize("visible", ["", "-1", "0", "1,7", "0,GPU-cccc", "0,MIG-1"])
def test_a_hidden_device_is_absent_with_a_reason(
    monkeypatch: pytest.MonkeyPatch, visible: str
) -> None:
    fake = FakeNvml().install(monkeypatch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    device, reason = open_device(1)
    assert device is None
    assert reason
    assert fake.users == 0


def test_a_uuid_goes_before_an_index(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeNvml().install(monkeypatch)
    assert opened(uuid=UUIDS[1]).identity().uuid == UUIDS[1]
    assert opened(uuid="cuda").identity().uuid == UUIDS[0]
    assert opened(uuid="GPU-unknown").identity().uuid == UUIDS[0]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert opened(uuid=UUIDS[0]).identity().uuid == UUIDS[0]
    assert opened(uuid="cuda").identity().uuid == UUIDS[1]


def test_a_closed_device_leaves_no_user(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeNvml().install(monkeypatch)
    device = opened()
    assert fake.users == 1
    device.close()
    assert fake.users == 0


def test_the_driver_and_every_gpu_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeNvml().install(monkeypatch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    driver = read_driver()
    assert (driver.version, driver.cuda, driver.reason) == ("580.1", "13.2", "")
    assert [gpu.name for gpu in driver.gpus] == ["Fake 0", "Fake 1"]
    assert [gpu.persistence for gpu in driver.gpus] == [True, False]
    assert driver.gpus[0].memory_bytes == 8192 * MIB
    assert driver.first == driver.gpus[1]
    assert fake.users == 0


@pytest.mark.parametrize(
    ("pids", "visible"),
    [([], None), ([os.getpid()], True), ([os.getpid(), FOREIGN], False)],
)
def test_pids_are_visible_when_they_exist_here(
    monkeypatch: pytest.MonkeyPatch, pids: list[int], *, visible: bool | None
) -> None:
    FakeNvml(processes=[(pid, MIB) for pid in pids]).install(monkeypatch)
    assert read_driver().pids_visible is visible


def test_the_environment_has_the_gpu_that_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeNvml().install(monkeypatch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    found = read_environment(1, {})
    assert (found.gpu, found.driver, found.cuda) == ("Fake 1", "580.1", "13.2")
