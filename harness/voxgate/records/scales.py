"""The ranges of a float graph's tensors, and what was found of the scales of a quantized one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Role = Literal["weight", "activation"]
ROLES: tuple[Role, ...] = get_args(Role)
Outcome = Literal["equal", "deviates", "not-checked"]


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
