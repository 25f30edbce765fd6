"""An ONNX graph that is being rewritten: who makes and reads a tensor, and what may be dropped.

Nodes are replaced, inserted and removed; a tensor that stays keeps its name, so that executed layers
are still found by the names of the float graph.
"""

from __future__ import annotations

import graphlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from voxgate.errors import ArtifactError
from voxgate.quantization.onnx_view import name_of, varying_tensors

if TYPE_CHECKING:
    import onnx

_INLINE_BYTES = 2**30  # a protobuf holds no more than two of these


class Wiring:
    """The main graph of a model, indexed anew after each change of its nodes."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.nodes: list[onnx.NodeProto] = list(model.graph.node)
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._shapes: dict[str, tuple[int, ...]] | None = None
        self._types: dict[str, int] = {}
        self._names = set(self._constants) | {n for node in self.nodes for n in node.output}

    # --- what is there ---------------------------------------------------------------------------

    @property
    def opset(self) -> int:
        """The version of ONNX's own operators."""
        imports = self.model.opset_import
        return max(int(entry.version) for entry in imports if entry.domain in {"", "ai.onnx"})

    @property
    def inputs(self) -> tuple[str, ...]:
        """The graph's inputs, without initializers that are listed among them."""
        return tuple(v.name for v in self.model.graph.input if v.name not in self._constants)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The graph's outputs."""
        return tuple(value.name for value in self.model.graph.output)

    def producers(self) -> dict[str, onnx.NodeProto]:
        """The node that computes each tensor."""
        return {name: node for node in self.nodes for name in node.output if name}

    def consumers(self) -> dict[str, list[tuple[onnx.NodeProto, int]]]:
        """The nodes that read each tensor, and as which operand."""
        found: dict[str, list[tuple[onnx.NodeProto, int]]] = {}
        for node in self.nodes:
            for index, name in enumerate(node.input):
                found.setdefault(name, []).append((node, index))
        return found

    def value(self, name: str) -> NDArray[Any] | None:
        """The values of an initializer or a Constant node; None for what is computed."""
        import onnx

        if name in self._constants:
            return np.asarray(onnx.numpy_helper.to_array(self._constants[name]))
        maker = self.producers().get(name)
        if maker is None or maker.op_type != "Constant":
            return None
        entry = maker.attribute[0]
        if entry.name == "value":
            return np.asarray(onnx.numpy_helper.to_array(entry.t))
        found = np.asarray(onnx.helper.get_attribute_value(entry))
        return found.astype(np.float32) if found.dtype == np.float64 else found

    def shape(self, name: str) -> tuple[int, ...]:
        """The static shape of a tensor, by shape inference on the model as it was given.

        Raises:
            ArtifactError: it is unknown, or dynamic.
        """
        shapes = self._inferred()
        if name not in shapes:
            msg = f"the shape of tensor {name!r} is not known; export with static shapes"
            raise ArtifactError(msg)
        return shapes[name]

    def element_type(self, name: str) -> int:
        """ONNX's number of a tensor's element type; 0 where it is not known."""
        self._inferred()
        return self._types.get(name, 0)

    def varying(self) -> frozenset[str]:
        """The tensors that an input of the graph reaches."""
        # What a change added lies at the end.
        return varying_tensors(self.model.graph, _ordered(self.nodes))

    def _inferred(self) -> dict[str, tuple[int, ...]]:
        import onnx

        if self._shapes is None:
            graph = onnx.shape_inference.infer_shapes(self.model, data_prop=True).graph
            self._shapes = {}
            for value in (*graph.input, *graph.value_info, *graph.output):
                kind = value.type.tensor_type
                self._types[value.name] = kind.elem_type
                if kind.HasField("shape") and all(d.HasField("dim_value") for d in kind.shape.dim):
                    self._shapes[value.name] = tuple(d.dim_value for d in kind.shape.dim)
            for tensor in self.model.graph.initializer:
                self._shapes[tensor.name] = tuple(tensor.dims)
                self._types[tensor.name] = tensor.data_type
        return self._shapes

    # --- changes ---------------------------------------------------------------------------------

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """A new initializer; its name, with a number behind it where the name is taken."""
        import onnx

        free = self.free(name)
        tensor = onnx.numpy_helper.from_array(
            np.ascontiguousarray(value).reshape(value.shape), free
        )
        self._constants[free] = tensor
        if self._shapes is not None:
            self._shapes[free] = value.shape
            self._types[free] = tensor.data_type
        return free

    def free(self, name: str) -> str:
        """The name, or one like it that no tensor has; it is taken from now on."""
        free, number = name, 1
        while free in self._names:
            number += 1
            free = f"{name}.{number}"
        self._names.add(free)
        return free

    def rewrite(self, change: Callable[[onnx.NodeProto], Sequence[onnx.NodeProto] | None]) -> int:
        """Replace each node by what ``change`` gives for it, None for itself; how many it replaced."""
        new: list[onnx.NodeProto] = []
        replaced = 0
        for node in self.nodes:
            given = change(node)
            new += [node] if given is None else given
            replaced += given is not None
        self.nodes = new
        return replaced

    def add(self, *nodes: onnx.NodeProto) -> None:
        """New nodes anywhere: `finish` sorts them."""
        self.nodes += nodes

    def redirect(self, old: str, new: str, *, but: Sequence[onnx.NodeProto] = ()) -> None:
        """Let all who read one tensor read another, but for these nodes; not the graph's outputs."""
        kept = [id(node) for node in but]
        for node in self.nodes:
            if id(node) in kept:
                continue
            for index, name in enumerate(node.input):
                if name == old:
                    node.input[index] = new

    def finish(self) -> onnx.ModelProto:
        """The model: every node behind what it reads, without what no output depends on.

        Raises:
            ArtifactError: the nodes go round in a circle.
        """
        graph = self.model.graph
        needed = list(_needed(_ordered(self.nodes), self.outputs))
        read = {name for node in needed for name in node.input} | set(self.outputs)
        constants = [t for name, t in self._constants.items() if name in read]
        kept_inputs = [value for value in graph.input if value.name in set(self.inputs)]
        copies = [type(node).FromString(node.SerializeToString()) for node in needed]
        tensors = [type(t).FromString(t.SerializeToString()) for t in constants]
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        inputs = [type(v).FromString(v.SerializeToString()) for v in kept_inputs]
        del graph.input[:]
        graph.input.extend(inputs)
        graph.node.extend(copies)
        graph.initializer.extend(tensors)
        return self.model


