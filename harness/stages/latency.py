"""Latency: warm-ups that are discarded but kept, raw samples, and their summary."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence

from harness.types import Latency

Infer = Callable[[int], int]


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
