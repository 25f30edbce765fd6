"""How other tools decide that something became slower, as their documentation and sources have it.

Each rule sees the pooled samples of both sides, (comparison, sample), and says for each comparison
whether B is slower. Two-sided tests count where they are significant and B is the slower side.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from benchmarks.resampling import Draws, Floats

Bools = NDArray[np.bool_]
Pooled = Callable[[Floats, Floats], Bools]

_PERCENT = 0.05  # of pytest-benchmark's usual "5%"; it has no default
_ASV_FACTOR = 1.1
_ASV_P = 0.002
_P = 0.05
_CRITERION_NOISE = 0.01
_CRITERION_RESAMPLES = 1_000  # of its 100,000; the same ones for every comparison
_CONBENCH_Z = 5.0


def by_scalar(statistic: Callable[..., Floats]) -> Pooled:
    """pytest-benchmark: one number a side, slower by more than 5 %."""

    def rule(a: Floats, b: Floats) -> Bools:
        return statistic(b, axis=1) / statistic(a, axis=1) - 1 > _PERCENT

    return rule


def asv(a: Floats, b: Floats) -> Bools:
    """Medians differ by more than 1.1, and a U test's p is below 0.002."""
    slower = np.median(b, axis=1) / np.median(a, axis=1) > _ASV_FACTOR
    return slower & (np.abs(u_score(a, b)) > normal_quantile(1 - _ASV_P / 2))


def benchstat(a: Floats, b: Floats) -> Bools:
    """A U test's p is at most 0.05; no threshold of size."""
    slower = np.median(b, axis=1) > np.median(a, axis=1)
    return slower & (np.abs(u_score(a, b)) >= normal_quantile(1 - _P / 2))


def pyperf(a: Floats, b: Floats) -> Bools:
    """Student's t of the pooled samples, 95 %, two-sided."""
    freedom = a.shape[1] + b.shape[1] - 2
    significant: Bools = t_score(a, b) >= t_quantile(1 - _P / 2, freedom)
    return significant


def criterion(a: Floats, b: Floats) -> Bools:
    """A bootstrapped t test's p is below 0.05, and the 95 % interval of the change is above 1 %.

    Resamples are multinomial weights, so that their means are matrix products.
    """
    change = _resampled_change(a, b)
    low: Floats = np.quantile(change, _P / 2, axis=1)
    return (_bootstrap_p(a, b) < _P) & (low > _CRITERION_NOISE)


def conbench_z(draws: Draws) -> Bools:
    """One launch's best against the bests of fifteen earlier launches: five deviations slower."""
    history = draws.alternating[:, 0].min(axis=2)
    now = draws.stored[:, 1, 0].min(axis=1)
    spread = history.std(axis=1, ddof=1)
    slower: Bools = now - history.mean(axis=1) > _CONBENCH_Z * spread
    return slower


POOLED: Mapping[str, Pooled] = {
    "pytest-benchmark mean:5%": by_scalar(np.mean),
    "pytest-benchmark median:5%": by_scalar(np.median),
    "pytest-benchmark min:5%": by_scalar(np.min),
    "asv": asv,
    "benchstat": benchstat,
    "criterion": criterion,
    "pyperf": pyperf,
}


def u_score(a: Floats, b: Floats) -> Floats:
    """Mann and Whitney's U in standard deviations, ties and continuity corrected; above 0: B larger.

    The normal approximation; where all samples are alike it is 0.
    """
    first, second = a.shape[1], b.shape[1]
    count = first + second
    ranks, tied = _ranks(np.concatenate([a, b], axis=1))
    u = ranks[:, first:].sum(axis=1) - second * (second + 1) / 2
    variance = first * second / 12 * (count + 1 - tied / (count * (count - 1)))
    distance = u - first * second / 2
    corrected = np.sign(distance) * np.maximum(np.abs(distance) - 0.5, 0)
    return _quotient(corrected, np.sqrt(variance))


