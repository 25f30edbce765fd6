"""Brain tissue in the ICBM152 T1 template that nilearn ships: background, grey, white; 1 mm.

The bundled template is the *symmetric* one: its right half equals the mirrored left half voxel by
voxel (a test says so). Held out by hemisphere alone, the evaluation data would be mirror images of
the training data. Therefore the split is left against right and also back against front: training
and calibration use the left hemisphere behind y = 117, evaluation the right one from there on, and
no evaluation voxel, nor its mirror image, was seen before. (Low against high would hold out a
region with twice the share of white matter, which networks with instance normalization take for
another contrast: they lose 0.1 Dice there.)

Source: Fonov et al., NeuroImage 54(1), 2011; volumes through nilearn.datasets.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from voxgate.datasets.base import FloatVolume, LabelVolume, Patch, Split, Volume
from voxgate.errors import ArtifactError, UnavailableError

_SHAPE = (197, 233, 189)
_MIDLINE_X = 98
_SPLIT_Y = 117
_SIZE = 96

_HELD_OUT = "right-front"
_EVALUATION_CORNERS = tuple((99, y, z) for y in (_SPLIT_Y, 137) for z in (12, 34, 56, 78))
# Where patches of the left back may begin: inside it, and at the heights where the brain is.
_DRAWN_CORNERS = tuple(itertools.product(range(3), range(_SPLIT_Y - _SIZE + 1), range(94)))
# What the template's own positive voxels have as their 99.5th percentile, of 1.
_BRIGHT_PERCENTILE, _BRIGHT = 99.5, 234 / 255
_CALIBRATION_CORNERS = ((2, 8, 12), (2, 21, 34), (2, 8, 56), (2, 21, 78))

# The patches that every figure of this task was measured on.
_SHA256 = {
    "left-back-y008-z012": "4597ac1a2824c72e566d115aa7c519dbfbaf6b18492f959722fb03b468b9c465",
    "left-back-y021-z034": "c9bdca0f9196e878d629044247b6c57702ab63add3187eab2f221a3e836c9723",
    "left-back-y008-z056": "08118c236a468df2e121130cb76f8c8137f2bbb96cd1b06e8b5f5878faa0d142",
    "left-back-y021-z078": "bfb81bb5175a698786d50ab1a1bcd1a37dd1deaa96649d064d524352f797e4a4",
    "right-front-y117-z012": "cb8f2788fcb7996b0e6b80d0b804098581b7663018955b6bd61903e853d47a1a",
    "right-front-y117-z034": "04454a55df7b025201a477db75fe80100bb789169654141aca5df96bb9451799",
    "right-front-y117-z056": "530f4563af7e6453693d787fbf533fa8e00d2e0c9f1a961d86d972c49a55b95e",
    "right-front-y117-z078": "f5e6210011f8e0a8c81d4d31792b4149b087859a286c360497caaeba83b6b8e7",
    "right-front-y137-z012": "3d712d4b844c7023efbc6b91bfe65ee7af22836ce5c4aaa1d692471b0702e72d",
    "right-front-y137-z034": "33da6ba40e34c26fbf0e6983dda1be222d7a1c28a67b99ec856c8cd63ee53cdf",
    "right-front-y137-z056": "d2d3aa0a944c6e9b1bf5e041902c0dcb10fed43c9e5a8f44977b8d2f75a4a62f",
    "right-front-y137-z078": "cb71e76cb22da6aac80b4deb9451e57a3cd84812536486469f611fbe0557eac8",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Mni152:
    """The ``mni152`` task: 4 calibration patches and 8 evaluation patches of 96 x 96 x 96."""

    name: str = "mni152"
    classes: tuple[str, ...] = ("background", "grey", "white")
    patch_size: tuple[int, int, int] = (_SIZE, _SIZE, _SIZE)
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    packages: tuple[str, ...] = ("nilearn", "nibabel", "numpy", "scipy")
    most_draws: int = len(_DRAWN_CORNERS)

    @property
    def evaluation_subjects(self) -> Mapping[str, str]:
        """All patches are of one region of one head, and most of their voxels are shared."""
        return {_name(_HELD_OUT, corner): _HELD_OUT for corner in _EVALUATION_CORNERS}

    def training_volumes(self) -> Sequence[Volume]:
        """The left quarter at the back: x < 98, y < 117."""
        image, label = _template()
        region = np.s_[:_MIDLINE_X, :_SPLIT_Y]
        return [Volume(name="left-back", image=image[region], label=label[region])]

    def patches(self, split: Split) -> Sequence[Patch]:
        """Calibration patches from the left back, evaluation patches from the right front."""
        if split == "calibration":
            return [_cut("left-back", corner) for corner in _CALIBRATION_CORNERS]
        return [_cut(_HELD_OUT, corner) for corner in _EVALUATION_CORNERS]

    def draw(self, count: int, seed: int) -> Iterator[Patch]:
        """Patches at random corners of the left back; they may overlap each other."""
        self.patches("calibration")  # refuses another template than the known one
        order = np.random.default_rng(seed).permutation(len(_DRAWN_CORNERS))
        for index in order[:count]:
            x, y, z = corner = _DRAWN_CORNERS[index]
            yield _crop("left-back", f"left-back-x{x:03d}-y{y:03d}-z{z:03d}", corner)

    def adapt(self, image: FloatVolume) -> FloatVolume:
        """T1 intensities scaled to the template's: 0 is background, clipped at 1.

        The 99.5th percentile of the positive voxels goes to where the template has it.
        """
        positive = image[image > 0]
        bright = float(np.percentile(positive, _BRIGHT_PERCENTILE)) if positive.size else 1.0
        adapted: FloatVolume = np.clip(image * np.float32(_BRIGHT / bright), 0, 1)
        return adapted


def _cut(case: str, corner: tuple[int, int, int]) -> Patch:
    """One patch, refused if it is not bit for bit the one that the harness knows."""
    patch = _crop(case, _name(case, corner), corner)
    if patch.sha256 != _SHA256[patch.name]:
        msg = (
            f"patch {patch.name} of mni152 has SHA-256 {patch.sha256[:12]}, expected "
            f"{_SHA256[patch.name][:12]}: this nilearn ships other volumes, and nothing measured on "
            "them compares with earlier results; install the nilearn of constraints.txt"
        )
        raise ArtifactError(msg)
    return patch


def _name(case: str, corner: tuple[int, int, int]) -> str:
    _, y, z = corner
    return f"{case}-y{y:03d}-z{z:03d}"


def _crop(case: str, name: str, corner: tuple[int, int, int]) -> Patch:
    image, label = _template()
    x, y, z = corner
    box = np.s_[x : x + _SIZE, y : y + _SIZE, z : z + _SIZE]
    return Patch(
        name=name,
        case=case,
        image=np.ascontiguousarray(image[box])[None],
        label=np.ascontiguousarray(label[box]),
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
