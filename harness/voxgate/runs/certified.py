"""The rows of a run, each checked for the arithmetic that its precision promises. Composes."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from voxgate import backends
from voxgate.artifacts.adapted_graphs import adapted
from voxgate.artifacts.run_artifacts import Artifacts
from voxgate.metrics.certificate import Rivals, certify, refuse_float, refuse_int8
from voxgate.metrics.dice_lost import dice_lost
from voxgate.metrics.expectations import required_int8_macs
from voxgate.metrics.ratios import quotient, ratios_of
from voxgate.records.case import (
    FLOAT_PRECISIONS,
    HALF_PRECISIONS,
    INT8_PRECISIONS,
    CaseId,
    Precision,
)
from voxgate.records.run import CaseResult

_MEASURED = {"ok", "inconclusive"}


def check_rows(rows: Sequence[CaseResult], made_by: Sequence[Artifacts]) -> tuple[CaseResult, ...]:
    """Each row with its certificate, or failed; ``made_by`` made their engines, in the same order.

    References come first: one that computes in int8 is none.
    """
    honest = [_without_int8(row) for row in rows]
    return tuple(
        _certified(row, honest, artifacts)
        if row.precision in INT8_PRECISIONS and row.status in _MEASURED
        else row
        for row, artifacts in zip(honest, made_by, strict=True)
    )


def _without_int8(row: CaseResult) -> CaseResult:
    promised = row.precision in INT8_PRECISIONS
    return row if promised or row.status not in _MEASURED else refuse_int8(row)


def _certified(row: CaseResult, rows: Sequence[CaseResult], artifacts: Artifacts) -> CaseResult:
    certificate = certify(
        row,
        required_int8_macs=required_int8_macs(row.backend, row.model),
        quantize_nodes=_quantize_nodes(row.case, artifacts),
        rivals=_rivals(row, rows),
        quantized_macs=_quantized_macs(row.case, artifacts),
    )
    return refuse_float(row, certificate)


def _rivals(row: CaseResult, rows: Sequence[CaseResult]) -> Rivals:
    """What else was measured of the same network on the same runtime, beyond doubt."""
    spec = backends.get(row.backend)
    beside = [r for r in rows if (r.model, r.backend, r.status) == (row.model, row.backend, "ok")]
    fake = next((r.latency_ms for r in beside if r.precision == "fake-int8"), None)
    ours = row.latency_ms if row.status == "ok" else None
    return Rivals(
        fp32=next((r for r in ratios_of(beside) if r.precision == row.precision), None),
        unmeasured=_unmeasured(spec.default_precisions, {r.precision for r in beside}),
        fake=quotient(fake.median if fake else None, ours.median if ours else None),
        has_fake="fake-int8" in spec.sources,
        dice_lost=dice_lost(row, rows),
    )


def _unmeasured(
    defaults: Sequence[Precision], measured: Collection[Precision]
) -> tuple[Precision, ...]:
    """Float engines that could be faster than those measured; FP32 has a finding of its own.

    With one in half precision nothing is missing: no other float engine does less work.
    """
    floats = FLOAT_PRECISIONS - {"fp32", *measured}
    if not HALF_PRECISIONS.isdisjoint(measured):
        return ()
    return tuple(precision for precision in defaults if precision in floats)


def _quantized_macs(case: CaseId, artifacts: Artifacts) -> float | None:
    """The most that an engine of a case's graph can compute in int8."""
    if backends.get(case.backend).sources[case.precision] != "quantized":
        return None
    made = adapted(artifacts, case)
    if made is not None:
        return made.result.quantized_macs
    return artifacts.quantized(case.model, case.backend, case.precision).result.quantized_macs


def _quantize_nodes(case: CaseId, artifacts: Artifacts) -> int:
    spec = backends.get(case.backend)
    if spec.sources[case.precision] == "quantized":
        return artifacts.quantized(case.model, case.backend, case.precision).result.quantize_nodes
    return len(spec.graph.nodes) if spec.graph else 0
