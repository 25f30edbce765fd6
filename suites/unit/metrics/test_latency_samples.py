"""When sampling stops, and how samples are summarized."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from voxgate.metrics import latency
from voxgate.metrics.latency import percentile, sample, summarize

_samples = st.lists(st.integers(1, 10**12), min_size=1, max_size=300)


def _naive(values: list[int], percent: int) -> int:
    """The smallest value for which at least ``percent`` in 100 values are no greater."""
    return next(
        value
        for value in sorted(values)
        if 100 * sum(other <= value for other in values) >= percent * len(values)
    )


@given(_samples, st.sampled_from([50, 90, 99]))
def test_reported_percentiles_equal_the_definition(values: list[int], percent: int) -> None:
    assert percentile(sorted(values), percent) == _naive(values, percent)


@given(_samples, st.integers(1, 100))
@example(list(range(1, 101)), 7)
def test_any_percentile_equals_the_definition(values: list[int], percent: int) -> None:
    assert percentile(sorted(values), percent) == _naive(values, percent)


@pytest.mark.parametrize(
    ("percent", "count", "expected"),
    [
        (50, 1, 1), (50, 2, 1), (50, 3, 2), (50, 4, 2), (90, 10, 9), (90, 11, 10), (99, 100, 99),
        (99, 99, 99), (99, 101, 100), (100, 7, 7), (0, 7, 1), (7, 100, 7), (14, 50, 7),
    ],
)  # fmt: skip
def test_percentiles_of_counted_samples(percent: int, count: int, expected: int) -> None:
    assert percentile(range(1, count + 1), percent) == expected


def test_summary_is_in_milliseconds_over_all_launches() -> None:
    summary = summarize([[4_000_000, 1_000_000], [2_000_000], [], [3_000_000]])
    assert summary.n == 4
    assert summary.min == 1.0
    assert summary.p50 == 2.0
    assert summary.median == 2.5
    assert summary.p90 == 4.0
    assert summary.p99 == 4.0
    assert summary.mean == 2.5
    assert summary.stdev == pytest.approx((5 / 3) ** 0.5)


def test_single_sample_has_no_spread() -> None:
    summary = summarize([[1_500_000]])
    assert (summary.median, summary.p99, summary.stdev, summary.n) == (1.5, 1.5, 0.0, 1)


@pytest.mark.parametrize("launches", [[], [[]], [[], []]])
def test_no_samples_are_an_error(launches: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="no latency samples"):
        summarize(launches)


@given(st.lists(_samples, min_size=1, max_size=4))
def test_order_and_launch_of_a_sample_do_not_matter(launches: list[list[int]]) -> None:
    merged = sorted((ns for samples in launches for ns in samples), reverse=True)
    assert summarize(launches) == summarize([merged])


@given(_samples)
def test_summary_is_ordered(values: list[int]) -> None:
    summary = summarize([values])
    assert summary.min <= summary.p50 <= summary.p90 <= summary.p99 <= max(values) / 1e6
    assert summary.p50 <= summary.median
    assert summary.median == pytest.approx(statistics.median(values) / 1e6)


# --- sampling ------------------------------------------------------------------------------------


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], tuple[list[int], latency.Infer]]:
    """An engine that needs ``seconds`` an inference of a clock that nothing else moves."""

    def make(seconds: float) -> tuple[list[int], latency.Infer]:
        now = 1_000.0
        calls: list[int] = []

        def infer(index: int) -> int:
            nonlocal now
            now += seconds
            calls.append(index)
            return len(calls)

        monkeypatch.setattr("voxgate.metrics.latency.time.monotonic", lambda: now)
        return calls, infer

    return make


Engine = Callable[[float], tuple[list[int], latency.Infer]]


def test_warmups_are_kept_apart(engine: Engine) -> None:
    calls, infer = engine(0.0)
    warm, samples = sample(infer, warmups=3, min_samples=1, max_samples=4, seconds=60)
    assert warm == (1, 2, 3)
    assert samples == (4, 5, 6, 7)
    assert calls == [0, 1, 2, 0, 1, 2, 3]


def test_stops_at_the_most_samples_before_the_time_is_up(engine: Engine) -> None:
    _, infer = engine(0.125)
    _, samples = sample(infer, warmups=1, min_samples=2, max_samples=6, seconds=60)
    assert len(samples) == 6


def test_stops_when_the_time_is_up(engine: Engine) -> None:
    _, infer = engine(0.5)
    _, samples = sample(infer, warmups=1, min_samples=2, max_samples=50, seconds=2.5)
    assert len(samples) == 5


def test_takes_the_fewest_samples_however_slow(engine: Engine) -> None:
    _, infer = engine(100.0)
    _, samples = sample(infer, warmups=1, min_samples=5, max_samples=50, seconds=2.5)
    assert len(samples) == 5


def test_warmups_do_not_use_up_the_time(engine: Engine) -> None:
    _, infer = engine(1.0)
    warm, samples = sample(infer, warmups=20, min_samples=1, max_samples=50, seconds=3)
    assert (len(warm), len(samples)) == (20, 3)


def test_no_time_means_the_fewest_samples(engine: Engine) -> None:
    _, infer = engine(0.0)
    _, samples = sample(infer, warmups=1, min_samples=3, max_samples=9, seconds=0)
    assert len(samples) == 3


def test_never_more_than_the_most_samples(engine: Engine) -> None:
    _, infer = engine(1.0)
    _, samples = sample(infer, warmups=1, min_samples=5, max_samples=2, seconds=60)
    assert len(samples) == 2
