"""A simulated graph computes what the formulas say, for every kind of node, axis and scheme."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from voxgate import quantizers
from voxgate.errors import QuantizationError, UsageError
from voxgate.quantization import float8
from voxgate.quantization.formulas import fake_quantize, symmetric_grid
from voxgate.quantization.lint import lint_file
from voxgate.quantizers.rewrite import find_targets
from voxgate.quantizers.schemes import SCHEMES
from voxgate.records.engine import GraphNode
from voxgate.stages.quantize import quantize
from voxgate.stages.requests import QuantizeRequest

Float32 = NDArray[np.float32]
Layer = tuple[str, tuple[int, ...], tuple[int, ...], int | None, dict[str, Any]]

# Node, shape of its input, shape of its weights, axis of the output channels, attributes.
LAYERS: dict[str, Layer] = {
    "conv": ("Conv", (1, 3, 4, 5, 4), (6, 3, 3, 3, 3), 0, {}),
    "conv in groups": ("Conv", (1, 4, 4, 4, 4), (6, 2, 1, 1, 1), 0, {"group": 2}),
    "transposed": ("ConvTranspose", (1, 4, 2, 3, 2), (4, 3, 2, 2, 2), 1, {"strides": [2, 2, 2]}),
    "transposed in groups": ("ConvTranspose", (1, 4, 2, 2, 2), (4, 3, 2, 2, 2), 1, {"group": 2}),
    "gemm": ("Gemm", (5, 4), (4, 3), 1, {}),
    "gemm, B transposed": ("Gemm", (5, 4), (3, 4), 0, {"transB": 1}),
    "matmul": ("MatMul", (2, 5, 4), (4, 3), 1, {}),
    "matmul in batches": ("MatMul", (2, 5, 4), (2, 4, 3), 2, {}),
    "matmul with a vector": ("MatMul", (2, 5, 4), (4,), None, {}),
}
RNG_SEED = 8


def draw(*shape: int, seed: int = RNG_SEED) -> Float32:
    """Normal values whose channels differ much in size, in both of the first axes."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=shape)
    for axis in range(min(2, len(shape))):
        spread = 4.0 ** np.arange(shape[axis]).reshape([-1 if i == axis else 1 for i in range(len(shape))])  # fmt: skip
        values = values * spread
    return values.astype(np.float32)


def model_of(nodes: list[onnx.NodeProto], weights: dict[str, Float32], shape: tuple[int, ...]) -> onnx.ModelProto:  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def layer_model(layer: Layer, weights: Float32) -> onnx.ModelProto:
    """Its activation is computed, so that the rounding has to go between two nodes."""
    kind, shape, _, _, attributes = layer
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="relu"),
        helper.make_node(kind, ["a", "w"], ["y"], name="layer", **attributes),
    ]
    return model_of(nodes, {"w": weights}, shape)


def run(model: onnx.ModelProto | Path, x: Float32) -> Float32:
    settings = onnxruntime.SessionOptions()
    settings.add_session_config_entry("session.disable_quant_qdq", "1")
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    session = onnxruntime.InferenceSession(source, settings, ["CPUExecutionProvider"])
    result: Float32 = session.run(None, {"x": x})[0]
    return result


def simulate(
    model: onnx.ModelProto, images: Float32, scheme: str, folder: Path, *kept: str
) -> tuple[Path, int]:
    """The file of the simulated graph, and how many tensors are rounded in it."""
    source = folder / "float.onnx"
    onnx.save(model, source)
    layers = [GraphNode(name=name, op_type="", outputs=(), macs=0) for name in kept]
    result = quantizers.load("simulation", scheme).quantize(source, images, "max", folder, layers)
    assert (result.format, result.file) == ("onnx-qdq", "quantized.onnx")
    assert not list(folder.glob("calibration-*"))
    return folder / result.file, result.quantize_nodes


def rounded(values: Float32, kind: str, amax: Float32, axis: int | None = None) -> Float32:
    """By hand: one channel after the other."""
    if axis is not None:
        parts = np.moveaxis(values, axis, 0)
        done = [rounded(part, kind, np.abs(part).max()) for part in parts]
        return np.ascontiguousarray(np.moveaxis(np.stack(done), 0, axis))
    if kind == "fp8":
        return float8.fake_quantize(values, float8.scale_of(amax))
    return fake_quantize(values, symmetric_grid(amax, int(kind.removeprefix("int"))))


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_graph_computes_what_the_formulas_say(name: str, scheme: str, tmp_path: Path) -> None:
    layer = LAYERS[name]
    kind, shape, weight_shape, axis, _ = layer
    weights, images = draw(*weight_shape), np.stack([draw(*shape, seed=i)[0] for i in range(3)])
    images = images[:, : shape[1]].reshape(3, *shape[1:])
    if shape[0] != 1:  # the batch is no batch of images there
        images = draw(*shape)
    model = layer_model(layer, weights)
    sets = images if shape[0] == 1 else images[None]
    calibration = images if shape[0] == 1 else _Whole(images)
    path, count = simulate(model, calibration, scheme, tmp_path)  # type: ignore[arg-type]

    formats = SCHEMES[scheme]
    x = 1.5 * (sets[:1] if shape[0] == 1 else sets[0])  # some of it beyond the calibrated range
    activation = np.maximum(x, 0).astype(np.float32)
    if formats.activations is not None:
        activation = rounded(activation, formats.activations, np.maximum(images, 0).max())
    new = rounded(weights, formats.weights, np.abs(weights).max(), axis)
    expected = run(layer_model(layer, new), activation)
    np.testing.assert_array_equal(run(path, x.astype(np.float32)), expected)
    assert not np.array_equal(expected, run(model, x.astype(np.float32))), kind
    assert count == (1 if formats.activations is None else 2)


