"""What a burst of inferences measures, on a device and a host whose clocks a test moves."""

from __future__ import annotations

import numpy as np
import pytest
from voxgate.backends.base import Burst
from voxgate.backends.fake import Fake
from voxgate.backends.in_flight import time_in_flight
from voxgate.errors import EngineOutputError
from voxgate.records.runtime import EngineOptions


class Simulated:
    """A device that computes behind the host's back: each enqueue takes the host's time, too.

    A mark is the device's time at which it comes to it.
    """

    def __init__(self, compute_ns: int, host_ns: int, hiccups: tuple[int, ...] = ()) -> None:
        self.compute_ns = compute_ns
        self.host_ns = host_ns
        self.hiccups = hiccups
        self.now_ns = 0  # the host's clock
        self.free_ns = 0  # when the device has done all that is enqueued
        self.enqueued = 0
        self.most_in_flight = 0
        self._ends: list[int] = []

    def enqueue(self) -> None:
        """The kernels arrive while the host is at it; the last one at its end."""
        begin_ns = max(self.free_ns, self.now_ns)
        self.now_ns += self.host_ns * (20 if self.enqueued in self.hiccups else 1)
        self.free_ns = max(begin_ns + self.compute_ns, self.now_ns)
        self.enqueued += 1
        self._ends.append(self.free_ns)
        in_flight = sum(end_ns > self.now_ns for end_ns in self._ends)
        self.most_in_flight = max(self.most_in_flight, in_flight)

    def mark(self) -> int:
        return max(self.free_ns, self.now_ns)

    def wait(self, mark: int) -> None:
        self.now_ns = max(self.now_ns, mark)

    def between_ns(self, before: int, after: int) -> int:
        return after - before


def burst(queue: Simulated, count: int, monkeypatch: pytest.MonkeyPatch) -> Burst:
    monkeypatch.setattr("voxgate.backends.in_flight.time.perf_counter_ns", lambda: queue.now_ns)
    return time_in_flight(queue, count)


@pytest.mark.parametrize("host_ns", [0, 10, 400, 900, 1000])
def test_the_hosts_time_is_in_no_sample(host_ns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    found = burst(Simulated(1000, host_ns), 20, monkeypatch)
    assert found == Burst(samples_ns=(1000,) * 20, span_ns=20_000, enqueue_ns=host_ns)


def test_an_event_on_an_idle_device_would_hold_it() -> None:
    """The stand-in has what this is about, or the test above shows nothing."""
    queue = Simulated(1000, 0)
    before = queue.mark()
    queue.now_ns += 300  # the first kernel is on its way
    queue.enqueue()
    assert queue.between_ns(before, queue.mark()) == 1300


def test_a_slower_host_shows_in_samples_and_enqueue_time(monkeypatch: pytest.MonkeyPatch) -> None:
    found = burst(Simulated(1000, 1500), 20, monkeypatch)
    assert set(found.samples_ns) == {1500}
    assert found.enqueue_ns == 1500


def test_one_hiccup_of_the_host_is_bridged(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Simulated(1000, 50, hiccups=(5,))  # as long as an inference
    assert set(burst(queue, 10, monkeypatch).samples_ns) == {1000}


def test_the_queue_stays_short(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Simulated(1000, 1)
    burst(queue, 50, monkeypatch)
    assert queue.most_in_flight <= 3
    assert queue.enqueued == 51


def test_a_single_sample_has_one_ahead_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Simulated(1000, 300)
    assert burst(queue, 1, monkeypatch).samples_ns == (1000,)
    assert queue.enqueued == 2


def test_a_host_session_infers_one_by_one() -> None:
    options = EngineOptions(precision="int8", threads=1, model="unet", task="phantom-mini", classes=4)  # fmt: skip
    session = Fake().load(Fake().build("", options), options)
    with pytest.raises(EngineOutputError, match="nothing was sampled"):
        session.output()
    image = np.zeros((1, 1, 8, 8, 8), np.float32)
    found = session.sample(image, 3)
    assert len(found.samples_ns) == 3
    assert found.span_ns == sum(found.samples_ns)
    assert found.enqueue_ns is None
    np.testing.assert_array_equal(session.output(), session.infer(image)[0])
    assert session.replay(image, 3) is None
