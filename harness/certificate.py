"""The real-INT8 certificate: does an engine that says INT8 compute in int8? Pure."""

from __future__ import annotations

from dataclasses import replace

from harness.errors import NotInt8Error, UnexpectedInt8Error
from harness.types import CaseResult, Certificate, Ratios

# A simulation keeps FP32's size and time; anything real is clearly below both.
_CLEARLY = 1.1

_WORDS = {True: "yes", False: "NO", None: "unknown"}


def certify(
    case: CaseResult,
    *,
    required_int8_macs: float,
    quantize_nodes: int,
    against_fp32: Ratios | None,
    against_fake: float | None,
    has_fake: bool = True,
) -> Certificate:
    """Weigh the evidence for one INT8 engine.

    ``against_fake`` is the fake engine's median latency over this one's; a runtime that cannot
    simulate (``has_fake``) needs no such evidence.
    """
    coverage = case.int8_coverage
    int8 = coverage.by_macs.int8 if coverage else 0.0
    unmapped = coverage.by_macs.unmapped if coverage else 1.0
    size = against_fp32.size if against_fp32 else None
    speedup = against_fp32.latency if against_fp32 else None
    checks: tuple[tuple[bool | None, str], ...] = (
        (quantize_nodes > 0, f"the graph has {quantize_nodes} quantize nodes"),
        (
            int8 >= required_int8_macs,
            f"{int8:.1%} of multiply-accumulates execute in int8, {required_int8_macs:.0%} required",
        ),
        (unmapped == 0, f"{unmapped:.1%} of multiply-accumulates are in no executed layer"),
        _ratio_check("smaller than fp32", size),
        _ratio_check("faster than fp32", speedup),
        *([_ratio_check("faster than fake-int8", against_fake)] if has_fake else []),
    )
    return Certificate(
        granted=all(holds is True for holds, _ in checks),
        quantize_nodes=quantize_nodes,
        int8_macs=int8,
        required_int8_macs=required_int8_macs,
        unmapped_macs=unmapped,
        size_ratio=size,
        speedup=speedup,
        speedup_over_fake=against_fake,
        findings=tuple(f"{_WORDS[holds]}: {text}" for holds, text in checks),
    )


def refuse_float(case: CaseResult, certificate: Certificate) -> CaseResult:
    """The case with its certificate; failed if the engine does not compute in int8.

    Size and speed depend on the machine and stay findings; the arithmetic does not.
    """
    wrong = certificate.int8_macs < certificate.required_int8_macs or certificate.unmapped_macs > 0
    if not wrong:
        return replace(case, certificate=certificate)
    nodes = case.int8_coverage.float_nodes if case.int8_coverage else ()
    hidden = case.int8_coverage.unmapped_nodes if case.int8_coverage else ()
    msg = (
        f"the engine does not compute in INT8: {certificate.int8_macs:.1%} of multiply-accumulates "
        f"in int8, {certificate.unmapped_macs:.1%} unmapped; in float: {_some(nodes)}; "
        f"unmapped: {_some(hidden)}. See 'voxgate inspect {case.case}'"
    )
    return replace(
        case,
        certificate=certificate,
        status="failed",
        error_type=NotInt8Error.__name__,
        error=msg,
    )


def refuse_int8(case: CaseResult) -> CaseResult:
    """The case, failed if a reference or a simulation computes in int8: no ratio would be true."""
    coverage = case.int8_coverage
    if coverage is None or coverage.by_macs.int8 == 0:
        return case
    msg = (
        f"the {case.precision} engine computes {coverage.by_macs.int8:.1%} of its "
        f"multiply-accumulates in int8; nothing can be compared with it. "
        f"See 'voxgate inspect {case.case}'"
    )
    return replace(case, status="failed", error_type=UnexpectedInt8Error.__name__, error=msg)


def _ratio_check(claim: str, ratio: float | None) -> tuple[bool | None, str]:
    if ratio is None:
        return None, f"{claim}: not measured in this run"
    return ratio >= _CLEARLY, f"{claim}: {ratio:.2f}x"


def _some(names: tuple[str, ...], most: int = 5) -> str:
    shown = ", ".join(names[:most]) or "none"
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
