"""The real-INT8 certificate: does an engine that says INT8 compute in int8? Pure.

Three answers. *Not int8*: hardly any of it, or nobody can tell; the case has failed. *Partly int8*:
less than is required, or more than a hundredth of it in no executed layer; the case is measured, and
its certificate not granted. And granted: the arithmetic is there, and so are the size and the time,
which a simulation does not have, and which must be worth it beside the fastest float engine; and where
Dice was measured it has kept FP32's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from voxgate.errors import NotInt8Error, UnexpectedInt8Error
from voxgate.metrics.dice_lost import keeps
from voxgate.metrics.expectations import MOST_DICE_LOST, MOST_UNMAPPED, NOT_INT8
from voxgate.metrics.ratios import WORTH_IT, doubt_of_worth
from voxgate.records.case import Precision
from voxgate.records.engine import Coverage
from voxgate.records.run import CaseResult, Certificate, Ratios

# A simulation keeps FP32's size and time; anything real is clearly below both.
_CLEARLY = 1.1

_UNKNOWN = "what the engine computes in cannot be told: the runtime lists no precisions for it"
_FEW = f"{NOT_INT8:.0%}"

_WORDS = {True: "yes", False: "NO", None: "unknown"}

# Whether it holds, and what it is; a note holds, and is worth reading all the same.
_Check = tuple[bool | None, str]
_NOTE = "note: "


@dataclass(frozen=True, kw_only=True, slots=True)
class Rivals:
    """What else the run measured of the same network on the same runtime.

    ``fp32`` has the ratios over FP32 and over the fastest float engine; ``unmeasured`` are float
    precisions that the backend builds by default and this run has not. ``fake`` is the fake engine's
    median latency over this one's; a runtime that cannot simulate (``has_fake``) needs no such
    evidence. ``dice_lost`` is FP32's mean Dice less this one's, None where Dice was not measured.
    """

    fp32: Ratios | None = None
    unmeasured: Sequence[Precision] = ()
    fake: float | None = None
    has_fake: bool = True
    dice_lost: float | None = None


def certify(
    case: CaseResult,
    *,
    required_int8_macs: float,
    quantize_nodes: int,
    rivals: Rivals,
    quantized_macs: float | None = None,
) -> Certificate:
    """Weigh the evidence for one INT8 engine.

    ``quantized_macs`` is the share of multiply-accumulates with quantized operands in the graph that it
    was built from: the most that it can compute in int8.
    """
    coverage, ratios = case.int8_coverage, rivals.fp32
    size = ratios.size if ratios else None
    speedup = ratios.latency if ratios else None
    checks: tuple[_Check, ...] = (
        (quantize_nodes > 0, _graph_words(quantize_nodes, quantized_macs)),
        *_share_checks(coverage, required_int8_macs),
        _ratio_check("smaller than fp32", size),
        _ratio_check("faster than fp32", speedup),
        *_float_checks(ratios, rivals.unmeasured),
        *([_ratio_check("faster than fake-int8", rivals.fake)] if rivals.has_fake else []),
        *_dice_checks(rivals.dice_lost),
    )
    return Certificate(
        granted=all(holds is True for holds, _ in checks),
        quantize_nodes=quantize_nodes,
        int8_macs=coverage.by_macs.int8 if coverage else None,
        required_int8_macs=required_int8_macs,
        unmapped_macs=coverage.by_macs.unmapped if coverage else None,
        size_ratio=size,
        speedup=speedup,
        speedup_over_fake=rivals.fake,
        findings=tuple(_finding(check) for check in checks),
        speedup_over_float=ratios.latency_over_fastest_float if ratios else None,
        fastest_float=ratios.fastest_float if ratios else None,
        quantized_macs=quantized_macs,
    )


def _graph_words(quantize_nodes: int, quantized_macs: float | None) -> str:
    words = f"the graph has {quantize_nodes} quantize nodes"
    if quantized_macs is None:
        return words
    return f"{words}, on both operands of {quantized_macs:.1%} of multiply-accumulates"


def refuse_float(case: CaseResult, certificate: Certificate) -> CaseResult:
    """The case with its certificate; failed if the engine does not compute in int8.

    Size and speed depend on the machine and stay findings, and so does what is partly int8.
    """
    int8, unmapped = certificate.int8_macs, certificate.unmapped_macs
    if int8 is None or unmapped is None:
        return _refused(case, certificate, _UNKNOWN)
    if certificate.quantize_nodes and int8 >= NOT_INT8:
        return replace(case, certificate=certificate)
    nodes = case.int8_coverage.float_nodes if case.int8_coverage else ()
    hidden = case.int8_coverage.unmapped_nodes if case.int8_coverage else ()
    why = "" if certificate.quantize_nodes else "the graph has no quantize nodes; "
    msg = (
        f"the engine does not compute in INT8: {why}{int8:.1%} of multiply-accumulates "
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


def _finding(check: _Check) -> str:
    holds, words = check
    return words if words.startswith(_NOTE) else f"{_WORDS[holds]}: {words}"


def _share_checks(coverage: Coverage | None, required: float) -> tuple[_Check, ...]:
    """What is executed, in shares of all multiply-accumulates; unknown is not 0 %."""
    if coverage is None:
        return ((None, _UNKNOWN),)
    share = coverage.by_macs.int8
    words = f"{share:.1%} of multiply-accumulates execute in int8, {required:.0%} required"
    if share < required:
        words += f"; in float: {_some(coverage.float_nodes)}"
    return (share >= required, words), _unmapped_check(coverage)


def _unmapped_check(coverage: Coverage) -> _Check:
    """What no executed layer stands for counts as not int8; too much of it, and nobody can tell."""
    share = coverage.by_macs.unmapped
    words = f"{share:.1%} of multiply-accumulates are in no executed layer"
    if share == 0:
        return True, words
    named = f"{words}, {MOST_UNMAPPED:.0%} at most: {_some(coverage.unmapped_nodes)}"
    if share <= MOST_UNMAPPED:
        return True, f"{_NOTE}{named}; counted as not int8"
    return None, named


def _ratio_check(claim: str, ratio: float | None, least: float = _CLEARLY) -> _Check:
    if ratio is None:
        return None, f"{claim}: not measured in this run"
    return ratio >= least, f"{claim}: {ratio:.2f}x"


def _float_checks(ratios: Ratios | None, unmeasured: Sequence[Precision]) -> list[_Check]:
    """Against the fastest float engine, where that is another than FP32 or one is missing.

    INT8 that is no faster than what was measured is not worth it, whatever else could have been.
    """
    rival = ratios.fastest_float if ratios else None
    found: list[_Check] = []
    if ratios is not None and rival not in {None, "fp32"}:
        claim = f"faster than {rival} (fastest float of this run)"
        holds, words = _ratio_check(claim, ratios.latency_over_fastest_float, WORTH_IT)
        doubt = doubt_of_worth(ratios)
        found.append((holds, f"{words}: {doubt}" if doubt else words))
    if unmeasured:
        found.append(_ratio_check(f"faster than {', '.join(unmeasured)}", None))
    return found


def _dice_checks(lost: float | None) -> list[_Check]:
    """Engines with the paper's class counts have no Dice, and need none."""
    if lost is None:
        return []
    words = f"lost {lost:.3f}" if not lost < 0 else f"gained {-lost:.3f}"
    return [(keeps(lost), f"keeps the Dice of fp32: {words}, {MOST_DICE_LOST} may be lost")]


def _some(names: tuple[str, ...], most: int = 5) -> str:
    shown = ", ".join(names[:most]) or "none"
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
