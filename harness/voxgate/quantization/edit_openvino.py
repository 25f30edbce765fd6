"""Grafts between a float ONNX graph and the FakeQuantize IR that NNCF made of it.

Both are read anew for every edit, so that the operations of the graph that a graft comes from can be
rewired in place. Which operation is which is found by walking both graphs in step, from the results
up, past the FakeQuantize nodes and SmoothQuant's multiplications: names alone do not tell, since
OpenVINO numbers the operations that have none. Constants are computed first in both, since a quantizer
may have computed those of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from voxgate.backends.openvino import read_folded
from voxgate.backends.openvino import sdk as openvino_sdk
from voxgate.errors import QuantizationError
from voxgate.quantization.editor import MOVING, Dissected, Edit, Graphs, Onto
from voxgate.quantization.openvino_operations import operation_of
from voxgate.records.engine import GraphNode

_FILE = "variant.xml"
_QUANTIZER = "FakeQuantize"
_SMOOTH = "nncf_smooth_quant"

# An operation and those of its inputs that belong to a layer.
_Inputs = tuple[Any, tuple[int, ...]]


class OpenVinoIr:
    """The editor of the format ``openvino-ir``."""

    def dissect(self, graphs: Graphs) -> Dissected:
        """Count the FakeQuantize nodes in front of each layer."""
        graft = _Graft(graphs, "float")
        names = [node.name for node in graphs.nodes]
        found = {name: graft.quantizers(graft.layer(name)) for name in names}
        own = set().union(*found.values())
        rest = graft.quantizers(graft.between()) - own
        total = sum(_type(op) == _QUANTIZER for op in graft.donor.get_ops())
        return Dissected(
            layers={name: len(ids) for name, ids in found.items()},
            between=len(rest),
            total=total,
            left=total - len(own | rest),
            rescaled=tuple(name for name in names if graft.is_rescaled(name)),
        )

    def write(self, graphs: Graphs, edit: Edit, folder: Path) -> Path:
        """Write ``variant.xml`` and its weights."""
        graft = _Graft(graphs, edit.onto)
        chosen = [part for name in edit.layers for part in graft.layer(name)]
        chosen += graft.between() if edit.between else ()
        for operation, ports in chosen:
            graft.take(operation, ports)
        openvino_sdk().save_model(graft.finished(), folder / _FILE, compress_to_fp16=False)
        return folder / _FILE


class _Graft:
    """The graph that is edited (``base``), the other one (``donor``), and what is what in both.

    Operations are named by their instance ids, which OpenVINO gives once a process.
    """

    def __init__(self, graphs: Graphs, onto: Onto) -> None:
        plain, quantized_model = (read_folded(Path(p)) for p in (graphs.onnx, graphs.quantized))
        in_step = list(_in_step(plain, quantized_model))
        self._weighted = {node.name: _weighted(node, plain) for node in graphs.nodes}
        quantized_of = {_id(a): b for a, b in in_step}
        if onto == "float":
            self.base, self.donor = plain, quantized_model
            self._twins = {_id(b): a for a, b in in_step}
        else:
            self.base, self.donor = quantized_model, plain
            self._twins = {_id(a): b for a, b in in_step}
            self._weighted = {n: quantized_of[_id(op)] for n, op in self._weighted.items()}
        self._partners = {_id(base): _id(donor) for donor, base in self._donors(in_step, onto)}
        self._operations = {_id(op): op for op in self.donor.get_ops()}
        self._varying = _varying(self.donor)
        self._seen: dict[tuple[int, int], Any] = {}

    @staticmethod
    def _donors(in_step: Sequence[tuple[Any, Any]], onto: Onto) -> Iterator[tuple[Any, Any]]:
        for plain, quantized in in_step:
            yield (quantized, plain) if onto == "float" else (plain, quantized)

    def layer(self, name: str) -> list[_Inputs]:
        """The operations of the base that are a layer: the weighted one and its bias's addition."""
        weighted = self._weighted[name]
        parts: list[_Inputs] = [(weighted, tuple(range(weighted.get_input_size())))]
        for reader in weighted.output(0).get_target_inputs():
            addition, other = reader.get_node(), 1 - reader.get_index()
            if _type(addition) == "Add" and _is_bias(addition.input_value(other).get_node()):
                parts.append((addition, (other,)))
        return parts

    def between(self) -> list[_Inputs]:
        """Every operation of the base that computes and is no part of a layer."""
        own = {_id(op) for name in self._weighted for op, _ in self.layer(name)}
        return [
            (op, tuple(range(op.get_input_size())))
            for op in self.base.get_ordered_ops()
            if _id(op) in self._partners and _id(op) not in own and _type(op) not in MOVING
        ]

    def quantizers(self, parts: Sequence[_Inputs]) -> set[int]:
        """The FakeQuantize nodes of the donor that a graft of these would take along."""
        pending = [
            self._donor(op).input_value(port).get_node() for op, ports in parts for port in ports
        ]
        seen: set[int] = set()
        while pending:
            op = pending.pop()
            if _id(op) not in seen and self._goes_along(op):
                seen.add(_id(op))
                pending += [value.get_node() for value in op.input_values()]
        return {number for number in seen if _type(self._operations[number]) == _QUANTIZER}

    def is_rescaled(self, name: str) -> bool:
        """Whether the quantizer scaled a layer's weights, other than by SmoothQuant on its inputs."""
        weighted = self._weighted[name]
        pairs = zip(weighted.input_values(), self._donor(weighted).input_values(), strict=True)
        for own, other in pairs:
            if _is_inserted_multiplication(_unquantized(other.get_node())):
                return False
            ours, theirs = own.get_node(), _unquantized(other.get_node())
            constants = _type(ours) == _type(theirs) == "Constant"
            if constants and not np.array_equal(ours.get_data(), theirs.get_data()):
                return True
        return False

    def take(self, operation: Any, ports: Sequence[int]) -> None:
        """Connect inputs of the base as they are in the donor."""
        twin = self._donor(operation)
        for port in ports:
            operation.input(port).replace_source_output(self._view(twin.input_value(port)))

    def finished(self) -> Any:
        """The edited model with shapes inferred anew."""
        self.base.validate_nodes_and_infer_types()
        return self.base

    def _donor(self, operation: Any) -> Any:
        return self._operations[self._partners[_id(operation)]]

    def _goes_along(self, op: Any) -> bool:
        """Whether a graft takes an operation of the donor itself, not its twin in the base."""
        inserted = _id(op) not in self._twins
        return inserted or _id(op) not in self._varying or _type(op) in MOVING

    def _view(self, value: Any) -> Any:
        """What stands for an output of the donor once the graft is done."""
        op = value.get_node()
        key = (_id(op), value.get_index())
        if key not in self._seen:
            if not self._goes_along(op):
                self._seen[key] = self._twins[_id(op)].output(value.get_index())
            else:
                self._seen[key] = value
                self._rewire(op)
        return self._seen[key]

    def _rewire(self, op: Any) -> None:
        if _id(op) not in self._varying:
            return  # constants, and what is computed of constants alone
        op.set_friendly_name(f"{op.get_friendly_name()}/grafted")
        for port, source in enumerate(op.input_values()):
            op.input(port).replace_source_output(self._view(source))


