"""Memory of the process that runs an engine."""

from __future__ import annotations

import pytest
from voxgate.records.run import CaseResult

SLACK_BYTES = 64 * 2**20


def test_memory_is_measured(vg_result: CaseResult) -> None:
    memory = vg_result.memory_bytes
    assert memory is not None
    assert 0 < memory.baseline <= memory.peak
    assert memory.delta == memory.peak - memory.baseline


@pytest.mark.vg_precisions("int8", "int8-fp16")
def test_int8_needs_no_more_memory_than_fp32(vg_result: CaseResult, vg_fp32: CaseResult) -> None:
    assert vg_result.memory_bytes is not None
    assert vg_fp32.memory_bytes is not None
    assert vg_result.memory_bytes.delta <= vg_fp32.memory_bytes.delta + SLACK_BYTES
