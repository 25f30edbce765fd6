"""What the rules of `voxgate.quantization.lint` see of an ONNX graph: constants, Q/DQ nodes, weighted operations."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from voxgate.errors import ArtifactError

if TYPE_CHECKING:
    import onnx

QUANTIZE = "QuantizeLinear"
DEQUANTIZE = "DequantizeLinear"

_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_IDENTITY = frozenset({"Identity"})
# Compilers move a dequantize node behind these: they change no value, or pick one.
COMMUTING = frozenset(
    {"Flatten", "Identity", "MaxPool", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightedOp:
    """A weighted node and what stands in front of its operands.

    ``pair`` are the Q/DQ nodes on its weights, none where they are float. ``weights`` is the
    constant behind them, None where something computes it. ``constant`` is whether no input of the
    graph reaches the weights.
    """

    node: onnx.NodeProto
    pair: tuple[onnx.NodeProto, ...]
    weights: onnx.TensorProto | None
    constant: bool
    activation_quantized: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """An indexed main graph; names are looked up through Identity nodes."""

    nodes: tuple[onnx.NodeProto, ...]
    producers: dict[str, onnx.NodeProto]
    constants: dict[str, onnx.TensorProto]
    varying: frozenset[str]
    opset: int

    @property
    def quantizers(self) -> tuple[onnx.NodeProto, ...]:
        """Every quantize and dequantize node."""
        return tuple(node for node in self.nodes if node.op_type in {QUANTIZE, DEQUANTIZE})

    def tensor(self, name: str) -> onnx.TensorProto | None:
        """The constant of that name; None where it is no initializer and no Constant node."""
        return self.constants.get(self._origin(name))

    def producer(self, name: str) -> onnx.NodeProto | None:
        """The node that computes a tensor; None for constants and inputs of the graph."""
        return self.producers.get(self._origin(name))

    def data(self, node: onnx.NodeProto) -> str:
        """What a Q/DQ node quantizes: in front of a pair, that of its quantize node."""
        source = self.producer(operand(node, 0)) if node.op_type == DEQUANTIZE else None
        if source is not None and source.op_type == QUANTIZE:
            return operand(source, 0)
        return operand(node, 0)

    def weighted(self) -> Iterator[WeightedOp]:
        """The weighted nodes; their weights are the second operand, the activation the first."""
        for node in self.nodes:
            if node.op_type not in _WEIGHTED:
                continue
            pair = self._pair(operand(node, 1))
            data = self.data(pair[-1]) if pair else operand(node, 1)
            activation = self.producers.get(self._origin(operand(node, 0), COMMUTING))
            yield WeightedOp(
                node=node,
                pair=pair,
                weights=self.tensor(data),
                constant=data not in self.varying,
                activation_quantized=activation is not None and activation.op_type == DEQUANTIZE,
            )

    def _pair(self, name: str) -> tuple[onnx.NodeProto, ...]:
        """The dequantize node that computes a tensor, behind its quantize node if it has one."""
        dequantize = self.producer(name)
        if dequantize is None or dequantize.op_type != DEQUANTIZE:
            return ()
        quantize = self.producer(operand(dequantize, 0))
        if quantize is None or quantize.op_type != QUANTIZE:
            return (dequantize,)
        return quantize, dequantize

    def _origin(self, name: str, through: frozenset[str] = _IDENTITY) -> str:
        """The tensor that nodes of these types were given."""
        for _ in self.nodes:  # never more often: a damaged graph may hold a circle
            node = self.producers.get(name)
            if node is None or node.op_type not in through:
                break
            name = operand(node, 0)
        return name


def read_model(path: Path) -> onnx.ModelProto:
    """An ONNX file without its external data.

    Raises:
        ArtifactError: there is no file, or it holds no whole ONNX graph.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path, format="protobuf", load_external_data=False)
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror or error}"
        raise ArtifactError(msg) from error
    except DecodeError as error:
        msg = f"{path} is no ONNX file, or was cut off: {error}"
        raise ArtifactError(msg) from error
    # Protobuf takes an empty file, and one that was cut between two fields; opsets come last.
    if not model.HasField("graph") or not model.opset_import:
        msg = f"{path} is no ONNX file, or was cut off: it has no graph or no opset"
        raise ArtifactError(msg)
    return model


def read_view(model: onnx.ModelProto) -> View:
    """Index the main graph of a model."""
    graph = model.graph
    nodes = tuple(graph.node)
    versions = [entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}]
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in nodes:
        value = _constant_value(node)
        if value is not None and node.output:
            constants[node.output[0]] = value
    return View(
        nodes=nodes,
        producers={
            name: node for node in nodes if node.op_type != "Constant" for name in node.output
        },
        constants=constants,
        varying=varying_tensors(graph),
        opset=max(versions, default=1),  # a file that names none is from before there were two
    )


def operand(node: onnx.NodeProto, index: int) -> str:
    """The name of an input; empty where the node has none there."""
    return node.input[index] if index < len(node.input) else ""


def attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    """The value of an integer attribute."""
    return next((entry.i for entry in node.attribute if entry.name == name), default)


def name_of(node: onnx.NodeProto) -> str:
    """A node's name; that of its first output where it has none."""
    return node.name or next(iter(node.output), node.op_type)


def count(tensor: onnx.TensorProto) -> int:
    """How many elements a tensor has."""
    return math.prod(tensor.dims)


def type_name(tensor: onnx.TensorProto) -> str:
    """The element type of a tensor, in lower case; its number where this ONNX has no such type."""
    import onnx

    names = {number: str(name).lower() for name, number in onnx.TensorProto.DataType.items()}
    return names.get(tensor.data_type, str(tensor.data_type))


def read_values(tensor: onnx.TensorProto) -> NDArray[np.float64] | None:
    """The flat values of a tensor; None where they lie in another file, which is not opened.

    Raises:
        ArtifactError: its bytes are not those of its type and shape, or are no numbers.
    """
    import onnx

    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        return None
    try:
        return np.ravel(onnx.numpy_helper.to_array(tensor)).astype(np.float64)
    except (KeyError, TypeError, ValueError) as error:
        msg = f"the values of tensor {tensor.name!r} cannot be read: {error}"
        raise ArtifactError(msg) from error


def _constant_value(node: onnx.NodeProto) -> onnx.TensorProto | None:
    """What a Constant node holds; None for other nodes, and for sparse values and strings."""
    import onnx

    if node.op_type != "Constant":
        return None
    for entry in node.attribute:
        if entry.name == "value":
            tensor: onnx.TensorProto = entry.t
            return tensor
        if entry.name in {"value_float", "value_floats", "value_int", "value_ints"}:
            array = np.asarray(onnx.helper.get_attribute_value(entry))
            kind = np.float32 if "float" in entry.name else np.int64
            return onnx.numpy_helper.from_array(array.astype(kind), name_of(node))
    return None


def varying_tensors(
    graph: onnx.GraphProto, nodes: Iterable[onnx.NodeProto] | None = None
) -> frozenset[str]:
    """The tensors that an input of the graph reaches; ``nodes`` are its own in another order."""
    import onnx

    varying = {value.name for value in graph.input} - {tensor.name for tensor in graph.initializer}
    for node in graph.node if nodes is None else nodes:  # in topological order, as ONNX demands
        # A body of If or Loop reads tensors that its node does not list as inputs.
        has_body = any(entry.type == onnx.AttributeProto.GRAPH for entry in node.attribute)
        if has_body or not varying.isdisjoint(node.input):
            varying |= set(node.output)
    return frozenset(varying)
