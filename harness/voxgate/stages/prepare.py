"""Write the evaluation patches of a task as .npy files, with the hash of each."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from voxgate import datasets
from voxgate.stages import file_names
from voxgate.stages.requests import Prepared, PrepareRequest


def prepare(request: PrepareRequest) -> Prepared:
    """Write evaluation images and labels, and one fixed calibration image to check exports on.

    What calibrates is an artifact of its own: another choice of it changes no float graph.
    """
    folder = Path(request.folder)
    dataset = datasets.get(request.task)
    evaluation = dataset.patches("evaluation")
    np.save(folder / file_names.EXPORT_IMAGES, dataset.patches("calibration")[0].image[None])
    np.save(folder / file_names.EVALUATION_IMAGES, np.stack([p.image for p in evaluation]))
    np.save(folder / file_names.EVALUATION_LABELS, np.stack([p.label for p in evaluation]))
    return Prepared(evaluation=tuple(datasets.identify(patch) for patch in evaluation))
