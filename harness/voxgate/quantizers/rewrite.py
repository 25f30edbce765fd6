"""Write a simulation into a float ONNX graph: rounded weights, and activations rounded on their way.

Only nodes with constant weights are touched: products of two activations, as in attention, stay in
float. Weights stay float32 in the file, with the values that the lower format can hold.

Integers go through QuantizeLinear and DequantizeLinear of int8, which every runtime has; for 4 bits
a Clip stands in front, so that no code is beyond -8 and 7. FP8 is computed by elementary operators.
ONNX Runtime's QuantizeLinear to FLOAT8E4M3FN is right, but OpenVINO 2026.4 rounds twice there, first to half
precision: of 24,000 values spread over all binades 83 came out one code away.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from voxgate.errors import QuantizationError
from voxgate.quantization import float8
from voxgate.quantization.onnx_view import View, attribute, name_of, operand, read_view
from voxgate.quantizers.schemes import NumberFormat, Scheme, fake_quantize_weights, integer_grid

if TYPE_CHECKING:
    import onnx

_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_ACTIVATION, _WEIGHTS = 0, 1
_PREFIX = "simulated"

Float32 = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A node to simulate: its activation, its weights, and where they hold the output channels."""

    node: onnx.NodeProto
    activation: str
    weights: str
    axis: int | None


def find_targets(model: onnx.ModelProto, float_layers: Iterable[str]) -> tuple[Target, ...]:
    """The nodes with constant weights, but for those that stay in float.

    Raises:
        QuantizationError: weights that nodes compute from constants; names the layer.
    """
    view, kept = read_view(model), set(float_layers)
    return tuple(
        _target(node, view)
        for node in view.nodes
        if node.op_type in _WEIGHTED
        and kept.isdisjoint({node.name, *node.output})
        and operand(node, _ACTIVATION) in view.varying
        and operand(node, _WEIGHTS) not in view.varying
    )


def _target(node: onnx.NodeProto, view: View) -> Target:
    weights = view.tensor(operand(node, _WEIGHTS))
    if weights is None:
        msg = (
            f"the weights of {node.op_type} {name_of(node)} are computed by other nodes, so they "
            "cannot be rounded; fold constants at the export, or name the layer in --float-layers"
        )
        raise QuantizationError(msg)
    return Target(
        node=node,
        activation=operand(node, _ACTIVATION),
        weights=operand(node, _WEIGHTS),
        axis=output_axis(node, len(weights.dims)),
    )


def output_axis(node: onnx.NodeProto, rank: int) -> int | None:
    """Where weights of that rank hold the output channels; None where a vector makes none.

    Those of a ConvTranspose in groups are (Cin, Cout / groups, ...): the groups share scales, since
    Q/DQ nodes cannot tell them apart either.
    """
    if node.op_type == "Gemm":
        return 0 if attribute(node, "transB", 0) else 1
    if node.op_type == "MatMul":
        return rank - 1 if rank > 1 else None
    return 0 if node.op_type == "Conv" else 1


def rewrite(
    model: onnx.ModelProto,
    scheme: Scheme,
    targets: Sequence[Target],
    ranges: Mapping[str, np.float32],
) -> int:
    """Write the simulation into a model; returns how many tensors are rounded.

    Args:
        model: the one that the targets were found in; it is changed.
        scheme: what to round to.
        targets: from `find_targets`.
        ranges: the greatest magnitude of each activation of a target, by name.

    Raises:
        QuantizationError: weights that are not finite float32, or a range that is none.
    """
    rounded = _round_weights(model, scheme.weights, targets)
    if scheme.activations is None:
        return rounded
    names = tuple(dict.fromkeys(target.activation for target in targets))
    kind = scheme.activations
    chains = {name: list(_chain(name, ranges[name], kind, model)) for name in names}
    for target in targets:
        target.node.input[_ACTIVATION] = _output(target.activation)
    _insert(model.graph, chains)
    return rounded + len(chains)


