"""The paper's figures, a reference beside ours: other hardware, other data, never a gate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from harness.errors import ArtifactError
from harness.types import Precision


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperRow:
    """One network of the paper's tables 1 and 3; ``model`` is our name of it."""

    table: int
    model: str
    title: str
    dataset: str
    cases: int
    classes: int
    size_mb: dict[Precision, float]
    latency_ms: dict[Precision, float]
    mdsc: dict[Precision, float]

    @property
    def smaller(self) -> float:
        """FP32 size over INT8 size."""
        return self.size_mb["fp32"] / self.size_mb["int8"]

    @property
    def faster(self) -> float:
        """FP32 latency over INT8 latency."""
        return self.latency_ms["fp32"] / self.latency_ms["int8"]

    @property
    def dice_change(self) -> float:
        """INT8's mean Dice minus FP32's."""
        return self.mdsc["int8"] - self.mdsc["fp32"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperMemory:
    """GPU memory of one network, from the paper's table 2, in megabytes."""

    table: int
    model: str
    title: str
    dataset: str
    pytorch_fp32_mb: float
    tensorrt_fp32_mb: float
    tensorrt_int8_mb: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Paper:
    """What baselines/paper.json holds."""

    source: str
    note: str
    results: tuple[PaperRow, ...]
    gpu_memory: tuple[PaperMemory, ...]

    def of(self, model: str) -> PaperRow | None:
        """The paper's row of one of our models, where it has one."""
        return next((row for row in self.results if row.model == model), None)


def paper_file() -> Path:
    """Where the figures are: in the repository, or inside the installed package."""
    package = Path(__file__).resolve().parents[1]
    in_repository = package.parent / "baselines" / "paper.json"
    return in_repository if in_repository.is_file() else package / "_paper.json"


def read_paper(path: Path | None = None) -> Paper | None:
    """The figures; None where the file is absent.

    Raises:
        ArtifactError: the file is there and is not what it should be.
    """
    path = path or paper_file()
    try:
        return msgspec.json.decode(path.read_bytes(), type=Paper)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        msg = f"{path} does not hold the paper's figures: {error}; restore it from the repository"
        raise ArtifactError(msg) from error
