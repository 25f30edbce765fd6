"""What an accelerator's inferences cost beside their latency: the host, the copies, replayed launches."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from voxgate.records.measurement import Launch
from voxgate.records.run import CaseResult
from voxgate.report import formats
from voxgate.report.page import Column, Table

# A graph that saves less than this is no reason to change a deployment.
_WORTH_SAYING = 0.03


def replayed(case: CaseResult) -> tuple[str, ...]:
    """A sentence where replaying the launches is worth it, or could not be tried."""
    latency, graph_ms = case.latency_ms, case.cuda_graph_ms
    errors = [launch.graph_error for launch in case.launches if launch.graph_error]
    if errors:
        return (f"its launches could not be captured as a CUDA graph: {errors[0]}",)
    if latency is None or graph_ms is None or graph_ms >= latency.median * (1 - _WORTH_SAYING):
        return ()
    words = (
        f"with its launches replayed from a CUDA graph an inference takes {graph_ms:.4g} ms instead of "
        f"{latency.median:.4g} ms ({graph_ms / latency.median - 1:+.1%})"
    )
    return (words,)


def device_table(cases: Sequence[CaseResult]) -> Table | None:
    """One row a case on an accelerator: the device's time, the host's, both with copies, and a graph's."""
    rows = [case for case in cases if any(launch.back_to_back_ns for launch in case.launches)]
    if not rows:
        return None
    headings = (
        "events ms",
        "back to back ms",
        "host enqueues ms",
        "with copies ms",
        "CUDA graph ms",
    )
    return Table(
        caption="Inferences on the device, medians over the launches",
        columns=(
            Column(heading="case"),
            *(Column(heading=heading, numeric=True) for heading in headings),
            Column(heading="to know", wide=True),
        ),
        rows=tuple(
            (
                str(case.case),
                _ms(ns for launch in case.launches for ns in launch.samples_ns),
                _ms(_told(case.launches, "back_to_back_ns")),
                _ms(_told(case.launches, "enqueue_ns")),
                _ms(ns for launch in case.launches for ns in launch.host_samples_ns),
                formats.number(case.cuda_graph_ms, ".4g"),
                "; ".join((*case.warnings, *replayed(case))) or formats.DASH,
            )
            for case in rows
        ),
    )


def _told(launches: Sequence[Launch], name: str) -> list[int]:
    values = [getattr(launch, name) for launch in launches]
    return [value for value in values if value is not None]


def _ms(values_ns: Iterable[int]) -> str:
    values = list(values_ns)
    return formats.number(statistics.median(values) / 1e6 if values else None, ".4g")
