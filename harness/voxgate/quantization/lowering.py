"""A graph in an older opset: what a newer one added is written with what the older one has.

Only what exporters and quantizers put into our networks' graphs is known here. `lower` checks every
node against the older opset in the end, so that nothing else gets through without a word.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from voxgate.errors import ArtifactError
from voxgate.quantization import norms
from voxgate.quantization.onnx_view import DEQUANTIZE, QUANTIZE, name_of, operand
from voxgate.quantization.rewiring import Wiring

if TYPE_CHECKING:
    import onnx

Change = Callable[[Wiring, "onnx.NodeProto"], "Sequence[onnx.NodeProto] | None"]

# The IR version that onnx wrote when an opset was new; parsers of that time know no later one.
_IR_VERSIONS = {17: 8, 18: 8, 19: 9, 20: 9, 21: 10}

# Attributes that came with a later opset than 17, and the values that mean what 17 does.
_LATER: Mapping[str, Mapping[str, tuple[object, ...]]] = {
    "Cast": {"saturate": (1,)},
    QUANTIZE: {"saturate": (1,), "block_size": (0,), "output_dtype": (0, 3), "precision": (0,)},
    DEQUANTIZE: {"block_size": (0,), "output_dtype": (0,)},
    "Resize": {"antialias": (0,), "keep_aspect_ratio_policy": (b"stretch",)},
    "AveragePool": {"dilations": ()},
    "Split": {"num_outputs": ()},
}
_REDUCTIONS = frozenset({
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin",
    "ReduceProd", "ReduceSumSquare",
})  # fmt: skip


def lower(wiring: Wiring, opset: int) -> onnx.ModelProto:
    """Rewrite a graph for an opset that is not newer than its own.

    Raises:
        ArtifactError: a node that the opset does not have; names it.
    """
    if opset >= wiring.opset:
        return wiring.finish()
    norms.decompose_groups(wiring)
    for kind, change in _CHANGES.items():
        _apply(wiring, kind, change)
    for kind in _REDUCTIONS:
        _apply(wiring, kind, _reduction)
    for node in wiring.nodes:
        _drop_later(node)
    model = wiring.finish()
    for entry in model.opset_import:
        if entry.domain in {"", "ai.onnx"}:
            entry.version = opset
    model.ir_version = _IR_VERSIONS[opset]
    _check(model)
    return model


def _apply(wiring: Wiring, kind: str, change: Change) -> None:
    wiring.rewrite(lambda node: change(wiring, node) if node.op_type == kind else None)


def _gelu(wiring: Wiring, node: onnx.NodeProto) -> Sequence[onnx.NodeProto]:
    """x/2 (1 + erf(x/sqrt 2)), or its approximation by tanh."""
    source, name = node.input[0], name_of(node)
    step = _Steps(wiring, node)
    if _attribute(node, "approximate", b"none") == b"tanh":
        cube = step("Mul", step("Mul", source, source, "square"), source, "cube")
        sum_ = step("Add", source, step("Mul", cube, 0.044715, "small"), "sum")
        inner = step("Tanh", step("Mul", sum_, math.sqrt(2 / math.pi), "scaled"), None, "tanh")
    else:
        inner = step("Erf", step("Mul", source, 1 / math.sqrt(2), "scaled"), None, "erf")
    half = step("Mul", source, 0.5, "half")
    step("Mul", half, step("Add", inner, 1.0, "shifted"), "")
    step.nodes[-1].name = name
    return step.nodes


class _Steps:
    """Elementwise nodes one after the other, named after the node that they replace."""

    def __init__(self, wiring: Wiring, node: onnx.NodeProto) -> None:
        self._wiring = wiring
        self._node = node
        self.nodes: list[onnx.NodeProto] = []

    def __call__(self, kind: str, left: str, right: str | float | None, what: str) -> str:
        """A node of one or two operands; without a name, what it replaces gives the output's."""
        import onnx

        base = name_of(self._node)
        end = self._wiring.free(f"{base}/{what}") if what else str(self._node.output[0])
        operands = [left]
        if isinstance(right, float):
            operands.append(
                self._wiring.constant(
                    f"{base}/{what or 'last'}/factor", np.array(right, np.float32)
                )
            )
        elif right is not None:
            operands.append(right)
        self.nodes.append(onnx.helper.make_node(kind, operands, [end], name=end))
        return end


