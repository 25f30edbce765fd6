"""The Dice ledger: its steps add up, nothing absent is counted, and what is missing is said."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxgate.artifacts.progress import Silent
from voxgate.config import RunConfig
from voxgate.metrics.bootstrap import bounds
from voxgate.metrics.ledger import blame, ledgers_in, ledgers_of, lost_most, step_of
from voxgate.records import file
from voxgate.records.calibration import Calibration
from voxgate.records.case import Precision, Status
from voxgate.records.dice import ClassSurface, DiceLedger, Surfaces, SurfaceScore
from voxgate.records.measurement import Dice
from voxgate.records.run import CaseResult
from voxgate.runs import bench

from suites.support.report_records import run_of

Scores = Mapping[str, Mapping[str, float | None]]

CALIBRATION = Calibration(
    method="max", quantizer="modelopt", cases=("left",), patches=(), sha256="ab" * 32
)


def row(
    precision: Precision, scores: Scores, backend: str = "openvino", status: Status = "ok"
) -> CaseResult:
    """Every case is a subject of its own."""
    per_case = {case: dict(values) for case, values in scores.items()}
    return CaseResult(
        model="unet", task="mni152", backend=backend, precision=precision, status=status,
        weights_sha256="cd" * 32, calibration=CALIBRATION if "int8" in precision else None,
        dice=Dice(mean=0.5, per_class={}, per_case=per_case, subjects={c: c for c in per_case}),
    )  # fmt: skip


def grey(*values: float | None) -> Scores:
    return {f"case{i}": {"grey": value} for i, value in enumerate(values)}


def chain(*scores: Scores) -> list[CaseResult]:
    names: tuple[Precision, ...] = ("fp32", "fake-int8", "int8")
    return [row(name, values) for name, values in zip(names, scores, strict=True)]


def only(rows: list[CaseResult]) -> DiceLedger:
    (ledger,) = ledgers_of(rows)
    return ledger


def means(ledger: DiceLedger) -> dict[str, float]:
    return {step.step: round(step.overall.mean, 9) for step in ledger.steps}


# --- solved by hand --------------------------------------------------------------------------------


def test_three_steps_of_one_class() -> None:
    ledger = only(chain(grey(0.9, 0.8), grey(0.8, 0.8), grey(0.85, 0.7)))
    assert means(ledger) == {"quantization": -0.05, "backend": -0.025, "total": -0.075}
    quantization, backend, total = ledger.steps
    assert (quantization.before, quantization.after) == ("openvino/fp32", "openvino/fake-int8")
    assert (total.before, total.after) == ("openvino/fp32", "openvino/int8")
    loss = backend.per_class["grey"]
    assert loss is not None
    assert loss.per_case == pytest.approx({"case0": 0.05, "case1": -0.1})
    assert (loss.worst_case, loss.cases) == ("case1", 2)
    assert loss.worst == pytest.approx(-0.1)
    assert ledger.missing == ()
    assert ledger.stand_in == ""


def test_the_interval_is_the_paired_bootstrap_of_95_percent() -> None:
    fp32, int8 = [0.9, 0.92, 0.88, 0.95, 0.9], [0.89, 0.9, 0.88, 0.93, 0.91]
    total = step_of(only(chain(grey(*fp32), grey(*fp32), grey(*int8))), "total")
    assert total is not None
    differences = np.array(int8) - np.array(fp32)
    assert (total.overall.low, total.overall.high) == pytest.approx(bounds(differences, 0.975))
    low, high = bounds(differences)  # of the gate: each one-sided
    assert total.overall.low is not None
    assert total.overall.high is not None
    assert total.overall.low <= low < high <= total.overall.high
    assert total.overall.subjects == 5


def of_subject(rows: list[CaseResult], subjects: Mapping[str, str]) -> list[CaseResult]:
    dices = [replace(each.dice, subjects=dict(subjects)) for each in rows if each.dice]
    return [replace(each, dice=dice) for each, dice in zip(rows, dices, strict=True)]


def test_patches_are_averaged_by_subject_before_they_are_resampled() -> None:
    fp32, int8 = grey(*[0.9] * 5), grey(0.87, 0.87, 0.87, 0.9, 0.9)
    subjects = {"case0": "a", "case1": "a", "case2": "a", "case3": "b", "case4": "c"}
    total = step_of(only(of_subject(chain(fp32, fp32, int8), subjects)), "total")
    assert total is not None
    found = total.overall
    assert found.mean == pytest.approx(-0.01)
    assert (found.subjects, found.cases) == (3, 5)
    assert (found.low, found.high) == pytest.approx(bounds(np.array([-0.03, 0.0, 0.0]), 0.975))


@pytest.mark.parametrize(
    ("subjects", "count", "words"),
    [
        ({f"case{i}": "head" for i in range(5)}, 1, "(1 subject: no interval)"),
        ({}, None, "(subjects unknown: no interval)"),
        ({"case0": "head"}, None, "(subjects unknown: no interval)"),
    ],
)
def test_of_fewer_than_three_subjects_there_is_no_interval_and_it_is_said(
    subjects: dict[str, str], count: int | None, words: str
) -> None:
    rows = of_subject(chain(grey(*[0.9] * 5), grey(*[0.9] * 5), grey(0.8, *[0.9] * 4)), subjects)
    ledgers = ledgers_of(rows)
    for step in ledgers[0].steps:
        assert (step.overall.low, step.overall.high, step.overall.subjects) == (None, None, count)
    assert means(ledgers[0])["total"] == -0.02
    assert words in blame(ledgers, rows[2])


def test_intervals_over_patches_in_a_record_of_before_are_computed_anew() -> None:
    names = [f"right-front-y{y}-z{z:03d}" for y in (117, 137) for z in (12, 34, 56, 78)]
    scores = {name: {"grey": 0.9 - 0.001 * i} for i, name in enumerate(names)}
    lost = {name: {"grey": 0.88 - 0.002 * i} for i, name in enumerate(names)}
    rows = of_subject(chain(scores, scores, lost), {})
    (ledger,) = ledgers_of(rows)
    old = [
        replace(step, overall=replace(step.overall, low=-0.03, high=-0.02, subjects=None))
        for step in ledger.steps
    ]
    stored = replace(run_of(rows), ledgers=(replace(ledger, steps=tuple(old)),))
    assert ledgers_in(stored) == (ledger,)
    assert [step.overall.subjects for step in ledger.steps] == [1, 1, 1]
    assert ledgers_in(replace(stored, ledgers=(ledger,))) == (ledger,)


def test_overall_is_over_the_classes_that_a_case_has_and_the_worst_class_is_named() -> None:
    before: Scores = {"a": {"grey": 0.9, "white": 0.9}, "b": {"grey": 0.9, "white": None}}
    after: Scores = {"a": {"grey": 0.8, "white": 0.6}, "b": {"grey": 0.7, "white": None}}
    total = step_of(only(chain(before, before, after)), "total")
    assert total is not None
    assert total.overall.per_case == pytest.approx({"a": -0.2, "b": -0.2})
    found = lost_most(total)
    assert found is not None
    assert (found[0], found[1].cases) == ("white", 1)
    assert found[1].per_case["b"] is None


def test_an_invented_class_is_a_loss_of_that_step_and_a_missed_one_is_zero_already() -> None:
    ledger = only(chain(grey(None), grey(None), grey(0.0)))
    assert means(ledger) == {"quantization": 0.0, "backend": -1.0, "total": -1.0}
    assert means(only(chain(grey(0.0), grey(0.0), grey(0.0)))) == dict.fromkeys(
        ("quantization", "backend", "total"), 0.0
    )


def test_a_class_that_is_absent_everywhere_is_named_and_has_no_loss() -> None:
    scores: Scores = {"a": {"grey": 0.9, "air": None}}
    ledger = only(chain(scores, scores, scores))
    assert [step.per_class["air"] for step in ledger.steps] == [None] * 3
    nothing = grey(None, None)
    assert only(chain(nothing, nothing, nothing)).steps == ()


# --- what is missing -------------------------------------------------------------------------------


def test_without_a_simulation_there_is_the_total_alone() -> None:
    fp32, _, int8 = chain(grey(0.9), grey(0.9), grey(0.8))
    ledger = only([fp32, int8])
    assert means(ledger) == {"total": -0.1}
    assert ledger.missing == (
        "quantization: no measured fake-int8 beside openvino/int8",
        "backend: no measured fake-int8 beside openvino/int8",
    )


def test_without_fp32_there_is_the_backend_alone() -> None:
    _, fake, int8 = chain(grey(0.9), grey(0.9), grey(0.8))
    ledger = only([fake, int8])
    assert means(ledger) == {"backend": -0.1}
    assert [words.partition(":")[0] for words in ledger.missing] == ["quantization", "total"]


def test_alone_nothing_can_be_told_and_that_is_said() -> None:
    ledger = only(chain(grey(0.9), grey(0.9), grey(0.8))[2:])
    assert ledger.steps == ()
    assert (
        ledger.missing[0] == "quantization: no measured fp32 and no fake-int8 beside openvino/int8"
    )


def test_a_simulation_alone_has_quantization_alone_and_is_not_told_twice() -> None:
    rows = chain(grey(0.9), grey(0.8), grey(0.8))
    alone = only(rows[:2])
    assert (alone.precision, means(alone), alone.missing) == (
        "fake-int8",
        {"quantization": -0.1},
        (),
    )
    assert only(rows).precision == "int8"


@pytest.mark.parametrize("precision", ["fp16", "bf16", "tf32"])
def test_what_is_not_quantized_has_the_total_alone_and_misses_nothing(precision: Precision) -> None:
    ledger = only([row("fp32", grey(0.9)), row(precision, grey(0.8))])
    assert (means(ledger), ledger.missing) == ({"total": -0.1}, ())


def test_mixed_int8_shares_the_simulation() -> None:
    rows = [*chain(grey(0.9), grey(0.8), grey(0.8)), row("int8-fp16", grey(0.7))]
    assert [(e.precision, means(e)["backend"]) for e in ledgers_of(rows)] == [
        ("int8", 0.0),
        ("int8-fp16", -0.1),
    ]


@pytest.mark.parametrize("status", ["failed", "unavailable"])
def test_a_row_that_failed_is_no_step_even_where_it_has_dice(status: Status) -> None:
    fp32, fake, int8 = chain(grey(0.9), grey(0.9), grey(0.8))
    assert only([fp32, fake, replace(int8, status=status)]).precision == "fake-int8"
    assert means(only([fp32, replace(fake, status=status), int8])) == {"total": -0.1}


def test_a_contaminated_row_has_dice_all_the_same() -> None:
    rows = chain(grey(0.9), grey(0.9), grey(0.8))
    assert len(only([replace(each, status="inconclusive") for each in rows]).steps) == 3


def test_other_cases_are_not_compared() -> None:
    fp32, fake, int8 = chain(grey(0.9, 0.9), grey(0.9, 0.9), grey(0.8))
    ledger = only([fp32, fake, int8])
    assert means(ledger) == {"quantization": 0.0}
    assert "were evaluated on other cases or classes" in ledger.missing[1]


def test_an_old_record_without_single_cases_has_no_ledger() -> None:
    assert ledgers_of(chain({}, {}, {})) == ()
    fp32, fake, int8 = chain({}, grey(0.9), grey(0.8))
    assert only([fp32, fake, int8]).missing == (
        "quantization: openvino/fp32 has no scores of single cases",
        "total: openvino/fp32 has no scores of single cases",
    )


# --- another backend's simulation ------------------------------------------------------------------


def on_tensorrt() -> list[CaseResult]:
    return [row("fp32", grey(0.9), "tensorrt"), row("int8", grey(0.8), "tensorrt")]


def test_a_simulation_of_the_same_graph_stands_in_and_is_named() -> None:
    fakes = [row("fake-int8", grey(0.7)), row("fake-int8", grey(0.85), "onnxruntime")]
    found = {e.backend: e for e in ledgers_of([*on_tensorrt(), *fakes])}
    assert found["tensorrt"].stand_in == "onnxruntime/fake-int8"
    assert means(found["tensorrt"]) == {"quantization": -0.05, "backend": -0.05, "total": -0.1}
    assert step_of(found["tensorrt"], "backend").before == "onnxruntime/fake-int8"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "other",
    [
        {"calibration": replace(CALIBRATION, quantizer="nncf")},
        {"calibration": replace(CALIBRATION, sha256="ef" * 32)},
        {"calibration": None},
        {"weights_sha256": "00" * 32},
        {"model": "nnunet"},
        {"task": "phantom"},
    ],
)
def test_a_simulation_of_another_graph_does_not_stand_in(other: dict[str, object]) -> None:
    fake = replace(row("fake-int8", grey(0.85), "onnxruntime"), **other)  # type: ignore[arg-type]
    (ledger,) = [e for e in ledgers_of([*on_tensorrt(), fake]) if e.backend == "tensorrt"]
    assert ledger.stand_in == ""
    assert means(ledger) == {"total": -0.1}


# --- properties ------------------------------------------------------------------------------------

_score = st.none() | st.floats(0, 1)
_rows = st.lists(
    st.tuples(*[st.tuples(*[_score] * 3)] * 2), min_size=1, max_size=5
)  # cases of two classes of three rows


@given(_rows)
def test_steps_add_up_to_the_total_case_by_case_and_in_the_mean(
    cases: list[tuple[tuple[float | None, ...], ...]],
) -> None:
    rows = chain(*(
        {f"case{i}": {"grey": g[end], "white": w[end]} for i, (g, w) in enumerate(cases)}
        for end in range(3)
    ))  # fmt: skip
    (ledger,) = ledgers_of(rows)
    if not ledger.steps:
        assert all(score is None for case in cases for each in case for score in each)
        return
    first, second, total = ledger.steps
    for index, name in enumerate(("grey", "white")):
        a, b, c = (step.per_class[name] for step in (first, second, total))
        known = [case[index] for case in cases if any(score is not None for score in case[index])]
        if a is None or b is None or c is None:
            assert a is b is c is None
            assert not known
            continue
        assert a.cases == b.cases == c.cases == len(known)
        assert c.mean == pytest.approx(a.mean + b.mean, abs=1e-12)
        for i, (before, _, after) in enumerate(case[index] for case in cases):
            parts = a.per_case[f"case{i}"], b.per_case[f"case{i}"], c.per_case[f"case{i}"]
            if None in parts:
                assert set(parts) == set(cases[i][index]) == {None}
                continue
            assert parts[2] == parts[0] + parts[1]  # type: ignore[operator]
            whole = (1.0 if after is None else after) - (1.0 if before is None else before)
            assert parts[2] == pytest.approx(whole, abs=1e-12)
        for loss in (a, b, c):
            assert (loss.low is None) == (loss.high is None) == (loss.cases < 3)
            if loss.low is not None and loss.high is not None:
                assert loss.low - 1e-12 <= loss.mean <= loss.high + 1e-12
            assert loss.worst == min(v for v in loss.per_case.values() if v is not None)
            assert loss.per_case[loss.worst_case] == loss.worst


# --- surfaces, words, the run ----------------------------------------------------------------------


def with_nsd(case: CaseResult, nsd: float) -> CaseResult:
    score = SurfaceScore(presence="present", nsd=nsd, hd95_mm=1.0)
    surfaces = Surfaces(
        tolerance_mm=1.0, spacing_mm=(1.0, 1.0, 1.0),
        per_class={"grey": ClassSurface(nsd=nsd, hd95_mm=1.0, infinite=0)},
        per_case={"case0": {"grey": score}},
    )  # fmt: skip
    return replace(case, surfaces=surfaces)


def test_nsd_has_a_ledger_of_its_own_where_it_was_measured() -> None:
    fp32, fake, int8 = chain(grey(0.9), grey(0.9), grey(0.9))
    dice, nsd = ledgers_of([with_nsd(fp32, 0.99), with_nsd(fake, 0.95), with_nsd(int8, 0.9)])
    assert (dice.metric, nsd.metric) == ("dice", "nsd")
    assert means(nsd) == {"quantization": -0.04, "backend": -0.05, "total": -0.09}
    dice, nsd = ledgers_of([with_nsd(fp32, 0.99), fake, with_nsd(int8, 0.9)])
    assert means(nsd) == {"total": -0.09}
    assert "openvino/fake-int8 has no scores of single cases" in nsd.missing[0]


def test_a_failure_is_explained_by_step_class_and_case() -> None:
    rows = chain(grey(0.9, 0.9), grey(0.9, 0.8), grey(0.88, 0.79))
    words = blame(ledgers_of(rows), rows[2])
    assert "quantization (openvino/fp32 to openvino/fake-int8) -0.0500, most in grey" in words
    assert "worst case case1 -0.1000" in words
    assert "backend (openvino/fake-int8 to openvino/int8) -0.0150" in words
    simulated = blame(ledgers_of(rows), rows[1])
    assert "quantization" in simulated
    assert "backend (" not in simulated
    assert "no measured fake-int8" in blame(ledgers_of([rows[0], rows[2]]), rows[2])
    assert blame((), rows[2]) == "no ledger of unet/mni152/openvino/int8"


def test_a_run_keeps_its_ledger_in_the_record(
    fake_config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOXGATE_FAKE_FAULT", "int8=worse")
    result = bench.bench(replace(fake_config, launches=1), Silent())
    (ledger,) = result.ledgers
    found = {step.step: step.overall.mean for step in ledger.steps}
    assert found["quantization"] == 0.0
    assert found["backend"] == found["total"] < -0.1
    (ratios,) = (r for r in result.ratios if r.precision == "int8")
    assert math.isclose(found["total"], ratios.dice_mean_delta or 0.0)
    file.write(tmp_path / "record.json", result)
    assert file.read(tmp_path / "record.json") == result
