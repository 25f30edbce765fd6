"""Normalizations written as other operators, for quantizers and runtimes that do not take them.

Each function changes the nodes of a `Wiring` and returns how many it replaced, or the names of what it
wrote. What comes out has the names of what went in: the last node keeps the output's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import ArtifactError
from harness.qdq_view import name_of, operand
from harness.rewiring import Wiring

if TYPE_CHECKING:
    import onnx

GROUP, INSTANCE, LAYER = "GroupNormalization", "InstanceNormalization", "LayerNormalization"
NORMS = frozenset({GROUP, INSTANCE, LAYER})

_EPSILON = 1e-5  # of all three, where the node names none
_SLOPE = 0.01  # of LeakyRelu, likewise
_AXES_AS_INPUT = 18
# Half precision divides by the number of values before it adds: 1/4096 of a code is still a number.
_MOST_IN_A_STEP = 4096


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


def as_primitives(
    wiring: Wiring, kinds: Sequence[str], *, in_steps: bool = False
) -> tuple[str, ...]:
    """Instance and layer norms of these types as means, differences and a quotient.

    Returns the names of the nodes that they became. Half precision cannot hold what these compute.
    With ``in_steps`` the mean of a whole volume is that of the means of its parts: a runtime that
    computes it in half precision all the same then loses nothing.
    """
    writers = {INSTANCE: _instance, LAYER: _layer}
    names: list[str] = []

    def change(node: onnx.NodeProto) -> Sequence[onnx.NodeProto] | None:
        writer = writers.get(node.op_type) if node.op_type in kinds else None
        if writer is None:
            return None
        written = writer(wiring, node, in_steps=in_steps)
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


def _instance(wiring: Wiring, node: onnx.NodeProto, *, in_steps: bool) -> Sequence[onnx.NodeProto]:
    rank = len(wiring.shape(node.input[0]))
    scale, bias = (_constant(wiring, node, index) for index in (1, 2))
    form = (1, -1, *[1] * (rank - 2))
    axes = list(range(2, rank))
    return _normalized(
        wiring,
        node,
        _Mean(wiring, node, axes, in_steps=in_steps),
        scale.reshape(form),
        bias.reshape(form),
    )


def _layer(wiring: Wiring, node: onnx.NodeProto, *, in_steps: bool) -> Sequence[onnx.NodeProto]:
    rank = len(wiring.shape(node.input[0]))
    axis = int(_attribute(node, "axis", -1)) % rank
    scale = _constant(wiring, node, 1)
    bias = _constant(wiring, node, 2) if operand(node, 2) else None
    return _normalized(
        wiring, node, _Mean(wiring, node, list(range(axis, rank)), in_steps=in_steps), scale, bias
    )


def _normalized(
    wiring: Wiring,
    node: onnx.NodeProto,
    average: _Mean,
    scale: NDArray[np.generic],
    bias: NDArray[np.generic] | None,
) -> Sequence[onnx.NodeProto]:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias."""
    name, source = name_of(node), node.input[0]
    mean, centred, square, variance, shifted, deviation, normal, scaled = (
        wiring.free(f"{name}/{what}")
        for what in (
            "mean", "centred", "square", "variance", "shifted", "deviation", "normal", "scaled",
        )
    )  # fmt: skip
    epsilon = np.array(_attribute(node, "epsilon", _EPSILON), scale.dtype)
    end = node.output[0]
    factor = wiring.constant(f"{name}/scale", scale)
    nodes = [
        *average(source, mean),
        _make("Sub", [source, mean], centred),
        _make("Mul", [centred, centred], square),
        *average(square, variance),
        _make("Add", [variance, wiring.constant(f"{name}/epsilon", epsilon)], shifted),
        _make("Sqrt", [shifted], deviation),
        _make("Div", [centred, deviation], normal),
    ]
    if bias is None:
        return [*nodes, _make("Mul", [normal, factor], end, name=name)]
    offset = wiring.constant(f"{name}/bias", bias)
    last = _make("Add", [scaled, offset], end, name=name)
    return [*nodes, _make("Mul", [normal, factor], scaled), last]


class _Mean:
    """The mean of a norm's input, and of what has its shape, over some axes: one node or several."""

    def __init__(
        self, wiring: Wiring, node: onnx.NodeProto, axes: list[int], *, in_steps: bool
    ) -> None:
        self._wiring = wiring
        self._name = name_of(node)
        self._axes = axes
        self._shape = wiring.shape(node.input[0])
        values = math.prod(self._shape[axis] for axis in axes)
        self._in_steps = in_steps and values > _MOST_IN_A_STEP

    def __call__(self, source: str, end: str) -> list[onnx.NodeProto]:
        if not self._in_steps:
            return [self._step(source, end, self._axes)]
        part = self._wiring.free(f"{end}/part")
        if len(self._axes) > 1:  # rows first
            *others, row = self._axes
            return [self._step(source, part, [row]), self._step(part, end, others)]
        return self._of_one_axis(source, part, end)

    def _of_one_axis(self, source: str, part: str, end: str) -> list[onnx.NodeProto]:
        """Of an axis that is cut into rows."""
        (axis,) = self._axes
        lead, length = self._shape[:axis], self._shape[axis]
        row = max(n for n in range(1, _MOST_IN_A_STEP + 1) if length % n == 0)
        rows, means = (self._wiring.free(f"{end}/{what}") for what in ("rows", "means"))
        cut = self._wiring.constant(f"{end}/cut", np.array([*lead, length // row, row], np.int64))
        flat = self._wiring.constant(f"{end}/flat", np.array([*lead, length // row], np.int64))
        return [
            _make("Reshape", [source, cut], rows),
            self._step(rows, part, [axis + 1]),
            _make("Reshape", [part, flat], means),
            self._step(means, end, [axis]),
        ]

    def _step(self, source: str, end: str, axes: list[int]) -> onnx.NodeProto:
        """ReduceMean of the wiring's opset: its axes became an input with 18."""
        if self._wiring.opset < _AXES_AS_INPUT:
            return _make("ReduceMean", [source], end, axes=axes, keepdims=1)
        given = self._wiring.constant(f"{end}/axes", np.array(axes, np.int64))
        return _make("ReduceMean", [source, given], end, keepdims=1)


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
