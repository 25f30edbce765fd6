"""Group norms are exported as instance norms, behind which a quantizer quantizes both operands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voxgate.errors import ArtifactError, QuantizationError
from voxgate.quantization import norms
from voxgate.quantization.macs import read_graph
from voxgate.quantization.operands import quantized_share
from voxgate.quantization.rewiring import Wiring, load, save
from voxgate.stages import quantize as stage
from voxgate.stages.requests import QuantizeRequest

from suites.support.small_network import run_onnx

onnx: Any = pytest.importorskip("onnx", reason="onnx is not installed")

CHANNELS, GROUPS, SIDE = 16, 4, 8
IMAGE = np.sin(np.arange(SIDE**3) / 20).astype(np.float32).reshape(1, 1, *[SIDE] * 3)


def write(path: Path, *, layers: int = 4) -> Path:
    """Convolutions with a group norm and a Relu behind each but the last."""
    generator = np.random.default_rng(0)
    nodes, constants, last = [], [], "x"

    def constant(name: str, *shape: int) -> str:
        value = generator.normal(0.5, 0.3, shape).astype(np.float32)
        constants.append(onnx.numpy_helper.from_array(value, name))
        return name

    make = onnx.helper.make_node
    for index in range(layers):
        inputs = [last, constant(f"w{index}", CHANNELS, CHANNELS if index else 1, 3, 3, 3)]
        last = f"c{index}" if index < layers - 1 else "y"
        nodes.append(make("Conv", inputs, [last], name=f"conv{index}", pads=[1] * 6))
        if last == "y":
            break
        inputs = [last, constant(f"s{index}", CHANNELS), constant(f"b{index}", CHANNELS)]
        nodes.append(make(norms.GROUP, inputs, [f"n{index}"], num_groups=GROUPS, epsilon=1e-3))
        nodes.append(make("Relu", [f"n{index}"], [f"r{index}"]))
        last = f"r{index}"
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, count, *[SIDE] * 3])
        for name, count in (("x", 1), ("y", CHANNELS))
    ]
    shape = [
        1,
        CHANNELS,
        *[SIDE] * 3,
    ]  # exporters write shapes; ONNX infers none behind group norms
    values = [
        onnx.helper.make_tensor_value_info(f"c{index}", onnx.TensorProto.FLOAT, shape)
        for index in range(layers - 1)
    ]
    graph = onnx.helper.make_graph(
        nodes, "groups", ends[:1], ends[1:], constants, value_info=values
    )
    opsets = [onnx.helper.make_opsetid("", 21)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def decompose(source: Path, target: Path) -> Path:
    wiring = Wiring(load(source))
    assert norms.decompose_groups(wiring) == 3
    save(wiring.finish(), target)
    return target


def test_decomposed_group_norms_compute_the_same(tmp_path: Path) -> None:
    source = write(tmp_path / "groups.onnx")
    target = decompose(source, tmp_path / "instances.onnx")
    kinds = [node.op_type for node in onnx.load(target).graph.node]
    assert kinds.count(norms.INSTANCE) == 3
    assert norms.GROUP not in kinds
    np.testing.assert_allclose(run_onnx(target, IMAGE), run_onnx(source, IMAGE), rtol=1e-4)


def test_a_shape_that_is_not_known_is_named(tmp_path: Path) -> None:
    model = onnx.load(write(tmp_path / "groups.onnx"))
    del model.graph.value_info[:]
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "depth"
    with pytest.raises(ArtifactError, match="the shape of tensor 'c0' is not known"):
        norms.decompose_groups(Wiring(model))


def quantize(source: Path, folder: Path) -> Any:
    pytest.importorskip("modelopt", reason="ModelOpt is not installed")
    folder.mkdir()
    np.save(folder / "images.npy", np.concatenate([IMAGE, IMAGE**2]))
    request = QuantizeRequest(
        quantizer="modelopt",
        method="max",
        onnx=str(source),
        images=str(folder / "images.npy"),
        folder=str(folder),
    )
    return stage.quantize(request)


def test_modelopt_quantizes_both_operands_behind_decomposed_group_norms(tmp_path: Path) -> None:
    source = decompose(write(tmp_path / "groups.onnx"), tmp_path / "instances.onnx")
    made = quantize(source, tmp_path / "quantized")
    assert made.quantized_macs is not None
    assert made.quantized_macs > 0.98  # the first convolution has a single channel
    assert set(made.float_nodes) <= {"conv0"}


def test_modelopt_leaves_the_graph_that_it_is_given_as_it_was(tmp_path: Path) -> None:
    source = decompose(write(tmp_path / "groups.onnx"), tmp_path / "instances.onnx")
    before = source.read_bytes(), source.stat().st_mtime_ns
    quantize(source, tmp_path / "quantized")
    assert (source.read_bytes(), source.stat().st_mtime_ns) == before
    assert not list((tmp_path / "quantized").glob("quantizing-*"))


def test_a_graph_with_hardly_any_quantized_operands_is_refused(tmp_path: Path) -> None:
    with pytest.raises(QuantizationError, match=r"both operands of only .*%.*conv1"):
        quantize(write(tmp_path / "groups.onnx", layers=6), tmp_path / "quantized")


def test_the_share_counts_nodes_that_read_integers_on_both_sides(tmp_path: Path) -> None:
    source = write(tmp_path / "groups.onnx")
    nodes = read_graph(source).nodes
    assert quantized_share(source, nodes).macs == 0
    assert quantized_share(source, nodes).float_nodes == ("conv0", "conv1", "conv2", "conv3")
