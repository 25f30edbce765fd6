"""NSD and HD95 of a case as an artifact: predictions that were compared once are not again."""

from __future__ import annotations

from pathlib import Path

from voxgate import datasets
from voxgate.artifacts import jobs
from voxgate.artifacts.fingerprint import source_fingerprint
from voxgate.artifacts.launcher import run_job
from voxgate.artifacts.run_artifacts import Artifacts
from voxgate.files import sha256_file
from voxgate.machine.environment import versions
from voxgate.records.case import CaseId
from voxgate.records.dice import Surfaces
from voxgate.stages import file_names
from voxgate.stages.requests import SurfaceRequest

_PACKAGES = ("monai", "torch", "numpy", "scipy")


def measure_surfaces(case: CaseId, predictions: Path, artifacts: Artifacts) -> Surfaces:
    """The surfaces of the predicted labels in an .npy file, (N, D, H, W), against the task's.

    The key is what was predicted, not who predicted it: engines that agree share a result, and one
    that is not deterministic gets no old one. Measured with patches of 96 x 96 x 96 on two cores that
    others used, too: 0.7 to 1.0 s a patch of two classes, 0.7 to 1.8 s of thirteen, and 5 to 7 s for the
    imports; 6 to 11 s a case of 8 patches of mni152 in a run, and nothing from the cache.

    Raises:
        HarnessError: the worker was lost.
    """
    config, patches, dataset = artifacts.config, artifacts.patches(), datasets.get(case.task)
    inputs: dict[str, object] = {
        "predictions": sha256_file(predictions),
        "patches": patches.digest,
        "classes": dataset.classes,
        "spacing_mm": dataset.spacing_mm,
        "tolerance_mm": config.surface_tolerance_mm,
        "code": source_fingerprint("stages/surface.py"),
        "packages": versions(_PACKAGES),
    }

    def make(folder: Path) -> Surfaces:
        del folder  # the result is all there is
        artifacts.announce(f"comparing the surfaces that {case} predicts with the labels")
        request = SurfaceRequest(
            predictions=str(predictions),
            labels=str(patches.path(file_names.EVALUATION_LABELS)),
            cases=tuple(patch.name for patch in patches.result.evaluation),
            label_names=dataset.classes,
            spacing_mm=dataset.spacing_mm,
            tolerance_mm=config.surface_tolerance_mm,
        )
        return run_job(jobs.SURFACE, request, artifacts.limits)

    return artifacts.cache.get_or_make("surfaces", inputs, Surfaces, make).result
