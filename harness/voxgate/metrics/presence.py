"""Whether a class is in the truth, in the prediction, in both or in neither. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from voxgate.records.dice import Presence

_PRESENCE: dict[tuple[bool, bool], Presence] = {  # by truth, then prediction
    (True, True): "present",
    (False, False): "absent",
    (True, False): "missed",
    (False, True): "invented",
}


def presence_of(
    prediction: NDArray[np.integer], truth: NDArray[np.integer], classes: Sequence[str]
) -> dict[str, Presence]:
    """Where each foreground class is, of two label volumes whose labels are below ``len(classes)``."""
    found = [np.bincount(v.ravel(), minlength=len(classes)) > 0 for v in (truth, prediction)]
    return {
        name: _PRESENCE[bool(found[0][i]), bool(found[1][i])]
        for i, name in enumerate(classes)
        if i > 0
    }
