"""Grafts between a float ONNX graph and the Q/DQ graph that a quantizer made of it.

Nodes keep their names when they are quantized, so a node of one graph is found in the other by name.
What a graft takes along (Q/DQ pairs, what only moves values, constants) is copied under new names.
"""

from __future__ import annotations

import graphlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from voxgate.errors import QuantizationError
from voxgate.quantization.editor import MOVING, Dissected, Edit, Graphs

if TYPE_CHECKING:
    import onnx

_FILE = "variant.onnx"
_QUANTIZE = "QuantizeLinear"
_DEQUANTIZE = "DequantizeLinear"
_INSERTED = frozenset({_QUANTIZE, _DEQUANTIZE})
_MARK = "/grafted"
_INLINE_BYTES = 2**30  # a protobuf holds no more than two of these


class OnnxQdq:
    """The editor of the format ``onnx-qdq``."""

    def dissect(self, graphs: Graphs) -> Dissected:
        """Count the quantize-dequantize pairs in front of each layer."""
        base, donor = _read(graphs.onnx), _read(graphs.quantized)
        graft = _Graft(base, donor)
        names = [node.name for node in graphs.nodes]
        found = {name: donor.pairs(graft.twin(base.named(name))) for name in names}
        own = set().union(*found.values())
        rest = set().union(*(donor.pairs(graft.twin(node)) for node in base.between(names)))
        total = sum(node.op_type == _DEQUANTIZE for node in donor.model.graph.node)
        return Dissected(
            layers={name: len(pairs) for name, pairs in found.items()},
            between=len(rest - own),
            total=total,
            left=total - len(own | rest),
        )

    def write(self, graphs: Graphs, edit: Edit, folder: Path) -> Path:
        """Write ``variant.onnx``, with its weights inside it where they fit."""
        import onnx as sdk

        first, second = graphs.onnx, graphs.quantized
        if edit.onto == "quantized":
            first, second = second, first
        base = _read(first)
        graft = _Graft(base, _read(second))
        names = [node.name for node in graphs.nodes]
        chosen = [base.named(name) for name in edit.layers]
        for node in [*chosen, *(base.between(names) if edit.between else ())]:
            graft.take(node)
        model = graft.finished()
        large = model.ByteSize() > _INLINE_BYTES
        sdk.save(model, folder / _FILE, save_as_external_data=large)
        return folder / _FILE


class _Side:
    """One of the two graphs, indexed."""

    def __init__(self, model: onnx.ModelProto, name: str) -> None:
        self.model = model
        self.name = name
        self.nodes = {_name(node): node for node in model.graph.node}
        self.producers = {tensor: node for node in model.graph.node for tensor in node.output}
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.inputs = {value.name for value in model.graph.input} - set(self.constants)
        self.outputs = tuple(value.name for value in model.graph.output)
        self.varying = set(self.inputs)
        for node in model.graph.node:  # in topological order, as ONNX demands
            if not self.varying.isdisjoint(node.input):
                self.varying |= set(node.output)

    def named(self, name: str) -> onnx.NodeProto:
        """The node of that name.

        Raises:
            QuantizationError: there is none.
        """
        node: onnx.NodeProto | None = self.nodes.get(name)
        if node is None:
            msg = f"{self.name} has no node {name}; it is not a graph of the same network"
            raise QuantizationError(msg)
        return node

    def between(self, layers: Collection[str]) -> list[onnx.NodeProto]:
        """The nodes that compute and are no layer."""
        return [
            node
            for name, node in self.nodes.items()
            if name not in layers
            and node.op_type not in _INSERTED | MOVING | {"Constant"}
            and not self.varying.isdisjoint(node.output)
        ]

    def goes_along(self, tensor: str) -> bool:
        """Whether a graft takes a tensor with what computes it, not its twin in the other graph."""
        node = self.producers.get(tensor)
        if node is None:
            return tensor in self.constants
        return tensor not in self.varying or node.op_type in _INSERTED | MOVING

    def pairs(self, node: onnx.NodeProto) -> set[str]:
        """Names of the dequantize nodes that a graft of a node takes along."""
        return self.pairs_above(node.input)

    def pairs_above(self, tensors: Sequence[str]) -> set[str]:
        """Names of the dequantize nodes in front of tensors, past what only moves values."""
        pending, seen, found = list(tensors), set[str](), set[str]()
        while pending:
            tensor = pending.pop()
            node = self.producers.get(tensor)
            if tensor in seen or node is None or not self.goes_along(tensor):
                continue
            seen.add(tensor)
            pending += node.input
            if node.op_type == _DEQUANTIZE:
                found.add(_name(node))
        return found