class _Whole:
    """Images of which each is a whole input, as those of a graph with a larger batch."""

    base = None  # it is no view of a mapped file

    def __init__(self, values: Float32) -> None:
        self._values = values

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: slice) -> Float32:
        assert index == slice(0, 1)
        return self._values


def net(weights: dict[str, Float32]) -> onnx.ModelProto:
    """Two convolutions of one tensor, a third behind them, and a product of two activations."""
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["a"], name="first"),
        helper.make_node("Conv", ["a", "w2"], ["b"], name="second"),
        helper.make_node("Conv", ["a", "w3"], ["c"], name="third"),
        helper.make_node("MatMul", ["b", "c"], ["y"], name="product"),
    ]
    return model_of(nodes, weights, (1, 2, 3, 4, 4))


def net_weights() -> dict[str, Float32]:
    return {
        "w1": draw(4, 2, 1, 1, 1), "b1": draw(4), "w2": draw(4, 4, 1, 1, 1),
        "w3": draw(4, 4, 1, 1, 1, seed=1),
    }  # fmt: skip


IMAGES = np.stack([draw(2, 3, 4, 4, seed=seed) for seed in range(3)])


def names_of(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


def test_a_tensor_of_two_layers_is_rounded_once_and_products_of_activations_are_not(
    tmp_path: Path,
) -> None:
    path, count = simulate(net(net_weights()), IMAGES, "int4-int8", tmp_path)
    assert names_of(path).count("QuantizeLinear") == 2  # x and a
    assert count == 2 + 3
    assert run(path, IMAGES[:1]).shape == (1, 4, 3, 4, 4)
    product = next(n for n in onnx.load(path).graph.node if n.name == "product")
    assert list(product.input) == ["b", "c"]


def test_biases_and_float_layers_are_left_alone(tmp_path: Path) -> None:
    weights = net_weights()
    path, count = simulate(net(weights), IMAGES, "int4-int4", tmp_path, "second")
    kept = {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    np.testing.assert_array_equal(kept["b1"], weights["b1"])
    np.testing.assert_array_equal(kept["w2"], weights["w2"])
    assert not {"w1", "w3"} & set(kept)
    second = next(n for n in onnx.load(path).graph.node if n.name == "second")
    assert list(second.input) == ["a", "w2"]
    assert count == 2 + 2


def test_a_weight_of_two_layers_is_rounded_once(tmp_path: Path) -> None:
    model = net(net_weights())
    model.graph.node[2].input[1] = "w2"
    path, count = simulate(model, IMAGES, "int4", tmp_path)
    assert count == 2
    assert sum(t.name.startswith("w2") for t in onnx.load(path).graph.initializer) == 1


def test_weights_in_a_constant_node_are_found(tmp_path: Path) -> None:
    weights = net_weights()
    constant = helper.make_node(
        "Constant", [], ["w3"], value=numpy_helper.from_array(weights.pop("w3"))
    )
    model = net(weights)
    model.graph.node.insert(0, constant)
    assert simulate(model, IMAGES, "int4", tmp_path)[1] == 3


def test_a_simulation_keeps_the_size_of_fp32(tmp_path: Path) -> None:
    path, _ = simulate(net(net_weights()), IMAGES, "int4", tmp_path)
    tensors = onnx.load(path).graph.initializer
    assert {tensor.data_type for tensor in tensors} == {TensorProto.FLOAT}
    assert len(tensors) == 4


def test_int4_weights_have_at_most_16_values_a_channel(tmp_path: Path) -> None:
    model = model_of(
        [helper.make_node("Conv", ["x", "w"], ["y"], name="c")],
        {"w": draw(3, 2, 3, 4, 4)}, (1, 2, 3, 4, 4),
    )  # fmt: skip
    path, _ = simulate(model, IMAGES, "int4", tmp_path)
    (tensor,) = onnx.load(path).graph.initializer
    counts = [len(np.unique(channel)) for channel in numpy_helper.to_array(tensor)]
    assert all(8 < count <= 16 for count in counts)


def test_a_channel_of_zeros_and_a_dead_activation_stay_zero(tmp_path: Path) -> None:
    weights = net_weights()
    weights["w1"][:] = 0
    weights["b1"][:] = 0
    for scheme in SCHEMES:
        path, _ = simulate(net(weights), IMAGES, scheme, tmp_path)
        assert not run(path, IMAGES[:1]).any()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_linter_finds_nothing_fatal(scheme: str, tmp_path: Path) -> None:
    path, _ = simulate(net(net_weights()), IMAGES, scheme, tmp_path)
    assert not [finding for finding in lint_file(path).findings if finding.fatal]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_openvino_in_float_computes_the_same(scheme: str, tmp_path: Path) -> None:
    path, _ = simulate(net(net_weights()), IMAGES, scheme, tmp_path)
    core = openvino.Core()
    how = {"INFERENCE_PRECISION_HINT": "f32", "LP_TRANSFORMS_MODE": "NO"}
    compiled = core.compile_model(core.read_model(path), "CPU", how)
    (ours,) = compiled([IMAGES[:1]]).values()
    expected = run(path, IMAGES[:1])
    assert np.abs(ours - expected).max() <= 1e-5 * np.abs(expected).max()


def test_float8_by_elementary_operators_is_exact_in_every_binade(tmp_path: Path) -> None:
    """A convolution with the weight 1, whose amax 448 makes the scale 1."""
    powers = 2.0 ** np.arange(-12, 9)[:, None]
    steps = np.arange(16, 32.5, 0.25)[None] / 16
    points = (powers * steps).astype(np.float32)
    values = np.concatenate([points, np.nextafter(points, 0), np.nextafter(points, np.inf)])
    values = np.concatenate([values.ravel(), -values.ravel(), [0.0, 448.0]]).astype(np.float32)
    values = np.append(values, np.zeros(-len(values) % 8, np.float32)).reshape(1, 1, 2, 4, -1)
    model = model_of(
        [helper.make_node("Conv", ["x", "w"], ["y"], name="c")],
        {"w": np.ones((1, 1, 1, 1, 1), np.float32)}, values.shape,
    )  # fmt: skip
    inside = np.clip(values, -448, 448)
    path, _ = simulate(model, inside, "fp8", tmp_path)
    expected = float8.decode(float8.encode(values))
    found = run(path, values)
    # Only the scale of the weight, 1/448 times 448, may not come out as 1.
    weight = float8.fake_quantize(np.ones(1, np.float32), float8.scale_of(1.0))
    np.testing.assert_array_equal(found, expected * weight)


def test_a_tensor_may_be_named_like_a_step_of_the_way(tmp_path: Path) -> None:
    plain, _ = simulate(net(net_weights()), IMAGES, "fp8", tmp_path)
    expected = run(plain, IMAGES[:1])
    model = net(net_weights())
    model.graph.node[0].output[0] = "log"
    for node in model.graph.node[1:3]:
        node.input[0] = "log"
    path, _ = simulate(model, IMAGES, "fp8", tmp_path)
    np.testing.assert_array_equal(run(path, IMAGES[:1]), expected)


def test_an_overflow_is_named_with_its_patch(tmp_path: Path) -> None:
    weights = net_weights()
    weights["w1"] *= np.float32(1e35)
    images = np.stack([np.zeros_like(IMAGES[0]), IMAGES[1]])
    with pytest.raises(
        QuantizationError, match=r"'a' has values.*not finite on calibration patch 1"
    ):
        simulate(net(weights), images, "int4-int8", tmp_path)


def test_weights_that_are_not_finite_are_named(tmp_path: Path) -> None:
    weights = net_weights()
    weights["w2"][1, 2] = np.nan
    with pytest.raises(QuantizationError, match="'w2': a value is nan"):
        simulate(net(weights), IMAGES, "int4", tmp_path)


def test_computed_weights_are_refused_with_the_layer() -> None:
    model = net(net_weights())
    model.graph.node.insert(0, helper.make_node("Neg", ["w2"], ["n"], name="neg"))
    model.graph.node[2].input[1] = "n"
    with pytest.raises(QuantizationError, match="weights of Conv second are computed"):
        find_targets(model, ())
    assert len(find_targets(model, ("second",))) == 2


def test_a_graph_that_does_not_run_is_an_error_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(QuantizationError, match="to measure its ranges"):
        simulate(net(net_weights()), IMAGES[:, :1], "int4-int8", tmp_path)


def test_nothing_to_round_is_refused_by_the_stage(tmp_path: Path) -> None:
    source, images = tmp_path / "m.onnx", tmp_path / "images.npy"
    onnx.save(model_of([helper.make_node("Relu", ["x"], ["y"])], {}, (1, 2, 3, 4, 4)), source)
    np.save(images, draw(2, 1, 3, 4, 4).cumsum(-1))  # noise itself calibrates nothing
    request = QuantizeRequest(
        quantizer="simulation", method="max", scheme="int4", onnx=str(source),
        images=str(images), folder=str(tmp_path),
    )  # fmt: skip
    with pytest.raises(QuantizationError, match="quantized nothing"):
        quantize(request)
    with pytest.raises(UsageError, match=r"simulation int3.*simulation int4"):
        quantize(replace(request, scheme="int3"))
    with pytest.raises(UsageError, match="unknown quantizer 'simulation'"):
        quantize(replace(request, scheme=""))
