"""A foreign process on the GPU during a build, paired launches or a profile, and a driver that is silent."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from voxgate.artifacts import clean_build
from voxgate.artifacts.cache import Cache
from voxgate.artifacts.clean_build import build_engine, disturbances, is_clean
from voxgate.artifacts.launcher import Limits
from voxgate.artifacts.progress import Silent
from voxgate.backends import timing_cache
from voxgate.records.case import CaseId
from voxgate.records.gpu import Phases
from voxgate.records.measurement import PairedLaunch
from voxgate.records.runtime import EngineOptions, Probe
from voxgate.records.verdicts import SelfTest
from voxgate.runs.case_run import CaseRun
from voxgate.stages.requests import BuildRequest, Built, Profiled
from voxgate.verdicts import interpreters, paired_launches, rules
from voxgate.verdicts.paired_launches import Pairing

from suites.support.fake_nvml import MIB, UUIDS, FakeNvml

WORKER, FOREIGN = 2**22 + 1, 2**22 + 2  # above any pid of Linux
CASE = CaseId(model="unet", task="phantom-mini", backend="fake", precision="int8")
OPTIONS = EngineOptions(precision="int8", threads=1, model="unet", task="t", classes=4)
REQUEST = BuildRequest(backend="tensorrt", options=OPTIONS, source="", folder="")


class Site:
    """Workers that are beside foreign processes as often as a test says."""

    def __init__(self, nvml: FakeNvml, answer: Callable[[int], Any]) -> None:
        self.nvml = nvml
        self.answer = answer
        self.disturbed = 0
        self.runs = 0
        self.readings = 0
        nvml.processes = self.processes

    def processes(self) -> list[tuple[int, int]]:
        self.readings += 1
        others = [(FOREIGN, 9 * MIB)] if self.runs <= self.disturbed else []
        return [(WORKER, 50 * MIB), *others]

    def run_job(
        self, _job: Any, _request: Any, _limits: Any, _python: str, watch: Any = None
    ) -> Any:
        self.runs += 1
        self.readings = 0
        start_ns, end = time.monotonic_ns(), time.monotonic() + 20
        with watch(WORKER):
            while self.nvml.driver_loaded and self.readings < 12:
                assert time.monotonic() < end
                time.sleep(0.005)
        return self.answer(start_ns)


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    return FakeNvml().install(monkeypatch)


# --- builds ----------------------------------------------------------------------------------------


@pytest.fixture
def building(nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Site:
    def built(_: int) -> Built:
        filled = timing_cache.write_new(tmp_path, b"timings", ())
        return Built(engine_bytes=1, engine_sha256="", build_s=1.0, timing_cache=filled)

    site = Site(nvml, built)
    monkeypatch.setattr(clean_build, "run_job", site.run_job)
    return site


def build(said: list[str]) -> Built:
    return build_engine(REQUEST, Limits(), "python", UUIDS[0], said.append)


@pytest.mark.parametrize(("disturbed", "runs", "kept"), [(0, 1, 1), (1, 2, 1), (2, 2, 0)])
def test_a_disturbed_build_is_made_again_once(
    building: Site, tmp_path: Path, disturbed: int, runs: int, kept: int
) -> None:
    said: list[str] = []
    building.disturbed = disturbed
    built = build(said)
    assert building.runs == runs
    assert len(said) == min(disturbed, 1)
    assert bool(built.disturbed) == (not kept)
    assert is_clean(built) == bool(kept)
    assert built.timing_cache is None
    # What was measured beside somebody else would choose kernels for ever.
    assert len(timing_cache.parts(tmp_path)) == kept
    assert len(list(tmp_path.iterdir())) == kept


def test_who_disturbed_is_said(building: Site) -> None:
    said: list[str] = []
    building.disturbed = 9
    (who,) = build(said).disturbed
    assert said == [f"building unet for tensorrt again: {who}"]
    assert f"process {FOREIGN} was on the GPU, too, with 9 MiB" in who


def test_an_idle_context_disturbs_no_build(building: Site, nvml: FakeNvml, tmp_path: Path) -> None:
    building.disturbed, nvml.use = 9, {WORKER: 90}
    assert is_clean(build([]))
    assert building.runs == 1
    assert len(timing_cache.parts(tmp_path)) == 1


def test_timings_of_a_build_that_nobody_watched_are_not_kept(
    building: Site, nvml: FakeNvml, tmp_path: Path
) -> None:
    nvml.driver_loaded = False
    built = build([])
    assert building.runs == 1
    assert is_clean(built)  # or a machine without NVML would build everything every night
    assert "nobody could watch the GPU: no NVIDIA driver" in "".join(disturbances(built))
    assert timing_cache.parts(tmp_path) == {}


def test_an_engine_of_a_disturbed_build_is_not_used_again(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    made: list[Built] = []

    def make(folder: Path) -> Built:
        (folder / "engine.bin").write_bytes(b"e")
        disturbed = () if made else ("process 7",)
        made.append(Built(engine_bytes=1, engine_sha256="", build_s=1.0, disturbed=disturbed))
        return made[-1]

    for _ in range(3):
        cache.get_or_make("engine", {"a": 1}, Built, make, reusable=is_clean)
    assert (len(made), cache.built, cache.reused) == (2, 2, 1)


# --- paired launches -------------------------------------------------------------------------------


def paired(start_ns: int) -> PairedLaunch:
    end_ns = time.monotonic_ns()
    phases = Phases(
        context_ns=start_ns, loading_ns=start_ns, loaded_ns=start_ns, sampling_ns=start_ns,
        sampled_ns=end_ns,
    )  # fmt: skip
    return PairedLaunch(b_first=False, a_ns=(10,) * 30, b_ns=(10,) * 30, phases=phases)


@pytest.fixture
def pairs(nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> Site:
    site = Site(nvml, paired)
    monkeypatch.setattr(paired_launches, "run_job", site.run_job)
    return site


def make_pairing(tmp_path: Path, accelerator: str = UUIDS[0]) -> Pairing:
    artifacts: Any = SimpleNamespace(
        config=SimpleNamespace(cache_root=tmp_path),
        limits=Limits(),
        options=lambda _: OPTIONS,
        patches=lambda: SimpleNamespace(path=lambda name: tmp_path / name),
        interpreter_for=lambda _: SimpleNamespace(path="python"),
        probe=lambda _: Probe(available=True, accelerator=accelerator),
    )
    return Pairing(artifacts, Silent())


def launches(site: Site, tmp_path: Path) -> tuple[PairedLaunch, ...]:
    del site
    return make_pairing(tmp_path).until_decided(CASE, Path("a"), Path("b"), 0.03, "")


def test_a_disturbed_pair_is_repeated(pairs: Site, tmp_path: Path) -> None:
    pairs.disturbed = 2
    found = launches(pairs, tmp_path)
    assert pairs.runs == 2 + 3
    assert [pair.disturbed for pair in found] == [()] * 3
    assert [pair.phases for pair in found] == [None] * 3
    assert rules.judge_paired(found).outcome == "pass"


def test_pairs_that_are_disturbed_again_and_again_decide_nothing(
    pairs: Site, tmp_path: Path
) -> None:
    pairs.disturbed = 99
    found = launches(pairs, tmp_path)
    assert len(found) == 1
    assert pairs.runs == 3
    slower = replace(found[0], b_ns=(20,) * 30)
    for launch in (found[0], slower):
        verdict = rules.judge_paired([launch] * 3)
        assert verdict.outcome == "inconclusive"
        assert f"process {FOREIGN}" in verdict.words
        assert rules.judge_tail([launch] * 3) is None


def test_pairs_that_nobody_could_watch_decide_nothing(
    pairs: Site, nvml: FakeNvml, tmp_path: Path
) -> None:
    nvml.driver_loaded = False
    verdict = rules.judge_paired(launches(pairs, tmp_path))
    assert verdict.outcome == "inconclusive"
    assert "could not be watched" in verdict.words


def test_what_a_host_can_tell_is_not_learned_beside_others(pairs: Site, tmp_path: Path) -> None:
    pairs.disturbed = 99
    identity: Any = SimpleNamespace(case=CASE)
    keeper = make_pairing(tmp_path)
    kept: list[SelfTest] = []
    keeper._engines = SimpleNamespace(  # type: ignore[assignment]
        self_test=lambda *_: None, keep_self_test=lambda _, made: kept.append(made)
    )
    made = keeper.self_test(identity, "ab" * 32, Path("a"))
    assert made.disturbed
    assert kept == []
    clean = [replace(paired(0), phases=None)] * 3
    assert rules.judge_paired(clean, self_test=made).outcome == "inconclusive"
    pairs.disturbed = 0
    assert not keeper.self_test(identity, "ab" * 32, Path("a")).disturbed
    assert len(kept) == 1


def test_pairs_on_a_cpu_are_not_watched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    watches: list[Any] = []

    def run_job(*question: Any) -> PairedLaunch:
        watches.append(question[4])
        return replace(paired(0), phases=None)

    monkeypatch.setattr(paired_launches, "run_job", run_job)
    make_pairing(tmp_path, accelerator="").until_decided(CASE, Path("a"), Path("b"), 0.03, "")
    assert watches == [None] * 3


# --- profiles --------------------------------------------------------------------------------------


def test_a_disturbed_profile_is_told(
    nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    site = Site(nvml, lambda _: Profiled(times_ns={"conv1": 5}))
    monkeypatch.setattr(interpreters, "run_job", site.run_job)
    pair: Any = make_pairing(tmp_path)
    engine: Any = SimpleNamespace(path=lambda name: tmp_path / name)
    run = CaseRun(CASE, pair._artifacts, accelerator=UUIDS[0], engine=engine)
    site.disturbed = 1
    times, unsaid = interpreters._profile((run, run), Silent())
    assert times == ({"conv1": 5}, {"conv1": 5})
    (words,) = unsaid
    assert f"times of layers on A can be trusted: process {FOREIGN} was on the GPU" in words
    run.accelerator = ""
    monkeypatch.setattr(interpreters, "run_job", lambda *_: Profiled(times_ns={"conv1": 5}))
    assert interpreters._layer_times_ns(run) == ({"conv1": 5}, ())
