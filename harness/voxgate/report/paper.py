"""The paper's figures, a reference beside ours: other hardware, other data, never a gate.

Sizes are in two tables, and only one of them is of engines for every network. The arXiv tables print MiB of
engine for U-Net and TransUNet and millions of parameters for the others; the authors' repository prints MiB of
engine for all seven of Table 1. Ours are bytes of engine, so it is the repository's ratio that stands beside
them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from voxgate.errors import ArtifactError
from voxgate.records.case import Precision
from voxgate.records.file import check_schema
from voxgate.records.run import CaseResult

SCHEMA_VERSION = 2
SizeUnit = Literal["MiB", "millions of parameters"]
Pair = dict[Precision, float]

# By how much a network's parameters may differ from the paper's: heads differ with the classes.
_SAME_NETWORK = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperRow:
    """One network of the paper's tables 1 and 3; ``model`` is our name of it.

    ``arxiv_size_unit`` is the unit of the FP32 figure in ``arxiv_size``; where that is parameters, nobody
    knows what the INT8 figure beside it counts.
    """

    table: int
    model: str
    title: str
    dataset: str
    cases: int
    classes: int
    parameters_millions: float
    arxiv_size: Pair
    arxiv_size_unit: SizeUnit
    repository_size_mib: Pair | None
    latency_ms: Pair
    mdsc: Pair

    def __post_init__(self) -> None:
        for name in ("arxiv_size", "repository_size_mib", "latency_ms", "mdsc"):
            pair: Pair | None = getattr(self, name)
            if pair is not None and (
                set(pair) != {"fp32", "int8"} or not all(map(_above, pair.values()))
            ):
                msg = f"{name} of {self.model} needs fp32 and int8, each above 0, not {pair}"
                raise ValueError(msg)
        if not _above(self.parameters_millions):
            msg = f"parameters_millions of {self.model} is {self.parameters_millions}"
            raise ValueError(msg)

    @property
    def engine_mib(self) -> Pair | None:
        """Sizes of the engines; None where no table has them."""
        in_arxiv = self.arxiv_size if self.arxiv_size_unit == "MiB" else None
        return self.repository_size_mib or in_arxiv

    @property
    def smaller(self) -> float | None:
        """FP32 engine over INT8 engine; None where no table has them."""
        return _ratio(self.engine_mib) if self.engine_mib else None

    @property
    def smaller_in_arxiv(self) -> float:
        """The ratio of what the arXiv table calls sizes."""
        return _ratio(self.arxiv_size)

    @property
    def faster(self) -> float:
        """FP32 latency over INT8 latency."""
        return _ratio(self.latency_ms)

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
    """What baselines/paper.json holds: ``arxiv`` and ``repository`` say where the figures stand."""

    schema_version: int
    arxiv: str
    repository: str
    notes: tuple[str, ...]
    results: tuple[PaperRow, ...]
    gpu_memory: tuple[PaperMemory, ...]

    def __post_init__(self) -> None:
        models = [row.model for row in self.results]
        twice = sorted({model for model in models if models.count(model) > 1})
        if twice:
            msg = f"the results have {' and '.join(twice)} twice"
            raise ValueError(msg)

    def of(self, case: CaseResult) -> PaperRow | None:
        """The paper's row of a case's network, where it is one of the paper's.

        Older records have these names for smaller networks; the number of parameters tells.
        """
        row = next((row for row in self.results if row.model == case.model), None)
        if row is None or case.parameters is None:
            return None
        millions = case.parameters / 1e6
        alike = math.isclose(millions, row.parameters_millions, rel_tol=_SAME_NETWORK)
        return row if alike else None

    def explained(self, cases: Iterable[CaseResult]) -> tuple[str, ...]:
        """What a reader has to know of the figures beside these cases; nothing where none are."""
        found = {case.model: row for case in cases if (row := self.of(case))}
        if not found:
            return ()
        parameters = [r for r in found.values() if r.arxiv_size_unit != "MiB"]
        both = [r for r in parameters if r.smaller is not None]
        alone = [r for r in parameters if r.smaller is None]
        return (
            f"Columns headed paper: {self.arxiv}. {self.notes[0]}",
            f"Its ratios of size are of the engines in the authors' repository ({self.repository}).",
            *([_BOTH.format(_named(both))] if both else []),
            *([_ALONE.format(_named(alone))] if alone else []),
        )


_BOTH = "The arXiv table prints millions of parameters as these networks' FP32 sizes. Its own ratios: {}."
_ALONE = (
    "† No engine size is published. The ratio is of the arXiv table's figures, of which that of FP32 is "
    "millions of parameters: {}."
)


def _named(rows: Iterable[PaperRow]) -> str:
    return ", ".join(
        f"{r.title} {r.arxiv_size['fp32']:g} to {r.arxiv_size['int8']:g}, {r.smaller_in_arxiv:.2f}×"
        for r in rows
    )


def _ratio(pair: Pair) -> float:
    return pair["fp32"] / pair["int8"]


def _above(value: float) -> bool:
    return math.isfinite(value) and value > 0


def paper_file() -> Path:
    """Where the figures are: in the repository, or inside the installed package."""
    package = Path(__file__).resolve().parents[1]
    in_repository = package.parents[1] / "baselines" / "paper.json"
    return in_repository if in_repository.is_file() else package / "_paper.json"


def read_paper(path: Path | None = None) -> Paper | None:
    """The figures; None where the file is absent.

    Raises:
        ArtifactError: the file is there and is not what it should be.
    """
    path = path or paper_file()
    try:
        tree = msgspec.json.decode(path.read_bytes())
        check_schema(
            tree.get("schema_version") if isinstance(tree, dict) else None, SCHEMA_VERSION, path
        )
        return msgspec.convert(tree, Paper)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        msg = f"{path} does not hold the paper's figures: {error}; restore it from the repository"
        raise ArtifactError(msg) from error
