"""What is read of GPUs through NVML, on machines that have all, some or none of it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
from voxgate.errors import HarnessError
from voxgate.machine import environment, nvml
from voxgate.machine.environment import gpu_identity, read_environment
from voxgate.machine.gpu_facts import settings
from voxgate.machine.nvml import Device, GpuLostError, open_device, read_driver
from voxgate.records.runtime import Probe

from suites.support.fake_nvml import (
    BRAKE,
    CLOCKS_SET,
    HW_THERMAL,
    IDLE,
    MIB,
    MIG_UUID,
    MPS_SERVER_PID,
    POWER_CAP,
    SLOWDOWN,
    SW_THERMAL,
    UUIDS,
    FakeNvml,
)

OWN, FOREIGN = 2**22 + 1, 2**22 + 2  # above any pid of Linux


def opened(accelerator: str = UUIDS[0]) -> Device:
    device, reason = open_device(accelerator)
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
    ("visible", "uuid"),
    [
        (None, UUIDS[0]),
        ("0", UUIDS[0]),
        ("1", UUIDS[1]),
        ("1,0", UUIDS[1]),
        (" 1 , 0", UUIDS[1]),
        (UUIDS[1], UUIDS[1]),
        ("GPU-bbbb", UUIDS[1]),
        (MIG_UUID, MIG_UUID),
    ],
)
@pytest.mark.parametrize("accelerator", ["", "cuda"])
def test_without_a_uuid_it_is_the_first_that_cuda_may_use(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, uuid: str, accelerator: str
) -> None:
    FakeNvml().install(monkeypatch)
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert opened(accelerator).identity().uuid == uuid


@pytest.mark.parametrize("visible", ["", "-1", "7", "GPU-cccc", "MIG-1"])
def test_a_hidden_device_is_absent_with_a_reason(
    monkeypatch: pytest.MonkeyPatch, visible: str
) -> None:
    fake = FakeNvml().install(monkeypatch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    device, reason = open_device()
    assert device is None
    assert "no GPU" in reason
    assert fake.users == 0


def test_of_several_kinds_none_is_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA's first is the fastest, NVML's the one in the lowest slot."""
    fake = FakeNvml().install(monkeypatch)
    device, reason = open_device("cuda")
    assert device is None
    assert "several kinds of GPUs" in reason
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")  # CUDA's number, whatever that is
    assert open_device("cuda")[0] is None
    fake.names = ("Fake", "Fake")
    assert opened("cuda").identity().uuid == UUIDS[1]


@pytest.mark.parametrize("uuid", ["GPU-unknown", "MIG-unknown", "GPU-"])
def test_another_gpu_is_never_taken_for_the_one_that_is_named(
    monkeypatch: pytest.MonkeyPatch, uuid: str
) -> None:
    fake = FakeNvml().install(monkeypatch)
    assert opened(UUIDS[1]).identity().uuid == UUIDS[1]
    device, reason = open_device(uuid)
    assert device is None
    assert uuid in reason
    assert fake.users == 1


