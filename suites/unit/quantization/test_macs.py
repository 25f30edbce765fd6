"""What work of a graph is counted: all that an input reaches, through bodies of conditions too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from voxgate.quantization.macs import read_graph

SHAPE = (1, 2, 4, 4, 4)
MACS = 2 * 2 * 4 * 4 * 4


def value(name: str, shape: tuple[int, ...] = SHAPE) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def body(kind: str) -> onnx.GraphProto:
    """A branch that reads the image of the graph around it."""
    return helper.make_graph([helper.make_node(kind, ["image"], [kind])], kind, [], [value(kind)])


def counted(path: Path, nodes: list[onnx.NodeProto]) -> dict[str, int]:
    weights = {
        "weight": np.ones((2, 2, 1, 1, 1), np.float32),
        "table": np.ones(SHAPE, np.float32),
        "always": np.ones((), bool),
    }
    graph = helper.make_graph(
        nodes, "network", [value("image")], [value("logits")],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return {node.name: node.macs for node in read_graph(path).nodes}


def test_work_behind_a_condition_counts(tmp_path: Path) -> None:
    """The node lists no input that varies: its bodies read the image from outside."""
    condition = helper.make_node(
        "If", ["always"], ["chosen"], then_branch=body("Relu"), else_branch=body("Abs")
    )
    conv = helper.make_node("Conv", ["chosen", "weight"], ["logits"], "conv")
    assert counted(tmp_path / "graph.onnx", [condition, conv]) == {"conv": MACS}


def test_work_on_constants_does_not(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["table", "weight"], ["folded"], "fixed"),
        helper.make_node("Conv", ["image", "weight"], ["computed"], "conv"),
        helper.make_node("Add", ["folded", "computed"], ["logits"], "sum"),
    ]
    assert counted(tmp_path / "graph.onnx", nodes) == {"conv": MACS}
