"""What is read of a quantized graph, what is measured of the float one, and what is found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from voxgate.quantization.grids import Grid

Role = Literal["weight", "activation"]
ROLES: tuple[Role, ...] = get_args(Role)
Outcome = Literal["equal", "deviates", "not-checked"]


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


@dataclass(frozen=True, kw_only=True, slots=True)
class RangesRequest:
    """Measure every float tensor of a float ONNX graph on the images of an .npy file, (N, 1, D, H, W).

    Writes ``ranges.json`` into ``folder``.
    """

    onnx: str
    images: str
    folder: str
    threads: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranges:
    """By tensor: the least and the greatest value of each patch; ``not_finite`` have none."""

    by_tensor: dict[str, tuple[tuple[float, float], ...]]
    not_finite: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """How many tensors have a range, over how many patches."""

    tensors: int
    patches: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ScalesRequest:
    """Check the scales of a quantized graph; ``ranges`` is the file of a `RangesRequest`."""

    graph: str
    format: str
    quantizer: str
    method: str
    ranges: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorVerdict:
    """What was found of one tensor.

    ``detail`` says what deviates, found and expected, or why nothing could be checked. ``deviation``
    is the largest of its scales, relative to the expected one; None where none could be compared.
    """

    name: str
    role: Role
    outcome: Outcome
    scales: int
    deviation: float | None = None
    detail: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedScales:
    """Every quantized tensor of a graph, in the graph's order."""

    tensors: tuple[TensorVerdict, ...]

    def of(self, outcome: Outcome, role: Role | None = None) -> tuple[TensorVerdict, ...]:
        """The tensors with that outcome, of one role or of both."""
        return tuple(
            tensor
            for tensor in self.tensors
            if tensor.outcome == outcome and role in {None, tensor.role}
        )
