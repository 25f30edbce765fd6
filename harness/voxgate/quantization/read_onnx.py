"""The quantized tensors of a Q/DQ ONNX graph."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from voxgate.errors import ArtifactError, QuantizationError
from voxgate.files import inside
from voxgate.quantization.grids import Grid
from voxgate.quantization.lint import output_axis
from voxgate.quantization.onnx_view import (
    DEQUANTIZE,
    QUANTIZE,
    View,
    attribute,
    count,
    operand,
    read_model,
    read_values,
    read_view,
    type_name,
)
from voxgate.quantization.tensors import QuantizedTensor, Reading

if TYPE_CHECKING:
    import onnx

_SCALE, _ZERO_POINT = 1, 2
_DEFAULT_AXIS = 1
_CODES = {"int4": (-8, 7), "uint4": (0, 15), "int8": (-128, 127), "uint8": (0, 255),
          "int16": (-32768, 32767), "uint16": (0, 65535)}  # fmt: skip
_CONCAT = "Concat"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Graph:
    view: View
    folder: Path
    readers: dict[str, list[onnx.NodeProto]]
    weights: dict[str, set[int | None]]  # by quantized tensor: the channel axes of its operations


def read(path: Path) -> Reading:
    """The tensors in front of quantize nodes, and in front of dequantize nodes without one.

    Raises:
        ArtifactError: there is no file, or it is damaged.
    """
    view = read_view(read_model(path))
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in view.nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    weights: dict[str, set[int | None]] = {}
    for op in view.weighted():
        if op.pair and op.constant:
            weights.setdefault(view.data(op.pair[-1]), set()).add(output_axis(op))
    graph = _Graph(view=view, folder=path.parent, readers=readers, weights=weights)
    return Reading(tensors=_tensors(graph), shared=_shared(graph))


def _tensors(graph: _Graph) -> Iterator[QuantizedTensor]:
    for node in graph.view.quantizers:
        source = graph.view.producer(operand(node, 0))
        follows = source is not None and source.op_type == QUANTIZE
        if not (node.op_type == DEQUANTIZE and follows):
            yield _tensor(node, graph)


def _tensor(node: onnx.NodeProto, graph: _Graph) -> QuantizedTensor:
    name = operand(node, 0)
    constant = graph.view.tensor(name)
    weight = constant is not None or name not in graph.view.varying
    axes = graph.weights.get(name, set())
    source = graph.view.producer(name)
    tensor = QuantizedTensor(
        name=name,
        role="weight" if weight else "activation",
        grid=None,
        names=(name,),
        producer=source.op_type if source is not None else "",
        consumers=tuple(sorted({n.op_type for n in _consumers(node, graph)})),
        channel_axis=next(iter(axes)) if len(axes) == 1 else None,
    )
    try:
        grid = _grid(node, graph, rank=len(constant.dims) if constant is not None else None)
        _check_pairs(node, graph)
    except QuantizationError as error:
        return replace(tensor, fault=str(error))
    if constant is None or type_name(constant) != "float":
        return replace(tensor, grid=grid)
    return replace(tensor, grid=grid, values=_float_values(constant, graph))


def _consumers(node: onnx.NodeProto, graph: _Graph) -> Iterator[onnx.NodeProto]:
    """What reads a quantized tensor, behind its dequantize nodes."""
    for reader in graph.readers.get(node.output[0], []):
        if reader.op_type == DEQUANTIZE and node.op_type == QUANTIZE:
            yield from graph.readers.get(reader.output[0], [])
        else:
            yield reader


def _grid(node: onnx.NodeProto, graph: _Graph, *, rank: int | None) -> Grid:
    """The grid of a Q/DQ node.

    Raises:
        QuantizationError: it has none that the formulas know.
    """
    name = operand(node, 0)
    scale = graph.view.tensor(operand(node, _SCALE))
    if scale is None or (values := read_values(scale)) is None:
        msg = f"its scale {operand(node, _SCALE)!r} is no constant in the file"
        raise QuantizationError(msg)
    zero = graph.view.tensor(operand(node, _ZERO_POINT))
    kind = "uint8" if zero is None else type_name(zero)
    if kind not in _CODES:
        msg = f"its codes are {kind}; the formulas are of {', '.join(_CODES)}"
        raise QuantizationError(msg)
    zeros = np.zeros(values.shape) if zero is None else read_values(zero)
    if zeros is None or zeros.shape != values.shape:
        msg = f"it has {count(scale)} scales and not as many zero points in the file"
        raise QuantizationError(msg)
    axis = attribute(node, "axis", _DEFAULT_AXIS)
    axis = axis + rank if axis < 0 and rank is not None else axis
    single = values.size == 1
    return Grid(
        scale=values.astype(np.float32).reshape(() if single else (-1,)),
        zero_point=zeros.astype(np.int64).reshape(() if single else (-1,)),
        lowest=_CODES[kind][0],
        highest=_CODES[kind][1],
        axis=None if single else axis,
        name=name,
    )


def _check_pairs(node: onnx.NodeProto, graph: _Graph) -> None:
    """Refuse a dequantize node with another scale or zero point than its quantize node.

    Raises:
        QuantizationError: names the two.
    """
    if node.op_type != QUANTIZE:
        return
    own = _grid(node, graph, rank=None)
    for reader in graph.readers.get(node.output[0], []):
        if reader.op_type != DEQUANTIZE:
            continue
        other = _grid(reader, graph, rank=None)
        same = (own.lowest, own.axis) == (other.lowest, other.axis)
        if not same or not (
            np.array_equal(own.scale, other.scale)
            and np.array_equal(own.zero_point, other.zero_point)
        ):
            msg = f"{node.name!r} quantizes it with another scale or zero point than {reader.name!r} reads"
            raise QuantizationError(msg)


def _float_values(
    tensor: onnx.TensorProto, graph: _Graph
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """A float tensor, also one that lies in another file beside the graph.

    Raises:
        ArtifactError: its file is missing, too short or outside of the graph's folder.
    """
    import onnx

    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        where = {entry.key: entry.value for entry in tensor.external_data}
        inside(graph.folder, where.get("location", ""))
    try:
        values = onnx.numpy_helper.to_array(tensor, str(graph.folder))
    except (OSError, ValueError, TypeError, onnx.checker.ValidationError) as error:
        msg = f"the values of tensor {tensor.name!r} cannot be read: {error}"
        raise ArtifactError(msg) from error
    return np.asarray(values, np.float32)


def _shared(graph: _Graph) -> tuple[frozenset[str], ...]:
    """Groups of tensors around each Concat: its quantized inputs, with its output if that is one."""
    quantized = {operand(n, 0) for n in graph.view.quantizers if n.op_type == QUANTIZE}
    groups: list[frozenset[str]] = []
    for node in graph.view.nodes:
        if node.op_type != _CONCAT or node.output[0] not in quantized:
            continue
        inputs = {_undone(name, graph) for name in node.input} & quantized
        if inputs:
            groups.append(frozenset(inputs | {node.output[0]}))
    return tuple(groups)


def _undone(name: str, graph: _Graph) -> str:
    """What a dequantize node made a tensor from; the tensor itself behind another node."""
    node = graph.view.producer(name)
    return graph.view.data(node) if node is not None and node.op_type == DEQUANTIZE else name
