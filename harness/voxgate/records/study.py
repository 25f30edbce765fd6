"""The record of a calibration study: what each way to calibrate one network costs in Dice.

Only the standard library and `voxgate.records` are imported here. Dice and shares are in 0..1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from voxgate.records.run import CaseResult, Environment, Timing


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyPoint:
    """One way to calibrate, and the quantized case that came of it.

    ``patches`` 0 are the task's fixed ones, which have no ``seed``, or one of each of a user's
    volumes. The row of ``case`` has no times: a study takes a single sample, to see that the engine
    runs.
    """

    method: str
    patches: int
    seed: int | None
    case: CaseResult

    @property
    def count(self) -> int:
        """How many patches it was in the end."""
        made = self.case.calibration
        return len(made.patches) if made else self.patches

    @property
    def int8_macs(self) -> float | None:
        """The share of multiply-accumulates in int8; None where it was not measured."""
        return self.case.int8_coverage.by_macs.int8 if self.case.int8_coverage else None


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyRecord:
    """Every point of a study; ``reference`` is the FP32 engine on the same evaluation patches."""

    kind: Literal["calibration-study"]
    schema_version: int
    voxgate: str
    environment: Environment
    config: dict[str, object]
    model: str
    task: str
    backend: str
    quantizer: str
    reference: CaseResult
    points: tuple[StudyPoint, ...]
    timing: Timing

    @property
    def title(self) -> str:
        """What was studied."""
        return f"Calibration of {self.model} on {self.task} by {self.quantizer}, {self.backend}"

    def lost(self, point: StudyPoint) -> float | None:
        """Mean Dice of FP32 minus that of the point; None where one was not measured."""
        if point.case.dice is None or self.reference.dice is None:
            return None
        return self.reference.dice.mean - point.case.dice.mean

    def lost_per_class(self, point: StudyPoint) -> dict[str, float]:
        """As `lost`, of each class that both have."""
        if point.case.dice is None or self.reference.dice is None:
            return {}
        before, after = self.reference.dice.per_class, point.case.dice.per_class
        return {
            name: value - found
            for name, value in before.items()
            if value is not None and (found := after.get(name)) is not None
        }
