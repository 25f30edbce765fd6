"""A calibration study: its grid, what a failed combination does, its record, its page."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from voxgate import backends
from voxgate.artifacts.cache import Cache
from voxgate.artifacts.progress import Reporter, Silent
from voxgate.artifacts.run_artifacts import Artifacts
from voxgate.cli import main
from voxgate.config import RunConfig
from voxgate.errors import (
    EXIT_FAILED,
    EXIT_PASS,
    ArtifactError,
    HarnessError,
    QuantizationError,
    UsageError,
)
from voxgate.records import file
from voxgate.records.case import CaseId
from voxgate.records.run import CaseResult
from voxgate.records.runtime import Probe
from voxgate.records.study import StudyRecord
from voxgate.report.charts.study import study_charts
from voxgate.report.pages import html_of
from voxgate.report.study import mean_table, point_table, study_banner
from voxgate.report.study_markdown import study_markdown
from voxgate.runs import bench, calibration_study
from voxgate.runs.calibration_study import Choice, Grid, run_study
from voxgate.verdicts.stored_records import compare_files
from voxgate.verdicts.trend.folder import read_history

from suites.support.study_records import CONFIG, GRID, failing, made, measured


@pytest.fixture(autouse=True)
def no_probe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    probe = Probe(available=True, version="1.2")
    monkeypatch.setattr(
        calibration_study, "probe_backends", lambda *_: {"openvino": probe, "fake": probe}
    )
    monkeypatch.setenv("VOXGATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


# --- the grid ------------------------------------------------------------------------------------


def test_every_combination_once_methods_first() -> None:
    found = GRID.choices(CONFIG)
    assert len(found) == 8
    assert found[0] == Choice(method="max", patches=1, seed=0)
    assert found[-1] == Choice(method="percentile", patches=4, seed=1)


def test_a_combination_in_words() -> None:
    assert str(Choice(method="max", patches=1, seed=3)) == "max, 1 patch, seed 3"
    assert str(Choice(method="max", patches=0, seed=None)) == "max, the default patches"


def test_no_methods_are_all_of_the_quantizer() -> None:
    methods = [choice.method for choice in Grid(patches=(1,), seeds=(0,)).choices(CONFIG)]
    assert methods == ["min-max", "max", "percentile"]


def test_the_fixed_patches_have_no_seed() -> None:
    found = Grid(methods=("max",), patches=(0, 2), seeds=(0, 1)).choices(CONFIG)
    assert [(c.patches, c.seed) for c in found] == [(0, None), (2, 0), (2, 1)]


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        (Grid(methods=("entropy",)), "unknown calibration method of nncf 'entropy'"),
        (Grid(patches=()), r"patches of a study are \[\]"),
        (Grid(seeds=(1, 1)), r"seeds of a study are \[1, 1\]; name each once"),
        (Grid(patches=(1, 5000)), "phantom-mini has 996 patches to calibrate on, not 5000"),
        (Grid(patches=(-2,)), "calibration_patches is -2"),
        (Grid(seeds=(-1,)), "calibration_seed is -1"),
    ],
)
def test_a_grid_without_a_meaning_is_usage(grid: Grid, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        grid.choices(CONFIG)


@pytest.mark.parametrize("backend", ["fake", "pytorch"])
def test_a_backend_that_quantizes_nothing_is_usage(backend: str) -> None:
    with pytest.raises(UsageError, match="builds from no quantized graph; study one of: openvino,"):
        GRID.choices(replace(CONFIG, backends=(backend,)))


def test_a_simulation_stands_in_where_there_is_no_int8() -> None:
    assert calibration_study.precision_of(backends.get("onnxruntime")) == "fake-int8"
    assert calibration_study.precision_of(backends.get("openvino")) == "int8"


# --- running -------------------------------------------------------------------------------------


def test_each_point_is_its_own_configuration() -> None:
    found = made()
    lost = [found.lost(point) for point in found.points]
    assert lost == pytest.approx([0.02, 0.0202, 0.005, 0.0052, 0.001, 0.0012, 0.00025, 0.00045])
    assert [point.count for point in found.points] == [1, 1, 4, 4] * 2
    assert calibration_study.exit_code(found) == EXIT_PASS
    assert found.lost_per_class(found.points[0]) == pytest.approx(
        {"organ-1": 0.02, "organ-2": 0.02}
    )


def test_a_failed_combination_leaves_the_others() -> None:
    found = made(failing)
    assert [point.case.status for point in found.points] == ["failed"] * 2 + ["ok"] * 6
    assert calibration_study.exit_code(found) == EXIT_FAILED
    assert found.lost(found.points[0]) is None
    banner = study_banner(found)
    assert banner.word == "failed"
    assert banner.headline.startswith("6 of 8 combinations measured.")
    assert "max, 1 patch, seed 0: the <tensor> is empty" in [r.text for r in banner.reasons]


def test_a_failed_reference_fails_the_study_and_keeps_the_points() -> None:
    def without_fp32(case: CaseId, artifacts: Artifacts, *rest: object) -> CaseResult:
        row = measured(case, artifacts, *rest)
        if case.precision == "fp32":
            return replace(row, status="failed", error="no checkpoint", dice=None)
        return row

    found = made(without_fp32)
    assert calibration_study.exit_code(found) == EXIT_FAILED
    assert {found.lost(point) for point in found.points} == {None}
    assert len(study_charts(found)) == 1
    assert "FP32" in html_of(found, None)


def artifacts_of(fake_config: RunConfig, built: list[str]) -> Artifacts:
    """Of the fake backend, which builds from no quantized graph."""
    config = calibration_study.brief(fake_config)
    return bench.make_artifacts(config, Cache(config.cache_root), built.append)


def test_a_measured_case_is_not_measured_again(
    fake_config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    launches = 0

    def counted(*arguments: Any) -> float:
        nonlocal launches
        launches += 1
        return bench.measure(*arguments)

    monkeypatch.setattr(calibration_study, "measure", counted)
    case = CaseId(model="unet", task="phantom-mini", backend="fake", precision="int8")
    probe, said = Probe(available=True, version="0"), list[str]()
    first = calibration_study.measure_cached(case, artifacts_of(fake_config, said), probe, Silent())
    again = calibration_study.measure_cached(case, artifacts_of(fake_config, said), probe, Silent())
    assert launches == 1
    assert first.status == "ok"
    assert first.dice is not None
    assert first.int8_coverage is not None
    assert (first.latency_ms, first.samples_ns, first.launches) == (None, (), ())
    assert replace(again, build_cached=first.build_cached) == first


@pytest.mark.parametrize("fault", ["nan", "float"])
def test_a_case_that_failed_is_tried_again(
    fake_config: RunConfig, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    case = CaseId(model="unet", task="phantom-mini", backend="fake", precision="int8")
    probe, said = Probe(available=True, version="0"), list[str]()
    monkeypatch.setenv("VOXGATE_FAKE_FAULT", f"int8={fault}")
    failed = calibration_study.measure_cached(
        case, artifacts_of(fake_config, said), probe, Silent()
    )
    assert failed.status == "failed"
    assert failed.error
    monkeypatch.delenv("VOXGATE_FAKE_FAULT")
    if fault == "float":  # the engine itself is at fault, and stays
        return
    mended = calibration_study.measure_cached(
        case, artifacts_of(fake_config, said), probe, Silent()
    )
    assert mended.status == "ok"


def test_every_combination_is_one_step() -> None:
    class Counter(Silent):
        steps, done = 0, 0

        def begin(self, steps: int) -> None:
            self.steps = steps

        def advance(self) -> None:
            self.done += 1

    counter = Counter()
    run_study(CONFIG, GRID, counter, measured)
    assert counter.steps == counter.done == 9


# --- the record and its views --------------------------------------------------------------------


@pytest.mark.parametrize("measure_case", [measured, failing])
def test_the_record_survives_its_file_and_its_page_with_it(
    tmp_path: Path, measure_case: calibration_study.Measure
) -> None:
    found, path = made(measure_case), tmp_path / "s.json"
    file.write(path, found)
    assert file.read_any(path) == found
    assert html_of(file.read_any(path), None) == html_of(found, None)


def test_a_study_is_no_run(tmp_path: Path) -> None:
    path, other = tmp_path / "s.json", tmp_path / "t.json"
    for place in (path, other):
        file.write(place, made())
    with pytest.raises(ArtifactError, match="is the record of a calibration-study, not of a run"):
        file.read(path)
    with pytest.raises(ArtifactError, match="'voxgate calibrate-study'"):
        compare_files(path, other)
    with pytest.raises(ArtifactError, match="no part of a history"):
        read_history(tmp_path)


def test_the_charts_have_a_mark_a_point_and_a_shape_a_method() -> None:
    lost, coverage = study_charts(made())
    assert lost.drawing.count('class="mark ') == coverage.drawing.count('class="mark ') == 8
    assert len({mark.shape for mark in lost.legend}) == len({m.class_ for m in lost.legend}) == 2
    assert lost.drawing.count("<polyline") == 2
    assert "max, 4 patches, seed 1: +0.0052" in lost.drawing


def test_points_that_were_not_measured_are_not_drawn() -> None:
    (lost, _) = study_charts(made(failing))
    assert lost.drawing.count('class="mark ') == 6
    assert study_charts(made(lambda *a: replace(failing(*a), dice=None, int8_coverage=None))) == ()


def test_the_tables_have_every_combination_and_the_means() -> None:
    found = made()
    assert len(point_table(found).rows) == 8
    rows = {(row[0], row[1]): row[2:] for row in mean_table(found).rows}
    assert rows["max", "4"] == ("2", "+0.0051", "0.0002")
    assert rows["percentile", "1"] == ("2", "+0.0011", "0.0002")


def test_the_page_loads_nothing_and_escapes_what_it_shows() -> None:
    html = html_of(made(failing), None)
    assert "&lt;tensor&gt;" in html
    assert "<tensor>" not in html
    assert not re.search(r"""(src|href)=["']https?:""", html)


