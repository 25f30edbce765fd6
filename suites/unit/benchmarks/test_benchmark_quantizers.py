"""Ours against the defaults: what counts as a win, as a loss, and as neither."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from voxgate.artifacts import launcher
from voxgate.artifacts.progress import Silent
from voxgate.config import RunConfig
from voxgate.quantizers import QUANTIZERS as KNOWN
from voxgate.records.case import Precision
from voxgate.records.measurement import Dice, Latency
from voxgate.records.run import CaseResult
from voxgate.report.terminal import make_console
from voxgate.runs import bench

from benchmarks import quantizers
from benchmarks.comparison import (
    DEFAULTS,
    MOST_DICE_LOST,
    OURS,
    QUANTIZERS,
    ModelComparison,
    answered,
    compare,
    contend,
    mean_of,
    summarize,
)
from benchmarks.table import print_comparison, summary_lines

FP32_DICE = 0.9


def row(precision: Precision, ms: float, dice: float | None = FP32_DICE) -> CaseResult:
    """A measured case whose fastest sample takes half of the median."""
    return CaseResult(
        model="unet",
        task="t",
        backend="b",
        precision=precision,
        status="ok",
        engine_bytes=400 if precision == "fp32" else 100,
        latency_ms=Latency(
            median=ms, p50=ms, p90=ms, p99=ms, min=ms / 2, mean=ms, stdev=0.0, n=3
        ),
        dice=None if dice is None else Dice(mean=dice, per_class={}, per_case={}),
    )  # fmt: skip


FP32 = row("fp32", 120.0)


def failed(case: CaseResult) -> CaseResult:
    return replace(case, status="failed", error_type="NotInt8Error", error="computes in float")


def duel_of(
    ours: CaseResult, nncf: CaseResult, modelopt: CaseResult, fp32: CaseResult = FP32
) -> ModelComparison:
    named = zip(QUANTIZERS, (ours, nncf, modelopt), strict=True)
    return compare(fp32, [contend(name, fp32, case) for name, case in named])


def test_the_contenders_are_quantizers_of_the_harness() -> None:
    assert set(QUANTIZERS) <= set(KNOWN)
    assert OURS not in DEFAULTS


def test_ratios_are_against_fp32_of_the_run() -> None:
    contender = contend(OURS, FP32, row("int8", 30.0, FP32_DICE - 0.002))
    assert contender.sound
    assert contender.ratios is not None
    assert (contender.ratios.latency, contender.ratios.size) == (4.0, 4.0)
    assert contender.dice_lost == pytest.approx(0.002)


def test_ours_is_compared_with_the_faster_default() -> None:
    verdict = duel_of(row("int8", 30.0), row("int8", 33.0), row("int8", 40.0)).over_better
    assert verdict is not None
    assert verdict.default == "nncf-default"
    assert verdict.speed == pytest.approx(1.1)
    assert verdict.speed_by_minima == pytest.approx(1.1)
    assert verdict.dice_lost_more == 0.0


def test_noise_between_two_rows_of_the_same_engine_is_no_win() -> None:
    ours = replace(row("int8", 30.0), engine_sha256="aa")
    found = duel_of(ours, replace(row("int8", 33.0), engine_sha256="aa"), row("int8", 40.0))
    assert found.over_better is not None
    assert found.over_better.same_engine
    assert (found.over_better.speed, found.over_better.speed_by_minima) == (1.0, 1.0)
    other = duel_of(ours, replace(row("int8", 33.0), engine_sha256="bb"), row("int8", 40.0))
    assert other.over_better is not None
    assert not other.over_better.same_engine


def test_a_slower_engine_of_ours_is_a_loss() -> None:
    verdict = duel_of(row("int8", 40.0), row("int8", 33.0), row("int8", 30.0)).over_better
    assert verdict is not None
    assert (verdict.default, verdict.speed) == ("modelopt", 0.75)


@pytest.mark.parametrize(
    ("lost", "better"),
    [(MOST_DICE_LOST - 1e-6, "modelopt"), (MOST_DICE_LOST + 1e-6, "nncf-default")],
)
def test_a_default_that_loses_too_much_dice_is_not_the_better_one(lost: float, better: str) -> None:
    found = duel_of(row("int8", 30.0), row("int8", 33.0), row("int8", 15.0, FP32_DICE - lost))
    assert found.over_better is not None
    assert found.over_fastest is not None
    assert found.over_better.default == better
    assert (found.over_fastest.default, found.over_fastest.speed) == ("modelopt", 0.5)


def test_a_default_whose_dice_is_unknown_is_not_the_better_one() -> None:
    found = duel_of(row("int8", 30.0), row("int8", 33.0), row("int8", 15.0, None))
    assert found.over_better is not None
    assert found.over_better.default == "nncf-default"


def test_dice_that_ours_loses_beyond_the_better_default_is_told() -> None:
    ours = row("int8", 30.0, FP32_DICE - 0.004)
    verdict = duel_of(ours, row("int8", 33.0, FP32_DICE - 0.001), row("int8", 40.0)).over_better
    assert verdict is not None
    assert verdict.dice_lost_more == pytest.approx(0.003)


def test_a_failed_default_is_no_win_and_no_loss() -> None:
    found = duel_of(row("int8", 30.0), row("int8", 33.0), failed(row("int8", 15.0)))
    assert found.over_better is not None
    assert found.over_better.default == "nncf-default"
    assert found.over_fastest == found.over_better
    summary = summarize([found])
    assert summary.speedup["modelopt"].mean is None
    assert summary.speedup["modelopt"].models == 0
    assert answered([found])


def test_two_failed_defaults_leave_no_verdict() -> None:
    unbuilt = replace(failed(row("int8", 15.0)), latency_ms=None, dice=None)
    found = duel_of(row("int8", 30.0), unbuilt, failed(row("int8", 33.0)))
    assert found.over_better is found.over_fastest is None
    assert summarize([found]).over_better.mean is None
    assert answered([found])


def test_a_failed_engine_of_ours_answers_nothing() -> None:
    found = duel_of(failed(row("int8", 30.0)), row("int8", 33.0), row("int8", 40.0))
    assert found.over_better is found.over_fastest is None
    assert not answered([found])


def test_without_fp32_there_is_nothing_to_compare() -> None:
    int8 = row("int8", 30.0)
    found = duel_of(int8, int8, int8, fp32=failed(FP32))
    assert found.over_better is None
    assert not answered([found])
    assert not answered([])


def test_the_mean_is_geometric_over_what_is_defined() -> None:
    found = mean_of([4.0, None, 1.0])
    assert found.mean == pytest.approx(2.0)
    assert found.models == 2
    assert mean_of([None]).mean is None


def test_the_summary_spans_models() -> None:
    one = duel_of(row("int8", 30.0), row("int8", 60.0), row("int8", 40.0))
    other = duel_of(row("int8", 120.0), row("int8", 90.0), failed(row("int8", 40.0)))
    summary = summarize([one, other])
    assert summary.speedup[OURS].mean == pytest.approx(2.0)
    assert summary.speedup["modelopt"].mean == pytest.approx(3.0)
    assert summary.speedup["modelopt"].models == 1
    assert summary.over_better.mean == pytest.approx((40 / 30 * 90 / 120) ** 0.5)


# --- the whole line, with the fake backend, whose engines are the same for every quantizer --------


def test_every_engine_is_measured_interleaved(fake_config: RunConfig) -> None:
    record = quantizers.measure(fake_config, Silent())
    (model,) = record.models
    rows = [model.fp32, *(contender.case for contender in model.contenders)]
    orders = [[launch.order for launch in case.launches] for case in rows]
    assert orders == [[0, 7], [1, 6], [2, 5], [3, 4]]
    assert all(contender.sound for contender in model.contenders)
    assert model.over_better is not None
    assert model.over_better.same_engine
    assert record.timing.artifacts_built == 3  # patches, FP32 and one INT8 engine


def test_a_default_that_fails_leaves_the_others(
    fake_config: RunConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    int8_launches = 0

    def crash_in_the_third(job: Any, request: Any, *rest: Any) -> Any:
        nonlocal int8_launches
        if job.name == "run" and request.options.precision == "int8":
            int8_launches += 1  # in the first round the third is ModelOpt's
            monkeypatch.setenv("VOXGATE_FAKE_FAULT", "int8=crash" if int8_launches == 3 else "")
        return launcher.run_job(job, request, *rest)

    monkeypatch.setattr(bench, "run_job", crash_in_the_third)
    record = quantizers.measure(fake_config, Silent())
    (model,) = record.models
    assert [contender.sound for contender in model.contenders] == [True, True, False]
    assert answered(record.models)
    print_comparison(make_console(), record)
    printed = capsys.readouterr().out
    assert "FAILED unet modelopt" in printed
    assert "SIGKILL" in printed
    assert "modelopt – (n = 0)" in summary_lines(record)[0]


@pytest.mark.parametrize(("fault", "code"), [("", 0), ("int8=float", 4), ("fp32=crash", 4)])
def test_the_command_prints_and_writes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fault: str,
    code: int,
) -> None:
    monkeypatch.setenv("VOXGATE_FAKE_FAULT", fault)
    monkeypatch.setattr(quantizers, "BACKEND", "fake")
    path = tmp_path / "out" / "r.json"
    arguments = ["--models", "unet", "--task", "phantom-mini", "--seconds", "0", "--launches", "1"]
    arguments += ["--cache-dir", str(tmp_path / "cache"), "--record", str(path)]
    assert quantizers.main(arguments) == code
    found = json.loads(path.read_text())
    names = [contender["quantizer"] for contender in found["models"][0]["contenders"]]
    assert names == list(QUANTIZERS)
    assert found["config"]["quantizer"] == names
    printed = capsys.readouterr().out
    assert "ours over the better default" in printed
    assert ("FAILED unet" in printed) == (code != 0)


def test_an_unknown_model_is_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert quantizers.main(["--models", "unett"]) == 2
    assert "Did you mean 'unet'?" in capsys.readouterr().err
