"""What a trend follows: each metric, how it is read from a row, and what its noise is like. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass

from voxgate.records.case import INT8_PRECISIONS
from voxgate.records.run import CaseResult
from voxgate.records.trend import MetricName, TrendUnit
from voxgate.verdicts.trend.steps import Noise

_MB = 1e6
_MIB = 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class TrendMetric:
    """One metric of a row.

    ``ratios``: a change is a ratio, so levels are fitted to logarithms, and to values of at least
    ``least``. ``noise`` is on the scale of the fit. ``matters`` is a change worth getting up for, on
    the same scale; it orders what is shown, and decides nothing.
    """

    name: MetricName
    title: str
    unit: TrendUnit
    read: Callable[[CaseResult], float | None]
    ratios: bool
    higher_is_better: bool
    noise: Noise
    matters: float
    decimals: int
    least: float = 0.0

    def to_scale(self, value: float) -> float:
        """The value on the scale of the fit."""
        return math.log(max(value, self.least)) if self.ratios else value

    def from_scale(self, level: float) -> float:
        """The value in its unit."""
        return math.exp(level) if self.ratios else level

    def show(self, value: float | None) -> str:
        """The value with its unit, as people read it; a dash where there is none."""
        if value is None:
            return "–"
        if self.unit == "share":
            return f"{value:.1%}"
        unit = "" if self.unit == "Dice" else f" {self.unit}"
        return f"{value:,.{self.decimals}f}{unit}"


def latency_ms(case: CaseResult) -> float | None:
    """The median over the launches of each launch's fastest sample.

    Noise only ever adds to a time, and it sits between launches; so this moves the least of all
    estimators when nothing has changed, and a ratio of two of them is what a gate judges.
    """
    minima = [min(samples) for samples in case.samples_ns if samples]
    return statistics.median(minima) / 1e6 if minima else None


def _size_mb(case: CaseResult) -> float | None:
    return None if case.engine_bytes is None else case.engine_bytes / _MB


def _memory_mib(case: CaseResult) -> float | None:
    return None if case.memory_bytes is None else case.memory_bytes.delta / _MIB


def _mean_dice(case: CaseResult) -> float | None:
    return None if case.dice is None else case.dice.mean


def _worst_dice(case: CaseResult) -> float | None:
    values = case.dice.per_class.values() if case.dice else ()
    return min((value for value in values if value is not None), default=None)


def _int8_macs(case: CaseResult) -> float | None:
    """Only of engines that promise int8: of the others it is 0 for ever."""
    if case.int8_coverage is None or case.precision not in INT8_PRECISIONS:
        return None
    return case.int8_coverage.by_macs.int8


METRICS: tuple[TrendMetric, ...] = (
    TrendMetric(
        name="latency", title="latency", unit="ms", read=latency_ms, ratios=True,
        higher_is_better=False, noise=Noise(floor=0.002, typical=0.03), matters=0.03, decimals=2,
        least=1e-6,
    ),
    TrendMetric(
        name="size", title="engine size", unit="MB", read=_size_mb, ratios=True,
        higher_is_better=False, noise=Noise(floor=5e-5, typical=5e-5), matters=0.01, decimals=3,
        least=1e-6,
    ),
    TrendMetric(
        name="memory", title="memory", unit="MiB", read=_memory_mib, ratios=True,
        higher_is_better=False, noise=Noise(floor=0.002, typical=0.03), matters=0.05, decimals=1,
        least=1 / 16,  # nothing that is measured in pages says more
    ),
    TrendMetric(
        name="dice", title="mean Dice", unit="Dice", read=_mean_dice, ratios=False,
        higher_is_better=True, noise=Noise(floor=2e-5, typical=2e-5), matters=0.005, decimals=4,
    ),
    TrendMetric(
        name="worst-dice", title="worst class Dice", unit="Dice", read=_worst_dice, ratios=False,
        higher_is_better=True, noise=Noise(floor=2e-5, typical=2e-5), matters=0.005, decimals=4,
    ),
    TrendMetric(
        name="int8-macs", title="int8 MACs", unit="share", read=_int8_macs, ratios=False,
        higher_is_better=True, noise=Noise(floor=5e-5, typical=5e-5), matters=0.01, decimals=3,
    ),
)  # fmt: skip


def metric_of(name: MetricName) -> TrendMetric:
    """The metric of that name."""
    return next(metric for metric in METRICS if metric.name == name)
