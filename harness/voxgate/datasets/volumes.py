"""A folder of a user's own volumes: which files, their voxels, and patches cut from them.

NIfTI images are turned to RAS+ (first axis to the right, then anterior, superior) and resampled
linearly where their voxels are more than 5 % off the task's size. NumPy arrays are taken as they lie:
(D, H, W) in the task's orientation and voxel size. Then the task adapts the intensities.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxgate.datasets.base import Dataset, FloatVolume, Patch, Spacing
from voxgate.datasets.overlap import find_block
from voxgate.errors import ArtifactError, HarnessError, UsageError

SUFFIXES = (".nii.gz", ".nii", ".npy")

_SPACING_TOLERANCE = 0.05
_TRIES = 50  # corners of one patch; air alone calibrates nothing
_LEAST_CONTENT = 0.01  # share of the voxels that differ from the volume's lowest value

Corner = tuple[int, int, int]


def volume_files(folder: Path) -> tuple[Path, ...]:
    """The volumes of a folder by name; folders in it are not searched.

    Raises:
        UsageError: there is no such folder, or no volume in it.
    """
    if not folder.is_dir():
        msg = f"{folder} is not a folder; name the one that holds the volumes to calibrate on"
        raise UsageError(msg)
    try:
        found = sorted(p for p in folder.iterdir() if p.name.endswith(SUFFIXES) and p.is_file())
    except OSError as error:
        msg = f"{folder} cannot be listed: {error}"
        raise UsageError(msg) from error
    if not found:
        msg = f"{folder} holds no volume: no file ends with {', '.join(SUFFIXES)}"
        raise UsageError(msg)
    return tuple(found)


def case_of(path: Path) -> str:
    """The name of a volume without its suffix."""
    suffix = next(suffix for suffix in SUFFIXES if path.name.endswith(suffix))
    return path.name.removesuffix(suffix)


def folder_patches(
    files: Sequence[Path],
    dataset: Dataset,
    count: int,
    seed: int,
    evaluation: Sequence[tuple[str, NDArray[np.float32]]],
) -> Iterator[Patch]:
    """``count`` patches of the files, as evenly as that goes; one volume in memory at a time.

    ``seed`` chooses the corners and, where there are fewer patches than files, the files. A larger
    count of the same seed holds the same patches. ``evaluation`` are names and images (1, D, H, W).

    Raises:
        ArtifactError: a file is no volume, or too small for a patch; names it.
        HarnessError: a volume holds an evaluation patch; names both.
    """
    order = np.random.default_rng(seed).permutation(len(files))
    for index, path in enumerate(files):
        place = int(np.flatnonzero(order == index)[0])
        own = len(range(place, count, len(files)))
        if own == 0:
            continue
        volume = read_volume(path, dataset.spacing_mm)
        adapted = dataset.adapt(volume)
        _refuse_evaluated(path, (volume, adapted), evaluation)
        del volume
        corners = _corners(path, adapted, dataset.patch_size, own, (seed, index))
        for x, y, z in corners:
            d, h, w = dataset.patch_size
            yield Patch(
                name=f"{path.name}-x{x:03d}-y{y:03d}-z{z:03d}",
                case=case_of(path),
                image=np.ascontiguousarray(adapted[x : x + d, y : y + h, z : z + w])[None],
                label=np.empty((0, 0, 0), np.uint8),
                file=path.name,
                corner=(x, y, z),
            )


def read_volume(path: Path, spacing_mm: Spacing | None) -> FloatVolume:
    """The voxels of a file as (D, H, W) float32, in RAS+ and at ``spacing_mm`` where it says its own.

    Raises:
        ArtifactError: unreadable, not three-dimensional, no real numbers, or not finite; names the
            file.
    """
    try:
        volume = _read_npy(path) if path.suffix == ".npy" else _read_nifti(path, spacing_mm)
    except ArtifactError:
        raise
    except Exception as error:  # zlib, gzip, NumPy, nibabel: each has errors of its own
        why = str(error).replace(str(path), path.name) or type(error).__name__
        msg = f"{path.name} cannot be read as a volume: {why}"
        raise ArtifactError(msg) from error
    if not np.isfinite(volume).all():
        bad = int(volume.size - np.isfinite(volume).sum())
        msg = f"{path.name} has {bad} voxels that are NaN or infinite; replace them or leave it out"
        raise ArtifactError(msg)
    return volume


def _read_npy(path: Path) -> FloatVolume:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    _check(path, array.shape, array.dtype)
    return np.array(array, dtype=np.float32, order="C")


def _read_nifti(path: Path, spacing_mm: Spacing | None) -> FloatVolume:
    nibabel: Any = import_module("nibabel")  # its types and SciPy's are no help
    image = nibabel.load(path)
    _check(path, image.shape, image.get_data_dtype())
    image = nibabel.as_closest_canonical(image)
    volume = np.ascontiguousarray(np.asarray(image.dataobj, dtype=np.float32))
    return _resampled(path, volume, image.header.get_zooms(), spacing_mm)


def _resampled(
    path: Path, volume: FloatVolume, sides_mm: Sequence[float], spacing_mm: Spacing | None
) -> FloatVolume:
    if spacing_mm is None:
        return volume
    sides = np.asarray(sides_mm[:3], np.float64)
    if not (np.isfinite(sides).all() and (sides > 0).all()):
        msg = f"{path.name} says that its voxels are {sides.tolist()} mm; correct its header"
        raise ArtifactError(msg)
    factors = sides / np.asarray(spacing_mm)
    if (abs(factors - 1) <= _SPACING_TOLERANCE).all():
        return volume
    ndimage: Any = import_module("scipy.ndimage")
    resampled: FloatVolume = ndimage.zoom(volume, factors, order=1, output=np.float32)
    return resampled


def _check(path: Path, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> None:
    if len(shape) != 3 or 0 in shape:
        msg = f"{path.name} holds {shape}, not a volume (D, H, W); split or squeeze it first"
        raise ArtifactError(msg)
    if dtype.kind not in "buif":
        msg = f"{path.name} holds values of type {dtype}; intensities are real numbers"
        raise ArtifactError(msg)


def _refuse_evaluated(
    path: Path,
    volumes: Sequence[FloatVolume],
    evaluation: Sequence[tuple[str, NDArray[np.float32]]],
) -> None:
    for name, image in evaluation:
        if any(find_block(volume, image[0]) is not None for volume in volumes):
            msg = (
                f"{path.name} holds the evaluation patch {name}; what evaluates must not calibrate, "
                "so leave this volume out"
            )
            raise HarnessError(msg)


def _corners(
    path: Path, volume: FloatVolume, size: Corner, count: int, seeds: tuple[int, int]
) -> list[Corner]:
    """Distinct corners of patches that hold more than background."""
    if any(extent < side for extent, side in zip(volume.shape, size, strict=True)):
        msg = (
            f"{path.name} has {volume.shape} voxels, fewer than a patch of {size}; "
            "leave it out, or pad it"
        )
        raise ArtifactError(msg)
    lowest, found = volume.min(), []
    for number in range(count):
        generator = np.random.default_rng((*seeds, number))
        for _ in range(_TRIES):
            x, y, z = (
                int(generator.integers(extent - side + 1))
                for extent, side in zip(volume.shape, size, strict=True)
            )
            patch = volume[x : x + size[0], y : y + size[1], z : z + size[2]]
            if (x, y, z) not in found and np.mean(patch > lowest) >= _LEAST_CONTENT:
                found.append((x, y, z))
                break
        else:
            msg = (
                f"{path.name} gave {len(found)} of {count} distinct patches of {size} with more "
                f"than background in {_TRIES} draws each; ask for fewer patches, or leave it out"
            )
            raise ArtifactError(msg)
    return found
