"""From records to series: what is one series, what is a step in it, and what stands beside it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxgate.errors import ArtifactError, UsageError
from voxgate.records.run import CaseResult, RunRecord
from voxgate.records.trend import Reading, Series, Skipped, Trend
from voxgate.report.trend_words import cause_words
from voxgate.verdicts.trend.metrics import METRICS
from voxgate.verdicts.trend.readings import machine_of, read_run
from voxgate.verdicts.trend.series import make_trend

from suites.support.histories import ENVIRONMENT, case, failed, night, upgraded


def read(runs: Iterable[RunRecord]) -> list[Reading]:
    return [read_run(f"{number:03d}.json", run) for number, run in enumerate(runs)]


def trend_of(*runs: RunRecord) -> Trend:
    return make_trend(read(runs))


def only(trend: Trend, metric: str) -> Series:
    (series,) = [series for series in trend.series if series.metric == metric]
    return series


def jitter(number: int) -> float:
    return 1 + 0.01 * float(np.random.default_rng(number).normal())


def slowed(number: int, at: int) -> CaseResult:
    return case((105 if number >= at else 90) * jitter(number))


def test_every_metric_has_a_series_in_its_unit() -> None:
    trend = trend_of(night(0, case(100.0)))
    assert [series.metric for series in trend.series] == [metric.name for metric in METRICS]
    values = [series.last for series in trend.series]
    assert values == [100.0, 6.0, 200.0, 0.95, pytest.approx(0.94), 0.97]


def test_latency_is_the_median_of_the_launches_minima_and_p50_is_kept() -> None:
    result = replace(case(100.0), samples_ns=((5_000_000, 9_000_000), (7_000_000,), (6_000_000,)))
    point = only(trend_of(night(0, result)), "latency").points[0]
    assert (point.value, point.p50_ms) == (6.0, 103.0)


def test_int8_macs_are_followed_of_int8_engines_alone() -> None:
    trend = trend_of(night(0, case(precision="fp32")))
    assert "int8-macs" not in {series.metric for series in trend.series}


def test_a_step_names_its_record_its_levels_and_what_changed_there() -> None:
    runs = [
        night(n, slowed(n, 6), environment=upgraded("2026.4") if n >= 6 else ENVIRONMENT)
        for n in range(12)
    ]
    series = only(trend_of(*runs), "latency")
    (step,) = series.steps
    assert (step.point, step.record, step.file, step.commit) == (6, 6, "006.json", "b" * 40)
    assert step.before == pytest.approx(90, rel=0.02)
    assert step.change_percent == pytest.approx(100 * (105 / 90 - 1), abs=2)
    assert (step.direction, step.tentative, step.lasts) == ("worsening", False, True)
    changed = {change.what: (change.before, change.after) for change in step.changed}
    assert changed == {"openvino": ("2026.1", "2026.4"), "commit": ("a" * 40, "b" * 40)}
    assert step.same_engine is True
    assert step.confidence.startswith("certain: 6 records before it, 6 since; ")
    assert [(event.point, event.change.after) for event in series.events] == [(6, "2026.4")]


def test_where_noise_blurs_the_place_the_changes_nearby_are_named() -> None:
    values = [100.3, 99.1, 100.9, 98.7, 101.2, 99.8, 100.4, 99.5, 103.2, 105.9, 104.6, 105.4, 104.9, 105.6, 104.3, 105.2]  # fmt: skip
    runs = [
        night(n, case(value), environment=upgraded("2026.4") if n >= 9 else ENVIRONMENT)
        for n, value in enumerate(values)
    ]
    (step,) = only(trend_of(*runs), "latency").steps
    assert step.point == 8
    assert step.earliest <= 8
    assert step.latest >= 9
    (near,) = step.nearby
    assert (near.offset, near.file) == (1, "009.json")
    assert [change.what for change in near.changed] == ["openvino", "commit"]
    words = cause_words(step)
    assert words.startswith("nothing that the records name; the engine is the same file")
    assert "; or 1 record later (009.json): openvino 2026.1 → 2026.4, commit aaaa" in words


def test_a_faster_engine_and_a_better_dice_are_improvements() -> None:
    after = case(50.0, dice=0.97, engine="e2")
    trend = trend_of(*(night(n, case() if n < 5 else after) for n in range(10)))
    steps = [(series.metric, step) for series, step in trend.steps()]
    assert {metric for metric, _ in steps} == {"latency", "dice", "worst-dice"}
    assert {step.direction for _, step in steps} == {"improvement"}
    assert steps[0][1].same_engine is False
    assert "engine" in {change.what for change in steps[0][1].changed}


def test_a_worse_dice_is_a_worsening_and_the_most_important_comes_first() -> None:
    def result(number: int) -> CaseResult:
        if number < 5:
            return case()
        return case(dice=0.90, engine_bytes=6_012_000)

    steps = trend_of(*(night(n, result(n)) for n in range(10))).steps()
    assert [series.metric for series, _ in steps] == ["dice", "worst-dice", "size"]


def test_a_worsening_that_was_made_good_comes_after_one_that_lasts() -> None:
    def result(number: int) -> CaseResult:
        return case(dice=0.8 if 5 <= number < 10 else 0.95, engine_bytes=6_600_000 if number > 11 else 6_000_000)  # fmt: skip

    steps = trend_of(*(night(n, result(n)) for n in range(16))).steps()
    found = [(series.metric, step.direction, step.lasts) for series, step in steps]
    assert found[0] == ("size", "worsening", True)
    assert found[1] == ("dice", "worsening", False)
    assert found[-1][1] == "improvement"


def test_the_newest_record_alone_is_tentative() -> None:
    sizes = [6_000_000] * 9 + [7_000_000]
    trend = trend_of(*(night(n, case(engine_bytes=size)) for n, size in enumerate(sizes)))
    (step,) = only(trend, "size").steps
    assert step.tentative
    assert step.confidence.startswith("tentative: the newest record alone")
    confirmed = trend_of(
        *(night(n, case(engine_bytes=size)) for n, size in enumerate([*sizes, 7_000_000]))
    )
    assert not only(confirmed, "size").steps[0].tentative


def test_rows_that_were_not_measured_are_gaps_with_their_reason() -> None:
    silent = replace(case(), status="inconclusive", reason="another process computed on the GPU")
    runs = [night(n, slowed(n, 8)) for n in range(14)]
    runs[6] = night(6, failed(case()))
    runs[7] = night(7, silent)
    series = only(trend_of(*runs), "latency")
    assert [p.value is None for p in series.points] == [n in (6, 7) for n in range(14)]
    assert series.points[6].reason == "node 'conv2' has no implementation"
    assert series.points[7].status == "inconclusive"
    (step,) = series.steps
    assert (step.point, step.gap) == (8, 2)


def test_nan_is_no_value() -> None:
    broken = replace(case(dice=float("nan")), memory_bytes=None)
    trend = trend_of(*(night(n, broken if n == 3 else case()) for n in range(8)))
    dice, memory = only(trend, "dice"), only(trend, "memory")
    assert dice.points[3].value is None
    assert memory.points[3].reason == "not measured"
    assert not trend.steps()


def test_what_no_machine_can_have_measured_is_no_value() -> None:
    trend = trend_of(night(0, case(engine_bytes=10**400)), night(1, case(engine_bytes=10**30)))
    assert "size" not in {series.metric for series in trend.series}


def test_what_never_ran_stands_among_the_times_and_nowhere_else() -> None:
    trend = trend_of(night(0, failed(case())), night(1, failed(case())))
    (series,) = trend.series
    assert (series.metric, series.last, series.noise, series.levels) == ("latency", None, None, ())


@pytest.mark.parametrize(
    "other",
    [
        replace(ENVIRONMENT, cpu="another CPU"),
        replace(ENVIRONMENT, cores=16),
        replace(ENVIRONMENT, threads=4),
        replace(ENVIRONMENT, gpu="a GPU", driver="1"),
    ],
)
def test_another_machine_starts_another_series_and_no_step(other: object) -> None:
    runs = [
        night(n, case(100.0 if n < 6 else 50.0), environment=other if n >= 6 else ENVIRONMENT)  # type: ignore[arg-type]
        for n in range(12)
    ]
    trend = trend_of(*runs)
    assert len(trend.series) == 2 * len(METRICS)
    assert not trend.steps()


def test_another_driver_is_another_machine_and_another_host_is_not() -> None:
    one = replace(ENVIRONMENT, gpu="a GPU", driver="1")
    assert machine_of(one) != machine_of(replace(one, driver="2"))
    assert machine_of(one) == machine_of(replace(one, host="ci-2"))


def test_the_papers_class_counts_are_another_network() -> None:
    paper = replace(night(1, case(engine_bytes=9_000_000)), config={"classes": "paper"})
    trend = trend_of(night(0, case()), paper)
    assert {series.task for series in trend.series} == {"mni152", "mni152 (paper's classes)"}


def test_the_same_run_twice_counts_once_and_says_so() -> None:
    run = night(0, case())
    trend = trend_of(run, night(1, case()), run, replace(run, cases=(case(7.0),)))
    assert len(trend.records) == 2
    assert trend.skipped == (
        Skipped(file="002.json", reason="the same run as 000.json (start, host and cases)"),
        Skipped(
            file="003.json",
            reason="the same run as 000.json (start, host and cases), but with OTHER FIGURES",
        ),
    )
    elsewhere = replace(run, environment=replace(ENVIRONMENT, host="ci-2"))
    assert len(trend_of(run, elsewhere).records) == 2


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(14)))
def test_the_order_of_the_files_changes_nothing(order: list[int]) -> None:
    readings = read([*(night(n, slowed(n, 6)) for n in range(13)), night(0, case())])
    shuffled = [readings[number] for number in order]
    assert make_trend(shuffled) == make_trend(readings)


def test_a_start_without_a_zone_is_utc_and_nonsense_is_refused() -> None:
    run = night(0, case())
    bare = replace(run, timing=replace(run.timing, started="2026-01-01T03:30:00"))
    assert read_run("b.json", bare).source.started == read_run("a.json", run).source.started
    for text in ("yesterday", "0001-01-01T00:00:00+23:00", ""):
        never = replace(run, timing=replace(run.timing, started=text))
        with pytest.raises(ArtifactError, match=r"c\.json does not say when its run started"):
            read_run("c.json", never)


def test_a_runtime_that_a_record_does_not_name_has_not_changed() -> None:
    absent = replace(ENVIRONMENT, backends={})
    runs = [
        night(0, case()),
        night(1, failed(case()), environment=absent),
        night(2, case()),
        night(3, case(), environment=upgraded("2026.4")),
    ]
    series = only(trend_of(*runs), "latency")
    assert [(event.point, event.change.before) for event in series.events] == [(3, "2026.1")]


def test_models_are_chosen_by_name() -> None:
    readings = read([night(0, case(), case(model="segresnet"))])
    assert {s.model for s in make_trend(readings, models=("unet",)).series} == {"unet"}
    with pytest.raises(UsageError, match="Did you mean 'unet'"):
        make_trend(readings, models=("unett",))
    with pytest.raises(UsageError, match="no case at all"):
        make_trend(read([night(0)]), models=("unet",))
