"""Normalizations written as other operators, for quantizers and runtimes that do not take them.

Each function changes the nodes of a `Wiring` and returns how many it replaced, or the names of what it
wrote. What comes out has the names of what went in: the last node keeps the output's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from voxgate.errors import ArtifactError
from voxgate.quantization.onnx_view import name_of, operand
from voxgate.quantization.rewiring import Wiring

if TYPE_CHECKING:
    import onnx

GROUP, INSTANCE, LAYER = "GroupNormalization", "InstanceNormalization", "LayerNormalization"
NORMS = frozenset({GROUP, INSTANCE, LAYER})

_EPSILON = 1e-5  # of all three, where the node names none
_SLOPE = 0.01  # of LeakyRelu, likewise


def decompose_groups(wiring: Wiring) -> int:
    """Group norms as Reshape, InstanceNormalization, Reshape, Mul, Add, as PyTorch writes them for old opsets.

    TensorRT before 10.9 gives the scales of opset 21 to a layer that wants one a group, and ModelOpt
    quantizes no activation behind a GroupNormalization. Scales are one a channel, as from opset 21 on.
    """

    def change(node: onnx.NodeProto) -> Sequence[onnx.NodeProto] | None:
        return list(_group(wiring, node)) if node.op_type == GROUP else None

    return wiring.rewrite(change)


def _group(wiring: Wiring, node: onnx.NodeProto) -> Sequence[onnx.NodeProto]:
    name, source = name_of(node), node.input[0]
    shape = wiring.shape(source)
    groups = int(_attribute(node, "num_groups", 0))
    by_channel = (1, shape[1], *[1] * (len(shape) - 2))
    scale, bias = (_constant(wiring, node, index).reshape(by_channel) for index in (1, 2))
    grouped = wiring.constant(f"{name}/groups", np.array([shape[0], groups, -1], np.int64))
    whole = wiring.constant(f"{name}/shape", np.array(shape, np.int64))
    ones = wiring.constant(f"{name}/ones", np.ones(groups, scale.dtype))
    zeros = wiring.constant(f"{name}/zeros", np.zeros(groups, scale.dtype))
    steps = [wiring.free(f"{name}/{what}") for what in ("grouped", "normal", "whole", "scaled")]
    epsilon = _attribute(node, "epsilon", _EPSILON)
    return [
        _make("Reshape", [source, grouped], steps[0]),
        _make(INSTANCE, [steps[0], ones, zeros], steps[1], epsilon=epsilon),
        _make("Reshape", [steps[1], whole], steps[2]),
        _make("Mul", [steps[2], wiring.constant(f"{name}/scale", scale)], steps[3]),
        _make("Add", [steps[3], wiring.constant(f"{name}/bias", bias)], node.output[0], name=name),
    ]


def as_primitives(wiring: Wiring, kinds: Sequence[str]) -> tuple[str, ...]:
    """Instance and layer norms of these types as means, differences and a quotient.

    Returns the names of the nodes that they became. Half precision cannot hold what these compute.
    """
    writers = {INSTANCE: _instance, LAYER: _layer}
    names: list[str] = []

    def change(node: onnx.NodeProto) -> Sequence[onnx.NodeProto] | None:
        writer = writers.get(node.op_type) if node.op_type in kinds else None
        if writer is None:
            return None
        written = writer(wiring, node)
        names.extend(name_of(new) for new in written)
        return written

    wiring.rewrite(change)
    return tuple(names)


def leaky_as_maximum(wiring: Wiring) -> int:
    """Leaky activations of instance norms as max(x, slope * x).

    TensorRT 8 compiles the primitives of a norm and what follows into one kernel, but leaves LeakyRelu
    out: it reads and writes the whole tensor once more, in a layout that no convolution takes.
    """
    producers = wiring.producers()

    def normal(tensor: str) -> bool:
        maker = producers.get(tensor)
        if maker is None or maker.op_type == INSTANCE:
            return maker is not None
        return maker.op_type == "Add" and any(
            (other := producers.get(name)) is not None and other.op_type == INSTANCE
            for name in maker.input
        )

    def change(node: onnx.NodeProto) -> Sequence[onnx.NodeProto] | None:
        slope = _attribute(node, "alpha", _SLOPE)
        if node.op_type != "LeakyRelu" or slope > 1 or not normal(node.input[0]):
            return None
        name, source = name_of(node), node.input[0]
        factor = wiring.constant(f"{name}/slope", np.array(slope, np.float32))
        small = wiring.free(f"{name}/small")
        return [
            _make("Mul", [source, factor], small),
            _make("Max", [source, small], node.output[0], name=name),
        ]

    return wiring.rewrite(change)


def _instance(wiring: Wiring, node: onnx.NodeProto) -> Sequence[onnx.NodeProto]:
    rank = len(wiring.shape(node.input[0]))
    scale, bias = (_constant(wiring, node, index) for index in (1, 2))
    form = (1, -1, *[1] * (rank - 2))
    return _normalized(wiring, node, range(2, rank), scale.reshape(form), bias.reshape(form))


def _layer(wiring: Wiring, node: onnx.NodeProto) -> Sequence[onnx.NodeProto]:
    rank = len(wiring.shape(node.input[0]))
    axis = int(_attribute(node, "axis", -1)) % rank
    scale = _constant(wiring, node, 1)
    bias = _constant(wiring, node, 2) if operand(node, 2) else None
    return _normalized(wiring, node, range(axis, rank), scale, bias)


def _normalized(
    wiring: Wiring,
    node: onnx.NodeProto,
    axes: Sequence[int],
    scale: NDArray[np.generic],
    bias: NDArray[np.generic] | None,
) -> Sequence[onnx.NodeProto]:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias over these axes."""
    name, source = name_of(node), node.input[0]
    mean, centred, square, variance, shifted, deviation, normal, scaled = (
        wiring.free(f"{name}/{what}")
        for what in (
            "mean", "centred", "square", "variance", "shifted", "deviation", "normal", "scaled",
        )
    )  # fmt: skip
    epsilon = np.array(_attribute(node, "epsilon", _EPSILON), scale.dtype)
    average = _averager(wiring, name, list(axes))
    end = node.output[0]
    factor = wiring.constant(f"{name}/scale", scale)
    nodes = [
        average(source, mean),
        _make("Sub", [source, mean], centred),
        _make("Mul", [centred, centred], square),
        average(square, variance),
        _make("Add", [variance, wiring.constant(f"{name}/epsilon", epsilon)], shifted),
        _make("Sqrt", [shifted], deviation),
        _make("Div", [centred, deviation], normal),
    ]
    if bias is None:
        return [*nodes, _make("Mul", [normal, factor], end, name=name)]
    offset = wiring.constant(f"{name}/bias", bias)
    last = _make("Add", [scaled, offset], end, name=name)
    return [*nodes, _make("Mul", [normal, factor], scaled), last]


