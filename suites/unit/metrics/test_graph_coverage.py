"""Multiply-accumulates counted by hand, and int8 coverage that nothing can drop out of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from voxgate.errors import ExportError
from voxgate.metrics.coverage import measure_coverage
from voxgate.quantization.macs import count_macs, count_quantize_nodes, read_graph
from voxgate.records.engine import Arithmetic, ExecutedLayer, GraphFacts, GraphNode, Share

Dims = tuple[int | str, ...]


def _model(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: dict[str, Dims],
    outputs: list[str],
    weights: Mapping[str, tuple[int, ...]] | None = None,
) -> Path:
    """An ONNX file; shapes of outputs are left to inference."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs],
        [
            numpy_helper.from_array(np.zeros(shape, np.float32), name)
            for name, shape in (weights or {}).items()
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]), path)
    return path


def _only_macs(path: Path) -> int:
    (node,) = read_graph(path).nodes
    return node.macs


def test_convolution(tmp_path: Path) -> None:
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], "conv", pads=[1] * 6)
    path = _model(
        tmp_path / "m.onnx",
        [node],
        {"x": (1, 2, 4, 5, 6)},
        ["y"],
        {"w": (8, 2, 3, 3, 3), "b": (8,)},
    )
    # 8 x 4 x 5 x 6 = 960 outputs, each of 2 x 27 = 54 products
    assert _only_macs(path) == 51_840


def test_strided_convolution_counts_its_smaller_output(tmp_path: Path) -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], "conv", strides=[2, 2, 2])
    path = _model(
        tmp_path / "m.onnx", [node], {"x": (1, 4, 8, 8, 8)}, ["y"], {"w": (6, 4, 2, 2, 2)}
    )
    # 6 x 4 x 4 x 4 = 384 outputs, each of 4 x 8 = 32 products
    assert _only_macs(path) == 12_288


def test_grouped_convolution_reads_its_group_only(tmp_path: Path) -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], "conv", group=4)
    path = _model(
        tmp_path / "m.onnx", [node], {"x": (1, 8, 3, 3, 3)}, ["y"], {"w": (12, 2, 1, 1, 1)}
    )
    # 12 x 27 = 324 outputs, each of 8 / 4 = 2 products
    assert _only_macs(path) == 648


def test_batch_multiplies_the_count(tmp_path: Path) -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], "conv")
    path = _model(
        tmp_path / "m.onnx", [node], {"x": (3, 2, 2, 2, 2)}, ["y"], {"w": (5, 2, 1, 1, 1)}
    )
    # 3 x 5 x 8 = 120 outputs, each of 2 products
    assert _only_macs(path) == 240


def test_transposed_convolution(tmp_path: Path) -> None:
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], "up", strides=[2, 2, 2])
    path = _model(
        tmp_path / "m.onnx", [node], {"x": (1, 4, 3, 3, 3)}, ["y"], {"w": (4, 6, 2, 2, 2)}
    )
    # 4 x 27 = 108 inputs, each multiplied with 6 x 8 = 48 weights
    assert _only_macs(path) == 5_184


def test_grouped_transposed_convolution(tmp_path: Path) -> None:
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], "up", group=2, strides=[2, 2, 2])
    path = _model(
        tmp_path / "m.onnx", [node], {"x": (1, 4, 3, 3, 3)}, ["y"], {"w": (4, 3, 2, 2, 2)}
    )
    # 108 inputs, each multiplied with 3 x 8 = 24 weights: its group makes 3 of the 6 channels
    assert _only_macs(path) == 2_592


@pytest.mark.parametrize(
    ("attributes", "left", "right"),
    [
        ({}, (5, 7), (7, 3)),
        ({"transA": 1}, (7, 5), (7, 3)),
        ({"transB": 1}, (5, 7), (3, 7)),
        ({"transA": 1, "transB": 1}, (7, 5), (3, 7)),
        ({"transA": 0}, (5, 7), (7, 3)),
    ],
)
def test_gemm_in_every_orientation(
    tmp_path: Path, attributes: dict[str, Any], left: tuple[int, ...], right: tuple[int, ...]
) -> None:
    node = helper.make_node("Gemm", ["x", "w"], ["y"], "fc", **attributes)
    path = _model(tmp_path / "m.onnx", [node], {"x": left}, ["y"], {"w": right})
    # 5 x 3 = 15 outputs, each of 7 products
    assert _only_macs(path) == 105


