"""Our INT8 engine against those of the quantizers' defaults, model by model. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from voxgate.metrics.ratios import quotient, ratios_of
from voxgate.records.measurement import Latency
from voxgate.records.run import CaseResult, Environment, Ratios, Timing

OURS = "nncf"
DEFAULTS = ("nncf-default", "modelopt")
QUANTIZERS = (OURS, *DEFAULTS)

# What a default may lose of the mean Dice and still be one that somebody would deploy.
MOST_DICE_LOST = 0.005


@dataclass(frozen=True, kw_only=True, slots=True)
class Contender:
    """One quantizer's INT8 engine of a model, and its ratios to FP32 of the same run.

    Ratios of a failed engine are shown where they were measured, and compared with nothing.
    """

    quantizer: str
    case: CaseResult
    ratios: Ratios | None

    @property
    def sound(self) -> bool:
        """Whether the engine was measured, computes in INT8, and has an FP32 beside it."""
        return self.case.status == "ok" and self.ratios is not None

    @property
    def dice_lost(self) -> float | None:
        """Mean Dice of FP32 minus this engine's; below 0 where the engine gained."""
        if self.ratios is None or self.ratios.dice_mean_delta is None:
            return None
        return -self.ratios.dice_mean_delta


@dataclass(frozen=True, kw_only=True, slots=True)
class Duel:
    """Our engine over one default's; above 1 means ours is faster.

    Where both quantizers made the same file (``same_engine``) the speeds are 1 by construction: the
    medians of its two rows differ by noise alone, which is no win. ``dice_lost_more`` is the mean Dice that ours loses beyond the default's loss.
    """

    default: str
    same_engine: bool
    speed: float | None
    speed_by_minima: float | None
    dice_lost_more: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelComparison:
    """One model: FP32, the contenders, and ours against the better default.

    ``over_better`` is against the fastest default that loses at most MOST_DICE_LOST, ``over_fastest``
    against the fastest one whatever it loses; None where ours or every such default failed.
    """

    model: str
    fp32: CaseResult
    contenders: tuple[Contender, ...]
    over_better: Duel | None
    over_fastest: Duel | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Means:
    """A geometric mean over the models where the ratio is defined, and how many those are."""

    mean: float | None
    models: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """Geometric means of the speed-up of each quantizer, and of ours over the defaults."""

    speedup: dict[str, Means]
    speedup_by_minima: dict[str, Means]
    over_better: Means
    over_better_by_minima: Means
    over_fastest: Means
    over_fastest_by_minima: Means


@dataclass(frozen=True, kw_only=True, slots=True)
class QuantizerRecord:
    """What one run of the benchmark measured."""

    schema_version: int
    voxgate: str
    environment: Environment
    config: dict[str, object]
    most_dice_lost: float
    models: tuple[ModelComparison, ...]
    summary: Summary
    timing: Timing


def contend(quantizer: str, fp32: CaseResult, int8: CaseResult) -> Contender:
    """A quantizer's engine beside FP32."""
    ratios = next(iter(ratios_of((fp32, int8))), None)
    return Contender(quantizer=quantizer, case=int8, ratios=ratios)


def compare(fp32: CaseResult, contenders: Sequence[Contender]) -> ModelComparison:
    """The verdict on one model."""
    defaults = [c for c in contenders if c.quantizer in DEFAULTS and c.sound]
    careful = [c for c in defaults if c.dice_lost is not None and c.dice_lost <= MOST_DICE_LOST]
    ours = next((c for c in contenders if c.quantizer == OURS and c.sound), None)
    return ModelComparison(
        model=fp32.model,
        fp32=fp32,
        contenders=tuple(contenders),
        over_better=_duel(ours, careful),
        over_fastest=_duel(ours, defaults),
    )


def summarize(models: Sequence[ModelComparison]) -> Summary:
    """The geometric means of a run."""
    sound = {
        name: [
            c.ratios for m in models for c in m.contenders if c.quantizer == name and c.sound
        ]
        for name in QUANTIZERS
    }  # fmt: skip
    better, fastest = [m.over_better for m in models], [m.over_fastest for m in models]
    return Summary(
        speedup={
            name: mean_of(r.latency if r else None for r in found) for name, found in sound.items()
        },
        speedup_by_minima={
            name: mean_of(r.latency_by_minima if r else None for r in found)
            for name, found in sound.items()
        },
        over_better=mean_of(duel.speed if duel else None for duel in better),
        over_better_by_minima=mean_of(duel.speed_by_minima if duel else None for duel in better),
        over_fastest=mean_of(duel.speed if duel else None for duel in fastest),
        over_fastest_by_minima=mean_of(duel.speed_by_minima if duel else None for duel in fastest),
    )


def mean_of(ratios: Iterable[float | None]) -> Means:
    """The geometric mean of the ratios that are defined; of none it is None."""
    found = [ratio for ratio in ratios if ratio is not None]
    return Means(mean=statistics.geometric_mean(found) if found else None, models=len(found))


def answered(models: Sequence[ModelComparison]) -> bool:
    """Whether FP32 and ours were measured for every model; a default may fail."""
    return bool(models) and all(
        model.fp32.status == "ok" and any(c.quantizer == OURS and c.sound for c in model.contenders)
        for model in models
    )


def _duel(ours: Contender | None, defaults: Sequence[Contender]) -> Duel | None:
    """Ours against the fastest of the defaults."""
    if ours is None or not defaults:
        return None
    theirs = min(defaults, key=lambda default: _latency(default).median)
    before, after = _latency(theirs), _latency(ours)
    made, theirs_made = ours.case.engine_sha256, theirs.case.engine_sha256
    same = made is not None and made == theirs_made
    lost, ours_lost = theirs.dice_lost, ours.dice_lost
    return Duel(
        default=theirs.quantizer,
        same_engine=same,
        speed=1.0 if same else quotient(before.median, after.median),
        speed_by_minima=1.0 if same else quotient(before.min, after.min),
        dice_lost_more=None if lost is None or ours_lost is None else ours_lost - lost,
    )


def _latency(contender: Contender) -> Latency:
    latency = contender.case.latency_ms
    assert latency is not None  # it has ratios
    return latency
