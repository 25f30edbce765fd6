"""The real-INT8 certificate: does an engine that says INT8 compute in int8? Pure."""

from __future__ import annotations

from dataclasses import replace

from harness.errors import NotInt8Error, UnexpectedInt8Error
from harness.types import CaseResult, Certificate, Coverage, Ratios

# A simulation keeps FP32's size and time; anything real is clearly below both.
_CLEARLY = 1.1

_UNKNOWN = "what the engine computes in cannot be told: the runtime lists no precisions for it"

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
    int8 = coverage.by_macs.int8 if coverage else None
    unmapped = coverage.by_macs.unmapped if coverage else None
    size = against_fp32.size if against_fp32 else None
    speedup = against_fp32.latency if against_fp32 else None
    checks: tuple[tuple[bool | None, str], ...] = (
        (quantize_nodes > 0, f"the graph has {quantize_nodes} quantize nodes"),
        *_share_checks(coverage, required_int8_macs),
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
    int8, unmapped = certificate.int8_macs, certificate.unmapped_macs
    if int8 is None or unmapped is None:
        return _refused(case, certificate, _UNKNOWN)
    if int8 >= certificate.required_int8_macs and unmapped == 0:
        return replace(case, certificate=certificate)
    nodes = case.int8_coverage.float_nodes if case.int8_coverage else ()
    hidden = case.int8_coverage.unmapped_nodes if case.int8_coverage else ()
    msg = (
        f"the engine does not compute in INT8: {int8:.1%} of multiply-accumulates "
        f"in int8, {unmapped:.1%} unmapped; in float: {_some(nodes)}; "
        f"unmapped: {_some(hidden)}. See 'voxgate inspect {case.case}'"
    )
    return _refused(case, certificate, msg)


def _refused(case: CaseResult, certificate: Certificate, msg: str) -> CaseResult:
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


def _share_checks(
    coverage: Coverage | None, required: float
) -> tuple[tuple[bool | None, str], ...]:
    """What is executed, in shares of all multiply-accumulates; unknown is not 0 %."""
    if coverage is None:
        return ((None, _UNKNOWN),)
    shares = coverage.by_macs
    return (
        (
            shares.int8 >= required,
            f"{shares.int8:.1%} of multiply-accumulates execute in int8, {required:.0%} required",
        ),
        (
            shares.unmapped == 0,
            f"{shares.unmapped:.1%} of multiply-accumulates are in no executed layer",
        ),
    )


def _ratio_check(claim: str, ratio: float | None) -> tuple[bool | None, str]:
    if ratio is None:
        return None, f"{claim}: not measured in this run"
    return ratio >= _CLEARLY, f"{claim}: {ratio:.2f}x"


def _some(names: tuple[str, ...], most: int = 5) -> str:
    shown = ", ".join(names[:most]) or "none"
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
