"""Calibration images one at a time, from an array or from a file that is mapped."""

from __future__ import annotations

import mmap

import numpy as np
from numpy.typing import NDArray


def image_at(images: NDArray[np.float32], index: int) -> NDArray[np.float32]:
    """A copy of one image of (N, 1, D, H, W), as (1, 1, D, H, W).

    A mapped file is mapped anew for each: pages that were read once count as memory of the process
    for as long as their map is open, and a worker's memory limit would see all images in the end.
    """
    source = images
    base: object = images.base
    if isinstance(images, np.memmap) and isinstance(base, mmap.mmap) and images.filename:
        source = np.load(images.filename, mmap_mode="r", allow_pickle=False)
    return np.array(source[index : index + 1])


class ImageReader:
    """The images of an input by name, in the way ONNX Runtime's calibrators ask for them."""

    def __init__(self, name: str, images: NDArray[np.float32]) -> None:
        self._name = name
        self._images = images
        self._next = 0

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next image; None after the last."""
        if self._next >= len(self._images):
            return None
        self._next += 1
        return self._at(self._next - 1)

    def get_first(self) -> dict[str, NDArray[np.float32]]:
        """The first image, wherever the reader is."""
        return self._at(0)

    def rewind(self) -> None:
        """Begin again."""
        self._next = 0

    def _at(self, index: int) -> dict[str, NDArray[np.float32]]:
        return {self._name: image_at(self._images, index)}
