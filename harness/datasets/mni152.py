"""Brain tissue in the ICBM152 T1 template that nilearn ships: background, grey, white; 1 mm.

The bundled template is the *symmetric* one: its right half equals the mirrored left half voxel by
voxel (a test says so). Held out by hemisphere alone, the evaluation data would be mirror images of
the training data. Therefore the split is left against right and also low against high: training
and calibration use the left hemisphere below z = 77, evaluation the right one from z = 77 up, and
no evaluation voxel, nor its mirror image, was seen before.

Source: Fonov et al., NeuroImage 54(1), 2011; volumes through nilearn.datasets.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.datasets.base import FloatVolume, LabelVolume, Patch, Split, Volume
from harness.errors import ArtifactError, UnavailableError

_SHAPE = (197, 233, 189)
_MIDLINE_X = 98
_SPLIT_Z = 77
_SIZE = 96

_EVALUATION_CORNERS = tuple((99, y, _SPLIT_Z) for y in (14, 32, 50, 68, 86, 104, 122, 137))
# These reach 19 slices below the volume, where there is only background.
_CALIBRATION_CORNERS = tuple((2, y, _SPLIT_Z - _SIZE) for y in (20, 55, 90, 125))


@dataclass(frozen=True, kw_only=True, slots=True)
class Mni152:
    """The ``mni152`` task: 4 calibration patches and 8 evaluation patches of 96 x 96 x 96."""

    name: str = "mni152"
    classes: tuple[str, ...] = ("background", "grey", "white")
    patch_size: tuple[int, int, int] = (_SIZE, _SIZE, _SIZE)
    packages: tuple[str, ...] = ("nilearn", "nibabel", "numpy", "scipy")

    def training_volumes(self) -> Sequence[Volume]:
        """The lower left quarter: x < 98, z < 77."""
        image, label = _template()
        region = np.s_[:_MIDLINE_X, :, :_SPLIT_Z]
        return [Volume(name="left-lower", image=image[region], label=label[region])]

    def patches(self, split: Split) -> Sequence[Patch]:
        """Calibration patches from the lower left quarter, evaluation from the upper right one."""
        if split == "calibration":
            return [_cut("left-lower", corner) for corner in _CALIBRATION_CORNERS]
        return [_cut("right-upper", corner) for corner in _EVALUATION_CORNERS]


def _cut(case: str, corner: tuple[int, int, int]) -> Patch:
    image, label = _template()
    x, y, z = corner
    below = max(-z, 0)
    box = np.s_[x : x + _SIZE, y : y + _SIZE, z + below : z + _SIZE]
    padding = ((0, 0), (0, 0), (below, 0))
    return Patch(
        name=f"{case}-y{y:03d}",
        case=case,
        image=np.ascontiguousarray(np.pad(image[box], padding))[None],
        label=np.ascontiguousarray(np.pad(label[box], padding)),
    )


@functools.cache
def _template() -> tuple[FloatVolume, LabelVolume]:
    """T1 intensities in [0, 1] and the most probable tissue of each voxel, both 197 x 233 x 189."""
    try:
        from nilearn import datasets
    except ImportError as error:
        msg = "the mni152 task needs nilearn; install it with 'pip install nilearn'"
        raise UnavailableError(msg) from error
    image, grey, white = (
        np.asarray(load(resolution=1).dataobj, dtype=np.float32)
        for load in (
            datasets.load_mni152_template,
            datasets.load_mni152_gm_template,
            datasets.load_mni152_wm_template,
        )
    )
    if image.shape != _SHAPE:
        msg = f"nilearn's MNI152 template is {image.shape} voxels, expected {_SHAPE}"
        raise ArtifactError(msg)
    background = 1 - grey - white
    label = np.zeros(_SHAPE, np.uint8)
    label[(grey >= background) & (grey >= white)] = 1
    label[(white > background) & (white > grey)] = 2
    return image, label
