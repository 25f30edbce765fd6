"""The rules that a graph with Q/DQ nodes must keep before it is worth building.

They are those of the strictest runtimes. What breaks a fatal rule is refused by one, or worse: it
builds without a word and computes in float.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from voxgate.errors import ArtifactError
from voxgate.quantization.onnx_view import (
    DEQUANTIZE,
    QUANTIZE,
    View,
    WeightedOp,
    attribute,
    count,
    name_of,
    operand,
    read_model,
    read_values,
    read_view,
    type_name,
)
from voxgate.records.findings import Finding

if TYPE_CHECKING:
    import onnx


from voxgate.errors import GraphLintError

Found = Iterator[tuple["onnx.NodeProto", str]]

_SCALE, _ZERO_POINT = 1, 2
_DEFAULT_AXIS = 1

OLDEST_OPSET = 13  # the first with an axis
HALF_OPSET = 19  # the first with 16-bit scales
NEWEST_OPSET = 21
CHANNEL_MULTIPLE = 4


def lint(model: onnx.ModelProto) -> tuple[Finding, ...]:
    """Every broken rule in the main graph; bodies of If and Loop, and functions, are not read.

    Raises:
        ArtifactError: a scale or zero point that cannot be read as numbers.
    """
    view = read_view(model)
    return tuple(
        Finding(rule=rule.name, node=name_of(node), message=message, fatal=rule.fatal)
        for rule in RULES
        for node, message in rule.check(view)
    )


def lint_file(path: Path) -> Linted:
    """The findings of an ONNX file, whose external data is not opened.

    Raises:
        ArtifactError: there is no file, or it is damaged; names it.
    """
    model = read_model(path)
    try:
        findings = lint(model)
    except ArtifactError as error:
        msg = f"{path} is damaged: {error}"
        raise ArtifactError(msg) from error
    kinds = [node.op_type for node in model.graph.node]
    return Linted(
        findings=findings,
        quantize_nodes=kinds.count(QUANTIZE),
        dequantize_nodes=kinds.count(DEQUANTIZE),
    )


# --- numbers of one node -------------------------------------------------------------------------


def zero_point(view: View) -> Found:
    """TensorRT takes symmetric quantization alone, of int8 as of uint8."""
    for node in view.quantizers:
        tensor = view.tensor(operand(node, _ZERO_POINT))
        values = None if tensor is None else read_values(tensor)
        if tensor is None or values is None or not np.any(values):
            continue
        value = values[np.flatnonzero(values)[0]]
        msg = (
            f"its {type_name(tensor)} zero point is {value:g}; it must be 0: quantize "
            "symmetrically, to int8"
        )
        yield node, msg


def constant_scale(view: View) -> Found:
    """Compilers fold scales into weights and kernels, so they must know them."""
    for node in view.quantizers:
        for index, what in ((_SCALE, "scale"), (_ZERO_POINT, "zero point")):
            name = operand(node, index)
            optional = index == _ZERO_POINT and not name  # it is 0 then
            # Not through Identity: a parser may make a layer of it, which is no constant any more.
            if optional or name in view.constants:
                continue
            found = f"its {what} {name!r} is computed or an input" if name else f"it has no {what}"
            msg = (
                f"{found}; it must be an initializer or a Constant: calibrate ahead and store "
                "what came out"
            )
            yield node, msg


def scale_value(view: View) -> Found:
    """A scale of 0 divides by 0, and a negative one exchanges the ends of the range."""
    for node in view.quantizers:
        tensor = view.tensor(operand(node, _SCALE))
        values = None if tensor is None else read_values(tensor)
        if values is None:
            continue
        bad = values[~(np.isfinite(values) & (values > 0))]
        if bad.size:
            msg = (
                f"{bad.size} of its {values.size} scales, like {bad[0]:g}, are not positive and "
                "finite; all must be: calibrate on images that reach this tensor"
            )
            yield node, msg


def scale_length(view: View) -> Found:
    """One scale for all, or one for each slice along the axis."""
    for node in view.quantizers:
        scale, data = view.tensor(operand(node, _SCALE)), view.tensor(view.data(node))
        if scale is None or data is None or count(scale) == 1:
            continue
        axis, dims = _axis(node, len(data.dims)), tuple(data.dims)
        if len(scale.dims) != 1:
            found = f"its scale has the shape {tuple(scale.dims)}"
        elif not 0 <= axis < len(dims):
            found = f"its axis {axis} is none of the constant of shape {dims}"
        elif scale.dims[0] != dims[axis]:
            found = (
                f"it has {scale.dims[0]} scales for the {dims[axis]} slices of {dims} along {axis}"
            )
        else:
            continue
        msg = f"{found}; one scale is needed, or one a slice along its axis: quantize it again"
        yield node, msg


def per_tensor_activation(view: View) -> Found:
    """Sums over channels of different scales are no integer sums."""
    for node in view.quantizers:
        scale = view.tensor(operand(node, _SCALE))
        if scale is not None and count(scale) != 1 and view.data(node) in view.varying:
            msg = (
                f"it quantizes an activation with {count(scale)} scales; activations need one "
                "for the tensor: calibrate them per tensor"
            )
            yield node, msg


# --- a node and its neighbours -------------------------------------------------------------------


def weight_axis(view: View) -> Found:
    """A Conv with scales along another axis builds without a word and runs in float."""
    for op in view.weighted():
        required = output_axis(op)
        if not op.constant or required is None:
            continue
        for node in op.pair:
            scale = view.tensor(operand(node, _SCALE))
            if scale is None or len(scale.dims) != 1 or count(scale) <= 1:
                continue
            rank = _rank(op)
            axis = _axis(node, rank)
            if axis == required or (axis < 0 and rank is None):
                continue
            msg = (
                f"the weights of {op.node.op_type} {name_of(op.node)} are quantized along axis "
                f"{axis}{_if_default(node)}; their output channels are axis {required}: set "
                f"axis to {required}, with one scale for each of them"
            )
            yield node, msg


def dangling(view: View) -> Found:
    """Runtimes take int8 tensors between the two nodes of a pair, and as weights."""
    import onnx

    eight_bit = {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}
    for node in view.quantizers:
        if node.op_type != DEQUANTIZE:
            continue
        source, tensor = view.producer(operand(node, 0)), view.tensor(operand(node, 0))
        if source is not None and source.op_type == QUANTIZE:
            continue
        if tensor is not None and tensor.data_type in eight_bit:
            continue
        if tensor is not None:
            found = f"the {type_name(tensor)} constant {operand(node, 0)!r}"
        elif source is not None:
            found = f"an output of {source.op_type} {name_of(source)}"
        else:
            found = f"{operand(node, 0)!r}, which no node computes"
        msg = (
            f"it dequantizes {found}; it must follow a QuantizeLinear or an int8 or uint8 "
            "constant: put the two nodes of a pair together, and leave biases in float"
        )
        yield node, msg


def one_sided(view: View) -> Found:
    """An integer kernel needs integers on both sides."""
    for op in view.weighted():
        known = op.constant and bool(op.pair or op.weights is not None)
        if not known or bool(op.pair) == op.activation_quantized:
            continue
        sides = ("weights are", "activation is")
        done, missing = sides if op.pair else sides[::-1]
        msg = (
            f"its {done} quantized and its {missing} not; {op.node.op_type} runs in float "
            "everywhere: quantize both, or neither"
        )
        yield op.node, msg


def grouped_channels(view: View) -> Found:
    """Integer kernels read channels in fours, and a group must not share one with the next."""
    for op in view.weighted():
        groups = attribute(op.node, "group", 1)
        if groups <= 1 or not op.pair or op.weights is None or len(op.weights.dims) < 2:
            continue
        whole, part = op.weights.dims[0] // groups, op.weights.dims[1]
        if whole % CHANNEL_MULTIPLE or part % CHANNEL_MULTIPLE:
            # Conv weights are (Cout, Cin / groups, ...), those of ConvTranspose (Cin, Cout / groups, ...).
            inner, outer = (part, whole) if op.node.op_type == "Conv" else (whole, part)
            msg = (
                f"each of its {groups} groups has {inner} channels in and {outer} out; int8 "
                f"needs multiples of {CHANNEL_MULTIPLE}: leave it in float, or widen the groups"
            )
            yield op.node, msg


# --- the whole graph -----------------------------------------------------------------------------


def opset(view: View) -> Found:
    """Older operators have no axis, and no scales of 16 bits."""
    if view.opset < OLDEST_OPSET:
        for node in view.quantizers[:1]:
            msg = (
                f"the graph has opset {view.opset}; Q/DQ nodes need at least {OLDEST_OPSET}: "
                f"export with opset {NEWEST_OPSET}"
            )
            yield node, msg
    elif view.opset < HALF_OPSET:
        yield from _half_scales(view)


def newest_opset(view: View) -> Found:
    """Not every TensorRT that is supported parses what came later; each documents less than it does."""
    for node in view.quantizers[:1] if view.opset > NEWEST_OPSET else ():
        msg = (
            f"the graph has opset {view.opset}; up to {NEWEST_OPSET} is known to be parsed "
            f"everywhere: export with opset {NEWEST_OPSET}"
        )
        yield node, msg


def _half_scales(view: View) -> Found:
    for node in view.quantizers:
        tensor = view.tensor(operand(node, _SCALE))
        if tensor is not None and type_name(tensor) in {"float16", "bfloat16"}:
            msg = (
                f"its scale is {type_name(tensor)} in a graph of opset {view.opset}; that needs "
                f"at least {HALF_OPSET}: store it as float, or export with opset {NEWEST_OPSET}"
            )
            yield node, msg


# --- axes ----------------------------------------------------------------------------------------


def _axis(node: onnx.NodeProto, rank: int | None) -> int:
    """The axis that a Q/DQ node quantizes along, counted from the front where the rank is known."""
    axis = attribute(node, "axis", _DEFAULT_AXIS)
    return axis + rank if axis < 0 and rank is not None else axis


def _if_default(node: onnx.NodeProto) -> str:
    given = any(entry.name == "axis" for entry in node.attribute)
    return "" if given else " (the default)"


def _rank(op: WeightedOp) -> int | None:
    if op.node.op_type == "Gemm":
        return 2
    return None if op.weights is None else len(op.weights.dims)


def output_axis(op: WeightedOp) -> int | None:
    """Where the weights hold the output channels; None where that cannot be told."""
    if op.node.op_type == "Gemm":
        return 0 if attribute(op.node, "transB", 0) else 1
    if op.node.op_type == "MatMul":
        rank = _rank(op)
        return None if rank is None or rank < 2 else rank - 1  # a vector makes no channels
    return 0 if op.node.op_type == "Conv" else 1  # ConvTranspose, also in groups


# --- the table -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rule:
    name: str
    check: Callable[[View], Found]
    fatal: bool = True


RULES = (
    _Rule(name="zero-point", check=zero_point),
    _Rule(name="axis", check=weight_axis),
    _Rule(name="constant-scale", check=constant_scale),
    _Rule(name="per-tensor-activation", check=per_tensor_activation),
    _Rule(name="scale-length", check=scale_length),
    _Rule(name="scale-value", check=scale_value),
    _Rule(name="opset", check=opset),
    _Rule(name="dangling", check=dangling),
    # Warnings. A quantizer may leave a layer in float on purpose and quantize what lies beside it,
    # and a layer in float computes what it should; what an engine executes is certified later.
    _Rule(name="one-sided", check=one_sided, fatal=False),
    _Rule(name="grouped-channels", check=grouped_channels, fatal=False),
    # Newer versions of the runtimes parse newer opsets; which is installed is not known here.
    _Rule(name="opset", check=newest_opset, fatal=False),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Linted:
    """What a graph breaks, and how many Q/DQ nodes it has; none at all in a float graph."""

    findings: tuple[Finding, ...]
    quantize_nodes: int
    dequantize_nodes: int


_SHOWN_FINDINGS = 5


def refuse(source: str, findings: tuple[Finding, ...]) -> None:
    """Refuse a graph with fatal findings before a runtime makes something else of it.

    Raises:
        GraphLintError: shows the first of them.
    """
    fatal = [finding for finding in findings if finding.fatal]
    if not fatal:
        return
    shown = "; ".join(f"{f.node} ({f.rule}): {f.message}" for f in fatal[:_SHOWN_FINDINGS])
    rest = len(fatal) - _SHOWN_FINDINGS
    more = f"; and {rest} more, which 'voxgate lint' lists" if rest > 0 else ""
    msg = f"{source} would be refused, or run in float: {shown}{more}"
    raise GraphLintError(msg)
