"""Every selected case is built and measured; nothing is passed over in silence."""

from __future__ import annotations

import pytest
from voxgate.config import RunConfig
from voxgate.records.case import SIMULATED_PRECISIONS
from voxgate.records.run import CaseResult


def test_case_is_built_and_measured(vg_row: CaseResult) -> None:
    assert vg_row.status == "ok", f"{vg_row.status}: {vg_row.error or vg_row.reason}"


@pytest.mark.vg_precisions(*SIMULATED_PRECISIONS, "int8", "int8-fp16")
def test_calibration_is_recorded(vg_result: CaseResult) -> None:
    if vg_result.backend == "fake":
        pytest.skip("the fake backend calibrates nothing")
    assert vg_result.calibration is not None
    assert vg_result.calibration.cases


@pytest.mark.vg_precisions(*SIMULATED_PRECISIONS, "int8", "int8-fp16")
def test_calibration_and_evaluation_share_no_patch(
    vg_result: CaseResult, vg_config: RunConfig
) -> None:
    if vg_result.backend == "fake":
        pytest.skip("the fake backend calibrates nothing")
    if vg_config.classes == "paper":
        pytest.skip("nothing is evaluated with the paper's class counts")
    assert vg_result.calibration is not None
    assert vg_result.dice is not None
    calibrated = {patch.name for patch in vg_result.calibration.patches}
    assert calibrated.isdisjoint(vg_result.dice.per_case)