class _Graft:
    """The graph that is edited, the other one, and what was copied so far."""

    def __init__(self, base: _Side, donor: _Side) -> None:
        if _opsets(base.model) != _opsets(donor.model):
            msg = (
                f"{base.name} and {donor.name} have other opsets, {_opsets(base.model)} and "
                f"{_opsets(donor.model)}; their nodes do not mix"
            )
            raise QuantizationError(msg)
        self._base = base
        self._donor = donor
        self._seen: dict[str, str] = {}
        self._copies: list[onnx.NodeProto] = []

    def twin(self, node: onnx.NodeProto) -> onnx.NodeProto:
        """The node of the donor that a node of the base is.

        Raises:
            QuantizationError: there is none, or one of another type.
        """
        twin = self._donor.named(_name(node))
        if twin.op_type != node.op_type or len(twin.input) != len(node.input):
            msg = f"{_name(node)} is a {node.op_type} in {self._base.name} and a {twin.op_type} of other inputs in {self._donor.name}"
            raise QuantizationError(msg)
        return twin

    def take(self, node: onnx.NodeProto) -> None:
        """Connect the inputs of a node of the base as they are in the donor."""
        for index, tensor in enumerate(self.twin(node).input):
            node.input[index] = self._view(tensor)

    def finished(self) -> onnx.ModelProto:
        """The edited model: outputs as they were, every node behind what it reads."""
        graph = self._base.model.graph
        ordered = _ordered([*graph.node, *self._copies])
        needed = _needed(ordered, self._base.outputs)
        del graph.node[:], graph.value_info[:]
        graph.node.extend(node for node in ordered if _name(node) in needed)
        read = {tensor for node in graph.node for tensor in node.input}
        kept = [tensor for tensor in graph.initializer if tensor.name in read]
        del graph.initializer[:]
        graph.initializer.extend(kept)
        return self._base.model

    def _view(self, tensor: str) -> str:
        """The tensor of the base that stands for one of the donor once the graft is done."""
        if tensor not in self._seen:
            self._seen[tensor] = self._find(tensor)
        return self._seen[tensor]

    def _find(self, tensor: str) -> str:
        node = self._donor.producers.get(tensor)
        if not tensor or tensor in self._donor.inputs:
            return tensor
        if not self._donor.goes_along(tensor):
            assert node is not None
            twin = self._base.named(_name(node))
            return str(twin.output[list(node.output).index(tensor)])
        if node is None:
            copied = self._base.model.graph.initializer.add()
            copied.CopyFrom(self._donor.constants[tensor])
            copied.name = f"{tensor}{_MARK}"
            return str(copied.name)
        self._copy(node)
        return f"{tensor}{_MARK}"

    def _copy(self, node: onnx.NodeProto) -> None:
        import onnx as sdk

        if any(_name(node) + _MARK == copy.name for copy in self._copies):
            return  # for another of its outputs
        copy = sdk.NodeProto()
        copy.CopyFrom(node)
        copy.name = f"{_name(node)}{_MARK}"
        self._copies.append(copy)
        copy.input[:] = [self._view(tensor) for tensor in node.input]
        copy.output[:] = [f"{tensor}{_MARK}" if tensor else "" for tensor in node.output]


def _ordered(nodes: Sequence[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """The nodes, each behind those whose outputs it reads.

    Raises:
        QuantizationError: there is no such order, since the graphs are not of one network.
    """
    makers = {tensor: index for index, node in enumerate(nodes) for tensor in node.output if tensor}
    above = {
        index: {makers[tensor] for tensor in node.input if tensor in makers}
        for index, node in enumerate(nodes)
    }
    try:
        return [nodes[index] for index in graphlib.TopologicalSorter(above).static_order()]
    except graphlib.CycleError as error:
        msg = f"the edited graph has a circle at {_name(nodes[error.args[1][0]])}"
        raise QuantizationError(msg) from error


def _needed(nodes: Sequence[onnx.NodeProto], outputs: Sequence[str]) -> set[str]:
    """Names of the nodes that an output depends on."""
    wanted, needed = set(outputs), set[str]()
    for node in reversed(nodes):
        if not wanted.isdisjoint(node.output):
            needed.add(_name(node))
            wanted |= set(node.input)
    return needed


def _read(path: str) -> _Side:
    import onnx as sdk

    return _Side(sdk.load(path), Path(path).name)


def _opsets(model: onnx.ModelProto) -> dict[str, int]:
    return {entry.domain: entry.version for entry in model.opset_import if entry.domain == ""}


def _name(node: onnx.NodeProto) -> str:
    return node.name or str(node.output[0])


EDITOR = OnnxQdq()
