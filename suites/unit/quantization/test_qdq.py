"""What a graph with Q/DQ nodes must keep: each rule with a graph that does, and one that does not."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from voxgate import backends, errors
from voxgate.artifacts import jobs
from voxgate.artifacts.launcher import Limits, run_job
from voxgate.cli import main
from voxgate.commands.lint import describe
from voxgate.errors import ArtifactError, GraphLintError, UnavailableError
from voxgate.quantization.lint import Linted, lint, lint_file, refuse
from voxgate.records.case import Precision
from voxgate.records.findings import Finding
from voxgate.records.runtime import EngineOptions
from voxgate.stages.build import build, is_quantized_onnx
from voxgate.stages.requests import BuildRequest, QuantizeRequest

Array = NDArray[Any]
LIMITS = Limits(seconds=60)


@dataclass(frozen=True, kw_only=True, slots=True)
class Net:
    """One weighted node with a pair on its activation and a pair on its weights.

    Weights that are ``stored`` as integers have a dequantize node alone. ``rename`` exchanges inputs of
    the nodes; ``extra`` nodes come first.
    """

    op: str = "Conv"
    x: tuple[int, ...] = (1, 8, 4, 4, 4)
    weights: tuple[int, ...] = (16, 8, 1, 1, 1)
    stored: str = "float32"
    x_scale: Sequence[float] | float = 0.1
    w_scale: Sequence[float] | float = 0.1
    axis: int | None = 0
    zero_point: int = 0
    zero_type: str = "int8"
    scale_type: str = "float32"
    opset: int = 21
    attributes: Mapping[str, int] | None = None
    quantized: tuple[str, ...] = ("x", "w")
    extra: tuple[onnx.NodeProto, ...] = ()
    rename: Mapping[str, str] | None = None

    def model(self) -> onnx.ModelProto:
        constants: dict[str, Array] = {
            "w": np.ones(self.weights, self.stored),
            "x_scale": np.asarray(self.x_scale, self.scale_type),
            "w_scale": np.asarray(self.w_scale, self.scale_type),
            "zero": np.full(np.shape(self.x_scale), self.zero_point, self.zero_type),
            "w_zero": np.zeros(np.shape(self.w_scale), "int8"),
        }
        nodes = [*self.extra]
        for name, zero, axis in (("x", "zero", None), ("w", "w_zero", self.axis)):
            nodes += self._pair(name, zero, axis) if name in self.quantized else []
        operands = [f"{name}_dq" if name in self.quantized else name for name in ("x", "w")]
        nodes.append(helper.make_node(self.op, operands, ["y"], "layer", **self._attributes()))
        for node in nodes[len(self.extra) :]:
            renamed = [(self.rename or {}).get(name, name) for name in node.input]
            node.input[:] = renamed
        return model(nodes, self.x, constants, self.opset)

    def _attributes(self) -> dict[str, Any]:
        return dict(self.attributes or {})

    def _pair(self, name: str, zero: str, axis: int | None) -> list[onnx.NodeProto]:
        given: dict[str, Any] = {} if axis is None else {"axis": axis}
        dequantize = helper.make_node(
            "DequantizeLinear", [f"{name}_q", f"{name}_scale", zero], [f"{name}_dq"], f"DQ_{name}", **given
        )  # fmt: skip
        if name == "w" and self.stored != "float32":
            dequantize.input[0] = "w"
            return [dequantize]
        quantize = helper.make_node(
            "QuantizeLinear", [name, f"{name}_scale", zero], [f"{name}_q"], f"Q_{name}", **given
        )
        return [quantize, dequantize]


def model(
    nodes: Sequence[onnx.NodeProto],
    x: tuple[int, ...],
    constants: Mapping[str, Array],
    opset: int = 21,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def rules(net: Net) -> set[str]:
    return {finding.rule for finding in lint(net.model())}


def found(net: Net, rule: str) -> list[Finding]:
    return [finding for finding in lint(net.model()) if finding.rule == rule]


PER_CHANNEL = Net(w_scale=[0.1] * 16)
UP = Net(op="ConvTranspose", weights=(8, 4, 2, 2, 2), axis=1, w_scale=[0.1] * 4)
GEMM = Net(op="Gemm", x=(3, 8), weights=(8, 16), axis=1, w_scale=[0.1] * 16)
MATMUL = Net(op="MatMul", x=(1, 3, 8), weights=(8, 16), axis=1, w_scale=[0.1] * 16)
GROUPED_UP = replace(UP, attributes={"group": 2})


@pytest.mark.parametrize(
    "net",
    [
        Net(),
        PER_CHANNEL,
        UP,
        GROUPED_UP,
        GEMM,
        replace(GEMM, weights=(16, 8), attributes={"transB": 1}, axis=0),
        MATMUL,
        replace(MATMUL, axis=-1),
        replace(PER_CHANNEL, axis=-5),
        replace(PER_CHANNEL, stored="int8"),
        replace(UP, axis=None),  # the default is the right one here
        Net(quantized=()),
        Net(opset=13),
        Net(opset=19, scale_type="float16"),
    ],
)
def test_a_sound_graph_has_no_finding(net: Net) -> None:
    assert lint(net.model()) == ()


# --- zero-point ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "kind"), [(3, "int8"), (-1, "int8"), (128, "uint8")])
def test_a_zero_point_that_is_not_zero(value: int, kind: str) -> None:
    findings = found(Net(zero_point=value, zero_type=kind), "zero-point")
    assert [finding.node for finding in findings] == ["Q_x", "DQ_x"]
    assert all(f"its {kind} zero point is {value}; it must be 0" in f.message for f in findings)
    assert all(finding.fatal for finding in findings)


def test_a_zero_point_of_0_in_uint8_and_none_at_all() -> None:
    assert rules(Net(zero_type="uint8")) == set()
    assert rules(Net(rename={"zero": ""})) == set()
    short = Net().model()
    for node in short.graph.node[:2]:
        del node.input[2:]
    assert lint(short) == ()


def test_one_channel_of_many_is_enough() -> None:
    graph = PER_CHANNEL.model()
    zeros = np.zeros(16, "int8")
    zeros[9] = 5
    (tensor,) = [t for t in graph.graph.initializer if t.name == "w_zero"]
    tensor.CopyFrom(numpy_helper.from_array(zeros, "w_zero"))
    assert [(f.rule, f.node) for f in lint(graph)] == [
        ("zero-point", "Q_w"),
        ("zero-point", "DQ_w"),
    ]
    assert "is 5;" in lint(graph)[0].message


# --- axis ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("net", "axis", "required"),
    [
        (replace(PER_CHANNEL, axis=1, w_scale=[0.1] * 8), "1;", 0),
        (replace(PER_CHANNEL, axis=-4, w_scale=[0.1] * 8), "1;", 0),
        (replace(PER_CHANNEL, axis=None, w_scale=[0.1] * 8), "1 (the default);", 0),
        (replace(PER_CHANNEL, axis=1, w_scale=[0.1] * 8, stored="int8"), "1;", 0),
        (replace(UP, axis=0, w_scale=[0.1] * 8), "0;", 1),
        (replace(GROUPED_UP, axis=0, w_scale=[0.1] * 8), "0;", 1),
        (replace(GEMM, axis=0, w_scale=[0.1] * 8), "0;", 1),
        (replace(GEMM, weights=(16, 8), attributes={"transB": 1}, w_scale=[0.1] * 8), "1;", 0),
        (replace(MATMUL, axis=-2, w_scale=[0.1] * 8), "0;", 1),
    ],
)
def test_weights_are_quantized_along_their_output_channels(
    net: Net, axis: str, required: int
) -> None:
    findings = found(net, "axis")
    nodes = ["Q_w", "DQ_w"] if net.stored == "float32" else ["DQ_w"]
    assert [finding.node for finding in findings] == nodes
    assert rules(net) == {"axis"}
    assert f"{net.op} layer are quantized along axis {axis}" in findings[0].message
    assert f"output channels are axis {required}: set axis to {required}" in findings[0].message
    assert findings[0].fatal


def test_the_axis_of_one_scale_does_not_matter() -> None:
    assert rules(Net(axis=1)) == set()
    assert rules(Net(axis=1, w_scale=[0.1])) == set()


def test_the_axis_is_found_behind_identities() -> None:
    extra = (helper.make_node("Identity", ["w"], ["w_same"], "same"),)
    good = replace(PER_CHANNEL, extra=extra, rename={"w": "w_same"})
    assert rules(good) == set()
    assert rules(replace(good, axis=1, w_scale=[0.1] * 8)) == {"axis"}
    assert rules(replace(good, w_scale=[0.1] * 15)) == {"scale-length"}


def test_the_axis_of_weights_that_an_input_computes_is_not_judged() -> None:
    extra = (helper.make_node("Abs", ["x"], ["computed"], "abs"),)
    net = replace(PER_CHANNEL, axis=1, extra=extra, rename={"w": "computed"})
    assert rules(net) == {"per-tensor-activation"}


@given(
    op=st.sampled_from(["Conv", "ConvTranspose", "Gemm", "GemmT", "MatMul"]),
    outputs=st.integers(2, 9),
    inputs=st.integers(2, 9),
    axis=st.integers(-2, 1),
    length=st.integers(2, 9),
)
def test_axis_and_length_are_judged_apart(
    op: str, outputs: int, inputs: int, axis: int, length: int
) -> None:
    kernel = (1, 1, 1) if op.startswith("Conv") else ()
    first = op in {"Conv", "GemmT"}
    dims = ((outputs, inputs) if first else (inputs, outputs)) + kernel
    chosen = axis % 2
    net = Net(
        op="Gemm" if op == "GemmT" else op,
        weights=dims,
        w_scale=[0.5] * length,
        axis=chosen - len(dims) if axis < 0 else axis,
        attributes={"transB": 1} if op == "GemmT" else None,
    )
    expected = set()
    if chosen != (0 if first else 1):
        expected.add("axis")
    if length != dims[chosen]:
        expected.add("scale-length")
    assert rules(net) == expected


# --- scales --------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["x_scale", "zero"])
@pytest.mark.parametrize("op", ["Abs", "Identity"])
def test_a_computed_scale_is_not_constant(what: str, op: str) -> None:
    extra = (helper.make_node(op, [what], ["computed"], "compute"),)
    findings = found(Net(extra=extra, rename={what: "computed"}), "constant-scale")
    assert [finding.node for finding in findings] == ["Q_x", "DQ_x"]
    assert "'computed' is computed or an input; it must be an init" in findings[0].message
    assert findings[0].fatal
    assert rules(Net(rename={what: "x"})) >= {"constant-scale"}


@pytest.mark.parametrize("attributes", [{"value_float": 0.1}, {"value": None}])
def test_a_constant_node_is_as_good_as_an_initializer(attributes: dict[str, Any]) -> None:
    if "value" in attributes:
        attributes = {"value": numpy_helper.from_array(np.asarray([0.1], "float32"))}
    extra = (helper.make_node("Constant", [], ["stored"], "constant", **attributes),)
    assert rules(Net(extra=extra, rename={"x_scale": "stored"})) == set()


def test_the_values_of_constant_nodes_are_read() -> None:
    bad = (helper.make_node("Constant", [], ["stored"], "constant", value_floats=[0.1, -0.1]),)
    found_rules = rules(Net(extra=bad, rename={"x_scale": "stored"}))
    assert found_rules == {"scale-value", "per-tensor-activation"}


def test_a_node_without_a_scale() -> None:
    graph = Net().model()
    del graph.graph.node[0].input[1:]
    (finding,) = lint(graph)
    assert (finding.rule, finding.node) == ("constant-scale", "Q_x")
    assert "it has no scale" in finding.message


def test_activations_take_one_scale() -> None:
    findings = found(Net(x_scale=[0.1] * 8), "per-tensor-activation")
    assert [finding.node for finding in findings] == ["Q_x", "DQ_x"]
    assert "with 8 scales; activations need one" in findings[0].message
    assert findings[0].fatal
    assert rules(Net(x_scale=[0.1] * 8)) == {"per-tensor-activation"}
    assert rules(Net(x_scale=[0.1])) == set()


@pytest.mark.parametrize("bad", [0.0, -0.1, float("nan"), float("inf")])
@pytest.mark.parametrize("position", [0, 15])
def test_a_scale_must_be_positive_and_finite(bad: float, position: int) -> None:
    scale = [0.1] * 16
    scale[position] = bad
    net = replace(PER_CHANNEL, w_scale=scale)
    assert rules(net) == {"scale-value"}
    findings = found(net, "scale-value")
    assert [finding.node for finding in findings] == ["Q_w", "DQ_w"]
    assert f"1 of its 16 scales, like {bad:g}, are not" in findings[0].message
    assert findings[0].fatal


@pytest.mark.parametrize(
    ("scale", "axis", "words"),
    [
        ([0.1] * 15, 0, "15 scales for the 16 slices of (16, 8, 1, 1, 1) along 0"),
        ([], 0, "0 scales for the 16 slices"),
        ([0.1] * 16, 5, "axis 5 is none of"),
        ([0.1] * 16, -6, "axis -1 is none of"),
        ([[0.1] * 8] * 16, 0, "scale has the shape (16, 8)"),
    ],
)
def test_there_are_as_many_scales_as_slices(scale: list[Any], axis: int, words: str) -> None:
    findings = found(replace(PER_CHANNEL, w_scale=scale, axis=axis), "scale-length")
    assert [finding.node for finding in findings] == ["Q_w", "DQ_w"]
    assert words in findings[0].message
    assert findings[0].fatal


def test_scales_in_another_file_are_not_opened() -> None:
    graph = PER_CHANNEL.model()
    (tensor,) = [t for t in graph.graph.initializer if t.name == "w_scale"]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/no/such/file")
    assert lint(graph) == ()
    tensor.dims[0] = 15
    assert {finding.rule for finding in lint(graph)} == {"scale-length"}


# --- groups, opsets, sides, pairs ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "weights", "groups", "words"),
    [
        ("Conv", (8, 1, 3, 3, 3), 8, "each of its 8 groups has 1 channels in and 1 out"),
        ("Conv", (12, 4, 1, 1, 1), 2, "has 4 channels in and 6 out"),
        ("Conv", (16, 6, 1, 1, 1), 2, "has 6 channels in and 8 out"),
        ("ConvTranspose", (8, 6, 2, 2, 2), 2, "has 4 channels in and 6 out"),
        ("ConvTranspose", (12, 4, 2, 2, 2), 2, "has 6 channels in and 4 out"),
        ("Conv", (16, 4, 1, 1, 1), 2, ""),
        ("ConvTranspose", (8, 4, 2, 2, 2), 2, ""),
        ("Conv", (6, 3, 1, 1, 1), 1, ""),
    ],
)
def test_channels_of_a_group(op: str, weights: tuple[int, ...], groups: int, words: str) -> None:
    net = Net(op=op, weights=weights, attributes={"group": groups})
    findings = lint(net.model())
    assert bool(findings) == bool(words)
    for finding in findings:
        assert (finding.rule, finding.node) == ("grouped-channels", "layer")
        assert words in finding.message
        assert not finding.fatal
    assert rules(replace(net, quantized=("x",))) <= {"one-sided"}


@pytest.mark.parametrize(
    ("net", "nodes", "words", "fatal"),
    [
        (Net(opset=12), ["Q_x"], "opset 12; Q/DQ nodes need at least 13", True),
        (Net(opset=22), ["Q_x"], "opset 22; up to 21", False),
        (
            Net(opset=18, scale_type="float16"),
            ["Q_x", "DQ_x", "Q_w", "DQ_w"],
            "scale is float16 in a graph of opset 18",
            True,
        ),
    ],
)
def test_opsets(net: Net, nodes: list[str], words: str, fatal: bool) -> None:  # noqa: FBT001
    findings = lint(net.model())
    assert [(finding.rule, finding.node) for finding in findings] == [("opset", n) for n in nodes]
    assert words in findings[0].message
    assert all(finding.fatal is fatal for finding in findings)


@pytest.mark.parametrize("opset", [12, 22])
def test_the_opset_of_a_float_graph_is_no_concern(opset: int) -> None:
    assert rules(Net(quantized=(), opset=opset)) == set()


@pytest.mark.parametrize(
    ("quantized", "words"),
    [
        ("w", "its weights are quantized and its activation is not"),
        ("x", "its activation is quantized and its weights are not"),
    ],
)
@pytest.mark.parametrize("net", [Net(), UP, GEMM, MATMUL], ids=lambda net: net.op)
def test_one_side_in_float_is_a_warning(net: Net, quantized: str, words: str) -> None:
    (finding,) = lint(replace(net, quantized=(quantized,)).model())
    assert (finding.rule, finding.node, finding.fatal) == ("one-sided", "layer", False)
    assert words in finding.message


def test_a_quantized_activation_is_found_through_a_pool() -> None:
    graph = Net().model()
    pool = helper.make_node("MaxPool", ["x_dq"], ["pooled"], "pool", kernel_shape=[2, 2, 2])
    graph.graph.node.insert(4, pool)
    graph.graph.node[5].input[0] = "pooled"
    assert lint(graph) == ()
    pool.op_type = "Relu"
    graph.graph.node[4].CopyFrom(pool)
    assert [finding.rule for finding in lint(graph)] == ["one-sided"]


def test_a_product_of_two_activations_has_no_weights() -> None:
    nodes = [*Net(quantized=("x",)).model().graph.node[:2]]
    nodes.append(helper.make_node("MatMul", ["x_dq", "x"], ["y"], "attention"))
    constants = {"x_scale": np.float32(0.1), "zero": np.int8(0)}
    arrays = {name: np.asarray(value) for name, value in constants.items()}
    assert lint(model(nodes, (8, 8), arrays)) == ()


@pytest.mark.parametrize(
    ("stored", "words"), [("int32", "the int32 constant 'w'"), ("int16", "the int16 constant")]
)
def test_wider_constants_are_not_dequantized(stored: str, words: str) -> None:
    (finding,) = found(Net(stored=stored), "dangling")
    assert (finding.node, finding.fatal) == ("DQ_w", True)
    assert words in finding.message


@pytest.mark.parametrize("stored", ["int8", "uint8"])
def test_weights_of_8_bits_need_no_quantize_node(stored: str) -> None:
    assert found(Net(stored=stored), "dangling") == []


def test_a_pair_is_not_parted() -> None:
    extra = (helper.make_node("Abs", ["x_q"], ["between"], "parts"),)
    graph = Net(rename={"x_q": "between"}).model()
    graph.graph.node.insert(1, extra[0])
    (finding,) = lint(graph)
    assert (finding.rule, finding.node) == ("dangling", "DQ_x")
    assert "an output of Abs parts" in finding.message
    (finding,) = found(Net(rename={"x_q": "x"}), "dangling")
    assert "'x', which no node computes" in finding.message


# --- odd graphs ----------------------------------------------------------------------------------


def test_an_unnamed_node_goes_by_its_output() -> None:
    graph = Net(x_scale=0.0).model()
    graph.graph.node[0].name = ""
    assert [finding.node for finding in lint(graph)] == ["x_q", "DQ_x"]


def test_a_circle_of_identities_ends() -> None:
    graph = Net().model()
    for a, b in (("p", "q"), ("q", "p")):
        graph.graph.node.append(helper.make_node("Identity", [a], [b], a))
    graph.graph.node[0].input[1] = "p"
    assert [finding.rule for finding in lint(graph)] == ["constant-scale"]


def test_bodies_are_not_read_and_what_they_make_varies() -> None:
    body = Net(x_scale=0.0).model().graph
    condition = np.asarray([True])
    choice = helper.make_node("If", ["c"], ["chosen"], "if", then_branch=body, else_branch=body)
    nodes = [choice]
    nodes.append(helper.make_node("QuantizeLinear", ["chosen", "s", "z"], ["q"], "Q"))
    nodes.append(helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], "DQ"))
    constants = {"c": condition, "s": np.ones(2, "float32"), "z": np.zeros(2, "int8")}
    findings = lint(model(nodes, (1,), constants))
    assert {finding.rule for finding in findings} == {"per-tensor-activation"}


@pytest.mark.parametrize("kind", ["x_scale", "zero"])
def test_values_that_do_not_fill_their_shape_are_damage(kind: str, tmp_path: Path) -> None:
    graph = Net().model()
    (tensor,) = [t for t in graph.graph.initializer if t.name == kind]
    tensor.dims.append(3)
    with pytest.raises(ArtifactError, match=f"tensor '{kind}' cannot be read"):
        lint(graph)
    path = save(graph, tmp_path / "m.onnx")
    with pytest.raises(ArtifactError, match=r"m\.onnx is damaged"):
        lint_file(path)


# --- files, and the command ----------------------------------------------------------------------


def save(graph: onnx.ModelProto, path: Path) -> Path:
    onnx.save(graph, path)
    return path


def test_lint_of_a_sound_graph(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(PER_CHANNEL.model(), tmp_path / "q.onnx")
    assert main(["lint", str(path)]) == 0
    assert capsys.readouterr().out == "no findings; 2 quantize nodes\n"


def test_lint_of_a_fatal_graph(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(Net(zero_point=3, quantized=("x",)).model(), tmp_path / "q.onnx")
    assert main(["lint", str(path)]) == 4
    *lines, total = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[:2] for line in lines] == [
        ["zero-point", "Q_x"],
        ["zero-point", "DQ_x"],
        ["one-sided", "layer"],
    ]
    assert total == "3 findings, 2 fatal; 1 quantize nodes"


def test_lint_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(Net(quantized=("x",)).model(), tmp_path / "q.onnx")
    assert main(["lint", str(path), "--json"]) == 0  # warnings alone
    printed = json.loads(capsys.readouterr().out)
    (finding,) = printed["findings"]
    assert finding["rule"] == "one-sided"
    assert finding["fatal"] is False
    assert (printed["quantize_nodes"], printed["dequantize_nodes"]) == (1, 1)


def test_a_float_graph_says_so(tmp_path: Path) -> None:
    linted = lint_file(save(Net(quantized=()).model(), tmp_path / "float.onnx"))
    assert linted == Linted(findings=(), quantize_nodes=0, dequantize_nodes=0)
    assert "float.onnx has no Q/DQ nodes" in describe(linted, "float.onnx")
    weights_only = Net(stored="int8", quantized=("w",)).model()
    assert "1 findings, 0 fatal; 0 quantize nodes" in describe(
        lint_file(save(weights_only, tmp_path / "weights.onnx")), "weights.onnx"
    )


def test_lint_of_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "no.onnx"
    assert main(["lint", str(path)]) == 4
    assert f"{path} cannot be read: No such file" in capsys.readouterr().err


def test_a_folder_garbage_and_a_name_of_text_are_no_graph(tmp_path: Path) -> None:
    (tmp_path / "folder.onnx").mkdir()
    for name, content in (
        ("garbage.onnx", b"\xff" * 100),
        ("empty.onnx", b""),
        ("text.json", b"no graph"),
        (
            "headless.onnx",
            onnx.ModelProto(opset_import=model([], (1,), {}).opset_import).SerializeToString(),
        ),
        ("other.onnx", TensorProto(name="a tensor").SerializeToString()),
    ):
        (tmp_path / name).write_bytes(content)
    for path in tmp_path.iterdir():
        with pytest.raises(ArtifactError, match=path.name):
            lint_file(path)


def test_a_truncated_graph_is_found_wherever_it_was_cut(tmp_path: Path) -> None:
    whole = PER_CHANNEL.model().SerializeToString()
    path = tmp_path / "cut.onnx"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ArtifactError, match=r"cut\.onnx"):
            lint_file(path)
    path.write_bytes(whole)
    assert lint_file(path).findings == ()


# --- the build -----------------------------------------------------------------------------------


def request(source: Path, folder: Path, precision: Precision = "fake-int8") -> BuildRequest:
    options = EngineOptions(precision=precision, threads=1, model="m", task="t", classes=16)
    return BuildRequest(
        backend="onnxruntime", options=options, source=str(source), folder=str(folder)
    )


@pytest.fixture(scope="module")
def _runtime() -> None:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")


@pytest.mark.usefixtures("_runtime")
def test_a_bad_graph_is_never_built(tmp_path: Path) -> None:
    # ONNX Runtime itself takes it: what refuses is the check.
    path = save(Net(zero_point=3).model(), tmp_path / "bad.onnx")
    assert backends.load("onnxruntime").build(str(path), request(path, tmp_path).options)
    with pytest.raises(GraphLintError, match=r"bad\.onnx .* Q_x \(zero-point\): .* 0: quantize"):
        run_job(jobs.BUILD, request(path, tmp_path), LIMITS)
    assert [file.name for file in tmp_path.iterdir()] == ["bad.onnx"]


@pytest.mark.usefixtures("_runtime")
@pytest.mark.parametrize(
    ("net", "precision"),
    [
        (PER_CHANNEL, "fake-int8"),
        (Net(quantized=("x",)), "fake-int8"),  # a warning
        (Net(quantized=()), "fake-int8"),
        (Net(zero_point=3), "fp32"),  # no quantized source; what it holds is not judged
    ],
)
def test_other_graphs_are_built(net: Net, precision: Precision, tmp_path: Path) -> None:
    graph = net.model()
    graph.ir_version = 10
    graph.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    path = save(graph, tmp_path / "m.onnx")
    assert build(request(path, tmp_path, precision)).engine_bytes > 0


def test_only_quantized_onnx_is_checked(tmp_path: Path) -> None:
    ir = request(tmp_path / "quantized.xml", tmp_path)
    assert not is_quantized_onnx(replace(ir, backend="openvino"))
    onnx_file = request(tmp_path / "quantized.onnx", tmp_path)
    assert is_quantized_onnx(replace(onnx_file, backend="openvino"))
    assert not is_quantized_onnx(request(tmp_path / "model.onnx", tmp_path, "fp32"))


def test_five_findings_are_shown_and_the_rest_counted() -> None:
    many = tuple(
        Finding(rule="axis", node=f"n{i}", message="wrong", fatal=i != 0) for i in range(9)
    )
    with pytest.raises(GraphLintError) as caught:
        refuse("g.onnx", many)
    shown = str(caught.value)
    assert [f"n{i}" in shown for i in range(9)] == [False, *[True] * 5, *[False] * 3]
    assert "and 3 more" in shown
    refuse("g.onnx", many[:1])
    with pytest.raises(GraphLintError) as caught:
        refuse("g.onnx", many[:6])
    assert "more" not in str(caught.value)


def test_the_error_crosses_a_process_by_its_name() -> None:
    assert errors.by_name("GraphLintError") is GraphLintError
    assert GraphLintError.exit_code == 4


# --- what quantizers write -----------------------------------------------------------------------


def test_what_modelopt_writes_has_no_fatal_finding(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).random((2, 1, 8, 8, 8), dtype=np.float32)
    images = noise.cumsum(-1)  # noise itself calibrates nothing
    np.save(tmp_path / "images.npy", images)
    question = QuantizeRequest(
        quantizer="modelopt",
        method="max",
        onnx=str(float_net(tmp_path / "m.onnx")),
        images=str(tmp_path / "images.npy"),
        folder=str(tmp_path),
    )
    try:
        result = run_job(jobs.QUANTIZE, question, LIMITS)
    except UnavailableError as error:
        pytest.skip(str(error))
    linted = lint_file(tmp_path / result.file)
    assert linted.quantize_nodes == result.quantize_nodes >= 6
    assert linted.findings == ()


def float_net(path: Path) -> Path:
    """Conv3d, ConvTranspose3d, Gemm and MatMul with random weights.

    ModelOpt quantizes no product of a vector, hence the rows.
    """
    random = np.random.default_rng(1)
    shapes = {
        "a": (16, 1, 3, 3, 3),
        "b": (16, 16, 3, 3, 3),
        "c": (16, 16, 2, 2, 2),
        "d": (64, 32),
        "e": (32, 32),
    }
    weights = {n: random.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["1"], "first", pads=[1] * 6, kernel_shape=[3] * 3),
        helper.make_node("Relu", ["1"], ["2"], "relu1"),
        helper.make_node("Conv", ["2", "b"], ["3"], "second", strides=[2] * 3, pads=[1] * 6, kernel_shape=[3] * 3),
        helper.make_node("Relu", ["3"], ["4"], "relu2"),
        helper.make_node("ConvTranspose", ["4", "c"], ["5"], "up", strides=[2] * 3, kernel_shape=[2] * 3),
        helper.make_node("Relu", ["5"], ["6"], "relu3"),
        helper.make_node("MaxPool", ["6"], ["7"], "pool", kernel_shape=[2] * 3, strides=[2] * 3),
        helper.make_node("Flatten", ["7"], ["8"], "flat", axis=2),
        helper.make_node("Gemm", ["8", "d"], ["9"], "gemm"),
        helper.make_node("Relu", ["9"], ["10"], "relu4"),
        helper.make_node("MatMul", ["10", "e"], ["y"], "matmul"),
    ]  # fmt: skip
    graph = model(nodes, (1, 1, 8, 8, 8), weights, 21)
    graph.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, (16, 32)))
    graph.ir_version = 10
    onnx.checker.check_model(graph)
    return save(graph, path)
