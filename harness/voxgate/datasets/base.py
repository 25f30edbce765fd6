"""What every dataset gives: labelled volumes to train on, fixed patches to calibrate and evaluate."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Split = Literal["calibration", "evaluation"]

FloatVolume = NDArray[np.float32]
LabelVolume = NDArray[np.uint8]
Spacing = tuple[float, float, float]  # of a voxel along (D, H, W), in millimetres


@dataclass(frozen=True, kw_only=True, slots=True)
class Volume:
    """A labelled volume: ``image`` and ``label`` are (D, H, W); intensities are unitless."""

    name: str
    image: FloatVolume
    label: LabelVolume


@dataclass(frozen=True, kw_only=True, slots=True)
class Patch:
    """One network input with its ground truth.

    ``image`` is (1, D, H, W) float32; ``label`` is (D, H, W) uint8 with 0 = background.
    ``case`` names the subject or region the patch was cut from: calibration and evaluation
    must not share one. A patch of a user's volume has its ``file``, its ``corner`` in voxels of the
    adapted volume, and an empty label.
    """

    name: str
    case: str
    image: FloatVolume
    label: LabelVolume
    file: str = ""
    corner: tuple[int, int, int] | None = None

    @property
    def sha256(self) -> str:
        """Of the image's and then the label's bytes, in C order."""
        return hashlib.sha256(self.image.tobytes() + self.label.tobytes()).hexdigest()

    @property
    def image_sha256(self) -> str:
        """Of the image's bytes alone, in C order."""
        return hashlib.sha256(self.image.tobytes()).hexdigest()


class Dataset(Protocol):
    """A task: its classes, its fixed patches and the volumes to train on."""

    @property
    def name(self) -> str:
        """The name on the command line."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order, background first."""

    @property
    def patch_size(self) -> tuple[int, int, int]:
        """(D, H, W) of every patch, in voxels."""

    @property
    def spacing_mm(self) -> Spacing:
        """The size of a voxel along (D, H, W), in millimetres."""

    @property
    def packages(self) -> tuple[str, ...]:
        """Distributions whose version can change the voxels, for the cache key."""

    @property
    def most_draws(self) -> int:
        """How many patches ``draw`` has at most."""

    @property
    def evaluation_subjects(self) -> Mapping[str, str]:
        """The subject or region of each evaluation patch by name, told without its voxels."""

    def training_volumes(self) -> Sequence[Volume]:
        """Volumes that share no voxel with the evaluation patches."""

    def patches(self, split: Split) -> Sequence[Patch]:
        """The fixed patches of a split, always in the same order."""

    def draw(self, count: int, seed: int) -> Iterator[Patch]:
        """``count`` calibration patches chosen by ``seed``, one in memory at a time.

        A larger count of the same seed begins with the same patches; none shares a voxel with the
        evaluation patches.
        """

    def adapt(self, image: FloatVolume) -> FloatVolume:
        """A user's volume (D, H, W) with the intensities that networks of this task know."""