@pytest.mark.parametrize("name", [MIG_UUID, MIG_UUID.replace("MIG", "GPU")])
def test_a_slice_is_found_and_not_taken_for_its_gpu(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """PyTorch tells a slice's UUID, and not that it is a slice's."""
    FakeNvml(processes=[(OWN, MIB)]).install(monkeypatch)
    identity = opened(name).identity()
    assert (identity.name, identity.uuid, identity.mig) == ("Fake slice", MIG_UUID, True)
    sample = opened(name).read(OWN)
    # Clocks, heat and power are those of the whole GPU, which a slice has none of.
    assert (sample.sm_clock_mhz, sample.temperature_c, sample.power_w) == (1980, 41, 250.501)
    assert sample.throttle_reasons == ()
    assert sample.process_bytes == MIB


def test_how_a_gpu_is_set_up_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeNvml().install(monkeypatch)
    assert settings(opened().identity()) == "power cap 700 W, ECC on, MIG off, MPS off"
    fake.clients = [(OWN, MIB)]
    fake.unsupported = {"nvmlDeviceGetEccMode", "nvmlDeviceGetMigMode"}
    assert settings(opened().identity()) == "power cap 700 W, MPS on"
    fake.unsupported |= {
        "nvmlDeviceGetEnforcedPowerLimit", "nvmlDeviceGetMPSComputeRunningProcesses_v3",
    }  # fmt: skip
    assert settings(opened().identity()) == ""


def test_a_client_of_mps_is_the_worker_and_its_server_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = (MPS_SERVER_PID, 30 * MIB)
    fake = FakeNvml(processes=[server], clients=[(OWN, 500 * MIB)]).install(monkeypatch)
    sample = opened().read(OWN)
    assert (sample.listed, sample.process_bytes, sample.foreign) == (True, 500 * MIB, ())
    fake.clients = [(OWN, 500 * MIB), (FOREIGN, MIB)]
    assert [process.pid for process in opened().read(OWN).foreign] == [FOREIGN]


def test_what_processes_use_is_asked_where_one_is_foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeNvml(processes=[(OWN, MIB)], use={OWN: 97}).install(monkeypatch)
    device = opened()
    assert device.read(OWN).busy_percent is None
    fake.processes = [(OWN, MIB), (FOREIGN, MIB)]
    assert device.read(OWN).busy_percent == {OWN: 97}
    fake.use = {}
    assert device.read(OWN).busy_percent is None
    fake.use = None
    assert device.read(OWN).busy_percent is None


def test_a_lost_gpu_is_no_silent_one(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeNvml().install(monkeypatch)
    device = opened()
    fake.lost = True
    with pytest.raises(GpuLostError, match="GPU is lost"):
        device.read(OWN)
    assert "lost" in read_driver().reason


def test_a_driver_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeNvml(hung=threading.Event()).install(monkeypatch)
    monkeypatch.setattr(nvml, "_ANSWER_S", 0.05)
    assert "is the driver hung?" in read_driver().reason
    assert fake.hung is not None
    fake.hung.set()


def test_a_gpu_that_answers_nothing_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeNvml().install(monkeypatch)
    assert opened().read(OWN).says_something
    device = opened()
    fake.unsupported = {name for name in dir(fake) if name.startswith("nvmlDevice")}
    assert not device.read(OWN).says_something


def test_a_closed_device_leaves_no_user(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeNvml().install(monkeypatch)
    device = opened()
    assert fake.users == 1
    device.close()
    assert fake.users == 0


def test_the_driver_and_every_gpu_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeNvml().install(monkeypatch)
    driver = read_driver(UUIDS[1])
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


PROBE = Probe(available=True, version="10.3", device="as the runtime says", accelerator=UUIDS[1])


def test_the_environment_has_the_gpu_that_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """NVML's first GPU may be another one than CUDA's: a workstation's small one."""
    FakeNvml().install(monkeypatch)
    broken = HarnessError("broken")
    cpu = Probe(available=True, version="2026", device="CPU")
    missing = Probe(available=False, reason="not here")
    found = read_environment(
        1, {"a": broken, "openvino": cpu, "missing": missing, "tensorrt": PROBE}
    )
    assert (found.gpu, found.gpu_uuid) == ("Fake 1", UUIDS[1])
    assert (found.driver, found.cuda) == ("580.1", "13.2")
    assert found.gpu_settings == "power cap 700 W, ECC on, MIG on, MPS off"
    assert found.backends == {"openvino": "2026", "tensorrt": "10.3"}


def test_an_engine_is_bound_to_the_gpu_that_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeNvml().install(monkeypatch)
    environment._driver_of.cache_clear()
    assert gpu_identity(PROBE) == ("Fake 1", "580.1", "13.2")
    environment._driver_of.cache_clear()


def test_without_nvml_the_gpu_has_the_runtimes_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container without the driver's utilities: a key without a GPU would fit every GPU."""
    FakeNvml(driver_loaded=False).install(monkeypatch)
    environment._driver_of.cache_clear()
    assert gpu_identity(PROBE) == ("as the runtime says", None, None)
    environment._driver_of.cache_clear()
    assert read_environment(1, {"tensorrt": PROBE}).gpu == "as the runtime says"
    cpu = replace(PROBE, accelerator="")
    assert read_environment(1, {"tensorrt": cpu}).gpu is None
