"""A calibration study with numbers of our own: every combination of two methods."""

from __future__ import annotations

from dataclasses import replace

import pytest
from voxgate.artifacts.progress import Silent
from voxgate.artifacts.run_artifacts import Artifacts
from voxgate.config import RunConfig
from voxgate.records.calibration import Calibration, PatchInfo
from voxgate.records.case import CaseId
from voxgate.records.engine import Coverage, Share
from voxgate.records.measurement import Dice
from voxgate.records.run import CaseResult
from voxgate.records.runtime import Probe
from voxgate.records.study import StudyRecord
from voxgate.runs import calibration_study
from voxgate.runs.calibration_study import Grid, run_study

CONFIG = RunConfig(models=("unet",), task="phantom-mini")
GRID = Grid(methods=("max", "percentile"), patches=(1, 4), seeds=(0, 1))

LOST = {"max": 0.02, "percentile": 0.001, "min-max": 0.004}


def dice_of(mean: float) -> Dice:
    return Dice(mean=mean, per_class={"organ-1": mean + 0.01, "organ-2": mean - 0.01}, per_case={})


def measured(case: CaseId, artifacts: Artifacts, *_: object) -> CaseResult:
    """Dice that depends on the method and the number of patches alone, and coverage."""
    config = artifacts.config
    row = CaseResult(
        model=case.model,
        task=case.task,
        backend=case.backend,
        precision=case.precision,
        status="ok",
    )
    if case.precision == "fp32":
        return replace(row, dice=dice_of(0.9))
    count = config.calibration_patches or 4
    mean = 0.9 - LOST[config.calibration_method] / count - 0.0002 * config.calibration_seed
    share = Share(int8=0.95, float=0.05, unmapped=0.0)
    patches = tuple(PatchInfo(name=f"p{i}", case=f"c{i}", sha256=f"{i:064x}") for i in range(count))
    return replace(
        row,
        dice=dice_of(mean),
        int8_coverage=Coverage(by_count=share, by_macs=share),
        calibration=Calibration(
            method=config.calibration_method, quantizer="nncf", cases=("c0",), patches=patches,
            sha256="0" * 64, source=config.task, seed=config.drawn_by,
        ),
    )  # fmt: skip


def failing(case: CaseId, artifacts: Artifacts, *rest: object) -> CaseResult:
    """As `measured`, but max on a single patch fails."""
    row = measured(case, artifacts, *rest)
    config = artifacts.config
    if (config.calibration_method, config.calibration_patches) != ("max", 1):
        return row
    return replace(
        row, status="failed", error_type="QuantizationError", error="the <tensor> is empty",
        dice=None, int8_coverage=None,
    )  # fmt: skip


def made(measure_case: calibration_study.Measure = measured, grid: Grid = GRID) -> StudyRecord:
    """The study whose cases are measured so; no backend is looked for."""
    probe = Probe(available=True, version="1.2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibration_study, "probe_backends", lambda *_: {"openvino": probe})
        return run_study(CONFIG, grid, Silent(), measure_case)
