"""The graph of one version of a runtime: what it needs, how it is written, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from voxgate import quantizers
from voxgate.artifacts import jobs
from voxgate.artifacts.adapted_graphs import adapted, source_of
from voxgate.artifacts.cache import Cache
from voxgate.artifacts.fingerprint import file_of, reached
from voxgate.artifacts.launcher import Limits
from voxgate.artifacts.run_artifacts import Artifacts
from voxgate.config import RunConfig
from voxgate.errors import ExportError, GraphLintError, UnavailableError
from voxgate.quantization import lowering, norms
from voxgate.quantization.lint import lint
from voxgate.quantizers import placement
from voxgate.quantizers.base import Quantized
from voxgate.quantizers.graph_needs import needs_of
from voxgate.records.case import CaseId
from voxgate.records.engine import GraphFacts
from voxgate.records.findings import Finding
from voxgate.records.runtime import EngineOptions, GraphNeeds, Probe
from voxgate.records.scales import Ranges
from voxgate.stages import adapt as stage
from voxgate.stages import file_names
from voxgate.stages.adapt_requests import Adapted, AdaptRequest
from voxgate.stages.requests import Exported, Prepared

from suites.support import small_network

onnx: Any = pytest.importorskip("onnx", reason="onnx is not installed")

OLD = GraphNeeds(opset=17, primitives=(norms.INSTANCE, norms.LAYER))
RULES = ("pools-in-float", "convolution-outputs")


# --- needs ---------------------------------------------------------------------------------------


def test_an_old_version_gets_another_graph_in_every_precision() -> None:
    for precision in ("fp32", "tf32", "fp16"):
        needs = needs_of("tensorrt", "8.6.0", "onnx", precision)
        assert needs is not None
        assert (needs.opset, needs.half, needs.rules) == (17, False, ())
    needs = needs_of("tensorrt", "8.6.0", "quantized", "int8-fp16")
    assert needs is not None
    assert needs.rules
    assert not needs.half


def test_a_strongly_typed_version_gets_half_precision_in_the_graph() -> None:
    assert needs_of("tensorrt", "10.3.0", "onnx", "fp32") is None
    assert needs_of("tensorrt", "10.3.0", "onnx", "tf32") is None
    assert needs_of("tensorrt-rtx", "1.2.0", "onnx", "fp16") == GraphNeeds(opset=21, half=True)
    needs = needs_of("tensorrt", "11.4.0", "quantized", "int8-fp16")
    assert needs is not None
    assert needs.half


def test_other_runtimes_get_the_graph_as_it_is() -> None:
    assert needs_of("openvino", "2026.0", "quantized", "int8") is None
    assert needs_of("pytorch", "2.0", "weights", "fp32") is None


def test_a_version_that_nothing_is_known_of_is_unavailable() -> None:
    with pytest.raises(UnavailableError, match=r"TensorRT 7\.2"):
        needs_of("tensorrt", "7.2", "onnx", "fp32")


# --- the stage -----------------------------------------------------------------------------------


def ask(folder: Path, needs: GraphNeeds, **changes: Any) -> AdaptRequest:
    source = small_network.write_onnx(folder / "source.onnx", small_network.ALL_EDGES)
    np.save(folder / "images.npy", small_network.IMAGE)
    ranges = Ranges(by_tensor=dict.fromkeys("acdhstu", ((-1.0, 3.0), (-4.0, 2.0))))
    (folder / "ranges.json").write_bytes(msgspec.json.encode(ranges))
    options = EngineOptions(precision="int8", threads=1, model="m", task="t", classes=3)
    (folder / "out").mkdir(exist_ok=True)
    request = AdaptRequest(
        source=str(source),
        quantized=True,
        needs=needs,
        nodes=small_network.nodes(),
        images=str(folder / "images.npy"),
        folder=str(folder / "out"),
        options=options,
        ranges=str(folder / "ranges.json"),
    )
    return replace(request, **changes)


def test_pairs_are_moved_and_operators_rewritten(tmp_path: Path) -> None:
    made = stage.adapt(ask(tmp_path, replace(OLD, rules=RULES)))
    model = onnx.load(tmp_path / "out" / made.file)
    assert [entry.version for entry in model.opset_import] == [17]
    assert made.touched["pools-in-float"] == ("pool",)
    assert made.quantized_macs == pytest.approx(0.8)
    assert made.float_nodes == ("head",)  # which reads the pooled tensor
    assert made.max_relative_error is not None
    assert made.max_relative_error < 1e-6
    assert made.half_error is None
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [file_names.ONNX]


def test_layers_lose_their_pairs(tmp_path: Path) -> None:
    made = stage.adapt(ask(tmp_path, GraphNeeds(opset=21), float_layers=("left", "product")))
    assert set(made.float_nodes) == {"left", "product"}
    assert made.quantized_macs == pytest.approx(0.6)
    assert made.max_relative_error is None  # nothing was rewritten


def write_norm(path: Path) -> str:
    """Relu, an instance norm, a leaky activation and Sigmoid."""
    ones = onnx.numpy_helper.from_array(np.ones(2, np.float32), "s")
    nodes = [
        onnx.helper.make_node("Relu", ["x"], ["r"], name="relu"),
        onnx.helper.make_node(norms.INSTANCE, ["r", "s", "s"], ["n"], name="norm"),
        onnx.helper.make_node("LeakyRelu", ["n"], ["l"], name="leaky"),
        onnx.helper.make_node("Sigmoid", ["l"], ["y"], name="sigmoid"),
    ]
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 2, 8, 8, 8])
        for name in ("x", "y")
    ]
    graph = onnx.helper.make_graph(nodes, "g", ends[:1], ends[1:], [ones])
    opset = [onnx.helper.make_opsetid("", 21)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return str(path)


def test_norms_as_primitives_are_named_for_single_precision(tmp_path: Path) -> None:
    source = write_norm(tmp_path / "norm.onnx")
    made = stage.adapt(ask(tmp_path, OLD, source=source, quantized=False, nodes=()))
    graph = onnx.load(tmp_path / "out" / made.file).graph
    kinds = {node.name: node.op_type for node in graph.node}
    assert [kinds[name] for name in made.single_precision] == [
        "ReduceMean", "Sub", "Mul", "ReduceMean", "Add", "Sqrt", "Div", "Mul", "Add",
    ]  # fmt: skip
    assert made.single_precision[-1] == "norm"
    rest = [kind for name, kind in kinds.items() if name not in made.single_precision]
    assert rest == ["Relu", "Mul", "Max", "Sigmoid"]  # the leaky activation may round


def test_a_graph_without_norms_as_primitives_computes_as_flags_say(tmp_path: Path) -> None:
    for needs in (OLD, GraphNeeds(opset=21)):
        assert stage.adapt(ask(tmp_path, needs)).single_precision == ()


def test_half_precision_leaves_norms_in_float(tmp_path: Path) -> None:
    pytest.importorskip("modelopt", reason="ModelOpt is not installed")
    source = write_norm(tmp_path / "norm.onnx")
    needs = GraphNeeds(opset=21, half=True)
    made = stage.adapt(ask(tmp_path, needs, source=source, quantized=False, nodes=()))
    model = onnx.shape_inference.infer_shapes(onnx.load(tmp_path / "out" / made.file))
    kinds = {v.name: v.type.tensor_type.elem_type for v in model.graph.value_info}
    (norm,) = [node for node in model.graph.node if node.op_type == norms.INSTANCE]
    assert kinds[norm.input[0]] == onnx.TensorProto.FLOAT
    assert onnx.TensorProto.FLOAT16 in kinds.values()
    assert made.half_error is not None
    assert made.half_error < 1e-2
    assert {v.type.tensor_type.elem_type for v in model.graph.input} == {onnx.TensorProto.FLOAT}


def test_half_scales_never_become_zero(tmp_path: Path) -> None:
    pytest.importorskip("modelopt", reason="ModelOpt is not installed")
    request = ask(tmp_path, GraphNeeds(opset=21, half=True))
    model = onnx.load(request.source)
    tiny = onnx.numpy_helper.from_array(np.array(1e-9, np.float32), "tiny")
    model.graph.initializer.append(tiny)
    for node in model.graph.node:
        if node.name in {"left.w.q", "left.w.dq"}:
            node.input[1] = "tiny"
    onnx.save(model, request.source)
    made = stage.adapt(request)
    assert not [finding for finding in made.findings if finding.fatal]
    written = onnx.load(tmp_path / "out" / made.file).graph
    (node,) = [node for node in written.node if node.name == "left.w.q"]
    (scale,) = [t for t in written.initializer if t.name == node.input[1]]
    value = onnx.numpy_helper.to_array(scale)
    assert value.dtype == np.float16
    assert value == np.finfo(np.float16).smallest_subnormal


def test_a_half_scale_of_zero_is_refused_by_name(tmp_path: Path) -> None:
    path = small_network.write_onnx(tmp_path / "q.onnx", small_network.ALL_EDGES)
    model = onnx.load(path)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float16(1e-9), "none"))
    for node in model.graph.node:
        if node.name == "left.w.dq":
            node.input[1] = "none"
    assert ("scale-value", "left.w.dq") in {(f.rule, f.node) for f in lint(model) if f.fatal}


def test_a_rewriting_that_changes_the_network_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(wiring: Any, opset: int) -> Any:
        del opset
        for node in wiring.nodes:
            if node.op_type == "Relu":
                node.op_type = "Abs"
        return wiring.finish()

    monkeypatch.setattr(lowering, "lower", spoil)
    with pytest.raises(ExportError, match="the rewriting changed the network"):
        stage.adapt(ask(tmp_path, OLD))


def test_a_rule_that_changes_the_network_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(placing: Any) -> tuple[str, ...]:
        placing.of_type("Relu")[0].op_type = "Abs"
        return ()

    monkeypatch.setitem(placement.RULES, "spoil", spoil)
    with pytest.raises(ExportError, match="the rewriting changed the network"):
        stage.adapt(ask(tmp_path, GraphNeeds(opset=21, rules=("spoil",))))


# --- the artifact --------------------------------------------------------------------------------


class _GivenArtifacts(Artifacts):
    """Artifacts whose graphs are there, with a TensorRT of a version."""

    version = "8.6.0"

    def probe(self, backend: str) -> Probe:
        del backend
        return Probe(available=True, version=self.version)


@pytest.fixture
def artifacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _GivenArtifacts:
    made = _GivenArtifacts(
        config=RunConfig(),
        cache=Cache(tmp_path / "cache"),
        limits=Limits(),
        announce=lambda _: None,
    )

    def stored(kind: str, result: Any, *names: str) -> Any:
        def make(folder: Path) -> Any:
            for name in names:
                (folder / name).write_bytes(kind.encode())
            return result

        return made.cache.get_or_make(kind, {}, type(result), make)

    facts = GraphFacts(nodes=(), parameters=1, opset=21)
    exported = Exported(graph=facts, onnx_bytes=1, max_relative_error=0.0)
    quantized = Quantized(format="onnx-qdq", file="q.onnx", quantize_nodes=1)
    patches = Prepared(evaluation=())
    for name, artifact in (
        ("onnx", stored("onnx", exported, file_names.ONNX)),
        ("quantized", stored("quantized", quantized, "q.onnx")),
        ("patches", stored("patches", patches, file_names.EXPORT_IMAGES)),
    ):
        monkeypatch.setattr(made, name, lambda *_, artifact=artifact: artifact)
    return made


def case(precision: Any, backend: str = "tensorrt") -> CaseId:
    return CaseId(model="unet", task="mni152", backend=backend, precision=precision)


def run(findings: tuple[Finding, ...] = ()) -> Any:
    asked: list[AdaptRequest] = []

    def job(what: Any, request: AdaptRequest, *_: object) -> Adapted:
        assert what is jobs.ADAPT
        asked.append(request)
        (Path(request.folder) / file_names.ONNX).write_bytes(request.source.encode())
        return Adapted(file=file_names.ONNX, findings=findings)

    return job, asked


def test_one_graph_serves_all_precisions_that_need_the_same(
    artifacts: _GivenArtifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, asked = run()
    monkeypatch.setattr("voxgate.artifacts.adapted_graphs.run_job", job)
    monkeypatch.setattr("voxgate.artifacts.adapted_graphs.NEED_RANGES", frozenset())
    digests = {
        p: source_of(artifacts, case(p))[1] for p in ("fp32", "tf32", "fp16", "int8", "int8-fp16")
    }
    assert len(asked) == 2  # a float graph and a quantized one
    assert digests["fp32"] == digests["tf32"] == digests["fp16"] != digests["int8"]
    assert digests["int8"] == digests["int8-fp16"]


def test_a_graph_that_needs_no_change_is_no_artifact(artifacts: _GivenArtifacts) -> None:
    artifacts.version = "10.3.0"
    assert adapted(artifacts, case("fp32")) is None
    assert source_of(artifacts, case("fp32"))[0].endswith(file_names.ONNX)
    assert adapted(artifacts, case("int8", "openvino")) is None


def test_fatal_findings_refuse_the_graph_each_time(
    artifacts: _GivenArtifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    finding = Finding(rule="scale-value", node="left.w.q", message="is 0", fatal=True)
    job, asked = run((finding,))
    monkeypatch.setattr("voxgate.artifacts.adapted_graphs.run_job", job)
    artifacts.version = "10.3.0"
    for _ in range(2):
        with pytest.raises(GraphLintError, match=r"left\.w\.q \(scale-value\): is 0"):
            source_of(artifacts, case("int8-fp16"))
    assert len(asked) == 1


def test_the_placement_of_pairs_is_no_part_of_what_a_quantizer_writes() -> None:
    for spec in (*quantizers.QUANTIZERS.values(), *quantizers.SIMULATIONS.values()):
        code = reached("stages/quantize.py", file_of(spec.module))
        assert {"quantizers/base.py", "quantizers/images.py"} < set(code)
        assert not [n for n in code if n.startswith(("quantizers/placement", "quantizers/pairs"))]
