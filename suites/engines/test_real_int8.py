"""The point of it all: an INT8 engine computes in int8, and nothing else claims to.

Where a backend promises a certificate, every engine must have it. TensorRT promises none, as it
depends on its release which patterns become int8: there an engine must reach the share that its
network was seen to reach, and a case without a certificate is skipped with the findings.
"""

from __future__ import annotations

import pytest
from voxgate.metrics import expectations
from voxgate.records.case import SIMULATED_PRECISIONS
from voxgate.records.run import CaseResult


@pytest.mark.vg_precisions("int8", "int8-fp16")
def test_certificate_is_granted(vg_row: CaseResult) -> None:
    if vg_row.status == "unavailable":
        pytest.skip(str(vg_row.reason))
    assert vg_row.status != "inconclusive", f"inconclusive: {vg_row.reason}"
    assert vg_row.certificate is not None, vg_row.error
    assert vg_row.status == "ok", vg_row.error
    findings = vg_row.certificate.findings
    if not vg_row.certificate.granted and not expectations.of(vg_row.backend).certified:
        pytest.skip(f"{vg_row.backend} promises no certificate: {'; '.join(findings)}")
    assert vg_row.certificate.granted, findings


@pytest.mark.vg_precisions("int8", "int8-fp16")
def test_int8_covers_the_network(vg_row: CaseResult) -> None:
    if vg_row.status == "unavailable":
        pytest.skip(str(vg_row.reason))
    assert vg_row.int8_coverage is not None, vg_row.error
    shares = vg_row.int8_coverage.by_macs
    assert shares.int8 >= expectations.least_int8_macs(vg_row.backend, vg_row.model)
    assert shares.unmapped <= expectations.MOST_UNMAPPED, vg_row.int8_coverage.unmapped_nodes


@pytest.mark.vg_precisions("fp32", *SIMULATED_PRECISIONS, "bf16", "fp16", "tf32")
def test_nothing_else_computes_in_int8(vg_row: CaseResult) -> None:
    assert vg_row.status != "failed", f"failed: {vg_row.error}"
    if vg_row.int8_coverage is None:
        pytest.skip(f"{vg_row.case} does not tell what it executes ({vg_row.status})")
    assert vg_row.int8_coverage.by_macs.int8 == 0.0
    assert vg_row.int8_coverage.by_macs.unmapped <= expectations.MOST_UNMAPPED