def _in_step(plain: Any, quantized: Any) -> Iterator[tuple[Any, Any]]:
    """Every operation of the float graph with the same one of the quantized graph.

    Raises:
        QuantizationError: the graphs differ by more than quantizers.
    """
    pending = list(zip(plain.get_results(), quantized.get_results(), strict=True))
    seen = {_id(a) for a, _ in pending}
    while pending:
        a, b = pending.pop()
        yield a, b
        for ours, theirs in zip(a.input_values(), b.input_values(), strict=True):
            above, twin = ours.get_node(), _without_inserted(theirs.get_node(), ours.get_node())
            if _type(above) != _type(twin) or above.get_input_size() != twin.get_input_size():
                msg = (
                    f"the quantized graph has {twin.get_friendly_name()} ({_type(twin)}) where the "
                    f"float one has {above.get_friendly_name()} ({_type(above)}), in front of "
                    f"{a.get_friendly_name()}; its layers cannot be told apart"
                )
                raise QuantizationError(msg)
            if _id(above) not in seen:
                seen.add(_id(above))
                pending.append((above, twin))


def _without_inserted(op: Any, plain: Any) -> Any:
    """The first operation above that the quantizer did not insert."""
    while (_type(op) == _QUANTIZER and _type(plain) != _QUANTIZER) or _is_inserted_multiplication(
        op
    ):
        op = op.input_value(0).get_node()
    return op


def _unquantized(op: Any) -> Any:
    return op.input_value(0).get_node() if _type(op) == _QUANTIZER else op


def _is_inserted_multiplication(op: Any) -> bool:
    return _type(op) == "Multiply" and _SMOOTH in op.get_friendly_name()


def _is_bias(op: Any) -> bool:
    """A constant, or one that is reshaped for the addition."""
    reshaped = _type(op) == "Reshape" and _type(op.input_value(0).get_node()) == "Constant"
    return reshaped or _type(op) == "Constant"


def _varying(model: Any) -> set[int]:
    """The operations that an input of the model reaches."""
    varying = set[int]()
    for op in model.get_ordered_ops():
        above = (_id(value.get_node()) for value in op.input_values())
        if _type(op) == "Parameter" or not varying.isdisjoint(above):
            varying.add(_id(op))
    return varying


def _weighted(node: GraphNode, model: Any) -> Any:
    name = operation_of(node, model)
    return next(op for op in model.get_ops() if op.get_friendly_name() == name)


def _type(op: Any) -> str:
    return str(op.get_type_name())


def _id(op: Any) -> int:
    return int(op.get_instance_id())


EDITOR = OpenVinoIr()
