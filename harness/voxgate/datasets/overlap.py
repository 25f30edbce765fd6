"""Finds the voxels of one image inside another: exact values at any position, not resampled ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SIDE = 24  # of the block in a patch's middle that is looked for
_PROBES = 64


def find_block(
    volume: NDArray[np.floating], patch: NDArray[np.floating]
) -> tuple[int, int, int] | None:
    """Where the middle of ``patch`` lies in ``volume``, both (D, H, W); None if nowhere.

    The middle is a block of up to 24 voxels a side. Values must be equal bit for bit: an image that
    was turned, resampled or rescaled is another one to this search.
    """
    block = _middle(patch)
    room = tuple(v - b + 1 for v, b in zip(volume.shape, block.shape, strict=True))
    if min(room) < 1:
        return None
    candidates = None
    for place in _probes(block):
        if candidates is None:
            begin = volume[tuple(slice(p, p + r) for p, r in zip(place, room, strict=True))]
            candidates = np.argwhere(begin == block[place])
        else:
            x, y, z = (candidates + np.array(place)).T
            candidates = candidates[volume[x, y, z] == block[place]]
        if not len(candidates):
            return None
    assert candidates is not None
    d, h, w = block.shape
    for x, y, z in candidates.tolist():
        if np.array_equal(volume[x : x + d, y : y + h, z : z + w], block):
            return x, y, z
    return None


def _middle(patch: NDArray[np.floating]) -> NDArray[np.floating]:
    sides = [min(extent, _SIDE) for extent in patch.shape]
    starts = [(extent - side) // 2 for extent, side in zip(patch.shape, sides, strict=True)]
    return patch[tuple(slice(a, a + n) for a, n in zip(starts, sides, strict=True))]


def _probes(block: NDArray[np.floating]) -> list[tuple[int, int, int]]:
    """Places spread over the block, its rarest value first: that one leaves the fewest candidates."""
    values, first, counts = np.unique(block, return_index=True, return_counts=True)
    rarest = int(first[int(np.argmin(counts))])
    spread = np.linspace(0, block.size - 1, _PROBES).astype(int).tolist()
    del values
    return [
        (int(x), int(y), int(z))
        for x, y, z in (np.unravel_index(flat, block.shape) for flat in (rarest, *spread))
    ]
