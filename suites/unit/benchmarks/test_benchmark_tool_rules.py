"""Other tools' rules against hand-made samples, and the statistics against SciPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks import tool_rules
from benchmarks.resampling import Floats
from benchmarks.tool_rules import POOLED, t_quantile, t_score, u_score

CALM = np.linspace(1.0, 1.02, 20)  # median 1.01


def flags(rule: str, a: Floats, b: Floats) -> bool:
    return bool(POOLED[rule](a[None], b[None])[0])


@pytest.mark.parametrize(
    ("statistic", "reduce"), [("mean", np.mean), ("median", np.median), ("min", np.min)]
)
def test_pytest_benchmark_asks_one_number_for_more_than_5_percent(
    statistic: str, reduce: Any
) -> None:
    skewed = np.concatenate([CALM, [3.0, 3.1]])
    for factor, slower in ((1.049, False), (1.051, True), (0.5, False)):
        assert flags(f"pytest-benchmark {statistic}:5%", skewed, factor * skewed) is slower
    only = np.concatenate([CALM[:-1], [100.0]])  # moves the mean alone
    moved = bool(reduce(only) > 1.05 * reduce(CALM))
    assert flags(f"pytest-benchmark {statistic}:5%", CALM, only) is moved


def test_asv_needs_the_factor_and_the_test() -> None:
    assert flags("asv", CALM, 1.11 * CALM)
    assert not flags("asv", CALM, 1.09 * CALM)  # apart without doubt, and not by 1.1
    wide = np.linspace(1.0, 3.0, 20)
    assert np.median(wide + 0.25) > 1.1 * np.median(wide)
    assert not flags("asv", wide, wide + 0.25)  # by 1.1, and not without doubt
    assert not flags("asv", CALM[:4], 1.5 * CALM[:4])  # four against four cannot reach 0.002
    assert not flags("asv", 1.11 * CALM, CALM)


def test_benchstat_needs_no_size() -> None:
    assert flags("benchstat", CALM, CALM + 0.01)
    assert not flags("benchstat", CALM, CALM + 0.0005)
    assert not flags("benchstat", CALM, CALM - 0.01)


def test_pyperf_pools_and_ignores_launches() -> None:
    assert flags("pyperf", CALM, CALM + 0.005)
    assert not flags("pyperf", CALM, CALM + 0.001)
    assert not flags("pyperf", CALM, CALM - 0.005)


def test_criterion_needs_more_than_its_noise() -> None:
    assert flags("criterion", CALM, 1.02 * CALM)
    assert not flags("criterion", CALM, 1.009 * CALM)  # significant, within 1 %
    wide = np.linspace(1.0, 3.0, 20)
    assert not flags("criterion", wide, 1.05 * wide)  # beyond 1 %, not significant
    assert not flags("criterion", CALM, 0.9 * CALM)


def test_u_has_the_value_of_a_hand_computation() -> None:
    # U = 9 of 9, mean 4.5, variance 3*3*7/12 = 5.25, continuity 0.5.
    a, b = np.array([[1.0, 2.0, 3.0]]), np.array([[4.0, 5.0, 6.0]])
    assert u_score(a, b)[0] == pytest.approx(4.0 / 5.25**0.5)
    assert u_score(b, a)[0] == pytest.approx(-4.0 / 5.25**0.5)
    # Two ties: 3/12*3*(7 - 2*6/(6*5)) = 4.95; U = 1 + 1 + 0.5 + ... by ranks 1.5 1.5 3 | 4.5 4.5 6.
    tied = u_score(np.array([[1.0, 1.0, 2.0]]), np.array([[3.0, 3.0, 4.0]]))
    assert tied[0] == pytest.approx(4.0 / 4.95**0.5)
    assert u_score(a, a)[0] == 0.0
    assert u_score(np.ones((1, 4)), np.ones((1, 4)))[0] == 0.0


def samples(*, ties: bool) -> tuple[Floats, Floats]:
    generator = np.random.default_rng(1)
    a, b = generator.normal(1, 0.1, (50, 30)), generator.normal(1.03, 0.1, (50, 40))
    return (a.round(2), b.round(2)) if ties else (a, b)


@pytest.mark.parametrize("ties", [False, True])
def test_u_is_scipys(ties: bool) -> None:  # noqa: FBT001
    stats = pytest.importorskip("scipy.stats")
    a, b = samples(ties=ties)
    expected = stats.mannwhitneyu(a, b, axis=1, method="asymptotic").pvalue
    assert 2 * stats.norm.sf(np.abs(u_score(a, b))) == pytest.approx(expected)


def test_t_is_scipys() -> None:
    stats = pytest.importorskip("scipy.stats")
    a, b = samples(ties=False)
    assert t_score(a, b) == pytest.approx(-stats.ttest_ind(a, b, axis=1).statistic)
    for freedom in (10, 30, 298):
        assert t_quantile(0.975, freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=1e-3)


def test_the_bootstrapped_p_is_near_welchs() -> None:
    stats = pytest.importorskip("scipy.stats")
    a, b = samples(ties=False)
    expected = stats.ttest_ind(a, b, axis=1, equal_var=False).pvalue
    assert tool_rules._bootstrap_p(a, b) == pytest.approx(expected, abs=0.1)


def test_the_interval_of_the_change_is_of_its_own_scatter() -> None:
    a, b = samples(ties=False)
    change = tool_rules._resampled_change(a, b)
    own = b.mean(axis=1) / a.mean(axis=1) - 1
    errors = np.sqrt(a.var(axis=1) / a.shape[1] + b.var(axis=1) / b.shape[1])
    assert change.mean(axis=1) == pytest.approx(own, abs=0.005)
    assert change.std(axis=1) == pytest.approx(errors, rel=0.25)