@pytest.mark.parametrize(
    ("left", "right", "macs"),
    [
        ((5, 7), (7, 3), 105),
        ((2, 4, 5, 7), (2, 4, 7, 3), 840),
        ((2, 4, 5, 7), (7, 3), 840),
        ((7,), (7, 3), 21),
        ((5, 7), (7,), 35),
    ],
)
def test_matmul_with_and_without_batch_axes(
    tmp_path: Path, left: tuple[int, ...], right: tuple[int, ...], macs: int
) -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"], "attention")
    path = _model(tmp_path / "m.onnx", [node], {"x": left, "w": right}, ["y"])
    assert _only_macs(path) == macs


def test_shapes_are_inferred_through_other_nodes(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], "first"),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("MaxPool", ["b"], ["c"], "pool", kernel_shape=[2] * 3, strides=[2] * 3),
        helper.make_node("Conv", ["c", "w2"], ["d"], "second"),
    ]
    weights = {"w1": (3, 1, 1, 1, 1), "w2": (2, 3, 1, 1, 1)}
    facts = read_graph(_model(tmp_path / "m.onnx", nodes, {"x": (1, 1, 4, 4, 4)}, ["d"], weights))
    # first: 3 x 64 outputs of 1 product; second: 2 x 8 outputs of 3
    assert facts.nodes == (
        GraphNode(name="first", op_type="Conv", outputs=("a",), macs=192),
        GraphNode(name="second", op_type="Conv", outputs=("d",), macs=48),
    )
    assert facts.parameters == 3 + 6
    assert facts.opset == 21


def test_node_without_a_name_is_known_by_its_output(tmp_path: Path) -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    path = _model(tmp_path / "m.onnx", [node], {"x": (1, 2)}, ["y"], {"w": (2, 2)})
    assert read_graph(path).nodes[0].name == "y"


def test_integers_are_no_parameters(tmp_path: Path) -> None:
    node = helper.make_node("Reshape", ["x", "shape"], ["y"], "reshape")
    path = _model(tmp_path / "m.onnx", [node], {"x": (2, 3)}, ["y"])
    model = onnx.load(path)
    model.graph.initializer.append(numpy_helper.from_array(np.array([3, 2]), "shape"))
    onnx.save(model, path)
    assert read_graph(path) == GraphFacts(nodes=(), parameters=0, opset=21)


@pytest.mark.parametrize("batch", ["batch", "N"])
def test_unknown_shape_names_the_node(tmp_path: Path, batch: str) -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], "encoder/conv_3")
    path = _model(
        tmp_path / "m.onnx", [node], {"x": (batch, 1, 4, 4, 4)}, ["y"], {"w": (2, 1, 1, 1, 1)}
    )
    with pytest.raises(ExportError, match="static shapes") as caught:
        read_graph(path)
    assert "'encoder/conv_3' (Conv)" in str(caught.value)
    assert "'y'" in str(caught.value)


def test_unknown_shape_at_a_node_without_a_name_names_its_output() -> None:
    node = helper.make_node("Conv", ["x", "w"], ["decoder_out"])
    shapes: dict[str, tuple[int, ...]] = {"decoder_out": (1, 2, 4, 4, 4)}
    with pytest.raises(ExportError, match="at node 'decoder_out'"):
        count_macs(node, shapes)


def test_quantize_nodes_are_counted(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s"], ["q"], "q1"),
        helper.make_node("DequantizeLinear", ["q", "s"], ["d"], "d1"),
        helper.make_node("QuantizeLinear", ["d", "s"], ["r"], "q2"),
        helper.make_node("DequantizeLinear", ["r", "s"], ["y"], "d2"),
    ]
    path = _model(tmp_path / "m.onnx", nodes, {"x": (4,)}, ["y"], {"s": ()})
    assert count_quantize_nodes(path) == 2


# --- coverage ------------------------------------------------------------------------------------


def _node(name: str, macs: int, *outputs: str) -> GraphNode:
    return GraphNode(name=name, op_type="Conv", outputs=outputs or (f"{name}_out",), macs=macs)


def _graph(*nodes: GraphNode) -> GraphFacts:
    return GraphFacts(nodes=nodes, parameters=0, opset=21)


def _layer(arithmetic: Arithmetic, *sources: str) -> ExecutedLayer:
    return ExecutedLayer(
        name="layer", kind="Convolution", arithmetic=arithmetic, detail="", sources=sources
    )


ABC = _graph(_node("a", 1_000), _node("b", 3_000), _node("c", 4_000))


def test_shares_by_count_and_by_macs_differ() -> None:
    layers = [_layer("int8", "a"), _layer("float", "b"), _layer("int8", "c")]
    coverage = measure_coverage(ABC, layers)
    assert coverage.by_count == Share(int8=2 / 3, float=1 / 3, unmapped=0.0)
    assert coverage.by_macs == Share(int8=0.625, float=0.375, unmapped=0.0)
    assert coverage.float_nodes == ("b",)
    assert coverage.unmapped_nodes == ()


