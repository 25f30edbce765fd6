"""Seeded synthetic bodies: up to 13 organ-like labels of varied shape, contrast, noise and bias."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxgate.datasets.base import FloatVolume, LabelVolume, Patch, Split, Volume

MAX_ORGANS = 13

_CALIBRATION_COUNT = 4
_TRAINING_COUNT = 4
_RANGE = 1_000  # seeds from one use to the next
# One seed range a use, so that calibration, evaluation and training never share a body.
_FIRST_SEED = {"calibration": 1_000, "evaluation": 2_000, "training": 3_000}


@dataclass(frozen=True, kw_only=True, slots=True)
class Phantom:
    """A synthetic task of ``organs`` labels in cubes of ``size`` voxels."""

    name: str
    organs: int
    size: int
    evaluation_count: int

    def __post_init__(self) -> None:
        if not 1 <= self.organs <= MAX_ORGANS:
            msg = f"a phantom has 1 to {MAX_ORGANS} organs, not {self.organs}"
            raise ValueError(msg)

    @property
    def classes(self) -> tuple[str, ...]:
        """Background and the numbered organs."""
        return ("background", *(f"organ-{i}" for i in range(1, self.organs + 1)))

    @property
    def patch_size(self) -> tuple[int, int, int]:
        """A cube."""
        return (self.size, self.size, self.size)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """A synthetic body has no size; a voxel stands for a millimetre."""
        return (1.0, 1.0, 1.0)

    @property
    def packages(self) -> tuple[str, ...]:
        """NumPy draws the noise and the shapes."""
        return ("numpy",)

    @property
    def most_draws(self) -> int:
        """The seeds of calibration that no fixed patch has."""
        return _RANGE - _CALIBRATION_COUNT

    @property
    def evaluation_subjects(self) -> Mapping[str, str]:
        """Every body is a subject."""
        names = [_body_name("evaluation", i) for i in range(self.evaluation_count)]
        return {name: name for name in names}

    def training_volumes(self) -> Sequence[Volume]:
        """Four bodies with seeds of their own."""
        return [self._body("training", i) for i in range(_TRAINING_COUNT)]

    def patches(self, split: Split) -> Sequence[Patch]:
        """One patch a body; every body is a case."""
        count = _CALIBRATION_COUNT if split == "calibration" else self.evaluation_count
        bodies = [self._body(split, i) for i in range(count)]
        return [
            Patch(name=body.name, case=body.name, image=body.image[None], label=body.label)
            for body in bodies
        ]

    def draw(self, count: int, seed: int) -> Iterator[Patch]:
        """Further bodies of the calibration's seeds, none of them kept."""
        order = np.random.default_rng(seed).permutation(self.most_draws)
        for index in order[:count]:
            body = _FIRST_SEED["calibration"] + _CALIBRATION_COUNT + int(index)
            image, label = make_body.__wrapped__(self.organs, self.size, body)
            yield Patch(name=f"body-{body}", case=f"body-{body}", image=image[None], label=label)

    def adapt(self, image: FloatVolume) -> FloatVolume:
        """As it is: a phantom's intensities have no unit that others could be in."""
        return image

    def _body(self, use: str, index: int) -> Volume:
        seed = _FIRST_SEED[use] + index
        image, label = make_body(self.organs, self.size, seed)
        return Volume(name=_body_name(use, index), image=image, label=label)


def _body_name(use: str, index: int) -> str:
    return f"body-{_FIRST_SEED[use] + index}"


@functools.lru_cache(maxsize=32)
def make_body(organs: int, size: int, seed: int) -> tuple[FloatVolume, LabelVolume]:
    """A cube with ``organs`` bent ellipsoids; later organs overlap earlier ones.

    Returns an image of about 0 to 1 (organ i has mean i / organs before bias and noise) and labels
    0 to ``organs``, both (size, size, size). Every organ keeps at least one voxel, its centre.
    """
    generator = np.random.default_rng((seed, organs, size))
    axes = np.meshgrid(*[np.linspace(-1, 1, size)] * 3, indexing="ij")
    label = np.zeros((size,) * 3, np.uint8)
    centres = _spread_centres(organs, generator)
    for organ, centre in enumerate(centres, start=1):
        label[_organ_mask(axes, centre, organs, generator)] = organ
    for organ, centre in enumerate(centres, start=1):
        voxel = tuple(np.clip(((centre + 1) / 2 * (size - 1)).round().astype(int), 0, size - 1))
        label[voxel] = organ
    return _render(label, axes, organs, generator), label


def _spread_centres(organs: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Centres on a jittered grid, so that no organ buries another."""
    side = int(np.ceil(organs ** (1 / 3)))
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1).reshape(-1, 3)
    chosen = generator.permutation(len(grid))[:organs]
    cells = (grid[chosen] + 0.5 + generator.uniform(-0.15, 0.15, (organs, 3))) / side
    centres: NDArray[np.float64] = cells * 1.7 - 0.85
    return centres


def _organ_mask(
    axes: Sequence[NDArray[np.float64]],
    centre: NDArray[np.float64],
    organs: int,
    generator: np.random.Generator,
) -> NDArray[np.bool_]:
    """An ellipsoid, turned at random and bent by a sine: from flat plates to long tubes."""
    rotation, _ = np.linalg.qr(generator.standard_normal((3, 3)))
    radii = generator.uniform(0.35, 1.0, 3) * 1.1 / np.ceil(organs ** (1 / 3))
    offsets = np.stack([axis - c for axis, c in zip(axes, centre, strict=True)], -1) @ rotation
    bend = 0.3 * radii[1] * np.sin(offsets[..., 0] / radii[0] * generator.uniform(1, 3))
    offsets[..., 1] += bend
    mask: NDArray[np.bool_] = ((offsets / radii) ** 2).sum(-1) <= 1.0
    return mask


def _render(
    label: LabelVolume,
    axes: Sequence[NDArray[np.float64]],
    organs: int,
    generator: np.random.Generator,
) -> FloatVolume:
    """Intensities by label, times a smooth bias field, plus noise."""
    slope = generator.uniform(-0.04, 0.04, 3)
    bias = 1 + sum(s * axis for s, axis in zip(slope, axes, strict=True))
    noise = generator.standard_normal(label.shape) * (0.15 / organs)
    image: FloatVolume = (label / organs * bias + noise).astype(np.float32)
    return image