def _ranks(values: Floats) -> tuple[Floats, Floats]:
    """Average ranks from 1 in each row, and the sum of t³ - t over its groups of ties."""
    order = np.argsort(values, axis=1)
    ordered = np.take_along_axis(values, order, axis=1)
    positions = np.broadcast_to(np.arange(values.shape[1]), values.shape)
    edge = np.ones((len(values), 1), dtype=bool)
    new = np.concatenate([edge, ordered[:, 1:] != ordered[:, :-1]], axis=1)
    last = np.concatenate([new[:, 1:], edge], axis=1)
    starts = np.maximum.accumulate(np.where(new, positions, 0), axis=1)
    ends = np.where(last, positions, values.shape[1])[:, ::-1]
    ends = np.minimum.accumulate(ends, axis=1)[:, ::-1]
    ranks = np.empty(values.shape)
    np.put_along_axis(ranks, order, (starts + ends) / 2 + 1, axis=1)
    sizes = (ends - starts + 1).astype(float)
    return ranks, (sizes**2 - 1).sum(axis=1)


def t_score(a: Floats, b: Floats) -> Floats:
    """Student's t with a pooled variance; above 0: B larger. No difference is 0."""
    first, second = a.shape[1], b.shape[1]
    squares = (first - 1) * a.var(axis=1, ddof=1) + (second - 1) * b.var(axis=1, ddof=1)
    error = np.sqrt(squares / (first + second - 2) * (1 / first + 1 / second))
    difference = b.mean(axis=1) - a.mean(axis=1)
    return _quotient(difference, error)


def normal_quantile(share: float) -> float:
    """The standard normal value that ``share`` lie below."""
    return statistics.NormalDist().inv_cdf(share)


def t_quantile(share: float, freedom: int) -> float:
    """Student's, by the expansion of Cornish and Fisher; to 0.001 from ten degrees of freedom on."""
    z = normal_quantile(share)
    first = (z**3 + z) / (4 * freedom)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    return z + first + second + third


@functools.cache
def _weights(seed: int, drawn: int, count: int) -> Floats:
    """How often each of ``count`` samples is in each resample of ``drawn``, over ``drawn``."""
    generator = np.random.default_rng([seed, drawn, count])
    even = np.full(count, 1 / count)
    return generator.multinomial(drawn, even, _CRITERION_RESAMPLES).T / drawn


def _resampled_change(a: Floats, b: Floats) -> Floats:
    """Relative change of the mean in each resample, (comparison, resample)."""
    means_a = a @ _weights(1, a.shape[1], a.shape[1])
    means_b = b @ _weights(2, b.shape[1], b.shape[1])
    return means_b / means_a - 1


def _bootstrap_p(a: Floats, b: Floats) -> Floats:
    """Two-sided: how far out Welch's t lies among those of resamples of both sides together."""
    pooled = np.concatenate([a, b], axis=1)
    pooled = pooled - pooled.mean(axis=1, keepdims=True)  # squares of large means lose digits
    sides = [_moments(pooled, seed, x.shape[1]) for seed, x in ((3, a), (4, b))]
    resampled = _welch(*sides[0], *sides[1])
    own = _welch(
        a.mean(axis=1), a.var(axis=1, ddof=1) / a.shape[1],
        b.mean(axis=1), b.var(axis=1, ddof=1) / b.shape[1],
    )  # fmt: skip
    below: Floats = np.mean(resampled < own[:, None], axis=1)
    twice: Floats = 2 * np.minimum(below, 1 - below)
    return twice


def _moments(pooled: Floats, seed: int, drawn: int) -> tuple[Floats, Floats]:
    """Mean and squared standard error of each resample of that size."""
    weights = _weights(seed, drawn, pooled.shape[1])
    means = pooled @ weights
    variance = np.maximum(pooled**2 @ weights - means**2, 0)
    return means, variance / (drawn - 1)


def _welch(mean_a: Floats, error_a: Floats, mean_b: Floats, error_b: Floats) -> Floats:
    return _quotient(mean_b - mean_a, np.sqrt(error_a + error_b))


def _quotient(above: Floats, below: Floats) -> Floats:
    """Of a difference and its error: without an error infinite, and without a difference 0."""
    quotient = np.where(above == 0, 0, np.copysign(math.inf, above))
    np.divide(above, below, out=quotient, where=below > 0)
    return quotient
