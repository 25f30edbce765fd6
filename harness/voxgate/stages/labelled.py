"""Write the calibration patches of a task with their labels, which calibration itself does not need."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from voxgate import datasets
from voxgate.errors import HarnessError
from voxgate.records.calibration import PatchInfo
from voxgate.stages import file_names
from voxgate.stages.variant_requests import Labelled, LabelledRequest


def write_labelled(request: LabelledRequest) -> Labelled:
    """Write images and labels.

    Raises:
        HarnessError: the split has no patch.
    """
    folder = Path(request.folder)
    patches = datasets.get(request.task).patches("calibration")
    if not patches:
        msg = f"{request.task} has no calibration patches; there is nothing to rank layers on"
        raise HarnessError(msg)
    np.save(folder / file_names.CALIBRATION_IMAGES, np.stack([p.image for p in patches]))
    np.save(folder / file_names.CALIBRATION_LABELS, np.stack([p.label for p in patches]))
    return Labelled(
        patches=tuple(PatchInfo(name=p.name, case=p.case, sha256=p.sha256) for p in patches)
    )
