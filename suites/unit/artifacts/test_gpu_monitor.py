"""A GPU beside a launch: sampled, judged, and what the whole line makes of it."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxgate.artifacts import gpu_monitor, launcher, run_artifacts
from voxgate.artifacts.gpu_monitor import GpuMonitor, GpuWatch
from voxgate.artifacts.progress import Silent
from voxgate.cli import main
from voxgate.config import RunConfig
from voxgate.errors import EXIT_FAILED, EXIT_INCONCLUSIVE, EXIT_PASS
from voxgate.machine.gpu_facts import contamination, gpu_facts, gpu_memory, remarks
from voxgate.machine.nvml import GpuSample, Identity, open_device
from voxgate.metrics.ratios import ratios_of
from voxgate.records import file
from voxgate.records.gpu import GpuFacts, GpuProcess, Phases
from voxgate.records.run import CaseResult, RunRecord
from voxgate.records.runtime import Probe
from voxgate.runs import bench as pipeline
from voxgate.stages.requests import RunResult

from suites.support.fake_nvml import HW_THERMAL, IDLE, MIB, POWER_CAP, UUIDS, FakeNvml

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
    return gpu_facts(samples, PHASES, IDENTITY, "580", "")


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
    assert bool(told.foreign) <= bool((*contamination([told]), *remarks([told])))
    assert (told.samples < 5) <= bool(contamination([told]))


def test_a_steady_gpu_is_clean() -> None:
    told = facts(timed())
    assert contamination([told, told, told]) == ()
    assert (told.samples, told.interval_ms) == (100, 10 / 1e6)
    assert told.temperature_c is not None
    assert told.temperature_c.median == 50
    assert told.throttled == {}


def test_a_cpu_is_not_watched_and_nothing_is_found() -> None:
    assert contamination([]) == ()


@pytest.mark.parametrize(("samples", "bad"), [(0, True), (1, True), (4, True), (5, False)])
def test_few_samples_of_a_gpu_tell_nothing(samples: int, *, bad: bool) -> None:
    """A GPU that nobody could read is not a clean one."""
    text = found(timed(of=samples))
    assert bool(text) == bad
    assert (f"the GPU was read {samples} times during the timed inferences" in text) == bad


@pytest.mark.parametrize("of", [5, 10, 19, 20, 21, 39])
def test_one_odd_sample_is_no_contamination(of: int) -> None:
    """Of fewer than twenty it is more than a twentieth."""
    assert found(timed(1, of, sm_clock_mhz=1000)) == ""
    assert found(timed(1, of, throttle_reasons=("hardware thermal slowdown",))) == ""
    assert "unsteady" in found(timed(2, of, sm_clock_mhz=1000))
    assert "hardware thermal slowdown" in found(
        timed(2, of, throttle_reasons=("hardware thermal slowdown",))
    )


@pytest.mark.parametrize(("changed", "bad"), [(5, False), (6, True)])
def test_throttling_counts_above_a_twentieth(changed: int, *, bad: bool) -> None:
    text = found(timed(), timed(changed, throttle_reasons=("hardware thermal slowdown",)))
    assert ("launch 2: hardware thermal slowdown in 6% of 100 samples" in text) == bad
    assert bool(text) == bad


@pytest.mark.parametrize(("clock", "bad"), [(1890, False), (1795, True), (None, True)])
def test_a_power_cap_counts_where_the_clock_was_unsteady(clock: int | None, *, bad: bool) -> None:
    """An engine that draws what the card may give is as fast in every launch."""
    cap = ("power cap",)
    samples = [*timed(39, of=100, throttle_reasons=cap, sm_clock_mhz=clock)]
    samples = [replace(s, throttle_reasons=cap) if n < 61 else s for n, s in enumerate(samples)]
    if clock is None:
        samples = [replace(sample, sm_clock_mhz=None) for sample in samples]
    text = found(samples)
    assert ("power cap in 61% of 100 samples" in text) == bad
    assert bool(text) == bad
    assert ("up to 61% of a launch's samples" in "".join(remarks([facts(samples)]))) != bad


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


def beside(pid: int = 7, **fields: Any) -> dict[str, Any]:
    """The fields of a sample with another process on the GPU."""
    return {"foreign": (GpuProcess(pid=pid, memory_bytes=64 * MIB),), **fields}


OWN = 4711


def test_an_idle_context_of_another_process_is_told_and_spoils_nothing() -> None:
    told = facts(timed(100, **beside(busy_percent={OWN: 97})))
    assert contamination([told]) == ()
    assert remarks([told, told]) == ("process 7 held 64 MiB on the GPU, and computed nothing",)


def test_a_process_that_computes_spoils_the_times() -> None:
    told = facts([*timed(), at(1350, **beside(busy_percent={OWN: 80, 7: 15}))])
    assert contamination([told]) == (
        "launch 1: process 7 was on the GPU, too, with 64 MiB, and used 15 % of it",
    )
    assert remarks([told]) == ()


@pytest.mark.parametrize("use", [None, {}, {OWN: 0}, {7: 0}])
def test_a_driver_that_does_not_tell_of_the_worker_says_nothing_of_others(
    use: dict[int, int] | None,
) -> None:
    """It tells up to a second late: without the worker in the answer it told nothing yet."""
    told = facts(timed(100, **beside(busy_percent=use)))
    assert contamination([told]) == ("launch 1: process 7 was on the GPU, too, with 64 MiB",)


def test_what_is_told_a_little_later_counts() -> None:
    late = at(PHASES.sampled_ns + 900_000_000, **beside(busy_percent={OWN: 90, 7: 40}))
    told = facts([*timed(3, **beside()), late])
    assert "used 40 % of it" in "".join(contamination([told]))


def test_a_gpu_without_clocks_and_reasons_is_told() -> None:
    told = facts(timed(100, sm_clock_mhz=None, throttle_reasons=None))
    assert contamination([told]) == ()
    assert "a slowdown would not show" in "".join(remarks([told]))


def test_trouble_is_contamination() -> None:
    told = replace(facts(timed()), trouble="it was lost: GPU is lost")
    assert contamination([told]) == (
        "launch 1: the GPU could not be watched: it was lost: GPU is lost",
    )


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


def monitor_of(interval_s: float = 0.001) -> GpuMonitor:
    return GpuMonitor(lambda: open_device(UUIDS[0]), pid=1, interval_s=interval_s)


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_the_monitor_samples_while_it_is_entered(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeNvml().install(monkeypatch)
    start = time.monotonic_ns()
    with monitor_of() as monitor:
        assert monitor.samples  # before what it watches goes on
        wait_for(lambda: len(monitor.samples) >= 5)
    samples, end = monitor.samples, time.monotonic_ns()
    time.sleep(0.01)
    assert monitor.samples == samples
    times = [start, *(sample.at_ns for sample in samples), end]
    assert times == sorted(times)
    assert (monitor.trouble, fake.users) == ("", 0)


def test_the_monitor_keeps_what_ended_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody thought of must not leave a GPU that looks clean."""
    fake = FakeNvml().install(monkeypatch)

    def fail() -> None:
        message = "a bug in the bindings"
        raise TypeError(message)

    with monitor_of() as monitor:
        fake.processes = fail
        wait_for(lambda: bool(monitor.trouble))
    assert monitor.trouble == "TypeError: a bug in the bindings"
    assert not monitor.lost
    assert fake.users == 0


