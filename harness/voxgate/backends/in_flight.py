"""Times inferences on an accelerator without the host's time in it.

A pair of events around an inference on an idle device holds the host's launch, too: the first event is
done long before the first kernel arrives. So one inference is always in flight ahead of the timed one,
and the events stand in the device's queue between two that are enqueued already.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Protocol, TypeVar

from voxgate.backends.base import Burst

# Enqueued and not waited for: one that runs, and one behind it for when the host is held up.
_IN_FLIGHT = 2

Mark = TypeVar("Mark")


class Queue(Protocol[Mark]):
    """A stream of an accelerator with an engine and its input on it."""

    def enqueue(self) -> None:
        """One inference, without waiting for it."""

    def mark(self) -> Mark:
        """A new event behind what is enqueued so far."""

    def wait(self, mark: Mark) -> None:
        """Until the device has come to that event."""

    def between_ns(self, before: Mark, after: Mark) -> int:
        """The device's time between two events that are done."""


def time_in_flight(queue: Queue[Mark], count: int) -> Burst:
    """``count`` timed inferences behind one that is not: it keeps the device busy meanwhile.

    If the host needs longer to enqueue an inference than the device to compute it, the samples hold
    the host's time all the same; ``enqueue_ns`` tells. It is of the first inference, since a later one
    may have to wait for a free place in the device's queue.
    """
    start_ns = time.perf_counter_ns()
    queue.enqueue()
    enqueue_ns = time.perf_counter_ns() - start_ns
    starts, ends = list[Mark](), list[Mark]()
    in_flight = deque([queue.mark()])
    for _ in range(count):
        starts.append(queue.mark())
        queue.enqueue()
        ends.append(queue.mark())
        in_flight.append(ends[-1])
        if len(in_flight) > _IN_FLIGHT:
            queue.wait(in_flight.popleft())
    queue.wait(ends[-1])
    samples_ns = tuple(map(queue.between_ns, starts, ends))
    return Burst(
        samples_ns=samples_ns,
        span_ns=queue.between_ns(starts[0], ends[-1]),
        enqueue_ns=enqueue_ns,
    )
