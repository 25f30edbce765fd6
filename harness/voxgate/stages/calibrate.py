"""Write the images to calibrate on, one by one, each checked: it can calibrate, it evaluates nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from voxgate import datasets
from voxgate.datasets import Dataset, Patch
from voxgate.datasets.usable import why_unusable
from voxgate.datasets.volumes import folder_patches, volume_files
from voxgate.errors import HarnessError, QuantizationError
from voxgate.records.calibration import PatchInfo
from voxgate.stages import file_names
from voxgate.stages.requests import Calibrated, CalibrateRequest

# What two patches must not have in common, and how an error calls it.
_KEYS = {"case": "case", "sha256": "voxels and labels", "image_sha256": "voxels"}


def calibrate(request: CalibrateRequest) -> Calibrated:
    """Write the calibration images with one patch, and one volume, in memory at a time.

    Raises:
        ArtifactError: a user's file is no volume, or too small; names it.
        QuantizationError: a patch is constant, not finite or noise; names it.
        HarnessError: a patch, a case or a volume evaluates, too; names it.
    """
    dataset = datasets.get(request.task)
    count, patches = _source(request, dataset)
    infos = []
    with (Path(request.folder) / file_names.CALIBRATION_IMAGES).open("wb") as file:
        _write_header(file, (count, 1, *dataset.patch_size))
        for patch in patches:
            info = datasets.identify(patch)
            check_usable(patch)
            check_disjoint(info, request.evaluation)
            file.write(patch.image.astype(np.float32, copy=False).tobytes())
            infos.append(info)
    if len(infos) != count:
        msg = f"{request.task} gave {len(infos)} calibration patches, {count} were asked for"
        raise QuantizationError(msg)
    return Calibrated(patches=tuple(infos))


def check_usable(patch: Patch) -> None:
    """Refuse a patch that cannot calibrate.

    Raises:
        QuantizationError: names the patch and says why.
    """
    if why := why_unusable(patch.image):
        msg = f"calibration patch {patch.name} {why}"
        raise QuantizationError(msg)


def check_disjoint(patch: PatchInfo, evaluation: Sequence[PatchInfo]) -> None:
    """Refuse a patch that calibrates and evaluates: by case, by hash and by its image's hash.

    Raises:
        HarnessError: names both patches and what they share.
    """
    for other in evaluation:
        for key, words in _KEYS.items():
            shared = getattr(patch, key)
            if shared and shared == getattr(other, key):
                msg = (
                    f"calibration patch {patch.name} and evaluation patch {other.name} share the "
                    f"{words} {shared}; what evaluates must not calibrate, so leave it out"
                )
                raise HarnessError(msg)


def _source(request: CalibrateRequest, dataset: Dataset) -> tuple[int, Iterable[Patch]]:
    """How many patches there will be, and the patches."""
    if request.data:
        files = volume_files(Path(request.data))
        count = request.patches or len(files)
        found = list(_evaluation_images(request))
        return count, folder_patches(files, dataset, count, request.seed, found)
    if request.patches:
        return request.patches, dataset.draw(request.patches, request.seed)
    fixed = dataset.patches("calibration")
    return len(fixed), fixed


def _evaluation_images(
    request: CalibrateRequest,
) -> Iterator[tuple[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]]:
    images = np.load(request.evaluation_images, mmap_mode="r", allow_pickle=False)
    for info, image in zip(request.evaluation, images, strict=True):
        yield info.name, image


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    """Of an .npy whose voxels follow; a mapped file would count its written pages as ours."""
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
