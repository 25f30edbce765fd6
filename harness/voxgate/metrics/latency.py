"""Latency: warm-ups that are discarded but kept, raw samples, and their summary."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from voxgate.backends.base import Burst
from voxgate.records.measurement import Latency

Infer = Callable[[int], int]
InferBurst = Callable[[int, int], Burst]

# By time, since a GPU's clocks rise and its kernels are loaded in time, however short an inference is.
_WARMUP_S = 0.2
# The inference ahead of a burst is not timed; in a long burst it costs little.
_BURST_S = 1.0
_MOST_IN_BURST = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Bursts:
    """What `sample_bursts` took; ``start_ns`` is when the first timed burst began (monotonic).

    ``back_to_back_ns`` is all that the bursts took over the number of their inferences, and
    ``enqueue_ns`` the median of theirs.
    """

    warmups_ns: tuple[int, ...]
    samples_ns: tuple[int, ...]
    back_to_back_ns: int
    enqueue_ns: int | None
    start_ns: int


def sample(
    infer: Infer, *, warmups: int, min_samples: int, max_samples: int, seconds: float
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(warm-ups, samples) in ns. ``infer(i)`` runs the i-th inference and returns its time.

    Stops after ``max_samples``, or after ``seconds`` of wall time once ``min_samples`` are taken.
    """
    warm = tuple(infer(i) for i in range(warmups))
    samples: list[int] = []
    end = time.monotonic() + seconds
    least = min(min_samples, max_samples)
    while len(samples) < least or (len(samples) < max_samples and time.monotonic() < end):
        samples.append(infer(len(samples)))
    return warm, tuple(samples)


def sample_bursts(burst: InferBurst, *, warmups: int, min_samples: int, seconds: float) -> Bursts:
    """Warm-ups and samples of an accelerator. ``burst(i, count)`` runs ``count`` on the i-th image.

    Warms up for a fifth of a second and ``warmups`` inferences at least, then samples until
    ``seconds`` are over and ``min_samples`` taken; with no seconds the counts alone decide.
    """
    warm = list(burst(0, 1).samples_ns)  # alone: it loads kernels, and tells little of the next
    end = time.monotonic() + min(_WARMUP_S, seconds)
    while (left := end - time.monotonic()) > 0 or len(warm) < warmups:
        warm += burst(0, max(fitting(warm[-1], left), warmups - len(warm), 1)).samples_ns
    start_ns, end = time.monotonic_ns(), time.monotonic() + seconds
    bursts, last_ns, taken = list[Burst](), warm[-1], 0
    while (left := end - time.monotonic()) > 0 or taken < min_samples:
        count = max(fitting(last_ns, min(left, _BURST_S)), min_samples - taken, 1)
        bursts.append(burst(len(bursts), count))
        last_ns, taken = bursts[-1].samples_ns[-1], taken + count
    enqueues_ns = [b.enqueue_ns for b in bursts if b.enqueue_ns is not None]
    return Bursts(
        warmups_ns=tuple(warm),
        samples_ns=tuple(ns for b in bursts for ns in b.samples_ns),
        back_to_back_ns=round(sum(b.span_ns for b in bursts) / taken),
        enqueue_ns=round(statistics.median(enqueues_ns)) if enqueues_ns else None,
        start_ns=start_ns,
    )


def fitting(inference_ns: float, seconds: float) -> int:
    """How many inferences of a burst fill the seconds."""
    return min(math.ceil(seconds * 1e9 / max(inference_ns, 1)), _MOST_IN_BURST)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest of the sorted values that at least ``percent`` % do not exceed: a real sample."""
    index = math.ceil(percent * len(ordered) / 100) - 1  # in this order it is exact
    return ordered[min(max(index, 0), len(ordered) - 1)]


def summarize(launches: Sequence[Sequence[int]]) -> Latency:
    """Milliseconds over all samples of all launches.

    Raises:
        ValueError: there is no sample.
    """
    ordered = sorted(ns / 1e6 for samples in launches for ns in samples)
    if not ordered:
        msg = "no latency samples"
        raise ValueError(msg)
    return Latency(
        median=statistics.median(ordered),
        p50=percentile(ordered, 50),
        p90=percentile(ordered, 90),
        p99=percentile(ordered, 99),
        min=ordered[0],
        mean=statistics.fmean(ordered),
        stdev=statistics.stdev(ordered) if len(ordered) > 1 else 0.0,
        n=len(ordered),
    )