def _averager(wiring: Wiring, name: str, axes: list[int]) -> Callable[[str, str], onnx.NodeProto]:
    """ReduceMean of the wiring's opset: its axes became an input with 18."""
    if wiring.opset < 18:
        return lambda source, end: _make("ReduceMean", [source], end, axes=axes, keepdims=1)
    given = wiring.constant(f"{name}/axes", np.array(axes, np.int64))
    return lambda source, end: _make("ReduceMean", [source, given], end, keepdims=1)


def _constant(wiring: Wiring, node: onnx.NodeProto, index: int) -> NDArray[np.generic]:
    values = wiring.value(operand(node, index))
    if values is None:
        msg = (
            f"the scale or bias of {node.op_type} {name_of(node)} is computed by other nodes; "
            "fold constants at the export"
        )
        raise ArtifactError(msg)
    return values


def _attribute(node: onnx.NodeProto, name: str, default: float) -> float:
    import onnx

    found = [entry for entry in node.attribute if entry.name == name]
    return float(onnx.helper.get_attribute_value(found[0])) if found else default


def _make(
    kind: str, inputs: Sequence[str], end: str, *, name: str = "", **attributes: Any
) -> onnx.NodeProto:
    import onnx

    return onnx.helper.make_node(kind, list(inputs), [end], name=name or end, **attributes)
