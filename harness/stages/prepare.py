"""Write the patches of a task as .npy files, with the hash of each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness import datasets, layout
from harness.datasets import Patch
from harness.errors import HarnessError
from harness.requests import Prepared, PrepareRequest
from harness.types import PatchInfo


def prepare(request: PrepareRequest) -> Prepared:
    """Write calibration images, evaluation images and evaluation labels.

    Raises:
        HarnessError: a patch, or a case, is in both splits.
    """
    folder = Path(request.folder)
    dataset = datasets.get(request.task)
    calibration = dataset.patches("calibration")
    evaluation = dataset.patches("evaluation")
    prepared = Prepared(calibration=_identify(calibration), evaluation=_identify(evaluation))
    check_disjoint(prepared)
    np.save(folder / layout.CALIBRATION_IMAGES, np.stack([p.image for p in calibration]))
    np.save(folder / layout.EVALUATION_IMAGES, np.stack([p.image for p in evaluation]))
    np.save(folder / layout.EVALUATION_LABELS, np.stack([p.label for p in evaluation]))
    return prepared


def check_disjoint(prepared: Prepared) -> None:
    """Refuse data that calibrates and evaluates: by case name and by hash.

    Raises:
        HarnessError: names the shared case or patch.
    """
    for key in ("case", "sha256"):
        shared = {getattr(p, key) for p in prepared.calibration} & {
            getattr(p, key) for p in prepared.evaluation
        }
        if shared:
            msg = f"calibration and evaluation share the {key} {min(shared)}; split them anew"
            raise HarnessError(msg)


def _identify(patches: Sequence[Patch]) -> tuple[PatchInfo, ...]:
    return tuple(
        PatchInfo(name=patch.name, case=patch.case, sha256=patch.sha256) for patch in patches
    )
