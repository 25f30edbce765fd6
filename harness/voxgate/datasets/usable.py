"""Whether an image can calibrate: pure, of one image at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# The least of the tasks' patches, those that can be drawn included, has 0.67 (phantom-mini; mni152 0.99).
# White noise in a cube of 16 voxels stayed below 0.08 in 10,000 draws.
LEAST_CORRELATION = 0.3


def why_unusable(image: NDArray[np.generic]) -> str:
    """What keeps an image (..., D, H, W) from calibrating, in words; empty if nothing does.

    Noise is told by neighbouring voxels that have nothing to do with each other along any axis.
    Noise that was smoothed, or that fills a shape on a constant background, is not told.
    """
    if not np.isfinite(image).all():
        return "has values that are not finite"
    if image.min() == image.max():
        return "is constant; it calibrates nothing"
    found = neighbour_correlation(image)
    if found < LEAST_CORRELATION:
        return (
            f"looks like noise: neighbouring voxels correlate by {found:.2f}, in an image by more "
            f"than {LEAST_CORRELATION}; calibrate on images of patients, not on random data"
        )
    return ""


def neighbour_correlation(image: NDArray[np.generic]) -> float:
    """The lag-1 autocorrelation of an image's last three axes, the largest of the three.

    Pearson's r of every voxel with its next along an axis; 0 along an axis on which nothing varies or
    that is a single voxel deep. Thick slices have little along one axis, noise has little along all.
    """
    voxels = image.astype(np.float64)  # of a patch; float32 sums of a million voxels are too coarse
    voxels -= voxels.mean()
    return max(_along(voxels, axis) for axis in (-3, -2, -1))


def _along(voxels: NDArray[np.float64], axis: int) -> float:
    moved = np.moveaxis(voxels, axis, 0)
    here, there = moved[:-1], moved[1:]
    if here.size == 0:
        return 0.0
    here_mean, there_mean = here.mean(), there.mean()
    covariance = float((here * there).mean() - here_mean * there_mean)
    spread = (float((here**2).mean()) - here_mean**2) * (float((there**2).mean()) - there_mean**2)
    return covariance / float(spread) ** 0.5 if spread > 0 else 0.0
