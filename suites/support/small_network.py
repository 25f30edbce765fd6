"""A small 3D network, float and quantized, with what makes editing hard; and an oracle for the edits.

Two layers and an addition read one quantized tensor, another layer reads it through a pooling and a
concatenation, a matrix product has no bias, and the quantizer corrects biases. The oracle writes any
partly quantized network directly, one quantizer an edge, instead of editing one.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from voxgate.records.engine import GraphNode

LAYERS = ("stem", "left", "right", "head", "product")
IMAGE = np.linspace(-1, 2, 2 * 8**3, dtype=np.float32).reshape(1, 2, 8, 8, 8)
_SCALE = 0.07
_CORRECTION = 0.125  # what the quantizer adds to each bias

# What each layer reads (the tensor in front of a moving operation, where there is one), and the
# edges that belong to no layer.
LAYER_EDGES = {
    "stem": (("stem", 0), ("stem", 1)),
    "left": (("left", 0), ("left", 1)),
    "right": (("right", 0), ("right", 1)),
    "head": (("join", 0), ("pool", 0), ("head", 1)),
    "product": (("product", 0), ("product", 1)),
}
BETWEEN_EDGES = (("sum", 0), ("sum", 1), ("residual", 1))
ALL_EDGES = tuple(edge for edges in LAYER_EDGES.values() for edge in edges) + BETWEEN_EDGES


def nodes() -> tuple[GraphNode, ...]:
    outputs = {"stem": "a", "left": "c", "right": "d", "head": "h", "product": "y"}
    kinds = dict.fromkeys(LAYERS, "Conv") | {"product": "MatMul"}
    return tuple(
        GraphNode(name=name, op_type=kinds[name], outputs=(outputs[name],), macs=100)
        for name in LAYERS
    )


def write_onnx(path: Path, edges: Collection[tuple[str, int]] = (), *, shared: bool = True) -> Path:
    """The network with a Q/DQ pair on these edges; ``shared``: one a tensor, as quantizers do."""
    import onnx

    make = onnx.helper.make_node
    network = [
        make("Conv", ["x", "stem.w", "stem.b"], ["a"], name="stem"),
        make("Relu", ["a"], ["r"], name="relu"),
        make("Conv", ["r", "left.w", "left.b"], ["c"], name="left"),
        make("Conv", ["r", "right.w", "right.b"], ["d"], name="right"),
        make("Add", ["c", "d"], ["s"], name="sum"),
        make("Add", ["s", "r"], ["t"], name="residual"),
        make("Relu", ["t"], ["u"], name="last_relu"),
        make("MaxPool", ["r"], ["p"], name="pool", kernel_shape=[1] * 3),
        make("Concat", ["u", "p"], ["j"], name="join", axis=1),
        make("Conv", ["j", "head.w", "head.b"], ["h"], name="head"),
        make("MatMul", ["h", "product.w"], ["y"], name="product"),
    ]
    inits = [onnx.numpy_helper.from_array(value, name) for name, value in _weights().items()]
    inits += [
        onnx.numpy_helper.from_array(np.array(_SCALE, np.float32), "scale"),
        onnx.numpy_helper.from_array(np.array(0, np.int8), "zero"),
    ]
    pairs: dict[str, str] = {}
    quantized: list[Any] = []
    for node in network:
        for index, tensor in enumerate(node.input):
            if (node.name, index) not in edges:
                continue
            key = tensor if shared else f"{tensor}.{node.name}"
            if key not in pairs:
                names = (f"{key}.q", f"{key}.dq")
                quantized += [
                    make("QuantizeLinear", [tensor, "scale", "zero"], [names[0]], name=names[0]),
                    make(
                        "DequantizeLinear", [names[0], "scale", "zero"], [names[1]], name=names[1]
                    ),
                ]
                pairs[key] = names[1]
            node.input[index] = pairs[key]
        quantized.append(node)
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, count, 8, 8, 8])
        for name, count in (("x", 2), ("y", 3))
    ]
    graph = onnx.helper.make_graph(quantized, "network", ends[:1], ends[1:], inits)
    opset = [onnx.helper.make_opsetid("", 21)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return path


def _weights() -> dict[str, NDArray[np.float32]]:
    generator = np.random.default_rng(7)
    shapes = {"stem": (2, 2), "left": (2, 2), "right": (2, 2), "head": (3, 4)}
    found = {}
    for name, (outputs, inputs) in shapes.items():
        values = generator.uniform(-1, 1, (outputs, inputs, 1, 1, 1))
        found[f"{name}.w"] = values.astype(np.float32)
        found[f"{name}.b"] = generator.uniform(-1, 1, outputs).astype(np.float32)
    found["product.w"] = generator.uniform(-1, 1, (8, 8)).astype(np.float32)
    return found


def write_ir(
    onnx_path: Path,
    path: Path,
    edges: Collection[tuple[str, int]] = ALL_EDGES,
    corrected: Collection[str] = LAYERS,
    *,
    shared: bool = True,
) -> Path:
    """The network as OpenVINO IR with a FakeQuantize on these edges, and these biases corrected.

    The product is smoothed first, as SmoothQuant does: its input is multiplied, its weights divided.
    """
    import openvino as ov
    from openvino import opset13 as ops

    model = ov.Core().read_model(onnx_path)
    known = {op.get_friendly_name(): op for op in model.get_ops()}
    known["product"] = known["y"]  # what makes an output is named by it
    for name in LAYERS:
        if f"{name}/WithoutBiases" in known and name in corrected:
            constant = known[name].input_value(1).get_node().input_value(0).get_node()
            corrected_bias = ops.constant(constant.get_data() + np.float32(_CORRECTION))
            known[name].input_value(1).get_node().input(0).replace_source_output(
                corrected_bias.output(0)
            )
    if ("product", 0) in edges:
        _smooth(known["product"], ops)
    made: dict[tuple[str, int | str], Any] = {}
    for name, index in edges:
        op = known.get(f"{name}/WithoutBiases", known[name])
        source = op.input_value(index)
        key = (source.get_node().get_friendly_name(), 0 if shared else name)
        if key not in made:
            low, high = np.float32(-128 * _SCALE), np.float32(127 * _SCALE)
            fake = ops.fake_quantize(source, low, high, low, high, 256)
            fake.set_friendly_name(f"{key[0]}/{key[1]}/fq")
            made[key] = fake
        op.input(index).replace_source_output(made[key].output(0))
    model.validate_nodes_and_infer_types()
    ov.save_model(model, path, compress_to_fp16=False)
    return path


def _smooth(product: Any, ops: Any) -> None:
    factors = np.linspace(0.5, 2, 8, dtype=np.float32)
    smoothed = ops.multiply(product.input_value(0), ops.constant(factors))
    smoothed.set_friendly_name("head_0/nncf_smooth_quant")
    weights = product.input_value(1).get_node().get_data()
    product.input(1).replace_source_output(ops.constant(weights / factors[:, None]).output(0))
    product.input(0).replace_source_output(smoothed.output(0))


def run_ir(path: Path) -> NDArray[np.float32]:
    """Logits in float arithmetic, its FakeQuantize nodes simulated."""
    import openvino as ov

    settings = {"INFERENCE_PRECISION_HINT": "f32", "LP_TRANSFORMS_MODE": "NO"}
    compiled = ov.Core().compile_model(ov.Core().read_model(path), "CPU", settings)
    return np.array(compiled(IMAGE)[0])


def run_onnx(path: Path, image: NDArray[np.float32] = IMAGE) -> NDArray[np.float32]:
    """Logits by ONNX Runtime, Q/DQ pairs in float."""
    import onnxruntime as ort

    settings = ort.SessionOptions()
    settings.add_session_config_entry("session.disable_quant_qdq", "1")
    session = ort.InferenceSession(path, settings, ["CPUExecutionProvider"])
    return np.array(session.run(None, {"x": image})[0])
