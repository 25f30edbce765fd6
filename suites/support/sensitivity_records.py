"""Records of sensitivity analyses for the tests of reports; nothing here was measured."""

from __future__ import annotations

import math

from voxgate.records.calibration import PatchInfo
from voxgate.records.sensitivity import (
    BETWEEN,
    Budget,
    Confirmation,
    Costs,
    LayerLoss,
    SensitivityRecord,
    Trial,
    Whole,
)
from voxgate.runs.ranking import agreement

from suites.support import report_records as records

CLASSES = ("grey", "white")


def sensitivity(layers: int = 30, *, dice: bool = True, budget: bool = True) -> SensitivityRecord:
    """A U-Net's worth of layers, the first of them the worst; without ``dice`` only the proxy."""
    parts = tuple(_layer(number, layers, dice=dice) for number in range(layers))
    measured = [part for part in parts if part.dice_lost is not None]
    run = records.eight_networks()
    return SensitivityRecord(
        kind="sensitivity", schema_version=1, voxgate="0.1", environment=records.ENVIRONMENT,
        config={"models": ["unet"], "task": "mni152"}, model="unet", task="mni152",
        backend="openvino", quantizer="nncf", calibration_method="min-max",
        proxy="dice" if dice else "sqnr", alone_in="fake-int8", rest_in="int8",
        patches=(PatchInfo(name="left-back-y008-z012", case="left-back", sha256="0" * 64),),
        wholes={
            "fp32": _whole("fp32", 0.97, None),
            "control": _whole("fake-int8", 0.97, None),
            "fake-int8": _whole("fake-int8", 0.965, 24.0),
            "int8": _whole("int8", 0.9655, 24.5),
        },
        layers=parts, between=_layer(3, layers, name=BETWEEN), in_float=("node_first",),
        quantizers=2 * layers, quantizers_left=1,
        agreement=agreement(
            [part.dice_lost or 0.0 for part in measured],
            [10 ** (-(part.sqnr_db or 0.0) / 10) for part in measured],
        ),
        budget=_budget(parts) if budget else None,
        costs=Costs(
            variants=60, reused=4, edit_s=9.0, build_s=30.0, inference_s=160.0, overhead_s=70.0
        ),
        timing=run.timing,
    )  # fmt: skip


def _whole(precision: str, dice: float, sqnr_db: float | None) -> Whole:
    return Whole(
        precision=precision,  # type: ignore[arg-type]
        dice_mean=dice,
        dice_per_class=dict.fromkeys(CLASSES, dice),
        sqnr_db=sqnr_db,
    )


def _layer(number: int, layers: int, *, dice: bool = True, name: str = "") -> LayerLoss:
    noise = 2e-5 * math.sin(7.0 * number)
    lost = 2e-3 * math.exp(-number / 4) + noise if dice else None
    return LayerLoss(
        name=name or f"node_Conv_{114 + number}_of_a_long_name",
        op_type="" if name else "Conv",
        macs_share=0.0 if name else 1 / layers,
        quantizers=2,
        dice_lost=lost,
        dice_lost_per_class={} if lost is None else dict.fromkeys(CLASSES, lost),
        sqnr_db=None if number == layers - 1 else 28.0 + number / 2,
        exact=number == layers - 1,
        dice_regained=None if lost is None else lost / 2,
        dice_regained_per_class={} if lost is None else dict.fromkeys(CLASSES, lost / 2),
        sqnr_gained_db=1 / (number + 1) if dice else None,
    )


def _budget(parts: tuple[LayerLoss, ...]) -> Budget:
    chosen = tuple(part.name for part in parts[:2])
    run = records.eight_networks()
    return Budget(
        margin=0.002, outcome="found", layers=chosen, proven=True,
        words="2 of 30 layers in float, 6.7% of the multiply-accumulates, the fewest that do; "
        "confirmed: on the evaluation patches the worst class loses 0.00180, margin 0.002",
        command=f"voxgate bench --models unet --float-layers {','.join(chosen)}",
        trials=(Trial(layers=(), loss=0.005), Trial(layers=chosen, loss=0.0018)),
        confirmation=Confirmation(
            loss_before=dict.fromkeys(CLASSES, 0.005), loss_after=dict.fromkeys(CLASSES, 0.0018),
            latency_ratio=1.2, latency_ratio_by_minima=1.19, size_ratio=1.05, plain=run, run=run,
        ),
    )  # fmt: skip
