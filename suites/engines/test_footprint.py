"""Engine size: INT8 is really smaller, and a simulation is not."""

from __future__ import annotations

import pytest
from voxgate.metrics import expectations
from voxgate.records.case import SIMULATED_PRECISIONS
from voxgate.records.run import CaseResult, Ratios

SAME_SIZE = 1.02  # names and metadata differ a little between two graphs


@pytest.mark.vg_precisions("int8", "int8-fp16")
def test_int8_engine_is_smaller(vg_result: CaseResult, vg_ratios: Ratios) -> None:
    whole = expectations.is_whole(vg_result)
    assert vg_ratios.size is not None
    assert vg_ratios.size >= expectations.least_smaller(vg_result.backend, whole=whole)


@pytest.mark.vg_precisions(*SIMULATED_PRECISIONS)
def test_fake_engine_is_not_smaller(vg_ratios: Ratios) -> None:
    assert vg_ratios.size is not None
    assert vg_ratios.size <= SAME_SIZE
