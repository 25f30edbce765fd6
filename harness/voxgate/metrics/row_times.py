"""What the launches of a case say of its time."""

from __future__ import annotations

import statistics
from dataclasses import replace

from voxgate.metrics import latency
from voxgate.metrics.host_bound import host_bound
from voxgate.records.measurement import Launch
from voxgate.records.run import CaseResult


def with_times(row: CaseResult, launches: tuple[Launch, ...], *, replayed: bool) -> CaseResult:
    """The row with its samples, their summary, and what a reader should know of them.

    ``replayed``: the samples are of launches replayed from a CUDA graph.
    """
    samples = tuple(launch.samples_ns for launch in launches)
    graph_ns = [ns for launch in launches for ns in launch.graph_samples_ns]
    return replace(
        row,
        latency_ms=latency.summarize(samples),
        cuda_graph_ms=statistics.median(graph_ns) / 1e6 if graph_ns else None,
        samples_ns=samples,
        launches=launches,
        warnings=(*row.warnings, *host_bound(launches, replayed=replayed)),
    )
