"""Ratios against FP32, and the evidence that a certificate weighs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxgate.metrics.certificate import Rivals, certify, refuse_float
from voxgate.metrics.ratios import doubt_of_worth, quotient, ratios_of
from voxgate.records.case import Precision
from voxgate.records.engine import Coverage, Share
from voxgate.records.measurement import Dice, Latency
from voxgate.records.run import CaseResult, Certificate, Ratios


def _latency(median: float, fastest: float) -> Latency:
    return Latency(
        median=median, p50=median, p90=median, p99=median, min=fastest, mean=median, stdev=0.0, n=5
    )


def _dice(mean: float, **per_class: float | None) -> Dice:
    return Dice(mean=mean, per_class=per_class, per_case={"a": per_class})


def _case(precision: Precision, **changes: object) -> CaseResult:
    base = CaseResult(
        model="unet", task="mni152", backend="openvino", precision=precision, status="ok"
    )
    return replace(base, **changes)  # type: ignore[arg-type]


FP32 = _case(
    "fp32",
    engine_bytes=23_000,
    latency_ms=_latency(500.0, 480.0),
    dice=_dice(0.75, grey=0.75, white=0.5),
)
INT8 = _case(
    "int8",
    engine_bytes=5_750,
    latency_ms=_latency(200.0, 160.0),
    dice=_dice(0.5, grey=0.5, white=0.75),
)


# --- ratios --------------------------------------------------------------------------------------


def test_ratios_are_above_one_for_smaller_and_faster() -> None:
    (row,) = ratios_of([FP32, INT8])
    assert row == Ratios(
        model="unet",
        task="mni152",
        backend="openvino",
        precision="int8",
        size=4.0,
        latency=2.5,
        latency_by_minima=3.0,
        dice_mean_delta=-0.25,
        dice_per_class_delta={"grey": -0.25, "white": 0.25},
        latency_over_fastest_float=2.5,
        fastest_float="fp32",
    )


def test_order_of_the_cases_does_not_matter_for_a_row() -> None:
    assert ratios_of([INT8, FP32]) == ratios_of([FP32, INT8])


def test_rows_follow_the_order_of_the_cases() -> None:
    fake = replace(INT8, precision="fake-int8")
    assert [row.precision for row in ratios_of([INT8, FP32, fake])] == ["int8", "fake-int8"]


@pytest.mark.parametrize("field", ["model", "task", "backend"])
def test_fp32_of_something_else_is_no_reference(field: str) -> None:
    assert ratios_of([replace(FP32, **{field: "other"}), INT8]) == ()  # type: ignore[arg-type]


@pytest.mark.parametrize("status", ["failed", "unavailable", "inconclusive"])
def test_failed_fp32_is_no_reference(status: str) -> None:
    assert ratios_of([replace(FP32, status=status), INT8]) == ()  # type: ignore[arg-type]


def test_case_without_a_latency_has_no_row() -> None:
    assert ratios_of([FP32, replace(INT8, status="failed", latency_ms=None)]) == ()


def test_measured_case_keeps_its_row_when_it_failed_afterwards() -> None:
    assert len(ratios_of([FP32, replace(INT8, status="failed")])) == 1


def test_inconclusive_case_has_no_row() -> None:
    assert ratios_of([FP32, replace(INT8, status="inconclusive")]) == ()


def test_fp32_alone_has_no_row() -> None:
    assert ratios_of([FP32]) == ()
    assert ratios_of([]) == ()


def test_each_backend_is_compared_with_its_own_fp32() -> None:
    other = replace(
        FP32, backend="onnxruntime", engine_bytes=11_500, latency_ms=_latency(100.0, 80.0)
    )
    rows = ratios_of([FP32, other, INT8, replace(INT8, backend="onnxruntime")])
    assert [(row.backend, row.size, row.latency) for row in rows] == [
        ("openvino", 4.0, 2.5),
        ("onnxruntime", 2.0, 0.5),
    ]


@pytest.mark.parametrize("missing", ["reference", "case"])
def test_missing_size_and_dice_leave_their_ratios_out(missing: str) -> None:
    fp32, int8 = FP32, INT8
    if missing == "reference":
        fp32 = replace(fp32, engine_bytes=None, dice=None)
    else:
        int8 = replace(int8, engine_bytes=None, dice=None)
    (row,) = ratios_of([fp32, int8])
    assert (row.size, row.dice_mean_delta, row.dice_per_class_delta) == (None, None, {})
    assert row.latency == 2.5


@pytest.mark.parametrize(
    ("before", "after", "deltas"),
    [
        ({"grey": 0.5, "white": None}, {"grey": 0.5, "white": 0.25}, {"grey": 0.0}),
        ({"grey": 0.5, "white": 0.25}, {"grey": 0.5, "white": None}, {"grey": 0.0}),
        ({"grey": 0.0, "white": 0.5}, {"grey": 0.0, "white": 0.0}, {"grey": 0.0, "white": -0.5}),
        ({"white": 0.5}, {"grey": 0.5, "white": 0.5}, {"white": 0.0}),
    ],
)
def test_class_that_one_side_lacks_has_no_delta(
    before: dict[str, float | None], after: dict[str, float | None], deltas: dict[str, float]
) -> None:
    fp32 = replace(FP32, dice=_dice(0.5, **before))
    int8 = replace(INT8, dice=_dice(0.5, **after))
    (row,) = ratios_of([fp32, int8])
    assert row.dice_per_class_delta == deltas
    assert row.dice_mean_delta == 0.0


def _float(precision: Precision, median: float, **changes: object) -> CaseResult:
    return replace(FP32, precision=precision, latency_ms=_latency(median, 1.0), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("rival", ["tf32", "fp16", "bf16"])
def test_int8_is_held_against_the_fastest_float_engine(rival: Precision) -> None:
    slow, fast = _float("tf32" if rival == "fp16" else "fp16", 300.0), _float(rival, 210.0)
    rows = {row.precision: row for row in ratios_of([FP32, slow, INT8, fast])}
    assert (rows["int8"].fastest_float, rows["int8"].latency_over_fastest_float) == (rival, 1.05)
    assert rows["int8"].latency == 2.5  # over fp32, as ever
    assert (rows[rival].fastest_float, rows[rival].latency_over_fastest_float) == (None, None)


@pytest.mark.parametrize(
    "other",
    [
        {"status": "failed"},
        {"status": "inconclusive"},
        {"latency_ms": None},
        {"model": "other"},
        {"task": "other"},
        {"backend": "other"},
        {"precision": "fake-int8"},
        {"precision": "int8-fp16"},
    ],
)
def test_what_is_no_measured_float_engine_is_no_rival(other: dict[str, object]) -> None:
    rival = replace(_float("fp16", 10.0), **other)  # type: ignore[arg-type]
    rows = {row.precision: row for row in ratios_of([FP32, INT8, rival])}
    assert (rows["int8"].fastest_float, rows["int8"].latency_over_fastest_float) == ("fp32", 2.5)


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (1.06, ""),
        (1.03, ""),
        (1.029, "not worth it: fp16 is as fast"),
        (0.98, "not worth it: fp16 is as fast"),
        (0.5, "not worth it: fp16 is 2.00x faster"),
        (None, ""),
    ],
)
def test_int8_that_is_no_faster_than_float_is_not_worth_it(ratio: float | None, words: str) -> None:
    (row,) = ratios_of([FP32, INT8])
    found = replace(row, fastest_float="fp16", latency_over_fastest_float=ratio)
    assert doubt_of_worth(found) == words


@pytest.mark.parametrize(
    ("above", "below", "expected"),
    [(6.0, 4.0, 1.5), (None, 4.0, None), (6.0, None, None), (6.0, 0.0, None), (0.0, 4.0, 0.0)],
)
def test_quotient_of_what_is_there(
    above: float | None, below: float | None, expected: float | None
) -> None:
    assert quotient(above, below) == expected


# --- the certificate -----------------------------------------------------------------------------


def _covered(int8: float, unmapped: float = 0.0, *float_nodes: str) -> CaseResult:
    share = Share(int8=int8, float=1 - int8 - unmapped, unmapped=unmapped)
    coverage = Coverage(
        by_count=Share(int8=0.5, float=0.5, unmapped=0.0), by_macs=share, float_nodes=float_nodes
    )
    return replace(INT8, int8_coverage=coverage)


def _hidden(case: CaseResult, *nodes: str) -> CaseResult:
    assert case.int8_coverage is not None
    return replace(case, int8_coverage=replace(case.int8_coverage, unmapped_nodes=nodes))


RATIOS = Ratios(
    model="unet",
    task="mni152",
    backend="openvino",
    precision="int8",
    size=3.5,
    latency=2.5,
    latency_by_minima=1.0,
    dice_mean_delta=0.0,
    dice_per_class_delta={},
)


def _certify(
    case: CaseResult,
    *,
    quantize_nodes: int = 40,
    against_fp32: Ratios | None = RATIOS,
    against_fake: float | None = 2.0,
    has_fake: bool = True,
    unmeasured: tuple[Precision, ...] = (),
) -> Certificate:
    return certify(
        case,
        required_int8_macs=0.95,
        quantize_nodes=quantize_nodes,
        rivals=Rivals(
            fp32=against_fp32, unmeasured=unmeasured, fake=against_fake, has_fake=has_fake
        ),
    )


def _failed(certificate: Certificate) -> list[int]:
    """The places of the findings that do not hold."""
    return [i for i, text in enumerate(certificate.findings) if not text.startswith("yes: ")]


def test_certificate_is_granted_when_everything_holds() -> None:
    certificate = _certify(_covered(0.96))
    assert certificate == Certificate(
        granted=True,
        quantize_nodes=40,
        int8_macs=0.96,
        required_int8_macs=0.95,
        unmapped_macs=0.0,
        size_ratio=3.5,
        speedup=2.5,
        speedup_over_fake=2.0,
        findings=(
            "yes: the graph has 40 quantize nodes",
            "yes: 96.0% of multiply-accumulates execute in int8, 95% required",
            "yes: 0.0% of multiply-accumulates are in no executed layer",
            "yes: smaller than fp32: 3.50x",
            "yes: faster than fp32: 2.50x",
            "yes: faster than fake-int8: 2.00x",
        ),
    )


@pytest.mark.parametrize(
    ("lost", "finding"),
    [
        (0.885, "NO: keeps the Dice of fp32: lost 0.885, 0.02 may be lost"),
        (0.0201, "NO: keeps the Dice of fp32: lost 0.020, 0.02 may be lost"),
        (float("nan"), "NO: keeps the Dice of fp32: lost nan, 0.02 may be lost"),
        (0.02, "yes: keeps the Dice of fp32: lost 0.020, 0.02 may be lost"),
        (-0.003, "yes: keeps the Dice of fp32: gained 0.003, 0.02 may be lost"),
    ],
)
def test_an_engine_that_lost_its_dice_has_no_certificate(lost: float, finding: str) -> None:
    rivals = Rivals(fp32=RATIOS, fake=2.0, dice_lost=lost)
    case = _covered(0.96)
    found = certify(case, required_int8_macs=0.95, quantize_nodes=40, rivals=rivals)
    assert found.findings[-1] == finding
    assert found.granted == finding.startswith("yes")
    assert refuse_float(case, found).status == "ok"  # it computes in int8, and is measured


def test_the_certificate_says_how_much_of_the_graph_is_quantized() -> None:
    certificate = certify(
        _covered(0.96),
        required_int8_macs=0.95,
        quantize_nodes=40,
        rivals=Rivals(),
        quantized_macs=0.989,
    )
    assert certificate.quantized_macs == 0.989
    assert certificate.findings[0] == (
        "yes: the graph has 40 quantize nodes, on both operands of 98.9% of multiply-accumulates"
    )


def test_a_runtime_without_simulation_needs_no_evidence_against_it() -> None:
    assert _certify(_covered(1.0), against_fake=None, has_fake=False).granted
    assert not _certify(_covered(1.0), against_fake=None).granted


def test_coverage_at_the_threshold_is_enough() -> None:
    assert _certify(_covered(0.95)).granted


def test_graph_without_quantize_nodes_is_refused() -> None:
    certificate = _certify(_covered(1.0), quantize_nodes=0)
    assert not certificate.granted
    assert _failed(certificate) == [0]


def test_too_little_int8_is_refused() -> None:
    certificate = _certify(_covered(0.9))
    assert not certificate.granted
    assert _failed(certificate) == [1]


@pytest.mark.parametrize("unmapped", [0.002, 0.01])
def test_a_little_that_is_unmapped_is_told_and_no_more(unmapped: float) -> None:
    """One layer that a release names anew makes no engine a float one; it counts as not int8."""
    case = _hidden(_covered(0.96, unmapped), "conv_7")
    certificate = _certify(case)
    assert certificate.granted
    assert certificate.unmapped_macs == unmapped
    assert certificate.findings[2] == (
        f"note: {unmapped:.1%} of multiply-accumulates are in no executed layer, 1% at most: conv_7; "
        "counted as not int8"
    )
    assert not _certify(_hidden(_covered(0.95 - unmapped, unmapped), "conv_7")).granted


def test_much_that_is_unmapped_is_unknown() -> None:
    certificate = _certify(_hidden(_covered(0.96, 0.011), "conv_7", "conv_8"))
    assert not certificate.granted
    assert certificate.findings[2] == (
        "unknown: 1.1% of multiply-accumulates are in no executed layer, 1% at most: conv_7, conv_8"
    )


def test_what_is_partly_int8_names_what_is_not() -> None:
    certificate = _certify(_covered(0.67, 0.0, "conv_1", "conv_2"))
    assert not certificate.granted
    assert certificate.findings[1] == (
        "NO: 67.0% of multiply-accumulates execute in int8, 95% required; in float: conv_1, conv_2"
    )


@pytest.mark.parametrize(
    ("ratio", "finding"),
    [
        (1.06, "yes: faster than fp16 (fastest float of this run): 1.06x"),
        (
            1.01,
            "NO: faster than fp16 (fastest float of this run): 1.01x: not worth it: fp16 is as fast",
        ),
    ],
)
def test_the_fastest_float_engine_is_what_int8_must_be_worth_it_against(
    ratio: float, finding: str
) -> None:
    ratios = replace(RATIOS, latency_over_fastest_float=ratio, fastest_float="fp16")
    certificate = _certify(_covered(0.96), against_fp32=ratios)
    assert certificate.findings[5] == finding
    assert certificate.granted is finding.startswith("yes")
    assert (certificate.fastest_float, certificate.speedup_over_float) == ("fp16", ratio)


def test_a_float_engine_that_nobody_measured_may_be_faster() -> None:
    ratios = replace(RATIOS, latency_over_fastest_float=2.5, fastest_float="fp32")
    certificate = _certify(_covered(0.96), against_fp32=ratios, unmeasured=("tf32", "fp16"))
    assert not certificate.granted
    assert certificate.findings[5] == "unknown: faster than tf32, fp16: not measured in this run"


def test_engine_whose_layers_are_unknown_is_refused() -> None:
    certificate = _certify(INT8)
    assert (certificate.int8_macs, certificate.unmapped_macs) == (None, None)
    assert _failed(certificate) == [1]
    assert certificate.findings[1].startswith("unknown: what the engine computes in cannot be told")


@pytest.mark.parametrize(
    ("size", "latency", "fake", "failed"),
    [
        (1.1, 1.1, 1.1, []),
        (1.09, 2.0, 2.0, [3]),
        (3.0, 1.0, 2.0, [4]),
        (3.0, 2.0, 1.05, [5]),
        (0.9, 0.9, 0.9, [3, 4, 5]),
        (None, 2.0, 2.0, [3]),
        (3.0, None, 2.0, [4]),
        (3.0, 2.0, None, [5]),
    ],
)
def test_real_engine_is_clearly_smaller_and_faster(
    size: float | None, latency: float | None, fake: float | None, failed: list[int]
) -> None:
    certificate = _certify(
        _covered(0.96),
        against_fp32=replace(RATIOS, size=size, latency=latency),
        against_fake=fake,
    )
    assert _failed(certificate) == failed
    assert certificate.granted is (not failed)


def test_run_without_fp32_says_so() -> None:
    certificate = _certify(_covered(0.96), against_fp32=None, against_fake=None)
    assert not certificate.granted
    assert certificate.findings[3:] == (
        "unknown: smaller than fp32: not measured in this run",
        "unknown: faster than fp32: not measured in this run",
        "unknown: faster than fake-int8: not measured in this run",
    )
    assert (certificate.size_ratio, certificate.speedup) == (None, None)


@given(
    int8=st.floats(0, 1),
    quantize_nodes=st.integers(0, 3),
    size=st.none() | st.floats(0.5, 5),
    fake=st.none() | st.floats(0.5, 5),
)
def test_granted_means_that_no_finding_failed(
    int8: float, quantize_nodes: int, size: float | None, fake: float | None
) -> None:
    certificate = _certify(
        _covered(int8),
        quantize_nodes=quantize_nodes,
        against_fp32=replace(RATIOS, size=size),
        against_fake=fake,
    )
    assert certificate.granted is (_failed(certificate) == [])


# --- a case without its arithmetic ---------------------------------------------------------------


def test_int8_engine_keeps_its_status() -> None:
    case = _covered(0.96)
    certificate = _certify(case)
    assert refuse_float(case, certificate) == replace(case, certificate=certificate)


def test_slow_int8_engine_is_not_failed() -> None:
    case = _covered(0.96)
    certificate = _certify(case, against_fp32=replace(RATIOS, latency=0.5))
    assert not certificate.granted
    assert refuse_float(case, certificate).status == "ok"


def test_float_engine_fails_and_names_its_nodes() -> None:
    case = _covered(0.09, 0.0, "conv_1", "conv_2")
    certificate = _certify(case)
    refused = refuse_float(case, certificate)
    assert refused.status == "failed"
    assert refused.error_type == "NotInt8Error"
    assert refused.certificate == certificate
    assert refused.latency_ms == case.latency_ms
    assert refused.error == (
        "the engine does not compute in INT8: 9.0% of multiply-accumulates in int8, 0.0% "
        "unmapped; in float: conv_1, conv_2; unmapped: none. "
        "See 'voxgate inspect unet/mni152/openvino/int8'"
    )


def test_long_list_of_nodes_is_cut() -> None:
    case = _covered(0.05, 0.0, *(f"conv_{i}" for i in range(8)))
    error = refuse_float(case, _certify(case)).error or ""
    assert "in float: conv_0, conv_1, conv_2, conv_3, conv_4 and 3 more; " in error


@pytest.mark.parametrize(
    ("int8", "unmapped"), [(0.10, 0.0), (0.672, 0.0), (0.949, 0.0), (0.6, 0.4)]
)
def test_partly_int8_engine_is_measured_and_has_no_certificate(
    int8: float, unmapped: float
) -> None:
    case = _covered(int8, unmapped, "conv_1")
    kept = refuse_float(case, _certify(case))
    assert (kept.status, kept.error) == ("ok", None)
    assert kept.certificate is not None
    assert not kept.certificate.granted


def test_engine_that_is_hidden_whole_fails() -> None:
    case = _covered(0.0, 1.0)
    assert refuse_float(case, _certify(case)).status == "failed"


def test_engine_of_a_graph_without_quantize_nodes_fails() -> None:
    case = _covered(0.96)
    refused = refuse_float(case, _certify(case, quantize_nodes=0))
    assert (refused.status, refused.error_type) == ("failed", "NotInt8Error")
    assert "the graph has no quantize nodes" in (refused.error or "")


def test_engine_whose_layers_are_unknown_fails() -> None:
    refused = refuse_float(INT8, _certify(INT8))
    assert (refused.status, refused.error_type) == ("failed", "NotInt8Error")
    assert "cannot be told" in (refused.error or "")
    assert "%" not in (refused.error or "")
