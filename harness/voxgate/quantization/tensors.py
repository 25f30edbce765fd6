"""The quantized tensors of a graph, as its reader finds them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxgate.quantization.grids import Grid
from voxgate.records.scales import Role


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class QuantizedTensor:
    """One tensor that a graph quantizes.

    ``grid`` is the one in the file; None where the file holds none that formulas know, which
    ``fault`` says. ``names`` are those that the tensor may have in the float graph, ``producer`` and
    ``consumers`` operation types or names as the file has them. ``channel_axis`` is the axis of the
    output channels for the operations that read a weight, None where they disagree or have none.
    ``values`` is the float tensor of a weight. ``first`` is whether no other quantized weight stands
    between the graph's input and the operation that reads this one.
    """

    name: str
    role: Role
    grid: Grid | None
    names: tuple[str, ...] = ()
    producer: str = ""
    consumers: tuple[str, ...] = ()
    channel_axis: int | None = None
    values: NDArray[np.float32] | None = None
    first: bool = False
    fault: str = ""

    @property
    def bits(self) -> int | None:
        """The width of a code."""
        return None if self.grid is None else (self.grid.highest - self.grid.lowest).bit_length()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Reading:
    """A graph's quantized tensors, weights one at a time, and those that must share one range.

    ``shared`` holds groups of the tensors' names, which may overlap. ``tensors`` may be an iterator: a network's
    weights need not all be in memory.
    """

    tensors: Iterable[QuantizedTensor]
    shared: tuple[frozenset[str], ...] = ()
