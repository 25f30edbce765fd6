"""Pages and Markdown from records of every kind, whole and in pieces."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from voxgate.artifacts.progress import Silent
from voxgate.config import RunConfig
from voxgate.records import file
from voxgate.records.engine import Coverage, Share
from voxgate.records.file import RunLike
from voxgate.records.measurement import Dice
from voxgate.records.run import RunRecord
from voxgate.records.sensitivity import SensitivityRecord
from voxgate.report.markdown import markdown_of
from voxgate.report.pages import banner_of, html_of
from voxgate.report.paper import Paper, read_paper
from voxgate.runs import bench

from suites.support import report_records as records
from suites.support import sensitivity_records

HOSTILE = "<script>alert(1)</script> | `rm` \n| a | @maintainers [x](http://x) **b** #12 www.x.org"

Described = RunLike | SensitivityRecord  # what the Markdown of a run's kind tells, too

KINDS: dict[str, Callable[[], Described]] = {
    "run": records.eight_networks,
    "run with problems": records.with_problems,
    "run with many classes": records.many_classes,
    "red gate": records.red_gate,
    "green gate": records.green_gate,
    "comparison": records.comparison,
    "sensitivity": sensitivity_records.sensitivity,
    "sensitivity by proxy": lambda: sensitivity_records.sensitivity(dice=False, budget=False),
}


@pytest.fixture
def paper() -> Paper:
    found = read_paper()
    assert found is not None
    return found


def stripped(run: RunRecord) -> RunRecord:
    """The run with rows that name their case and nothing else."""
    bare = [records._empty(case, status="ok") for case in run.cases]
    return replace(run, cases=tuple(bare), ratios=())


def first_screen(html: str) -> str:
    """The words of the banner."""
    found = re.search(r'<div class="banner.*?</div>', html, re.DOTALL)
    assert found
    return " ".join(re.sub(r"<[^>]+>", " ", found[0]).split())


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_every_kind_of_record_gives_the_same_page_twice(
    make: Callable[[], Described], paper: Paper
) -> None:
    assert html_of(make(), paper) == html_of(make(), paper)
    assert markdown_of(make(), paper) == markdown_of(make(), paper)


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_a_record_from_its_file_gives_the_page_of_the_one_in_memory(
    make: Callable[[], Described], tmp_path: Path
) -> None:
    path = tmp_path / "record.json"
    file.write(path, make())
    assert html_of(file.read_any(path), None) == html_of(make(), None)


def test_a_measured_run_of_the_fake_backend_has_every_section(fake_config: RunConfig) -> None:
    html = html_of(bench.bench(fake_config, Silent()), read_paper())
    headings = re.findall(r"<h2>(.*?)</h2>", html)
    assert headings == [
        "Results", "Dice", "Where the Dice goes", "Launches", "Real-INT8 certificates", "Environment",
    ]  # fmt: skip


def test_the_first_screen_of_a_gate_says_what_by_how_much_where_and_since_when() -> None:
    words = first_screen(html_of(records.red_gate(), None))
    assert words.startswith("▲ regression Of 24 cases, 2 regressed, 1 failed, 1 inconclusive, 20")
    assert "against the baselines of epyc-9r14-2-threads" in words
    assert "nnunet-small/mni152/openvino/int8, Dice of grey: Dice of grey fell from 0.9615" in words


def test_a_rebuild_with_the_same_kernels_is_called_so() -> None:
    gated = records.green_gate()
    assert "same kernels" not in html_of(gated, None)
    rebuilt = replace(gated.cases[0], same_engine=False, same_kernels=True)
    assert "same kernels" in html_of(replace(gated, cases=(rebuilt, *gated.cases[1:])), None)


def test_the_first_screen_of_a_comparison_names_the_layer() -> None:
    words = first_screen(html_of(records.comparison(), None))
    assert "with OpenVINO 2027.0.0 in place of OpenVINO 2026.4.1" in words
    assert "swinViT.layers1.attn.qkv (u8 x i8 → f32 x f32)" in words


def test_a_coverage_regression_names_the_nodes_that_left_int8() -> None:
    gate = records.red_gate()
    row = gate.run.cases[2]
    assert row.int8_coverage is not None
    row = replace(row, int8_coverage=replace(row.int8_coverage, float_nodes=("enc.conv1",)))
    verdict = replace(gate.cases[2].verdicts[0], metric="int8-coverage")
    case = replace(gate.cases[2], verdicts=(verdict,))
    gate = replace(gate, cases=(case,), run=replace(gate.run, cases=(row,)))
    assert "Not in int8: enc.conv1." in first_screen(html_of(gate, None))


def test_passes_are_folded_away_and_the_worst_stands_first() -> None:
    html = html_of(records.red_gate(), None)
    table = html[html.index("<h2>Verdicts") : html.index("<summary>21 verdicts that are a pass")]
    order = re.findall(r'class="badge (\w+)"', table)
    assert order == ["regression", "regression", "failed", "inconclusive"]


def test_failed_unavailable_and_inconclusive_are_three_words() -> None:
    words = first_screen(html_of(records.with_problems(), None))
    assert words.startswith("✕ failed 21 of 24 cases measured.")
    for status in ("✕ failed unet", "– unavailable transunet", "? inconclusive unest-small"):
        assert status in words


def test_a_certificate_that_was_not_granted_is_on_the_first_screen() -> None:
    run = records.eight_networks()
    certificate = run.cases[2].certificate
    assert certificate is not None
    case = replace(run.cases[2], certificate=replace(certificate, granted=False))
    words = first_screen(html_of(replace(run, cases=(*run.cases[:2], case)), None))
    assert "Certificate not granted, for the reasons below: unet/mni152/openvino/int8." in words


def test_a_gated_case_that_is_not_installed_is_unavailable_not_failed() -> None:
    run = records.with_problems()
    case = replace(records._judged(run.cases[5], "failed"), verdicts=(), reason="not installed")
    gate = replace(records.red_gate(), cases=(case,), run=run, outcome="failed")
    assert [reason.tone for reason in banner_of(gate).reasons] == ["unavailable"]


def test_a_case_without_verdict_or_reason_is_not_silent() -> None:
    case = replace(records.red_gate().cases[23], reason=None)
    gate = replace(records.red_gate(), cases=(case,), outcome="failed")
    assert "No verdict says why." in first_screen(html_of(gate, None))


@pytest.mark.parametrize("kind", ["run", "gate", "comparison"])
def test_nothing_measured_is_never_green(kind: str) -> None:
    empty = records.run_of([])
    made: dict[str, RunLike] = {
        "run": empty,
        "gate": replace(records.red_gate(), cases=(), run=empty, outcome="failed"),
        "comparison": replace(records.comparison(), cases=(), a=empty, b=empty, outcome="failed"),
    }
    assert banner_of(made[kind]).tone == "failed"
    assert "<svg viewBox" not in html_of(made[kind], read_paper())
    assert "FAILED" in markdown_of(made[kind], None)


def test_rows_without_any_measurement_give_tables_and_no_chart() -> None:
    html = html_of(stripped(records.eight_networks()), read_paper())
    assert 'role="img"' not in html
    assert html.count("<tr") >= 24
    assert "None" not in html


@pytest.mark.parametrize(
    "missing", ["dice", "int8_coverage", "latency_ms", "launches", "engine_bytes"]
)
def test_a_run_without_one_kind_of_measurement_is_shown(missing: str) -> None:
    run = records.eight_networks()
    empty = () if missing == "launches" else None
    cases = tuple(replace(case, **{missing: empty}) for case in run.cases)  # type: ignore[arg-type]
    assert "<h2>Results</h2>" in html_of(replace(run, cases=cases), read_paper())


def test_values_that_are_not_finite_are_not_drawn() -> None:
    run = records.eight_networks()
    dice = Dice(mean=math.nan, per_class={"grey": math.nan, "white": math.inf}, per_case={})
    latency = run.cases[3].latency_ms
    assert latency is not None
    odd = replace(run.cases[3], latency_ms=replace(latency, median=math.inf))
    shares = Share(int8=math.nan, float=math.nan, unmapped=math.nan)
    bare = replace(run.cases[5], int8_coverage=Coverage(by_count=shares, by_macs=shares))
    cases = (replace(run.cases[0], dice=dice), *run.cases[1:3], odd, run.cases[4], bare)
    html = html_of(replace(run, cases=cases), None)
    drawn = re.findall(r' (?:d|x|y|x1|x2|cx|width)="([^"]*)"', html)
    assert not [value for value in drawn if "nan" in value or "inf" in value]


def test_absent_classes_are_named_and_not_zero() -> None:
    html = html_of(records.many_classes(), None)
    assert "Absent, in neither truth nor prediction: unest-small · region_000" in html
    assert html.count(">absent<") == 9


def test_of_many_classes_the_worst_are_drawn_and_all_are_in_the_table() -> None:
    html = html_of(records.many_classes(), None)
    assert "110 classes more in the table below." in html
    assert all(f"region_{i:03}" in html for i in range(133))


def test_a_run_on_a_gpu_shows_its_clocks_heat_power_and_company() -> None:
    html = html_of(records.on_a_gpu(), None)
    for words in ("1,965 / 1,980 / 1,980", "140 / 312 / 405", "power cap 4.0\N{NO-BREAK SPACE}%"):
        assert words in html
    for words in ("not visible", "not told"):
        assert words in html
    assert "heat" not in html


def test_without_fp32_there_is_no_ratio_and_no_bar() -> None:
    html = html_of(records.on_a_gpu(), None)
    assert "Latency: FP32, simulated and real INT8" not in html
    assert "Latency against engine size" in html


def hostile() -> list[Described]:
    """Records that a model's error, a class name or a verdict tries to break out of."""
    run = records.with_problems()
    case = replace(run.cases[2], error=HOSTILE, error_type=HOSTILE, model=HOSTILE)
    dice = Dice(mean=0.5, per_class={HOSTILE: 0.5}, per_case={})
    others = tuple(replace(row, dice=dice) for row in run.cases[3:])
    run = replace(run, cases=(case, *others), config={HOSTILE: HOSTILE})
    gate = records.red_gate()
    verdict = replace(gate.cases[11].verdicts[0], words=HOSTILE, subject=HOSTILE)
    judged = replace(gate.cases[11], verdicts=(verdict,), model=HOSTILE)
    changed = records.layer(HOSTILE, HOSTILE, "b", 1, 2)
    compared = replace(records.comparison().cases[14], layers=(changed,), unsaid=(HOSTILE,))
    return [
        run,
        replace(gate, cases=(judged,), environment=HOSTILE, tolerances={HOSTILE: 0.1}),
        replace(records.comparison(), cases=(compared,), title_a=HOSTILE, title_b=HOSTILE),
        _hostile_sensitivity(),
    ]