def _split(wiring: Wiring, node: onnx.NodeProto) -> Sequence[onnx.NodeProto] | None:
    """The sizes as an input, where a number of outputs was enough."""
    if operand(node, 1):
        return None
    axis = int(_attribute(node, "axis", 0))
    total = wiring.shape(node.input[0])[axis]
    count = len(node.output)
    size = -(-total // count)  # the last one is the smaller one
    sizes = [size] * (count - 1) + [total - size * (count - 1)]
    del node.input[1:]
    node.input.append(wiring.constant(f"{name_of(node)}/sizes", np.array(sizes, np.int64)))
    return [node]


def _pad(wiring: Wiring, node: onnx.NodeProto) -> Sequence[onnx.NodeProto] | None:
    """Pads of every axis, where those of some were enough."""
    if not operand(node, 3):
        return None
    pads, axes = wiring.value(node.input[1]), wiring.value(node.input[3])
    if pads is None or axes is None:
        msg = f"the pads or axes of Pad {name_of(node)} are computed; fold constants at the export"
        raise ArtifactError(msg)
    rank = len(wiring.shape(node.input[0]))
    whole = np.zeros((2, rank), np.int64)
    whole[:, axes % rank] = pads.reshape(2, -1)
    node.input[1] = wiring.constant(f"{name_of(node)}/pads", whole.ravel())
    del node.input[3:]
    return [node]


def _reduction(wiring: Wiring, node: onnx.NodeProto) -> Sequence[onnx.NodeProto] | None:
    """Axes as an attribute again."""
    import onnx

    if not operand(node, 1):
        return None
    axes = wiring.value(node.input[1])
    if axes is None:
        msg = (
            f"the axes of {node.op_type} {name_of(node)} are computed; fold constants at the export"
        )
        raise ArtifactError(msg)
    del node.input[1:]
    kept = [entry for entry in node.attribute if entry.name != "noop_with_empty_axes"]
    del node.attribute[:]
    node.attribute.extend([*kept, onnx.helper.make_attribute("axes", axes.ravel().tolist())])
    return [node]


_CHANGES: Mapping[str, Change] = {"Gelu": _gelu, "Split": _split, "Pad": _pad}


def _drop_later(node: onnx.NodeProto) -> None:
    """Without attributes that the older opset lacks, where they say what it does anyway.

    Raises:
        ArtifactError: one says something else.
    """
    later = _LATER.get(node.op_type, {})
    kept = []
    for entry in node.attribute:
        if entry.name not in later:
            kept.append(entry)
            continue
        meant, value = later[entry.name], _value(entry)
        if meant and value not in meant:
            msg = (
                f"{node.op_type} {name_of(node)} has {entry.name}={value!r}, which older opsets "
                "cannot say; export the network without it"
            )
            raise ArtifactError(msg)
    if len(kept) != len(node.attribute):
        copies = [type(entry).FromString(entry.SerializeToString()) for entry in kept]
        del node.attribute[:]
        node.attribute.extend(copies)


def _check(model: onnx.ModelProto) -> None:
    """Every node against the schemas of the model's opset.

    Raises:
        ArtifactError: one is not of that opset; names it.
    """
    import onnx

    context = onnx.checker.C.CheckerContext()
    context.ir_version = model.ir_version
    context.opset_imports = {entry.domain: entry.version for entry in model.opset_import}
    for node in model.graph.node:
        try:
            onnx.checker.check_node(node, context)
        except onnx.checker.ValidationError as error:
            version = context.opset_imports[""]
            first = str(error).strip().splitlines()[0]
            msg = f"{node.op_type} {name_of(node)} cannot be written in opset {version}: {first}"
            raise ArtifactError(msg) from error


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    found = [entry for entry in node.attribute if entry.name == name]
    return _value(found[0]) if found else default


def _value(entry: onnx.AttributeProto) -> Any:
    import onnx

    return onnx.helper.get_attribute_value(entry)
