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

# The patches that every figure of this task was measured on.
_SHA256 = {
    "left-lower-y020": "7463cc1b7f53a44a1492a0d25476973cfd73d4ebd2a7ad86fdbed710e0f46ff1",
    "left-lower-y055": "38fc996e5204020816669fde07b959b7547ff44b99c6ebf6c51cf2115b19f215",
    "left-lower-y090": "45d3d02515f3ed242e1a1d27b98e2b32ad8f6478d2da8698e02789e539204d8b",
    "left-lower-y125": "39530bc30d5aceedf45385e550b4c1a97eb3ec35a46d694ec712152b936addb9",
    "right-upper-y014": "a0b3562027e897c6ab4e3e583b5e2525f0b5b34ff29ebf0f97b4d6775a59d7d6",
    "right-upper-y032": "cdd4da0d4ff066e6fe75b1e3f8be2939d907536d06e119584f229018be491f66",
    "right-upper-y050": "2030beba415b0dab32e50f17e62a17c318cb673602e012df786067d6b262406d",
    "right-upper-y068": "a1045fd4a1bf7dcc28ef68ef35fad5e4977a24ef097b7d37e8594069d522db74",
    "right-upper-y086": "2d23983a5eefc139d830c366b7d9468207b610d8de0a7947a04091a12058fd76",
    "right-upper-y104": "015a09ac637acc4f12cbbd4fe7bf8b76f356f57dfaa2878bb20b5f3bd9ab277a",
    "right-upper-y122": "9d93bca0cc99ee5f3af4e9fcd2854d804a689bb467dc0854b06d839309ec6381",
    "right-upper-y137": "72ebc4f9400e83899f28b9d7f7b6a3bb4e4c87625756e34adaff46abb883b61d",
}


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
    """One patch, refused if it is not bit for bit the one that the harness knows."""
    image, label = _template()
    x, y, z = corner
    below = max(-z, 0)
    box = np.s_[x : x + _SIZE, y : y + _SIZE, z + below : z + _SIZE]
    padding = ((0, 0), (0, 0), (below, 0))
    patch = Patch(
        name=f"{case}-y{y:03d}",
        case=case,
        image=np.ascontiguousarray(np.pad(image[box], padding))[None],
        label=np.ascontiguousarray(np.pad(label[box], padding)),
    )
    if patch.sha256 != _SHA256[patch.name]:
        msg = (
            f"patch {patch.name} of mni152 has SHA-256 {patch.sha256[:12]}, expected "
            f"{_SHA256[patch.name][:12]}: this nilearn ships other volumes, and nothing measured on "
            "them compares with earlier results; install the nilearn of constraints.txt"
        )
        raise ArtifactError(msg)
    return patch


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
