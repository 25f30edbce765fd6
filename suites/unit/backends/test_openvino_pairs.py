"""OpenVINO computes Q/DQ pairs around a Concat as the graph says, in int8 arithmetic too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from voxgate.backends import openvino
from voxgate.records.case import Precision
from voxgate.records.runtime import EngineOptions

CHANNELS, SIDE = 16, 8


def write_model(path: Path, quantized: str, scale: float, zero_point: np.generic) -> Path:
    """Two images joined by a Concat, quantized in front of it or behind, into a 1x1x1 convolution.

    Its weights copy each channel, so that its output shows the joined tensor's values.
    """
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []

    def constant(name: str, value: NDArray[np.generic]) -> str:
        constants.append(numpy_helper.from_array(value, name))
        return name

    def pair(name: str, step: object, zero: object, axis: int | None = None) -> str:
        operands = [
            constant(f"{name}_scale", np.asarray(step, np.float32)),
            constant(f"{name}_zero", np.asarray(zero)),
        ]
        for kind, given, made in (
            ("QuantizeLinear", name, f"{name}_q"),
            ("DequantizeLinear", f"{name}_q", f"{name}_dq"),
        ):
            node = helper.make_node(kind, [given, *operands], [made], name=made)
            if axis is not None:
                node.attribute.append(helper.make_attribute("axis", axis))
            nodes.append(node)
        return f"{name}_dq"

    names = [
        pair(n, scale, zero_point) if quantized in {"inputs", "both"} else n for n in ("a", "b")
    ]
    nodes.append(helper.make_node("Concat", names, ["joined"], name="joined", axis=1))
    joined = pair("joined", scale, zero_point) if quantized in {"output", "both"} else "joined"
    count = 2 * CHANNELS
    constant("w", np.eye(count, dtype=np.float32).reshape(count, count, 1, 1, 1))
    weights = pair("w", np.full(count, 1 / 127), np.zeros(count, np.int8), 0)
    nodes.append(helper.make_node("Conv", [joined, weights], ["y"], name="conv"))
    shape = [1, CHANNELS, SIDE, SIDE, SIDE]
    graph = helper.make_graph(
        nodes,
        "joined",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("a", "b")],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, count, *shape[2:]])],
        constants,
    )
    opsets = [helper.make_opsetid("", 21)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def options(precision: Precision) -> EngineOptions:
    return EngineOptions(precision=precision, threads=1, model="unet", task="mni152", classes=3)


def computed(
    path: Path, precision: Precision, images: list[NDArray[np.float32]]
) -> tuple[NDArray[np.float32], str]:
    """The output of an engine with two inputs, and the arithmetic of its convolution."""
    backend = openvino.BACKEND
    session = backend.load(backend.build(str(path), options(precision)), options(precision))
    (layer,) = session.layers()
    request = session._request
    request.infer({"a": images[0], "b": images[1]})
    return np.array(request.get_output_tensor(0).data), layer.arithmetic


@pytest.mark.parametrize("quantized", ["inputs", "output", "both"])
@pytest.mark.parametrize("zero_point", [np.int8(0), np.int8(5), np.uint8(128)], ids=repr)
@pytest.mark.parametrize("scale", [0.03, 2.5])
def test_a_concat_keeps_its_scale(
    tmp_path: Path, quantized: str, zero_point: np.generic, scale: float
) -> None:
    path = write_model(tmp_path / "joined.onnx", quantized, scale, zero_point)
    draw = np.random.default_rng(7)
    shape = (1, CHANNELS, SIDE, SIDE, SIDE)
    images = [(draw.normal(size=shape) * 40 * scale).astype(np.float32) for _ in range(2)]
    fake, _ = computed(path, "fake-int8", images)
    real, arithmetic = computed(path, "int8", images)
    assert arithmetic == "int8"
    # A tie may go either way: at most a step, and hardly anywhere.
    apart = np.abs(real - fake)
    assert apart.max() <= 1.01 * scale
    assert np.mean(apart > 0.01 * scale) < 1e-3
