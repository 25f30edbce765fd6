"""Where the level of a series changes: a piecewise-constant fit, robust against single bad nights.

Two stages. A dynamic program minimizes the sum of absolute deviations, in units of the noise, plus a
price a step; its levels are medians, so one record of any size moves nothing. It proposes. The median
wastes a third of the records, so a proposed step is judged by the difference of winsorized means,
and the weakest one is taken back until every one left is beyond what noise alone makes of a whole
series. `suites/unit/verdicts/test_steps.py` measures how often that is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

_Values = NDArray[np.float64]

# Two bad nights in a row happen on a shared host; the median of three bears them where a good one
# follows, and one bad night always.
_FEWEST = 3
_SQRT2 = 2**0.5
_FEWEST_FOR_NOISE = 8  # fewer records say too little of their own noise
_QUANTILE = 0.75  # of first differences: more exact than the median, bears 12 % of outliers
_NORMAL_QUANTILE = 1.150349  # of |N(0, 1)|, at _QUANTILE
_NORMAL_MEDIAN = 0.674490
_PRICE = 5.0  # of a proposed step; low, for the second stage decides
_CLIP = 2.5  # in units of the noise, for winsorized means and deviations
_CLIPPED_DEVIATION = 0.985  # of N(0, 1) clipped at _CLIP
# What a step must be beyond, in standard errors: measured, so that of series of pure normal noise at
# most 1 % have one. Few records estimate the noise badly, and a long series has more places for it.
_REQUIRED, _REQUIRED_FOR_FEW, _REQUIRED_FOR_MANY = 3.6, 5.0, 0.25
_MANY = 60
_BLUR = 4.0  # of logarithmic likelihood: measured, so that 96 % of the true places lie within
_FAR_OFF = 4.0  # in units of the noise; a value farther off says no more of the place
_ONE_NEWEST, _TWO_NEWEST = 4.0, 2.5  # times the noise: the last value, or each of the last two


@dataclass(frozen=True, kw_only=True, slots=True)
class Noise:
    """What is known of a metric's noise beforehand, on the scale of the fit.

    Differences below ``floor`` are rounding, never a step. ``typical`` is assumed while a series is
    too short to tell its own.
    """

    floor: float
    typical: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """Values ``start`` to ``stop`` (exclusive) are one level; ``value`` is their median.

    ``strength`` is the step to it in standard errors of the difference; 0 for the first level.
    Noise blurs the place of a step: the level's first value is one of ``earliest`` to ``latest``.
    """

    start: int
    stop: int
    earliest: int
    latest: int
    value: float
    strength: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Tail:
    """The newest values from ``start`` on, which left the last level but are too few to be one.

    ``strength`` is the distance of the nearest of them in units of the noise.
    """

    start: int
    count: int
    value: float
    strength: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """The levels of a series, the noise of one value, and perhaps a step to come.

    ``exact``: most neighbours agree but for rounding, so that two values in a row are a level.
    """

    levels: tuple[Level, ...]
    noise: float
    exact: bool
    tail: Tail | None

    @property
    def count(self) -> int:
        """How many values it is of."""
        return self.levels[-1].stop + (self.tail.count if self.tail else 0) if self.levels else 0


def find_levels(values: Sequence[float], noise: Noise) -> Fit:
    """The fit of finite values, oldest first. Differences count: give logarithms where ratios do.

    Time and memory grow with the square of the number of values: a tenth of a second for 2,000.
    """
    x = np.asarray(values, dtype=np.float64)
    if not len(x):
        return Fit(levels=(), noise=noise.typical, exact=False, tail=None)
    scale, exact = _first_noise(x, noise)
    starts = _propose(x / scale, fewest=1 if exact else _FEWEST)
    if not exact:
        scale = max(scale, _noise_around(x, starts, scale))
        starts = _judge(x / scale, starts)
    if len(starts) > 1 and starts[-1] == len(x) - 1:  # an exact series; the newest alone
        starts.pop()
    tail = _tail(x, starts[-1], scale, most=1 if exact else 2)
    levels = _levels(x, starts, scale, tail)
    return Fit(levels=levels, noise=scale, exact=exact, tail=tail)


def required_strength(count: int) -> float:
    """Standard errors beyond which a step in a series of ``count`` values is not noise."""
    many = float(np.log(max(count / _MANY, 1.0)))
    return _REQUIRED + _REQUIRED_FOR_FEW / count + _REQUIRED_FOR_MANY * many


def _first_noise(x: _Values, noise: Noise) -> tuple[float, bool]:
    """The noise of one value, and whether neighbours agree but for rounding.

    It is estimated from first differences, which see a step once and a drift hardly. Where values
    agree exactly, as sizes do, one that differs is no outlier, and may be a level of its own.
    """
    differences = np.abs(np.diff(x))
    if len(differences) < 3:
        scale = max(noise.typical, noise.floor)
        return scale, scale <= noise.floor
    if len(x) < _FEWEST_FOR_NOISE:
        scale = float(np.median(differences)) / (_NORMAL_MEDIAN * _SQRT2)
        scale = max(scale, noise.floor, noise.typical)
        return scale, scale <= noise.floor
    most = float(np.quantile(differences, _QUANTILE, method="lower"))
    scale = float(np.quantile(differences, _QUANTILE)) / (_NORMAL_QUANTILE * _SQRT2)
    exact = most <= noise.floor
    return noise.floor if exact else max(scale, noise.floor), exact


def _noise_around(x: _Values, starts: list[int], scale: float) -> float:
    """The noise by the winsorized deviations from the levels; more exact than by differences."""
    parts = np.split(x, starts[1:])
    deviations = np.concatenate([part - np.median(part) for part in parts])
    clipped = np.clip(deviations, -_CLIP * scale, _CLIP * scale)
    freedom = max(len(x) - 1.5 * len(starts) + 0.5, 1.0)  # a level and half a place each
    return float(np.sqrt(np.sum(clipped**2) / freedom)) / _CLIPPED_DEVIATION


def _propose(x: _Values, fewest: int) -> list[int]:
    """Where the levels of the cheapest fit start; ``x`` is in units of the noise.

    The median of some values is one of them, so it suffices to let the level be each value in turn:
    ``cost[k]`` is that of the values so far if the last one is on the k-th candidate.
    """
    candidates = np.unique(x)
    cost = np.full(len(candidates), np.inf)
    block = np.zeros(len(candidates))  # the cost of the newest `fewest` values
    best = np.full(len(x) + 1, np.inf)
    best[0] = -_PRICE  # the first level is no step
    chosen = np.zeros(len(x) + 1, dtype=np.intp)
    entered = np.zeros((len(x) + 1, len(candidates)), dtype=np.bool_)
    for stop in range(1, len(x) + 1):
        deviation = np.abs(candidates - x[stop - 1])
        cost = cost + deviation
        block = block + deviation
        if stop > fewest:
            block = block - np.abs(candidates - x[stop - 1 - fewest])
        if stop >= fewest:
            entering = best[stop - fewest] + _PRICE + block
            entered[stop] = entering < cost - 1e-9  # a tie is no step
            cost = np.where(entered[stop], entering, cost)
            chosen[stop] = cost.argmin()
            best[stop] = cost[chosen[stop]]
    return _walk_back(entered, chosen, fewest)


def _walk_back(entered: NDArray[np.bool_], chosen: NDArray[np.intp], fewest: int) -> list[int]:
    """The starts that led to the cheapest end; a series too short for one level is one."""
    starts: list[int] = []
    stop = len(chosen) - 1
    while stop >= fewest:
        level = chosen[stop]
        while not entered[stop, level]:
            stop -= 1
        stop -= fewest
        starts.append(stop)
    return sorted({0, *starts})


def _judge(x: _Values, starts: list[int]) -> list[int]:
    """The starts without those that noise explains, the weakest taken back first."""
    kept = list(starts)
    while len(kept) > 1:
        parts = np.split(x, kept[1:])
        strengths = [_strength(before, after) for before, after in pairwise(parts)]
        weakest = int(np.argmin(strengths))
        if strengths[weakest] >= required_strength(len(x)):
            break
        del kept[weakest + 1]
    return kept


def _strength(before: _Values, after: _Values) -> float:
    """The difference of winsorized means in standard errors, for values in units of the noise."""
    difference = _winsorized_mean(after) - _winsorized_mean(before)
    return float(abs(difference) / np.sqrt(1 / len(before) + 1 / len(after)))


def _winsorized_mean(values: _Values) -> float:
    middle = np.median(values)
    return float(np.mean(np.clip(values, middle - _CLIP, middle + _CLIP)))


def _tail(x: _Values, start: int, scale: float, most: int) -> Tail | None:
    """The newest two values, or the newest one, if they are far off the level before them."""
    for count, limit in ((2, _TWO_NEWEST), (1, _ONE_NEWEST)):
        before, newest = x[start : len(x) - count], x[len(x) - count :]
        if count > most or not len(before):
            continue
        distances = (newest - np.median(before)) / scale
        nearest = float(np.abs(distances).min())
        if nearest > limit and abs(np.sign(distances).sum()) == count:
            value = float(np.median(newest))
            return Tail(start=len(x) - count, count=count, value=value, strength=nearest)
    return None


def _levels(x: _Values, starts: list[int], scale: float, tail: Tail | None) -> tuple[Level, ...]:
    parts = np.split(x[: tail.start if tail else len(x)], starts[1:])
    strengths = [0.0, *(_strength(a / scale, b / scale) for a, b in pairwise(parts))]
    blurs = [(0, 0), *(_blur(a / scale, b / scale) for a, b in pairwise(parts))]
    return tuple(
        Level(
            start=start, stop=start + len(part), earliest=start - earlier, latest=start + later,
            value=float(np.median(part)), strength=strength,
        )
        for start, part, strength, (earlier, later) in zip(
            starts, parts, strengths, blurs, strict=True
        )
    )  # fmt: skip


def _blur(before: _Values, after: _Values) -> tuple[int, int]:
    """How many values earlier and later the step might as well lie, for values in units of the noise.

    A place is as good if moving the values on the way to the other level costs little likelihood.
    """
    first, second = np.median(before), np.median(after)
    cost_of_later = _squares(after[:-1], first) - _squares(after[:-1], second)
    cost_of_earlier = _squares(before[:0:-1], second) - _squares(before[:0:-1], first)
    return _farthest(cost_of_earlier), _farthest(cost_of_later)


def _squares(values: _Values, level: np.float64) -> _Values:
    return np.clip(values - level, -_FAR_OFF, _FAR_OFF) ** 2 / 2


def _farthest(costs: _Values) -> int:
    """How many values can be moved, from the first one on, at no more than `_BLUR` in all."""
    near = np.flatnonzero(np.cumsum(costs) <= _BLUR)
    return int(near[-1]) + 1 if len(near) else 0
