"""The weighted nodes of an ONNX graph and their multiply-accumulates, by shape inference."""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from voxgate.errors import ExportError
from voxgate.quantization.onnx_view import varying_tensors
from voxgate.records.engine import GraphFacts, GraphNode

if TYPE_CHECKING:
    import onnx

Shapes = dict[str, tuple[int, ...]]

QUANTIZE_OPS = frozenset({"QuantizeLinear"})


def read_graph(path: Path) -> GraphFacts:
    """Facts of a float ONNX graph with static shapes.

    Raises:
        ExportError: a shape that the count needs is unknown; names the node.
    """
    import onnx

    model = onnx.shape_inference.infer_shapes(onnx.load(path, load_external_data=False))
    shapes = _shapes(model.graph)
    biases = _bias_additions(model.graph)
    fixed = _constant_tensors(model.graph)
    nodes = tuple(
        GraphNode(
            name=node.name or node.output[0],
            op_type=node.op_type,
            outputs=tuple(node.output),
            macs=count_macs(node, shapes),
            aliases=biases.get(node.output[0], ()),
        )
        for node in model.graph.node
        if node.op_type in _COUNTERS and node.output[0] not in fixed
    )
    parameters = sum(
        math.prod(tensor.dims)
        for tensor in model.graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT
    )
    opset = next(entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"})
    return GraphFacts(nodes=nodes, parameters=parameters, opset=opset)


def count_quantize_nodes(path: Path) -> int:
    """How many QuantizeLinear nodes an ONNX file has."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    return sum(node.op_type in QUANTIZE_OPS for node in graph.node)


def has_ops(path: Path, kinds: Collection[str]) -> bool:
    """Whether an ONNX file has a node of one of these types."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    return any(node.op_type in kinds for node in graph.node)


def count_macs(node: onnx.NodeProto, shapes: Shapes) -> int:
    """Multiply-accumulates of one weighted node; biases and padding are not counted apart.

    Raises:
        ExportError: a shape is unknown.
    """
    try:
        return _COUNTERS[node.op_type](node, shapes)
    except KeyError as error:
        msg = f"the shape of {error} at node {node.name or node.output[0]!r} ({node.op_type}) is unknown; export with static shapes"
        raise ExportError(msg) from error


def _shapes(graph: onnx.GraphProto) -> Shapes:
    shapes: Shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in dims):
            shapes[value.name] = tuple(d.dim_value for d in dims)
    return shapes


def _constant_tensors(graph: onnx.GraphProto) -> set[str]:
    """Tensors that no input reaches: compilers compute them once, engines never."""
    return {name for node in graph.node for name in node.output} - varying_tensors(graph)


def _bias_additions(graph: onnx.GraphProto) -> dict[str, tuple[str, ...]]:
    """Names of each addition of a constant, by the tensor that it is added to."""
    constants = {tensor.name for tensor in graph.initializer}
    return {
        name: (node.name, *node.output)
        for node in graph.node
        if node.op_type == "Add" and not constants.isdisjoint(node.input)
        for name in node.input
        if name not in constants
    }


def _conv(node: onnx.NodeProto, shapes: Shapes) -> int:
    # A weight is (Cout, Cin / groups, *kernel).
    return math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[1]][1:])


def _conv_transpose(node: onnx.NodeProto, shapes: Shapes) -> int:
    # A weight is (Cin, Cout / groups, *kernel); each input voxel is multiplied with all of it once
    return math.prod(shapes[node.input[0]]) * math.prod(shapes[node.input[1]][1:])


def _matmul(node: onnx.NodeProto, shapes: Shapes) -> int:
    return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]


def _gemm(node: onnx.NodeProto, shapes: Shapes) -> int:
    transposed = any(a.name == "transA" and a.i for a in node.attribute)
    inner = shapes[node.input[0]][0 if transposed else 1]
    return math.prod(shapes[node.output[0]]) * inner


_COUNTERS = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MatMul": _matmul,
    "Gemm": _gemm,
}
