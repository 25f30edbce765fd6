"""The point of it all: an INT8 engine computes in int8, and nothing else claims to."""

from __future__ import annotations

import pytest

from harness import models
from harness.types import SIMULATED_PRECISIONS, CaseResult


@pytest.mark.vg_precisions("int8", "int8-fp16")
def test_certificate_is_granted(vg_row: CaseResult) -> None:
    if vg_row.status == "unavailable":
        pytest.skip(str(vg_row.reason))
    assert vg_row.status != "inconclusive", f"inconclusive: {vg_row.reason}"
    assert vg_row.certificate is not None, vg_row.error
    assert vg_row.certificate.granted, vg_row.certificate.findings


@pytest.mark.vg_precisions("int8", "int8-fp16")
def test_int8_covers_the_network(vg_row: CaseResult) -> None:
    if vg_row.status == "unavailable":
        pytest.skip(str(vg_row.reason))
    assert vg_row.int8_coverage is not None, vg_row.error
    shares = vg_row.int8_coverage.by_macs
    assert shares.int8 >= models.get(vg_row.model).minimum_int8_macs
    assert shares.unmapped == 0.0


@pytest.mark.vg_precisions("fp32", *SIMULATED_PRECISIONS, "bf16", "fp16", "tf32")
def test_nothing_else_computes_in_int8(vg_row: CaseResult) -> None:
    assert vg_row.status != "failed", f"failed: {vg_row.error}"
    if vg_row.int8_coverage is None:
        pytest.skip(f"{vg_row.case} does not tell what it executes ({vg_row.status})")
    assert vg_row.int8_coverage.by_macs.int8 == 0.0
    assert vg_row.int8_coverage.by_macs.unmapped == 0.0
