"""Frozen records of how well a segmentation fits, beyond Dice alone, and of where Dice is lost.

Only the standard library is imported here, since voxgate.records imports this. Dice and NSD are in
0..1, distances in millimetres.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# Where a class is: in truth and prediction, in neither, in truth alone, in the prediction alone.
Presence = Literal["present", "absent", "missed", "invented"]

Step = Literal["quantization", "backend", "total"]
Metric = Literal["dice", "nsd"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SurfaceScore:
    """How near two surfaces of one class are in one case.

    ``nsd`` is the share of both surfaces that lies within the tolerance of the other, ``hd95_mm`` the
    larger of the two 95th percentiles of the distances between them. A class that is missed or
    invented has NSD 0 and an infinite distance, which is None here; an absent one has neither.
    """

    presence: Presence
    nsd: float | None
    hd95_mm: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassSurface:
    """One class over all cases that are not absent; all of it None or 0 where every case is.

    ``hd95_mm`` is the mean of the finite distances alone, so it must be read with ``infinite``, the
    number of cases in which the class is missed or invented.
    """

    nsd: float | None
    hd95_mm: float | None
    infinite: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Surfaces:
    """NSD and HD95 per foreground class and case; ``spacing_mm`` is that of (D, H, W)."""

    tolerance_mm: float
    spacing_mm: tuple[float, float, float]
    per_class: dict[str, ClassSurface]
    per_case: dict[str, dict[str, SurfaceScore]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Loss:
    """What a step changed, over subjects: after minus before, so that a loss is negative.

    ``low`` and ``high`` bound the mean by a two-sided 95 % bootstrap over subjects, and are None with
    fewer than three. ``subjects`` is None where they are unknown. ``cases`` counts the patches,
    ``worst_case`` is the patch that lost most, by ``worst``. In ``per_case``, by patch, None is one in
    which the class is absent.
    """

    mean: float
    low: float | None
    high: float | None
    cases: int
    worst_case: str
    worst: float
    per_case: dict[str, float | None]
    subjects: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerStep:
    """One step from one measured case to another; ``before`` and ``after`` are backend/precision.

    ``overall`` is over the mean of the classes that a case has. A class that is absent in every case
    is None.
    """

    step: Step
    before: str
    after: str
    overall: Loss
    per_class: dict[str, Loss | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class DiceLedger:
    """Where the Dice (or NSD) of one case goes: what quantization loses and what the backend does.

    Case by case and class by class the total is the sum of the other two. ``missing`` says which
    steps could not be told, and why; ``stand_in`` names the other backend whose simulation of the
    same quantized graph is used, if one is.
    """

    model: str
    task: str
    backend: str
    precision: str
    metric: Metric
    steps: tuple[LedgerStep, ...]
    missing: tuple[str, ...] = ()
    stand_in: str = ""