def test_markdown_has_the_table_and_fits() -> None:
    text = study_markdown(made(failing))
    assert text.startswith("### FAILED: Calibration of unet on phantom")
    assert text.count("\n| percentile |") == 4
    assert len(text) < 65_536


# --- the command ---------------------------------------------------------------------------------


def test_the_command_writes_record_and_page_and_prints_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(calibration_study, "measure_cached", measured)
    code = main([
        "calibrate-study", "unet", "--task", "phantom-mini", "--patches", "1,4", "--seeds", "0",
        "--methods", "max,percentile",
    ])  # fmt: skip
    assert code == 0
    (path,) = (tmp_path / "records").glob("*Z-calibration.json")
    found = file.read_any(path)
    assert isinstance(found, StudyRecord)
    assert len(found.points) == 4
    assert path.with_suffix(".html").read_text() == html_of(found, None)
    out = capsys.readouterr().out
    assert "percentile" in out
    assert "FP32: mean Dice 0.9000" in out
    assert main(["report", str(path), "--markdown", "-"]) == 0
    assert "| max |" in capsys.readouterr().out


def test_a_failed_combination_exits_4_with_its_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(calibration_study, "measure_cached", failing)
    path = tmp_path / "s.json"
    arguments = ["--task", "phantom-mini", "--patches", "1", "--seeds", "0", "--record", str(path)]
    assert main(["calibrate-study", "unet", *arguments]) == 4
    assert "FAILED max, 1 patch, seed 0" in capsys.readouterr().out
    assert path.is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["unett"], "unknown model 'unett'"),
        (["unet", "--patches", "1,x"], "--patches is '1,x'; give whole numbers"),
        (["unet", "--seeds", ""], "the seeds of a study are []"),
        (["unet", "--methods", "mse"], "unknown calibration method of nncf 'mse'"),
        (["unet", "--backend", "fake"], "builds from no quantized graph"),
        (["unet", "--calibration-data", "nowhere"], "nowhere is not a folder"),
    ],
)
def test_a_wrong_option_is_usage_before_any_work(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate-study", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_an_error_of_a_stage_becomes_the_row(
    fake_config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Artifacts, __: CaseId) -> Any:
        msg = "calibration patch p looks like noise"
        raise QuantizationError(msg)

    monkeypatch.setattr(Artifacts, "engine", broken)
    case = CaseId(model="unet", task="phantom-mini", backend="fake", precision="int8")
    probe: Probe | HarnessError = Probe(available=True, version="0")
    reporter: Reporter = Silent()
    row = calibration_study.measure_cached(case, artifacts_of(fake_config, []), probe, reporter)
    assert (row.status, row.error_type) == ("failed", "QuantizationError")
