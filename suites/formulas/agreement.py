"""What it means that a runtime agrees with the formulas, where it does not compute them as written."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from voxgate.quantization import formulas
from voxgate.quantization.grids import Grid, along

from suites.formulas.strategies import Float32


def distance_to_tie(x: Float32, grid: Grid) -> NDArray[np.float64]:
    """How far x / s is from the nearest odd half, in steps; infinite beyond the codes."""
    scale = along(grid.scale, x.shape, grid).astype(np.float64)
    zero = along(grid.zero_point, x.shape, grid)
    ratio = np.clip(x / scale, grid.lowest - zero - 2.0, grid.highest - zero + 2.0)
    return np.asarray(np.abs(ratio - np.floor(ratio) - 0.5))


def assert_codes_agree(
    codes: NDArray[Any], x: Float32, grid: Grid, *, tolerance_steps: float = 0.0
) -> None:
    """The runtime's codes are ours; within the tolerance of a tie they may be one away."""
    ours = formulas.quantize(x, grid).astype(np.int64)
    difference = np.abs(np.asarray(codes).astype(np.int64) - ours)
    free = distance_to_tie(x, grid) <= tolerance_steps
    allowed = free.astype(int) if tolerance_steps else np.zeros(x.shape, int)
    bad = np.argwhere(difference > allowed)
    assert not bad.size, (x[tuple(bad[0])], codes[tuple(bad[0])], ours[tuple(bad[0])], grid)


def codes_of(values: Float32, grid: Grid) -> NDArray[np.int64]:
    """The codes of a simulation's output, which lies on the grid but for its own rounding."""
    scale = along(grid.scale, values.shape, grid).astype(np.float64)
    steps = values.astype(np.float64) / scale
    whole = np.rint(steps)
    assert np.all(np.abs(steps - whole) < 0.25), "the output lies on another grid"
    codes: NDArray[np.int64] = whole.astype(np.int64)
    return np.asarray(codes + along(grid.zero_point, values.shape, grid))
