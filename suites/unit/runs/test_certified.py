"""What a run must have measured before an INT8 engine of it is called the fastest."""

from __future__ import annotations

from dataclasses import replace

import pytest
from voxgate import backends
from voxgate.records.case import Precision
from voxgate.records.measurement import Dice
from voxgate.records.run import CaseResult
from voxgate.runs.certified import _rivals

from suites.support.report_records import eight_networks

LIKE = eight_networks().cases[2]


def row(precision: Precision, backend: str = "tensorrt", status: str = "ok") -> CaseResult:
    return replace(LIKE, precision=precision, backend=backend, status=status)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("measured", "unmeasured"),
    [
        (("fp32", "tf32", "fp16"), ()),
        (("fp32", "fp16"), ()),  # no float engine does less work
        (("fp32", "bf16"), ()),
        (("fp32", "tf32"), ("fp16",)),
        (("fp32",), ("tf32", "fp16")),
        ((), ("tf32", "fp16")),
    ],
)
def test_on_a_gpu_the_half_precision_engine_is_the_one_to_beat(
    measured: tuple[Precision, ...], unmeasured: tuple[Precision, ...]
) -> None:
    ours = row("int8")
    found = _rivals(ours, [ours, *(row(precision) for precision in measured)])
    assert found.unmeasured == unmeasured
    assert not found.has_fake


@pytest.mark.parametrize(("status", "backend"), [("inconclusive", "tensorrt"), ("ok", "other")])
def test_a_doubtful_or_foreign_engine_was_not_measured(status: str, backend: str) -> None:
    ours = row("int8")
    others = [row("fp32"), row("fp16", backend=backend, status=status)]
    assert _rivals(ours, [ours, *others]).unmeasured == ("tf32", "fp16")


@pytest.mark.parametrize("backend", ["openvino", "fake"])
def test_a_runtime_whose_default_is_fp32_alone_needs_no_more(backend: str) -> None:
    ours = row("int8", backend=backend)
    assert "fp16" not in backends.get(backend).default_precisions
    found = _rivals(ours, [ours, row("fp32", backend=backend)])
    assert found.unmeasured == ()
    assert found.has_fake


def with_dice(case: CaseResult, mean: float) -> CaseResult:
    return replace(case, dice=Dice(mean=mean, per_class={}, per_case={}))


@pytest.mark.parametrize("status", ["ok", "inconclusive"])
def test_dice_is_held_against_fp32_whatever_the_times_are(status: str) -> None:
    ours = with_dice(row("int8", status=status), 0.07)
    rows = [ours, with_dice(row("fp32", status=status), 0.95), with_dice(row("fp16"), 0.1)]
    assert _rivals(ours, rows).dice_lost == pytest.approx(0.88)


@pytest.mark.parametrize("other", [{"backend": "openvino"}, {"status": "failed"}, {"dice": None}])
def test_without_dice_of_fp32_no_loss_is_known(other: dict[str, object]) -> None:
    ours = with_dice(row("int8"), 0.07)
    reference = replace(with_dice(row("fp32"), 0.95), **other)  # type: ignore[arg-type]
    assert _rivals(ours, [ours, reference]).dice_lost is None
    assert _rivals(replace(ours, dice=None), [with_dice(row("fp32"), 0.95)]).dice_lost is None


def test_a_certificate_of_doubtful_times_has_no_ratios() -> None:
    ours = row("int8", status="inconclusive")
    found = _rivals(ours, [ours, row("fp32"), row("fp16")])
    assert (found.fp32, found.fake) == (None, None)
