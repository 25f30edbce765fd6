"""Lower bits from the command line to the report: who makes them, who has them, how they are marked."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from voxgate import backends, quantizers
from voxgate.artifacts.cache import Artifact
from voxgate.artifacts.launcher import Limits
from voxgate.artifacts.run_artifacts import Artifacts
from voxgate.commands.doctor import _missing
from voxgate.config import RunConfig, split_names
from voxgate.errors import UnavailableError
from voxgate.metrics.certificate import refuse_int8
from voxgate.quantizers.base import Quantized
from voxgate.quantizers.schemes import SCHEMES
from voxgate.records.case import (
    INT8_PRECISIONS,
    PROJECTED_PRECISIONS,
    SIMULATED_PRECISIONS,
    CaseId,
    Precision,
)
from voxgate.records.engine import Coverage, GraphFacts, GraphNode, Share
from voxgate.records.run import CaseResult, RunRecord
from voxgate.records.runtime import EngineOptions, Probe
from voxgate.report.markdown import markdown_of
from voxgate.report.names import built, groups_of, look
from voxgate.report.pages import html_of
from voxgate.report.simulated import footnote
from voxgate.report.terminal import make_console, print_record
from voxgate.runs import bench
from voxgate.stages.requests import Calibrated, Expanded, Exported, Prepared

from suites.support import report_records

PROJECTED = sorted(PROJECTED_PRECISIONS)
RUNTIMES = ("openvino", "onnxruntime")
WEIGHTS = np.linspace(-1, 1, 4 * 4, dtype=np.float32).reshape(4, 4, 1, 1, 1)


def options(precision: Precision) -> EngineOptions:
    return EngineOptions(precision=precision, threads=1, model="tiny", task="none", classes=4)


# --- the tables ----------------------------------------------------------------------------------


def test_every_projection_has_a_simulation_and_a_scheme_of_its_own() -> None:
    assert set(quantizers.SIMULATIONS) == PROJECTED_PRECISIONS
    assert {spec.scheme for spec in quantizers.SIMULATIONS.values()} == set(SCHEMES)
    for precision, spec in quantizers.SIMULATIONS.items():
        assert precision == f"fake-{spec.scheme}"
        assert quantizers.find(spec.name, spec.scheme) is spec
        assert (spec.name, spec.check_method("")) == ("simulation", "max")


def test_a_simulation_is_no_choice_of_quantizer_and_no_int8() -> None:
    assert "simulation" not in quantizers.QUANTIZERS
    assert not SIMULATED_PRECISIONS & INT8_PRECISIONS


@pytest.mark.parametrize("precision", PROJECTED)
def test_cpu_runtimes_have_them_and_nobody_builds_them_unasked(precision: Precision) -> None:
    for name in RUNTIMES:
        backends.require(name, precision, Probe(available=True))
    for spec in backends.BACKENDS.values():
        assert precision not in spec.default_precisions


@pytest.mark.parametrize("precision", PROJECTED)
@pytest.mark.parametrize("name", ["pytorch", "pytorch-compile", "tensorrt", "tensorrt-rtx"])
def test_other_runtimes_say_why_not_and_where(name: str, precision: Precision) -> None:
    with pytest.raises(UnavailableError, match=f"cannot build {precision}: it .*; simulate it with openvino"):  # fmt: skip
        backends.require(name, precision, Probe(available=True))


def test_the_doctor_gives_one_reason_once() -> None:
    found = dict(_missing("pytorch", Probe(available=True)))
    names = "fake-int4, fake-int4-int8, fake-int4-int4, fake-fp8"
    assert "simulate it with openvino or onnxruntime" in found[names]


def test_their_names_survive_the_command_line() -> None:
    names = split_names(",".join(PROJECTED))
    config = RunConfig(models=("unet",), precisions=names)  # type: ignore[arg-type]
    assert [case.precision for case in config.check().cases()] == PROJECTED
    (first, *_) = config.cases()
    assert str(first).split("/")[-1] == PROJECTED[0]


# --- how they are made ---------------------------------------------------------------------------


@dataclass
class Keys:
    """A cache that makes nothing and remembers the inputs of each quantized graph."""

    inputs: list[dict[str, object]] = field(default_factory=list)

    def get_or_make(
        self, kind: str, inputs: dict[str, object], result: type, *_: object, **__: object
    ) -> Artifact[Any]:
        if kind == "quantized":
            self.inputs.append(inputs)
        facts = GraphFacts(nodes=(), parameters=1, opset=21)
        made = {
            Quantized: Quantized(format="onnx-qdq", file="q.onnx", quantize_nodes=1),
            Prepared: Prepared(evaluation=()),
            Calibrated: Calibrated(patches=()),
            Expanded: Expanded(parameters=1, sha256="0"),
            Exported: Exported(graph=facts, onnx_bytes=1, max_relative_error=0.0),
        }.get(result)
        return Artifact(key="k", folder=Path(), result=made, digest="same", reused=False)


def artifacts_of(cache: Any, **changes: Any) -> Artifacts:
    config = RunConfig(models=("unet",), **changes)
    return Artifacts(config=config, cache=cache, limits=Limits(seconds=1), announce=print)


def test_each_scheme_is_another_graph_whatever_quantizer_is_asked_for() -> None:
    cache = Keys()
    artifacts = artifacts_of(cache, quantizer="modelopt", calibration_method="entropy")
    for precision in ("int8", "fake-int8", *PROJECTED):
        case = CaseId(model="unet", task="mni152", backend="openvino", precision=precision)
        artifacts.engine(case)
    told = [(key["quantizer"], key["method"], key["scheme"]) for key in cache.inputs]
    simulations = [("simulation", "max", p.removeprefix("fake-")) for p in PROJECTED]
    assert told == [("modelopt", "entropy", ""), *simulations]


def test_both_runtimes_take_the_same_simulated_graph() -> None:
    cache = Keys()
    artifacts = artifacts_of(cache)
    for name in RUNTIMES:
        artifacts.engine(CaseId(model="unet", task="mni152", backend=name, precision="fake-fp8"))
    assert len(cache.inputs) == 1


def test_the_record_names_the_simulation_as_what_calibrated() -> None:
    row = CaseResult(
        model="unet", task="mni152", backend="openvino", precision="fake-int4-int4", status="ok"
    )
    artifacts = artifacts_of(Keys(), quantizer="modelopt", calibration_method="entropy")
    found = bench._calibration(row, artifacts)
    assert (found.quantizer, found.method) == ("simulation", "max")
    real = bench._calibration(replace(row, precision="int8"), artifacts)
    assert (real.quantizer, real.method) == ("modelopt", "entropy")


# --- what executes -------------------------------------------------------------------------------


def tiny(folder: Path, images: np.ndarray[Any, Any], precision: Precision) -> Path:
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], name="conv")]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, (1, 4, 8, 8, 8)) for n in "xy"]
    graph = helper.make_graph(nodes, "t", ends[:1], ends[1:], [numpy_helper.from_array(WEIGHTS, "w")])  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.save(model, folder / "float.onnx")
    spec = quantizers.SIMULATIONS[precision]
    quantizer = quantizers.load(spec.name, spec.scheme)
    result = quantizer.quantize(folder / "float.onnx", images, "max", folder, ())
    return folder / result.file


@pytest.mark.parametrize("precision", PROJECTED)
@pytest.mark.parametrize("name", RUNTIMES)
def test_engines_compute_in_float_and_lose_something(
    name: str, precision: Precision, tmp_path: Path
) -> None:
    images = np.random.default_rng(0).normal(size=(2, 4, 8, 8, 8)).astype(np.float32)
    backend = backends.load(name)
    source = tiny(tmp_path, images, precision)
    session = backend.load(backend.build(str(source), options(precision)), options(precision))
    output, _ = session.infer(images[:1])
    layers = session.layers()
    session.close()
    assert layers
    assert {layer.arithmetic for layer in layers} == {"float"}
    exact = np.einsum("oi,nidhw->nodhw", WEIGHTS[:, :, 0, 0, 0], images[:1])
    error = np.abs(output - exact).max() / np.abs(exact).max()
    assert 0.005 < error < 0.3


def test_a_simulation_that_computes_in_int8_after_all_is_a_failure() -> None:
    shares = Share(int8=1.0, float=0.0, unmapped=0.0)
    row = CaseResult(
        model="unet", task="mni152", backend="openvino", precision="fake-int4-int8", status="ok",
        int8_coverage=Coverage(by_count=shares, by_macs=shares),
    )  # fmt: skip
    assert refuse_int8(row).status == "failed"


def test_a_layer_left_in_float_is_named_as_in_the_graph(tmp_path: Path) -> None:
    images = np.ones((1, 4, 8, 8, 8), np.float32)
    tiny(tmp_path, images, "fake-int4")
    quantizer = quantizers.load("simulation", "int4")
    kept = GraphNode(name="conv", op_type="Conv", outputs=("y",), macs=1)
    result = quantizer.quantize(tmp_path / "float.onnx", images, "max", tmp_path, [kept])
    assert result.quantize_nodes == 0


# --- what is shown -------------------------------------------------------------------------------


@pytest.fixture
def projected() -> RunRecord:
    """A network in three precisions, and the simulation as every projection, seemingly faster."""
    rows = [case for case in report_records.eight_networks().cases if case.model == "unet"]
    fake = rows[1]
    assert fake.latency_ms is not None
    quick = replace(fake.latency_ms, median=fake.latency_ms.median / 7)
    more = [replace(fake, precision=p, latency_ms=quick, certificate=None) for p in PROJECTED]
    return report_records.run_of([*rows, *more])


def test_the_terminal_marks_them_and_gives_no_gain(projected: RunRecord) -> None:
    stream = StringIO()
    print_record(make_console(stream), projected)
    text = stream.getvalue()
    headings = [cell.strip() for cell in text.splitlines()[2].strip("│┃ ").split("┃")]
    for precision in PROJECTED:
        (line,) = [line for line in text.splitlines() if f" {precision}† " in line]
        cells = dict(zip(headings, map(str.strip, line.strip("│┃ ").split("│")), strict=True))
        assert (cells["smaller"], cells["faster"]) == ("–", "–")
        assert cells["mean Dice"] != "–"
    assert "† Simulated: values rounded in float" in text
    assert "fake-int8† " in text
    assert "only their Dice is a finding" in text
    assert text.count("certificate of") == 1


def test_the_footnote_says_no_more_than_the_table_shows() -> None:
    rows = report_records.eight_networks().cases
    assert "No engine here" not in footnote(rows)
    assert "a float engine's" in footnote(rows)
    assert not footnote([row for row in rows if row.precision != "fake-int8"])


@pytest.mark.parametrize("width", [80, 100, 152])
def test_no_name_loses_its_end_however_narrow_the_terminal(
    projected: RunRecord, width: int
) -> None:
    console = make_console(StringIO())
    console.width = width
    print_record(console, projected)
    assert isinstance(console.file, StringIO)
    assert "…" not in console.file.getvalue()
    whole = "".join(console.file.getvalue().split())
    for precision in PROJECTED:
        last = precision.rpartition("-")[2]  # the part behind a fold
        assert f"{last}†" in whole


def test_markdown_marks_them_and_gives_no_gain(projected: RunRecord) -> None:
    text = markdown_of(projected, None).replace("&#40;", "(").replace("&#41;", ")")
    for precision in PROJECTED:
        (line,) = [line for line in text.splitlines() if f"| {precision} (simulated) |" in line]
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        assert (cells[3], cells[5]) == ("–", "–")
    assert "only their Dice is a finding" in text


def test_the_page_draws_their_dice_and_neither_size_nor_time(projected: RunRecord) -> None:
    html = html_of(projected, None)
    assert "only their Dice is a finding" in html
    for precision in PROJECTED:
        assert f"{precision} (simulated)" in html
        assert f"unet {precision}:" not in html  # the words of a mark of size and time
        assert f"{precision}, launch" not in html
        assert f", {precision}: 0." in html  # the words of a mark of Dice
    assert "unet fake-int8:" in html


def test_only_projections_leave_the_charts_of_time() -> None:
    groups = groups_of(report_records.eight_networks().cases)
    assert built(groups) == groups


def test_every_precision_has_a_look_that_the_style_knows() -> None:
    style = Path(backends.__file__).parents[1] / "report" / "templates" / "style.css"
    text = style.read_text()
    for precision in get_args(Precision):
        assert f".{look(precision).class_} " in text or f".{look(precision).class_}," in text
        assert f".t-{precision} " in text or f".t-{precision}," in text  # of a trend


def test_projections_have_four_shapes() -> None:
    assert len({look(precision).shape for precision in PROJECTED_PRECISIONS}) == 4
