"""Finding levels: what is noise, what is a step, and how often either is taken for the other."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxgate.verdicts.trend.steps import Fit, Noise, find_levels

TIMES = Noise(floor=0.002, typical=0.03)
SIZES = Noise(floor=5e-5, typical=5e-5)
STEP = math.log(1.05)


def noise(seed: int, count: int, variation: float = 0.025) -> list[float]:
    return [float(v) for v in variation * np.random.default_rng([seed, count]).normal(size=count)]


def starts(fit: Fit) -> list[int]:
    return [level.start for level in fit.levels[1:]]


def slowed(values: Sequence[float], at: int, by: float = STEP) -> list[float]:
    return [value + (by if number >= at else 0.0) for number, value in enumerate(values)]


@settings(deadline=None)
@given(
    st.floats(-20, 20), st.integers(1, 80), st.sampled_from([TIMES, SIZES]),
)  # fmt: skip
def test_a_constant_series_has_no_step(value: float, count: int, known: Noise) -> None:
    fit = find_levels([value] * count, known)
    assert len(fit.levels) == 1
    assert fit.levels[0].value == pytest.approx(value)
    assert (fit.levels[0].start, fit.levels[0].stop, fit.tail) == (0, count, None)


@settings(deadline=None)
@given(
    st.integers(4, 30), st.integers(4, 30), st.floats(0.15, 1.0), st.sampled_from([1, -1]),
    st.integers(0, 2**32),
)  # fmt: skip
def test_a_clear_step_is_found_at_its_place(
    before: int, after: int, size: float, sign: int, seed: int
) -> None:
    values = slowed(noise(seed, before + after, 0.01), before, sign * size)
    fit = find_levels(values, TIMES)
    assert before in starts(fit)  # noise may have one of its own, in 1 of 100
    number = starts(fit).index(before) + 1
    change = fit.levels[number].value - fit.levels[number - 1].value
    assert change == pytest.approx(sign * size, abs=0.05)


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 70), st.floats(-10, 10))
def test_scaling_all_times_changes_no_place(seed: int, count: int, shift: float) -> None:
    values = slowed(noise(seed, count), count // 2)
    moved = find_levels([value + shift for value in values], TIMES)
    fit = find_levels(values, TIMES)
    assert starts(moved) == starts(fit)
    assert (moved.tail is None) == (fit.tail is None)


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), max_size=40), st.sampled_from([TIMES, SIZES]))
def test_any_values_are_divided_without_rest_and_always_alike(
    values: list[float], known: Noise
) -> None:
    fit = find_levels(values, known)
    bounds = [(level.start, level.stop) for level in fit.levels]
    end = len(values) - (fit.tail.count if fit.tail else 0)
    assert [start for start, _ in bounds] == [0, *(stop for _, stop in bounds)][: len(bounds)]
    assert not values or bounds[-1][1] == end
    assert fit.count == len(values)
    assert find_levels(values, known) == fit


def test_one_value_and_two() -> None:
    assert find_levels([], TIMES).levels == ()
    assert len(find_levels([1.0], TIMES).levels) == 1
    assert find_levels([1.0, 1.01], TIMES).tail is None
    two = find_levels([1.0, 2.0], TIMES)
    assert len(two.levels) == 1
    assert two.tail is not None
    assert (two.tail.start, two.tail.value) == (1, 2.0)


@pytest.mark.parametrize("count", [5, 20, 60])
def test_the_newest_value_alone_is_never_a_confirmed_step(count: int) -> None:
    for known in (TIMES, SIZES):
        for values in (noise(0, count), [0.0] * count):
            fit = find_levels(slowed(values, count - 1, 1.0), known)
            assert len(fit.levels) == 1
            assert fit.tail is not None
            assert fit.tail.start == count - 1
            assert fit.levels[0].stop == count - 1


@pytest.mark.parametrize("count", [6, 20, 60])
def test_sizes_that_change_by_one_in_a_thousand_step_and_dust_does_not(count: int) -> None:
    dust = [math.log(6e6) + 1e-9 * (number % 3) for number in range(count)]
    assert len(find_levels(dust, SIZES).levels) == 1
    for at in (1, 2, count // 2, count - 2):
        assert starts(find_levels(slowed(dust, at, 1e-3), SIZES)) == [at]
    tail = find_levels(slowed(dust, count - 1, 1e-3), SIZES).tail
    assert tail is not None


def test_sizes_that_flip_at_random_are_noise() -> None:
    flips = np.random.default_rng(1).integers(0, 2, size=60) * 0.01
    assert len(find_levels([float(v) for v in flips], SIZES).levels) == 1


@pytest.mark.parametrize("off", [0.3, 3.0, -3.0])
def test_one_bad_night_is_no_step(off: float) -> None:
    alarms = 0
    for seed in range(100):
        values = noise(seed, 60)
        values[30] += off
        alarms += bool(starts(find_levels(values, TIMES)))
    assert alarms <= 2


# Measured with 2,000 series each: 0.7 % of those of 60 records, whatever the variation.
@pytest.mark.parametrize("variation", [0.02, 0.025, 0.03])
def test_pure_noise_of_60_records_has_a_step_in_at_most_one_of_100(variation: float) -> None:
    fits = [find_levels(noise(seed, 60, variation), TIMES) for seed in range(400)]
    assert sum(bool(starts(fit)) for fit in fits) <= 4
    assert sum(fit.tail is not None for fit in fits) <= 4


@pytest.mark.parametrize(("count", "most"), [(8, 4), (20, 4), (365, 6)])
def test_short_and_long_series_keep_quiet_too(count: int, most: int) -> None:
    fits = [find_levels(noise(seed, count), TIMES) for seed in range(400)]
    assert sum(bool(starts(fit)) for fit in fits) <= most


@pytest.mark.parametrize(("since", "least"), [(3, 0.2), (5, 0.55), (10, 0.9), (20, 0.95)])
def test_how_soon_five_percent_are_found_in_noise_of_two_and_a_half(
    since: int, least: float
) -> None:
    found = [
        any(abs(start - (60 - since)) <= 5 for start in starts(find_levels(values, TIMES)))
        for values in (slowed(noise(seed, 60), 60 - since) for seed in range(300))
    ]
    assert np.mean(found) >= least


def test_the_blur_of_a_step_holds_its_place_and_is_no_wider_than_it_must() -> None:
    held, widths = [], []
    for seed in range(300):
        levels = find_levels(slowed(noise(seed, 60), 45), TIMES).levels
        if len(levels) == 2:
            held.append(levels[1].earliest <= 45 <= levels[1].latest)
            widths.append(levels[1].latest - levels[1].earliest)
            assert levels[1].earliest <= levels[1].start <= levels[1].latest
    assert np.mean(held) >= 0.94
    assert np.mean(widths) <= 6
    exact = find_levels(slowed([0.0] * 20, 7), SIZES).levels[1]
    assert (exact.earliest, exact.start, exact.latest) == (7, 7, 7)


def test_ten_percent_are_found_after_five_records() -> None:
    found = [
        any(abs(start - 55) <= 1 for start in starts(find_levels(values, TIMES)))
        for values in (slowed(noise(seed, 60), 55, math.log(1.1)) for seed in range(300))
    ]
    assert np.mean(found) >= 0.97


def test_two_thousand_values_take_seconds_at_most() -> None:
    values = slowed(noise(0, 2000), 700)
    begun = time.perf_counter()
    assert starts(find_levels(values, TIMES)) == [pytest.approx(700, abs=5)]
    assert time.perf_counter() - begun < 5
