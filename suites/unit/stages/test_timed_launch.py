"""A launch on an accelerator: what is timed, what is not, and what else is measured beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from voxgate.backends.base import Burst
from voxgate.backends.fake import Fake, FakeSession
from voxgate.errors import BuildError, EngineOutputError
from voxgate.metrics.host_bound import host_bound
from voxgate.metrics.latency import sample_bursts
from voxgate.records.measurement import Latency, Launch
from voxgate.records.run import CaseResult
from voxgate.records.runtime import EngineOptions
from voxgate.report.charts.launches import _thinned
from voxgate.report.device_times import device_table, replayed
from voxgate.stages import launch as measure
from voxgate.stages.requests import RunRequest
from voxgate.stages.timed_launch import time_on_device, with_graph

IMAGES = np.zeros((3, 1, 2, 2, 2), np.float32)
REQUEST = RunRequest(
    backend="fake",
    options=EngineOptions(precision="fp32", threads=1, model="unet", task="phantom-mini", classes=4),
    engine="", images="", labels="", cases=(), label_names=(), warmups=2, min_samples=4,
    max_samples=2, seconds=0.0, evaluate=False, inspect=False,
)  # fmt: skip
LAUNCH = Launch(order=0, load_s=0.0, warmups_ns=(), samples_ns=(1_000_000,) * 9, cpu_s=0.0)


class Session:
    """Writes down what is asked of it."""

    def __init__(self, *, graph: bool | Exception = True) -> None:
        self.calls: list[tuple[str, int]] = []
        self.graph = graph

    def infer(self, image: Any) -> tuple[NDArray[np.generic], int]:
        del image
        self.calls.append(("infer", 1))
        return np.ones(1), 7

    def sample(self, image: Any, count: int) -> Burst:
        del image
        self.calls.append(("sample", count))
        return Burst(samples_ns=(10,) * count, span_ns=11 * count, enqueue_ns=len(self.calls))

    def replay(self, image: Any, count: int) -> Burst | None:
        del image
        if isinstance(self.graph, Exception):
            raise self.graph
        return Burst(samples_ns=(5,) * count, span_ns=5 * count) if self.graph else None

    def output(self) -> NDArray[np.generic]:
        self.calls.append(("output", 1))
        return np.zeros(1)

    def layers(self) -> None:
        pass

    def kernels_sha256(self) -> None:
        pass

    def layer_times_ns(self) -> None:
        pass

    def device_memory_bytes(self) -> None:
        pass

    def close(self) -> None:
        pass


def test_nothing_is_copied_between_the_timed_inferences() -> None:
    session = Session()
    timed = time_on_device(session, IMAGES, REQUEST, 0.5)
    samples = [name for name, _ in session.calls]
    assert samples == ["sample"] * 3 + ["output"] + ["infer"] * 4
    assert timed.logits == np.zeros(1)  # of the timed inferences, not of those behind them
    launch = timed.launch
    assert (launch.warmups_ns, launch.samples_ns) == ((10,) * 2, (10,) * 4)
    assert (launch.back_to_back_ns, launch.enqueue_ns) == (11, 3)
    assert len(launch.host_samples_ns) == 4


def test_the_most_samples_are_for_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(10**6))
    monkeypatch.setattr("voxgate.metrics.latency.time.monotonic", lambda: next(now))
    launch = time_on_device(Session(), IMAGES, replace(REQUEST, seconds=9.0), 0.0).launch
    assert len(launch.samples_ns) > REQUEST.max_samples


class Clock:
    """A device that needs ``ns`` an inference, and the host's clock that it moves."""

    def __init__(self, ns: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ns, self.now_s = ns, 50.0
        self.counts: list[tuple[int, int]] = []
        monkeypatch.setattr("voxgate.metrics.latency.time.monotonic", lambda: self.now_s)

    def burst(self, index: int, count: int) -> Burst:
        self.now_s += (count + 1) * self.ns / 1e9
        self.counts.append((index, count))
        return Burst(samples_ns=(self.ns,) * count, span_ns=self.ns * count)


@pytest.mark.parametrize("ns", [100_000, 1_600_000, 8_000_000, 400_000_000])
def test_warm_up_and_samples_go_by_time(ns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    found = sample_bursts(Clock(ns, monkeypatch).burst, warmups=2, min_samples=4, seconds=3.0)
    assert sum(found.warmups_ns) >= 0.2e9 - 2 * ns
    assert len(found.warmups_ns) >= 2
    assert 2.0e9 <= sum(found.samples_ns) <= 3.5e9  # the inferences ahead of bursts take the rest
    assert found.back_to_back_ns == ns
    assert found.enqueue_ns is None


def test_the_fewest_are_taken_however_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(60_000_000_000, monkeypatch)
    found = sample_bursts(clock.burst, warmups=2, min_samples=5, seconds=3.0)
    assert (len(found.warmups_ns), len(found.samples_ns)) == (2, 5)


def test_without_seconds_the_counts_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(1, monkeypatch)
    found = sample_bursts(clock.burst, warmups=3, min_samples=7, seconds=0.0)
    assert (len(found.warmups_ns), len(found.samples_ns)) == (3, 7)


def test_every_burst_has_another_image(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(400_000_000, monkeypatch)
    sample_bursts(clock.burst, warmups=1, min_samples=4, seconds=3.0)
    timed = [index for index, _ in clock.counts[2:]]  # behind two warm-ups
    assert timed == list(range(len(timed)))
    assert len(timed) > 1


def test_a_clock_of_zero_is_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(0, monkeypatch)
    found = sample_bursts(clock.burst, warmups=1, min_samples=2, seconds=0.0)
    assert found.samples_ns == (0, 0)


def test_replayed_launches_are_beside_the_others() -> None:
    launch = with_graph(LAUNCH, Session(), IMAGES)
    assert launch.samples_ns == LAUNCH.samples_ns
    assert launch.graph_samples_ns == (5,) * 500
    assert with_graph(LAUNCH, Session(graph=False), IMAGES) == LAUNCH


@pytest.mark.parametrize("error", [BuildError("no"), RuntimeError("operation not permitted")])
def test_a_capture_that_fails_leaves_its_reason(error: Exception) -> None:
    launch = with_graph(LAUNCH, Session(graph=error), IMAGES)
    assert launch.graph_samples_ns == ()
    assert str(error) in launch.graph_error
    row = CaseResult(model="unet", task="t", backend="b", precision="fp32", status="ok", launches=(launch,))  # fmt: skip
    assert "could not be captured" in replayed(row)[0]


@pytest.mark.parametrize(("graph_ms", "said"), [(1.0, False), (0.98, False), (0.9, True), (None, False)])  # fmt: skip
def test_a_graph_is_mentioned_where_it_is_worth_it(graph_ms: float | None, *, said: bool) -> None:
    median = Latency(median=1.0, p50=1.0, p90=1.0, p99=1.0, min=1.0, mean=1.0, stdev=0.0, n=9)
    row = CaseResult(
        model="unet", task="t", backend="b", precision="fp32", status="ok", latency_ms=median,
        cuda_graph_ms=graph_ms,
    )  # fmt: skip
    assert bool(replayed(row)) == said


@pytest.mark.parametrize(
    ("enqueue_ns", "back_to_back_ns", "words"),
    [
        (100_000, 1_000_000, ""),
        (None, None, ""),
        (800_000, 1_009_000, ""),
        (810_000, 1_000_000, "launch 1: the host needs 0.81 ms to enqueue an inference of 1 ms"),
        (100_000, 1_011_000, "1 ms an inference by its events, 1.011 ms back to back (+1.1%)"),
        (100_000, 960_000, "0.96 ms back to back (-4.0%)"),
    ],
)
def test_a_host_in_the_times_is_told(
    enqueue_ns: int | None, back_to_back_ns: int | None, words: str
) -> None:
    launch = replace(LAUNCH, enqueue_ns=enqueue_ns, back_to_back_ns=back_to_back_ns)
    found = host_bound([launch, LAUNCH])
    assert len(found) == bool(words)
    assert words in "".join(found)


def test_who_replays_already_is_not_advised_to() -> None:
    launch = replace(LAUNCH, enqueue_ns=2_000_000)
    assert "--cuda-graph" in host_bound([launch])[0]
    assert "--cuda-graph" not in host_bound([launch], replayed=True)[0]


def test_a_nan_of_the_timed_inferences_fails_though_later_ones_are_fine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    engine = Fake().build("", REQUEST.options)
    (tmp_path / "engine").write_bytes(engine)
    np.save(tmp_path / "images.npy", IMAGES)
    request = replace(REQUEST, engine=str(tmp_path / "engine"), images=str(tmp_path / "images.npy"))
    monkeypatch.setattr(Fake, "create_context", lambda *_: True)
    measure.run(request)
    monkeypatch.setattr(
        FakeSession, "output", lambda _: np.full((1, 4, 2, 2, 2), np.nan, np.float32)
    )
    with pytest.raises(EngineOutputError, match="NaN"):
        measure.run(request)


def test_the_page_has_the_device_beside_the_host() -> None:
    launch = replace(
        LAUNCH, back_to_back_ns=1_002_000, enqueue_ns=300_000, host_samples_ns=(2_500_000,)
    )
    row = CaseResult(
        model="unet", task="t", backend="b", precision="fp32", status="ok", launches=(launch, launch),
        cuda_graph_ms=0.95, warnings=("mind the gap",),
    )  # fmt: skip
    table = device_table([row, replace(row, launches=(LAUNCH,))])
    assert table is not None
    assert table.rows == (
        ("unet/t/b/fp32", "1", "1.002", "0.3", "2.5", "0.95", "mind the gap"),
    )  # fmt: skip
    assert device_table([replace(row, launches=(LAUNCH,))]) is None


@pytest.mark.parametrize("count", [0, 1, 120, 121, 5000])
def test_a_strip_draws_not_every_sample_of_thousands(count: int) -> None:
    samples = list(range(count))[::-1]
    drawn = _thinned(samples)
    assert len(drawn) == min(count, 120)
    assert not samples or {min(drawn), max(drawn)} == {min(samples), max(samples)}