def test_node_in_no_layer_is_unmapped() -> None:
    coverage = measure_coverage(ABC, [_layer("int8", "a"), _layer("int8", "b")])
    assert coverage.by_macs == Share(int8=0.5, float=0.0, unmapped=0.5)
    assert coverage.unmapped_nodes == ("c",)


def test_layer_may_name_an_output_instead_of_the_node() -> None:
    coverage = measure_coverage(_graph(_node("a", 5, "y1", "y2")), [_layer("int8", "y2")])
    assert coverage.by_macs.int8 == 1.0


def test_one_layer_may_stand_for_several_nodes() -> None:
    assert measure_coverage(ABC, [_layer("int8", "a", "b", "c")]).by_macs.int8 == 1.0


@pytest.mark.parametrize("order", [("int8", "float"), ("float", "int8")])
def test_node_of_an_int8_and_a_float_layer_is_float(order: tuple[Arithmetic, Arithmetic]) -> None:
    coverage = measure_coverage(_graph(_node("a", 5)), [_layer(kind, "a") for kind in order])
    assert coverage.by_macs == Share(int8=0.0, float=1.0, unmapped=0.0)


def test_float_layer_that_names_the_output_counts_too() -> None:
    layers = [_layer("int8", "a"), _layer("float", "a_out")]
    assert measure_coverage(_graph(_node("a", 5)), layers).by_count.float == 1.0


@pytest.mark.parametrize("other", ["int8", "float", "unknown"])
def test_unknown_arithmetic_is_unmapped(other: Arithmetic) -> None:
    coverage = measure_coverage(_graph(_node("a", 5)), [_layer("unknown", "a"), _layer(other, "a")])
    assert coverage.by_macs == Share(int8=0.0, float=0.0, unmapped=1.0)
    assert coverage.unmapped_nodes == ("a",)


def test_layers_without_a_node_change_nothing() -> None:
    layers = [_layer("int8", "a", "b", "c"), _layer("float", "resize"), _layer("float")]
    assert measure_coverage(ABC, layers).by_macs == Share(int8=1.0, float=0.0, unmapped=0.0)


def test_graph_without_nodes_is_not_covered() -> None:
    coverage = measure_coverage(_graph(), [_layer("int8", "a")])
    nothing = Share(int8=0.0, float=0.0, unmapped=1.0)
    assert (coverage.by_count, coverage.by_macs) == (nothing, nothing)
    assert coverage.float_nodes == coverage.unmapped_nodes == ()


_NAMES = ["a", "b", "c", "d"]
_graphs = st.lists(st.integers(0, 10**9), max_size=4).map(
    lambda macs: _graph(*[_node(name, m) for name, m in zip(_NAMES, macs, strict=False)])
)
_arithmetics = st.sampled_from(["int8", "float", "unknown"])
_sources = st.lists(st.sampled_from([*_NAMES, "a_out", "b_out", "stray"]), max_size=3)
_layers = st.lists(
    st.builds(
        lambda arithmetic, sources: _layer(arithmetic, *sources),
        _arithmetics,
        _sources,
    ),
    max_size=6,
)


@given(_graphs, _layers)
def test_shares_are_parts_of_one(graph: GraphFacts, layers: list[ExecutedLayer]) -> None:
    coverage = measure_coverage(graph, layers)
    for share in (coverage.by_count, coverage.by_macs):
        assert min(share.int8, share.float, share.unmapped) >= 0
        assert share.int8 + share.float + share.unmapped == pytest.approx(1, abs=1e-12)


@given(_graphs, _layers, st.randoms(use_true_random=False))
def test_order_of_layers_does_not_matter(
    graph: GraphFacts, layers: list[ExecutedLayer], random: object
) -> None:
    shuffled = list(layers)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert measure_coverage(graph, shuffled) == measure_coverage(graph, layers)


@given(_graphs, _layers)
def test_one_more_float_layer_never_adds_int8(
    graph: GraphFacts, layers: list[ExecutedLayer]
) -> None:
    before = measure_coverage(graph, layers)
    after = measure_coverage(graph, [*layers, _layer("float", *_NAMES)])
    assert after.by_macs.int8 == 0.0
    assert after.by_count.unmapped <= before.by_count.unmapped or not graph.nodes


@given(_graphs, _layers)
def test_every_node_has_exactly_one_fate(graph: GraphFacts, layers: list[ExecutedLayer]) -> None:
    coverage = measure_coverage(graph, layers)
    assert not set(coverage.float_nodes) & set(coverage.unmapped_nodes)
    rest = len(graph.nodes) - len(coverage.float_nodes) - len(coverage.unmapped_nodes)
    assert coverage.by_count.int8 * len(graph.nodes) == pytest.approx(rest)
