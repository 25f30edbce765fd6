"""Each precision against FP32 of the same model, backend and run. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from harness.types import CaseResult, Ratios


def ratios_of(cases: Sequence[CaseResult]) -> tuple[Ratios, ...]:
    """One row for every measured case that is not FP32 and has a measured FP32 beside it.

    Inconclusive cases have none: their times are not those of their engines.
    """
    references = {
        (case.model, case.task, case.backend): case
        for case in cases
        if case.precision == "fp32" and case.status == "ok"
    }
    return tuple(
        _ratios(case, reference)
        for case in cases
        if case.precision != "fp32"
        and case.latency_ms is not None
        and case.status != "inconclusive"
        and (reference := references.get((case.model, case.task, case.backend))) is not None
    )


def quotient(above: float | None, below: float | None) -> float | None:
    """``above / below``, or None when either is missing or the divisor is zero."""
    return above / below if above is not None and below else None


def _ratios(case: CaseResult, reference: CaseResult) -> Ratios:
    ours, theirs = case.latency_ms, reference.latency_ms
    assert ours is not None
    assert theirs is not None
    return Ratios(
        model=case.model,
        task=case.task,
        backend=case.backend,
        precision=case.precision,
        size=quotient(reference.engine_bytes, case.engine_bytes),
        latency=quotient(theirs.median, ours.median),
        latency_by_minima=quotient(theirs.min, ours.min),
        dice_mean_delta=(
            case.dice.mean - reference.dice.mean if case.dice and reference.dice else None
        ),
        dice_per_class_delta=_class_deltas(case, reference),
    )


def _class_deltas(case: CaseResult, reference: CaseResult) -> dict[str, float]:
    if case.dice is None or reference.dice is None:
        return {}
    before = reference.dice.per_class
    return {
        name: after - first
        for name, after in case.dice.per_class.items()
        if after is not None and (first := before.get(name)) is not None
    }
