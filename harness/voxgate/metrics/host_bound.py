"""Whether the host's time is in what an accelerator's events measured. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from voxgate.records.measurement import Launch

# Above this share of an inference the host hardly stays ahead of the device.
_BUSY_HOST = 0.8
_SAME = 0.01


def host_bound(launches: Sequence[Launch], *, replayed: bool = False) -> tuple[str, ...]:
    """What a reader of the times should know; empty where they are the device's alone.

    ``replayed``: the launches were replayed from a CUDA graph already.
    """
    advice = "" if replayed else "; replaying the launches (--cuda-graph) takes it out"
    found = [
        f"launch {number}: the host needs {launch.enqueue_ns / 1e6:.3g} ms to enqueue an inference of "
        f"{_median_ms(launch):.3g} ms, so the times may hold the host's{advice}"
        for number, launch in enumerate(launches, 1)
        if launch.enqueue_ns is not None
        and launch.enqueue_ns / 1e6 > _BUSY_HOST * _median_ms(launch)
    ]
    found += [
        f"launch {number}: {_median_ms(launch):.4g} ms an inference by its events, "
        f"{launch.back_to_back_ns / 1e6:.4g} ms back to back ({difference:+.1%}): the device waited "
        "between inferences, or some took much longer than most"
        for number, launch in enumerate(launches, 1)
        if launch.back_to_back_ns
        and abs(difference := launch.back_to_back_ns / 1e6 / _median_ms(launch) - 1) > _SAME
    ]
    return tuple(found)


def _median_ms(launch: Launch) -> float:
    return max(statistics.median(launch.samples_ns), 1) / 1e6
