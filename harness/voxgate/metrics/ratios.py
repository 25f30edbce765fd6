"""Each precision against FP32 of the same model, backend and run, INT8 also against its rivals. Pure.

FP32 is the reference of the study this starts from. What INT8 must be worth its trouble against is
the fastest float engine that the same runtime makes: on a GPU that is FP16, not FP32 without TF32.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from voxgate.records.case import FLOAT_PRECISIONS, INT8_PRECISIONS
from voxgate.records.run import CaseResult, Ratios

# Below it an INT8 engine is no faster than a float one, whatever the noise made of it.
WORTH_IT = 1.03


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
        _ratios(case, reference, cases)
        for case in cases
        if case.precision != "fp32"
        and case.latency_ms is not None
        and case.status != "inconclusive"
        and (reference := references.get((case.model, case.task, case.backend))) is not None
    )


def fastest_float(case: CaseResult, cases: Iterable[CaseResult]) -> CaseResult | None:
    """The measured float engine of the same network and runtime that takes the least time.

    One whose times are inconclusive is none, and neither is a simulation.
    """
    rivals = [
        other
        for other in cases
        if other.precision in FLOAT_PRECISIONS
        and other.status == "ok"
        and (other.model, other.task, other.backend) == (case.model, case.task, case.backend)
        and other.latency_ms is not None
    ]
    return min(
        rivals, key=lambda rival: rival.latency_ms.median if rival.latency_ms else 0.0, default=None
    )


def doubt_of_worth(ratios: Ratios) -> str:
    """Why an INT8 engine is not worth it, in words; empty where it is, or is no INT8 engine.

    A float engine that is as fast has FP32's Dice and asks for no calibration.
    """
    rival, ratio = ratios.fastest_float, ratios.latency_over_fastest_float
    if rival is None or not ratio or ratio >= WORTH_IT:
        return ""
    slower = ratio < 1 / WORTH_IT
    return f"not worth it: {rival} is {f'{1 / ratio:.2f}x faster' if slower else 'as fast'}"


def quotient(above: float | None, below: float | None) -> float | None:
    """``above / below``, or None when either is missing or the divisor is zero."""
    return above / below if above is not None and below else None


def _ratios(case: CaseResult, reference: CaseResult, cases: Iterable[CaseResult]) -> Ratios:
    ours, theirs = case.latency_ms, reference.latency_ms
    assert ours is not None
    assert theirs is not None
    rival = fastest_float(case, cases) if case.precision in INT8_PRECISIONS else None
    best = rival.latency_ms if rival else None
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
        latency_over_fastest_float=quotient(best.median if best else None, ours.median),
        fastest_float=rival.precision if rival else None,
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
