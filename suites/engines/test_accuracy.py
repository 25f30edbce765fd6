"""Quantization keeps the segmentation: Dice per class, against FP32 of the same run."""

from __future__ import annotations

import pytest
from voxgate.config import RunConfig
from voxgate.metrics.ledger import blame
from voxgate.records.run import CaseResult, Ratios, RunRecord

# What every shipped checkpoint reaches; a lower FP32 would make every comparison meaningless.
FP32_DICE = {"mni152": 0.93}

MAX_MEAN_LOSS = 0.002
MAX_CLASS_LOSS = 0.005


@pytest.fixture(autouse=True)
def _labels_fit(vg_config: RunConfig) -> None:
    if vg_config.classes == "paper":
        pytest.skip("Dice is not measured: the heads have the paper's class counts, not the task's")


@pytest.mark.vg_precisions("fp32")
def test_fp32_segments_every_class(vg_result: CaseResult) -> None:
    wanted = FP32_DICE.get(vg_result.task)
    if wanted is None:
        pytest.skip(f"no reference Dice on {vg_result.task}")
    assert vg_result.dice is not None
    low = {name: d for name, d in vg_result.dice.per_class.items() if d is None or d < wanted}
    assert not low


@pytest.mark.vg_precisions("fake-int8", "int8", "int8-fp16", "fp16", "bf16", "tf32")
def test_mean_dice_is_kept(vg_ratios: Ratios, vg_result: CaseResult, vg_record: RunRecord) -> None:
    assert vg_ratios.dice_mean_delta is not None
    assert vg_ratios.dice_mean_delta >= -MAX_MEAN_LOSS, blame(vg_record.ledgers, vg_result)


@pytest.mark.vg_precisions("fake-int8", "int8", "int8-fp16", "fp16", "bf16", "tf32")
def test_no_class_is_lost(vg_ratios: Ratios, vg_result: CaseResult, vg_record: RunRecord) -> None:
    deltas = vg_ratios.dice_per_class_delta
    assert deltas
    lost = {name: delta for name, delta in deltas.items() if delta < -MAX_CLASS_LOSS}
    assert not lost, blame(vg_record.ledgers, vg_result)