def _ordered(nodes: Sequence[onnx.NodeProto]) -> list[onnx.NodeProto]:
    makers = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    above = {
        index: sorted({makers[name] for name in node.input if name in makers})
        for index, node in enumerate(nodes)
    }
    try:
        return [nodes[index] for index in graphlib.TopologicalSorter(above).static_order()]
    except graphlib.CycleError as error:
        msg = f"the rewritten graph has a circle at {name_of(nodes[error.args[1][0]])}"
        raise ArtifactError(msg) from error


def _needed(nodes: Sequence[onnx.NodeProto], outputs: Sequence[str]) -> Iterator[onnx.NodeProto]:
    """The nodes that an output depends on, in their order."""
    wanted, needed = set(outputs), []
    for node in reversed(nodes):
        if not wanted.isdisjoint(node.output):
            needed.append(node)
            wanted |= set(node.input)
    return reversed(needed)


def load(path: Path) -> onnx.ModelProto:
    """A whole ONNX file, with its external data.

    Raises:
        ArtifactError: it cannot be read.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        return onnx.load(path, format="protobuf")
    except (OSError, DecodeError, onnx.checker.ValidationError) as error:
        msg = f"{path} is no ONNX file that can be read: {error}"
        raise ArtifactError(msg) from error


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write a model, its weights in a file beside it where one file cannot hold them."""
    import onnx

    weights = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    external = weights > _INLINE_BYTES
    location = f"{path.name}.data" if external else None
    onnx.save(model, path, save_as_external_data=external, location=location)