def _round_weights(model: onnx.ModelProto, kind: NumberFormat, targets: Sequence[Target]) -> int:
    """A rounded copy of each weight; one that two nodes use along one axis is copied once."""
    import onnx

    view = read_view(model)
    made: set[str] = set()
    for target in targets:
        name = f"{target.weights}/{_PREFIX}/{target.axis}"
        target.node.input[_WEIGHTS] = name
        if name in made:
            continue
        made.add(name)
        tensor = view.tensor(target.weights)
        assert tensor is not None  # find_targets refused it
        values = onnx.numpy_helper.to_array(tensor)
        new = fake_quantize_weights(values, kind, target.axis, target.weights)
        model.graph.initializer.append(onnx.numpy_helper.from_array(new, name))
    _drop_unused(model.graph)
    return len(made)


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Without the weights that nothing reads any more, so that the file keeps its size."""
    used = {name for node in graph.node for name in node.input}
    used |= {value.name for value in (*graph.input, *graph.output)}
    for index in reversed(range(len(graph.initializer))):
        if graph.initializer[index].name not in used:
            del graph.initializer[index]


def _chain(
    name: str, amax: np.float32, kind: NumberFormat, model: onnx.ModelProto
) -> Iterator[onnx.NodeProto]:
    """The nodes that round one activation."""
    write = _Writer(model, name)
    if kind == "fp8":
        return _float8_chain(write, float8.scale_of(amax, name=name))
    grid = integer_grid(np.asarray(amax), kind, None, name)
    clip = None if kind == "int8" else (grid.lowest * grid.scale, grid.highest * grid.scale)
    return _integer_chain(write, grid.scale, clip)


def _integer_chain(
    write: _Writer, scale: Float32, clip: tuple[Float32, Float32] | None
) -> Iterator[onnx.NodeProto]:
    shared = write.constant("scale", scale), write.constant("zero", np.zeros((), np.int8))
    source = write.source
    if clip is not None:
        ends = (
            write.constant(end, value) for end, value in zip(("low", "high"), clip, strict=True)
        )
        yield write.node("Clip", (source, *ends), "clipped")
        source = write.named("clipped")
    yield write.node("QuantizeLinear", (source, *shared), "codes")
    yield write.node("DequantizeLinear", (write.named("codes"), *shared), "")


def _float8_chain(write: _Writer, scale: Float32) -> Iterator[onnx.NodeProto]:
    """E4M3 by elementary operators, bit for bit wherever division and rounding are.

    A value is a whole number of steps; the step is the power of two that its binade and the three
    bits of mantissa give. The logarithm need not be exact: next to a power of two both steps lead to
    that power. The exponential is rounded to the integer that it is, 1 to 2^14.
    """
    recipe: tuple[tuple[str, tuple[str | Float32 | float | None, ...], str], ...] = (
        ("Div", (None, scale), "scaled"),
        ("Clip", ("scaled", -float8.HIGHEST, float8.HIGHEST), "clipped"),
        ("Abs", ("clipped",), "magnitude"),
        ("Clip", ("magnitude", 2.0**float8.LOWEST_EXPONENT), "normal"),
        ("Log", ("normal",), "log"),
        ("Mul", ("log", 1 / math.log(2)), "log2"),
        ("Floor", ("log2",), "exponent"),
        ("Add", ("exponent", float(-float8.LOWEST_EXPONENT)), "binade"),
        ("Mul", ("binade", math.log(2)), "power"),
        ("Exp", ("power",), "nearly"),
        ("Round", ("nearly",), "multiple"),
        ("Mul", ("multiple", float8.SMALLEST), "step"),
        ("Div", ("clipped", "step"), "steps"),
        ("Round", ("steps",), "whole"),
        ("Mul", ("whole", "step"), "number"),
        ("Mul", ("number", scale), ""),
    )
    for kind, inputs, output in recipe:
        names = [write.input(value, f"{output}{i}") for i, value in enumerate(inputs)]
        yield write.node(kind, names, output)


class _Writer:
    """Makes the nodes and constants behind one tensor, all named after it."""

    def __init__(self, model: onnx.ModelProto, source: str) -> None:
        self._model = model
        self.source = source

    def named(self, what: str) -> str:
        """The name of a tensor on the way; the empty one is the way's end."""
        return f"{_output(self.source)}/{what}" if what else _output(self.source)

    def constant(self, what: str, value: NDArray[np.generic]) -> str:
        """A new initializer's name."""
        import onnx

        name = self.named(f"constant/{what}")
        self._model.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
        return name

    def input(self, value: str | Float32 | float | None, what: str) -> str:
        """The name of an input: of the source (None), a tensor on the way, or a new constant."""
        if value is None:
            return self.source
        if isinstance(value, str):
            return self.named(value)
        return self.constant(what, np.asarray(value, np.float32))

    def node(self, kind: str, inputs: Iterable[str], output: str) -> onnx.NodeProto:
        """A node with one output."""
        import onnx

        end = self.named(output)
        return onnx.helper.make_node(kind, list(inputs), [end], name=f"{end}/{kind}")


def _output(name: str) -> str:
    """What the rounded activation is called."""
    return f"{name}/{_PREFIX}"


def _insert(graph: onnx.GraphProto, chains: Mapping[str, Sequence[onnx.NodeProto]]) -> None:
    """Put each chain behind the node that computes its tensor; those of inputs come first."""
    computed = {name for node in graph.node for name in node.output}
    ordered = [node for name, chain in chains.items() if name not in computed for node in chain]
    for node in graph.node:
        ordered.append(node)
        ordered += [after for name in node.output for after in chains.get(name, ())]
    del graph.node[:]
    graph.node.extend(ordered)
