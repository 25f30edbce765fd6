"""A GPU beside a launch: sampled, judged, and what the whole line makes of it."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import artifacts, launcher, pipeline, record
from harness.cli import main
from harness.config import RunConfig
from harness.errors import EXIT_FAILED, EXIT_INCONCLUSIVE, EXIT_PASS
from harness.gpu_facts import contamination, gpu_facts, gpu_memory
from harness.gpu_monitor import GpuMonitor
from harness.nvml import GpuSample, Identity, open_device
from harness.ratios import ratios_of
from harness.report.progress import Silent
from harness.requests import Probe, RunResult
from harness.types import CaseResult, GpuFacts, GpuProcess, Phases, RunRecord
from suites.unit.fake_nvml import HW_THERMAL, IDLE, MIB, POWER_CAP, UUIDS, FakeNvml

IDENTITY = Identity(name="Fake", uuid="GPU-1", memory_bytes=None, persistence=None)
PHASES = Phases(context_ns=100, loading_ns=200, loaded_ns=300, sampling_ns=400, sampled_ns=1400)
FOREIGN_PID = 2**22 + 2  # above any pid of Linux

SAMPLE = GpuSample(
    at_ns=0, listed=True, process_bytes=None, device_bytes=None, foreign=(), sm_clock_mhz=2000,
    memory_clock_mhz=3000, temperature_c=50, power_w=300.0, throttle_reasons=(),
)  # fmt: skip


def at(at_ns: int, **fields: Any) -> GpuSample:
    return replace(SAMPLE, at_ns=at_ns, **fields)


def timed(changed: int = 0, of: int = 100, **fields: Any) -> list[GpuSample]:
    """Samples of the timed inferences, some of them changed."""
    steady = [at(PHASES.sampling_ns + 10 * number) for number in range(of)]
    return [replace(sample, **fields) for sample in steady[:changed]] + steady[changed:]


def facts(samples: Sequence[GpuSample]) -> GpuFacts:
    return gpu_facts(samples, PHASES, IDENTITY, "580")


def found(*launches: Sequence[GpuSample]) -> str:
    return "; ".join(contamination([facts(samples) for samples in launches]))


def test_memory_is_that_of_the_process_over_its_context() -> None:
    samples = [
        at(50, process_bytes=999), at(110, process_bytes=10), at(190, process_bytes=12),
        at(250, process_bytes=80), at(1300, process_bytes=70), at(1401, process_bytes=999),
    ]  # fmt: skip
    memory = gpu_memory([replace(s, device_bytes=5000) for s in samples], PHASES)
    assert memory is not None
    assert (memory.baseline, memory.peak, memory.delta) == (12, 80, 68)
    assert memory.scope == "process-gpu"


@pytest.mark.parametrize("lacking", [150, 500])
def test_a_process_unknown_in_one_phase_leaves_the_device(lacking: int) -> None:
    samples = [at(150, process_bytes=10, device_bytes=100), at(500, process_bytes=30, device_bytes=150)]  # fmt: skip
    known = [replace(s, process_bytes=None) if s.at_ns == lacking else s for s in samples]
    memory = gpu_memory(known, PHASES)
    assert memory is not None
    assert (memory.delta, memory.scope) == (50, "device-gpu")


@pytest.mark.parametrize("times", [[], [150], [500], [50, 1500]])
def test_memory_without_a_sample_of_both_phases_is_unknown(times: list[int]) -> None:
    assert gpu_memory([at(t, process_bytes=1, device_bytes=1) for t in times], PHASES) is None


_bytes = st.none() | st.integers(0, 2**40)
_samples = st.lists(
    st.builds(
        replace,
        st.just(SAMPLE),
        at_ns=st.integers(0, 1500),
        process_bytes=_bytes,
        device_bytes=_bytes,
        listed=st.booleans(),
        sm_clock_mhz=st.none() | st.integers(0, 2000),
        throttle_reasons=st.none() | st.lists(st.sampled_from(["power cap", "heat"])).map(tuple),
        foreign=st.lists(
            st.builds(GpuProcess, pid=st.integers(1, 3), memory_bytes=_bytes), max_size=2
        ).map(tuple),
    ),
    max_size=20,
).map(lambda samples: sorted(samples, key=lambda sample: sample.at_ns))


@given(_samples)
def test_peak_is_at_least_the_baseline(samples: list[GpuSample]) -> None:
    memory = gpu_memory(samples, PHASES)
    if memory is not None:
        assert memory.peak >= memory.baseline >= 0
        assert memory.delta == memory.peak - memory.baseline


@given(_samples)
def test_facts_of_any_samples_are_consistent(samples: list[GpuSample]) -> None:
    told = facts(samples)
    assert told.samples <= len(samples)
    assert all(0 < share <= 1 for share in (told.throttled or {}).values())
    assert 0 <= (told.unsteady or 0) <= 1
    if told.sm_clock_mhz:
        assert told.sm_clock_mhz.min <= told.sm_clock_mhz.median <= told.sm_clock_mhz.max
    assert told.foreign_visible or not told.foreign
    assert len({process.pid for process in told.foreign}) == len(told.foreign)
    assert bool(told.foreign) <= bool(contamination([told]))


def test_a_steady_gpu_is_clean() -> None:
    told = facts(timed())
    assert contamination([told, told, told]) == ()
    assert (told.samples, told.interval_ms) == (100, 10 / 1e6)
    assert told.temperature_c is not None
    assert told.temperature_c.median == 50
    assert told.throttled == {}


def test_nothing_watched_is_nothing_found() -> None:
    assert contamination([]) == ()
    assert contamination([facts([])]) == ()


@pytest.mark.parametrize(("changed", "bad"), [(5, False), (6, True)])
def test_throttling_counts_above_a_twentieth(changed: int, *, bad: bool) -> None:
    text = found(timed(), timed(changed, throttle_reasons=("power cap",)))
    assert ("launch 2: power cap in 6% of 100 samples" in text) == bad
    assert bool(text) == bad


@pytest.mark.parametrize(
    ("changed", "clock", "bad"), [(5, 1000, False), (6, 1000, True), (40, 1801, False)]
)
def test_an_unsteady_clock_counts_above_a_twentieth(changed: int, clock: int, *, bad: bool) -> None:
    text = found(timed(changed, sm_clock_mhz=clock))
    assert ("SM clock was unsteady, 1000 to 2000 MHz, in 6% of 100" in text) == bad
    assert bool(text) == bad


@pytest.mark.parametrize(("clock", "bad"), [(1819, False), (1810, True)])
def test_launches_at_different_clocks_are_contaminated(clock: int, *, bad: bool) -> None:
    text = found(timed(), timed(100, sm_clock_mhz=clock), timed())
    assert (f"median was {clock} MHz in one launch and 2000 MHz" in text) == bad
    assert bool(text) == bad


def test_what_happens_before_and_after_the_timed_inferences_does_not_count() -> None:
    bad = {
        "throttle_reasons": ("power cap",),
        "sm_clock_mhz": 500,
        "foreign": (GpuProcess(pid=7, memory_bytes=1),),
    }
    outside = [at(t, **bad) for t in (*range(100, 400, 3), *range(1401, 1700, 3))]
    assert found(timed() + outside) == ""


def test_a_foreign_process_is_named() -> None:
    beside = (GpuProcess(pid=7, memory_bytes=64 * MIB),)
    text = found(timed(1, foreign=beside))
    assert text == "launch 1: process 7 was on the GPU, too, with 64 MiB"
    unknown = (GpuProcess(pid=7, memory_bytes=None),)
    assert "process 7" in found(timed(1, foreign=unknown))


def test_where_pids_are_not_visible_nobody_is_foreign() -> None:
    beside = (GpuProcess(pid=7, memory_bytes=64 * MIB),)  # our own worker, by the host's number
    told = facts([replace(s, listed=False, foreign=beside) for s in timed()])
    assert not told.foreign_visible
    assert contamination([told]) == ()


def test_hotter_is_recorded_and_no_contamination() -> None:
    told = facts(timed(50, temperature_c=90))
    assert told.temperature_c is not None
    assert (told.temperature_c.min, told.temperature_c.max) == (50, 90)
    assert contamination([told]) == ()


def test_a_gpu_that_tells_nothing_is_no_contamination() -> None:
    silent: dict[str, Any] = {
        "sm_clock_mhz": None, "memory_clock_mhz": None, "temperature_c": None, "power_w": None,
        "throttle_reasons": None,
    }  # fmt: skip
    told = facts(timed(100, **silent))
    assert (told.unsteady, told.throttled, told.power_w) == (None, None, None)
    assert contamination([told]) == ()


def test_the_monitor_samples_while_it_is_entered(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeNvml().install(monkeypatch)
    device, _ = open_device()
    assert device is not None
    start = time.monotonic_ns()
    with GpuMonitor(device, pid=1, interval_s=0.001) as monitor:
        while len(monitor.samples) < 5:
            time.sleep(0.001)
    samples, end = monitor.samples, time.monotonic_ns()
    time.sleep(0.01)
    assert monitor.samples == samples
    times = [start, *(sample.at_ns for sample in samples), end]
    assert times == sorted(times)


class Gpu:
    """Makes the fake backend one that runs on the fake GPU, from the first launch on or later."""

    def __init__(self, nvml: FakeNvml) -> None:
        self.nvml = nvml
        self.pid: int | None = None
        self.precision = ""  # contaminate that one alone
        self.bits = 0
        self.hidden = False

    def processes(self) -> list[tuple[int, int]]:
        return [] if self.pid is None or self.hidden else [(self.pid, 100 * MIB)]

    def run_job(
        self, job: Any, request: Any, limits: Any, python: str = sys.executable, watch: Any = None
    ) -> Any:
        if job.name == "run":
            assert watch is not None
            matches = request.options.precision == self.precision
            self.nvml.reasons = self.bits if matches else IDLE
            watch = self.knowing_the_pid(watch)
        start = time.monotonic_ns()
        result = launcher.run_job(job, request, limits, python, watch)
        if isinstance(result, Probe):
            return replace(result, accelerator=UUIDS[0])
        return self.with_phases(result, start) if isinstance(result, RunResult) else result

    def with_phases(self, result: RunResult, start: int) -> RunResult:
        end = time.monotonic_ns()
        middle = (start + end) // 2
        phases = Phases(
            context_ns=start, loading_ns=middle, loaded_ns=middle, sampling_ns=start, sampled_ns=end
        )
        return replace(result, phases=phases)

    def knowing_the_pid(self, watch: Any) -> Any:
        @contextlib.contextmanager
        def watching(pid: int) -> Iterator[None]:
            self.pid = pid
            with watch(pid):
                yield

        return watching


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Patches and engines for every test; none of them is about building."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def config(fake_config: RunConfig, cache: Path) -> RunConfig:
    return replace(fake_config, cache_dir=cache)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Gpu:
    nvml = FakeNvml().install(monkeypatch)
    gpu = Gpu(nvml)
    nvml.processes = gpu.processes
    for module in (pipeline, artifacts):
        monkeypatch.setattr(module, "run_job", gpu.run_job)
    return gpu


def bench(config: RunConfig) -> tuple[RunRecord, dict[str, CaseResult]]:
    result = pipeline.bench(config, Silent())
    return result, {row.precision: row for row in result.cases}


def test_a_clean_gpu_is_recorded(gpu: Gpu, config: RunConfig, tmp_path: Path) -> None:
    result, rows = bench(replace(config, precisions=("int8",)))
    assert pipeline.exit_code(result) == EXIT_PASS
    row = rows["int8"]
    assert [g.name for g in row.gpu] == ["Fake 0"] * 2
    assert all(g.samples > 0 and g.foreign_visible for g in row.gpu)
    assert row.memory_bytes is not None
    assert (row.memory_bytes.scope, row.memory_bytes.peak) == ("process-gpu", 100 * MIB)
    assert row.host_memory_bytes is not None
    assert row.host_memory_bytes.scope == "process-host"
    assert gpu.nvml.users == 0
    record.write(tmp_path / "r.json", result)
    assert record.read(tmp_path / "r.json") == result


def test_without_pids_memory_is_the_devices(gpu: Gpu, config: RunConfig) -> None:
    gpu.hidden = True
    result, rows = bench(replace(config, precisions=("fp32",), launches=1))
    assert pipeline.exit_code(result) == EXIT_PASS
    memory = rows["fp32"].memory_bytes
    assert memory is not None
    assert (memory.scope, memory.peak, memory.delta) == ("device-gpu", 700 * MIB, 0)
    assert not rows["fp32"].gpu[0].foreign_visible


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_throttled_case_is_inconclusive(gpu: Gpu, config: RunConfig, precision: str) -> None:
    gpu.precision, gpu.bits = precision, POWER_CAP | HW_THERMAL
    result, rows = bench(replace(config, launches=1))
    assert len(rows) == 3
    row = rows[precision]
    assert row.status == "inconclusive"
    assert "power cap in 100%" in (row.reason or "")
    assert "hardware thermal slowdown" in (row.reason or "")
    assert row.latency_ms is not None
    assert {r.status for name, r in rows.items() if name != precision} == {"ok"}
    assert precision not in {r.precision for r in ratios_of(result.cases)}
    assert pipeline.exit_code(result) == EXIT_INCONCLUSIVE
    certificate = rows["int8"].certificate
    assert certificate is not None
    assert not certificate.granted
    assert (certificate.speedup, certificate.size_ratio) == (None, None)
    assert (certificate.speedup_over_fake is None) == (precision == "int8")


def test_a_foreign_process_makes_every_case_inconclusive(gpu: Gpu, config: RunConfig) -> None:
    gpu.nvml.processes = lambda: [*gpu.processes(), (FOREIGN_PID, 5 * MIB)]
    result, rows = bench(replace(config, precisions=("fp32",), launches=1))
    assert rows["fp32"].status == "inconclusive"
    assert f"process {FOREIGN_PID} was on the GPU, too, with 5 MiB" in (rows["fp32"].reason or "")
    assert result.ratios == ()


def test_an_engine_that_lies_is_failed_even_when_throttled(
    gpu: Gpu, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOXGATE_FAKE_FAULT", "int8=float")
    gpu.precision, gpu.bits = "int8", POWER_CAP
    result, rows = bench(replace(config, precisions=("int8",), launches=1))
    assert (rows["int8"].status, rows["int8"].error_type) == ("failed", "NotInt8Error")
    assert pipeline.exit_code(result) == EXIT_FAILED


def test_a_gpu_that_cannot_be_read_fails_nothing(gpu: Gpu, config: RunConfig) -> None:
    gpu.nvml.driver_loaded = False
    result, rows = bench(replace(config, precisions=("fp32",), launches=1))
    assert pipeline.exit_code(result) == EXIT_PASS
    assert rows["fp32"].gpu == ()
    assert rows["fp32"].memory_bytes is None
    assert rows["fp32"].host_memory_bytes is not None


def test_a_lost_worker_leaves_no_user_of_the_library(
    gpu: Gpu, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOXGATE_FAKE_FAULT", "fp32=crash")
    _, rows = bench(replace(config, precisions=("fp32",), launches=1))
    assert rows["fp32"].error_type == "WorkerCrashError"
    assert gpu.nvml.users == 0


def test_a_cpu_launch_is_not_watched(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(accelerator: str) -> None:
        raise AssertionError(accelerator)

    monkeypatch.setattr(pipeline, "GpuWatch", refuse)
    result, rows = bench(replace(config, precisions=("fp32",), launches=1))
    assert pipeline.exit_code(result) == EXIT_PASS
    row = rows["fp32"]
    assert (row.gpu, row.host_memory_bytes) == ((), None)
    assert row.memory_bytes is not None
    assert row.memory_bytes.scope == "process-host"


def test_bench_exits_3_and_names_what_spoilt_the_times(
    gpu: Gpu,
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("VOXGATE_CACHE", str(cache))
    gpu.precision, gpu.bits = "int8", POWER_CAP
    path = tmp_path / "r.json"
    code = main(
        ["bench", "--models", "unet", "--backend", "fake", "--task", "phantom-mini", "--seconds",
         "0", "--launches", "1", "--precisions", "fp32,int8", "--record", str(path)]
    )  # fmt: skip
    assert code == 3
    printed = capsys.readouterr().out
    assert "INCONCLUSIVE unet/phantom-mini/fake/int8" in printed
    assert "power cap in 100%" in printed
    assert [row.status for row in record.read(path).cases] == ["ok", "inconclusive"]
