"""The timed part of a launch: on the host one inference after the other, on an accelerator in bursts.

On an accelerator the input is resident, nothing is fetched between two inferences, and the host is
ahead of the device. What a whole inference costs the host, copies included, is measured behind that.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from voxgate.backends import Session
from voxgate.backends.base import Burst, Tensor
from voxgate.errors import HarnessError
from voxgate.machine.host_load import LoadMeter
from voxgate.metrics import latency
from voxgate.records.measurement import Launch
from voxgate.stages.requests import RunRequest

_WHOLE_INFERENCES = 5
_GRAPH_S = 0.5
_LEAST_REPLAYED = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Timed:
    """A launch's samples, and the logits of its last timed inference.

    ``sampling_ns`` and ``sampled_ns`` are when the timed inferences began and ended, by
    `time.monotonic_ns`; ``inference_ns`` is what all inferences took.
    """

    launch: Launch
    logits: NDArray[np.generic]
    sampling_ns: int
    sampled_ns: int
    inference_ns: int


def time_on_host(session: Session, images: Tensor, request: RunRequest, load_s: float) -> Timed:
    """Warm-ups and samples by both clocks, and the CPU seconds of all."""
    spans_ns: list[tuple[int, int]] = []
    logits: NDArray[np.generic] = np.empty(0)

    def infer(index: int) -> int:
        nonlocal logits
        start_ns = time.monotonic_ns()
        logits, elapsed_ns = session.infer(patch(images, index))
        spans_ns.append((start_ns, time.monotonic_ns()))
        return elapsed_ns

    cpu, meter = time.process_time(), LoadMeter()
    warmups_ns, samples_ns = latency.sample(
        infer,
        warmups=request.warmups,
        min_samples=request.min_samples,
        max_samples=request.max_samples,
        seconds=request.seconds,
    )
    timed = spans_ns[len(warmups_ns) :]
    return Timed(
        launch=Launch(
            order=0,
            load_s=load_s,
            warmups_ns=warmups_ns,
            samples_ns=samples_ns,
            host_samples_ns=tuple(end_ns - start_ns for start_ns, end_ns in timed),
            cpu_s=time.process_time() - cpu,
            load=meter.read(),
        ),
        logits=logits,
        sampling_ns=timed[0][0],
        sampled_ns=timed[-1][1],
        inference_ns=sum(warmups_ns) + sum(samples_ns),
    )


def time_on_device(session: Session, images: Tensor, request: RunRequest, load_s: float) -> Timed:
    """Bursts in flight, then the logits that the last one left, then a few whole inferences."""

    def burst(index: int, count: int) -> Burst:
        return session.sample(patch(images, index), count)

    cpu, meter = time.process_time(), LoadMeter()
    found = latency.sample_bursts(
        burst, warmups=request.warmups, min_samples=request.min_samples, seconds=request.seconds
    )
    sampled_ns, load, cpu_s = time.monotonic_ns(), meter.read(), time.process_time() - cpu
    logits = session.output()
    whole = min(_WHOLE_INFERENCES, request.min_samples)
    host_samples_ns = tuple(_whole_ns(session, patch(images, index)) for index in range(whole))
    return Timed(
        launch=Launch(
            order=0,
            load_s=load_s,
            warmups_ns=found.warmups_ns,
            samples_ns=found.samples_ns,
            host_samples_ns=host_samples_ns,
            cpu_s=cpu_s,
            load=load,
            back_to_back_ns=found.back_to_back_ns,
            enqueue_ns=found.enqueue_ns,
        ),
        logits=logits,
        sampling_ns=found.start_ns,
        sampled_ns=sampled_ns,
        inference_ns=sum(found.warmups_ns) + sum(found.samples_ns) + sum(host_samples_ns),
    )


def with_graph(launch: Launch, session: Session, images: Tensor) -> Launch:
    """The launch with a short series of replayed launches beside its samples, where there are such.

    A graph that cannot be captured says nothing against the engine: the launch keeps the reason.
    """
    count = max(latency.fitting(statistics.median(launch.samples_ns), _GRAPH_S), _LEAST_REPLAYED)
    try:
        burst = session.replay(patch(images, 0), count)
    except (HarnessError, RuntimeError) as error:  # PyTorch's and CUDA's own are RuntimeErrors
        return replace(launch, graph_error=f"{type(error).__name__}: {error}")
    return launch if burst is None else replace(launch, graph_samples_ns=burst.samples_ns)


def patch(images: Tensor, index: int) -> Tensor:
    """The i-th image, beginning again behind the last."""
    position = index % len(images)
    return images[position : position + 1]


def _whole_ns(session: Session, image: Tensor) -> int:
    start_ns = time.monotonic_ns()
    session.infer(image)
    return time.monotonic_ns() - start_ns