def _hostile_sensitivity() -> SensitivityRecord:
    found = sensitivity_records.sensitivity()
    assert found.budget is not None
    layer = replace(found.layers[0], name=HOSTILE, op_type=HOSTILE)
    budget = replace(found.budget, layers=(HOSTILE,), words=HOSTILE, command=HOSTILE)
    agreement = replace(found.agreement, words=HOSTILE)
    return replace(
        found, model=HOSTILE, layers=(layer, *found.layers), budget=budget, agreement=agreement,
        in_float=(HOSTILE,),
    )  # fmt: skip


@pytest.mark.parametrize("index", range(4), ids=["run", "gate", "comparison", "sensitivity"])
def test_hostile_words_are_text_in_html(index: int) -> None:
    html = html_of(hostile()[index], read_paper())
    assert "<script" not in html
    assert "&lt;script&gt;" in html


@pytest.mark.parametrize("index", range(4), ids=["run", "gate", "comparison", "sensitivity"])
def test_hostile_words_are_text_in_markdown(index: int) -> None:
    text = markdown_of(hostile()[index], read_paper())
    assert not re.search(r"<script|`|@m|\]\(|\*\*|://|(?<!&)#1|www\.", text)
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("| ")]
    assert tables
    for lines in tables:
        assert {line.count("|") for line in lines} == {lines[0].count("|")}


def test_markdown_stays_short_however_much_is_red() -> None:
    gate = records.red_gate()
    cases = tuple(
        replace(gate.cases[11], model=f"model-{i}", verdicts=gate.cases[11].verdicts * 5)
        for i in range(400)
    )
    rows = tuple(replace(gate.run.cases[0], model=f"model-{i}") for i in range(400))
    text = markdown_of(replace(gate, cases=cases, run=replace(gate.run, cases=rows)), None)
    assert len(text) < 60_000
    assert "1988 more in the record." in text


def test_a_long_error_is_cut_and_says_so() -> None:
    run = records.with_problems()
    case = replace(run.cases[2], error="x" * 100_000)
    html = html_of(replace(run, cases=(case,)), None)
    assert "98,000 characters more in the record" in html
    assert len(html) < 60_000