def test_a_gpu_that_is_lost_meanwhile_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeNvml().install(monkeypatch)
    with monitor_of() as monitor:
        fake.lost = True
        wait_for(lambda: monitor.lost)
    assert "GPU is lost" in monitor.trouble
    assert fake.users == 0


def test_a_gpu_that_answers_nothing_any_more_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeNvml().install(monkeypatch)
    with monitor_of() as monitor:
        fake.unsupported = {name for name in dir(fake) if name.startswith("nvmlDevice")}
        wait_for(lambda: bool(monitor.trouble))
    assert monitor.trouble == "it answers no query of NVML"


@pytest.mark.parametrize("when", ["at first", "later"])
def test_a_driver_that_hangs_holds_nobody_up(monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    fake = FakeNvml().install(monkeypatch)
    for limit in ("_FIRST_SAMPLE_S", "_LAST_SAMPLE_S"):
        monkeypatch.setattr(gpu_monitor, limit, 0.05 if when == "at first" else 0.2)
    hung = threading.Event()
    fake.hung = hung if when == "at first" else None
    with monitor_of() as monitor:
        fake.hung = hung
        time.sleep(0.02)
    assert "is the driver hung?" in monitor.trouble
    hung.set()


def test_what_was_never_read_is_no_clean_gpu() -> None:
    told = GpuWatch(UUIDS[0]).facts()
    assert (told.uuid, told.samples) == (UUIDS[0], 0)
    assert "could not be watched" in "".join(contamination([told]))


class Gpu:
    """Makes the fake backend one that runs on the fake GPU, from the first launch on or later."""

    def __init__(self, nvml: FakeNvml) -> None:
        self.nvml = nvml
        self.pid: int | None = None
        self.precision = ""  # contaminate that one alone
        self.bits = 0
        self.hidden = False
        self.lost_from: int | None = None  # the reading from which on it is lost
        self._readings = 0

    def use(self, percent: int) -> None:
        """What the worker uses of it, as the driver tells."""
        self.nvml.use = {1: percent}

    def processes(self) -> list[tuple[int, int]]:
        self._readings += 1
        self.nvml.lost = self.lost_from is not None and self._readings > self.lost_from
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
    for module in (pipeline, run_artifacts):
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
    file.write(tmp_path / "r.json", result)
    assert file.read(tmp_path / "r.json") == result


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
    assert "power cap" not in (row.reason or "")  # the clock kept its place
    assert "hardware thermal slowdown in 100%" in (row.reason or "")
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


def test_a_gpu_that_cannot_be_read_makes_the_case_inconclusive(gpu: Gpu, config: RunConfig) -> None:
    """It once failed nothing, and a GPU that had stopped to answer passed as a clean one."""
    gpu.nvml.driver_loaded = False
    result, rows = bench(replace(config, precisions=("fp32",), launches=1))
    assert pipeline.exit_code(result) == EXIT_INCONCLUSIVE
    row = rows["fp32"]
    assert "the GPU could not be watched: no NVIDIA driver" in (row.reason or "")
    assert row.latency_ms is not None  # measured all the same, for who wants to see it
    assert [facts.samples for facts in row.gpu] == [0]
    assert row.memory_bytes is None
    assert row.host_memory_bytes is not None
    assert result.environment.gpu == "none"  # what the probe calls it


def test_an_idle_context_beside_a_case_is_told(gpu: Gpu, config: RunConfig) -> None:
    gpu.nvml.processes = lambda: [*gpu.processes(), (FOREIGN_PID, 5 * MIB)]
    gpu.use(97)
    result, rows = bench(replace(config, precisions=("fp32",), launches=1))
    assert rows["fp32"].status == "ok"
    assert any("computed nothing" in words for words in rows["fp32"].warnings)
    assert pipeline.exit_code(result) == EXIT_PASS


@pytest.mark.parametrize("fault", ["", "fp32=exit"])
def test_a_gpu_that_is_lost_in_the_middle_is_told(
    gpu: Gpu, config: RunConfig, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setenv("VOXGATE_FAKE_FAULT", fault)
    gpu.lost_from = 3
    _, rows = bench(replace(config, precisions=("fp32",), launches=1))
    row = rows["fp32"]
    assert row.status == ("failed" if fault else "inconclusive")
    assert "GPU is lost" in (row.error or row.reason or "")


def test_a_lost_worker_leaves_no_user_of_the_library(
    gpu: Gpu, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOXGATE_FAKE_FAULT", "fp32=crash")
    _, rows = bench(replace(config, precisions=("fp32",), launches=1))
    assert rows["fp32"].error_type == "WorkerCrashError"
    assert gpu.nvml.users == 0


def test_a_cpu_launch_is_not_watched(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*watched: object) -> None:
        raise AssertionError(watched)

    monkeypatch.setattr(pipeline, "run_watched", refuse)
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
    gpu.precision, gpu.bits = "int8", HW_THERMAL
    path = tmp_path / "r.json"
    code = main(
        ["bench", "--models", "unet", "--backend", "fake", "--task", "phantom-mini", "--seconds",
         "0", "--launches", "1", "--precisions", "fp32,int8", "--record", str(path)]
    )  # fmt: skip
    assert code == 3
    printed = capsys.readouterr().out
    assert "INCONCLUSIVE unet/phantom-mini/fake/int8" in printed
    assert "hardware thermal slowdown in 100%" in printed
    assert [row.status for row in file.read(path).cases] == ["ok", "inconclusive"]
