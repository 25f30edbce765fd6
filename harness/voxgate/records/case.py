"""What names a case: a network, a task, a backend and a precision; and the words that they are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Precision = Literal[
    "fp32", "fake-int8", "int8", "fp16", "bf16", "tf32", "int8-fp16",
    "fake-int4", "fake-int4-int8", "fake-int4-int4", "fake-fp8",
]  # fmt: skip
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
# Those that promise integer arithmetic; they differ in what is between.
INT8_PRECISIONS: frozenset[Precision] = frozenset({"int8", "int8-fp16"})
# Those computed in float: what INT8 is an alternative to.
FLOAT_PRECISIONS: frozenset[Precision] = frozenset({"fp32", "tf32", "fp16", "bf16"})
HALF_PRECISIONS: frozenset[Precision] = frozenset({"fp16", "bf16"})
# Those computed in float with rounded values: their size and time are a float engine's.
SIMULATED_PRECISIONS: frozenset[Precision] = frozenset(
    {"fake-int8", "fake-int4", "fake-int4-int8", "fake-int4-int4", "fake-fp8"}
)
# No engine here computes in these, so nothing but their Dice says anything about them.
PROJECTED_PRECISIONS: frozenset[Precision] = SIMULATED_PRECISIONS - {"fake-int8"}

ClassSet = Literal["task", "paper"]
CLASS_SETS: tuple[ClassSet, ...] = get_args(ClassSet)

Status = Literal["ok", "failed", "unavailable", "inconclusive"]
SourceKind = Literal["spec", "weights", "onnx", "quantized"]
QuantizedFormat = Literal["onnx-qdq", "openvino-ir"]


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class CaseId:
    """What is built and measured: one model on one task, by one backend, in one precision."""

    model: str
    task: str
    backend: str
    precision: Precision

    def __str__(self) -> str:
        return f"{self.model}/{self.task}/{self.backend}/{self.precision}"


@dataclass(frozen=True, kw_only=True, slots=True)
class OfCase:
    """The base of every record of one case: in JSON its names stand before what the record adds.

    Example:
        >>> @dataclass(frozen=True, kw_only=True, slots=True)
        ... class Note(OfCase):
        ...     text: str
        >>> note = Note(model="unet", task="mni152", backend="fake", precision="int8", text="fast")
        >>> str(note.case)
        'unet/mni152/fake/int8'
    """

    model: str
    task: str
    backend: str
    precision: Precision

    @property
    def case(self) -> CaseId:
        """What the record is about."""
        return CaseId(
            model=self.model, task=self.task, backend=self.backend, precision=self.precision
        )
