"""The rules that move Q/DQ pairs to where a runtime has integer kernels: one small function each.

A rule changes a graph in place and returns the names of the nodes that it touched. Rules are applied
one after the other, and what one did the next one sees; `voxgate.quantizers.placement` says which
runtime gets which, and why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from voxgate.quantization.onnx_view import QUANTIZE, name_of, operand
from voxgate.quantizers.pairs import Placing

if TYPE_CHECKING:
    import onnx

Rule = Callable[[Placing], tuple[str, ...]]

_ACTIVATION, _WEIGHTS = 0, 1
# Activations that a convolution is fused with, output codes included.
_FUSED = frozenset({"Relu"})
# max f(x) = f(max x): they never fall.
_MONOTONE = frozenset({"Clip", "LeakyRelu", "Relu", "Sigmoid", "Tanh"})
_LINEAR = ("Gemm", "MatMul")


# --- pooling -------------------------------------------------------------------------------------


def pools_in_float(placing: Placing) -> tuple[str, ...]:
    """Max pooling reads what is in front of its pair."""
    return tuple(
        name_of(node) for node in placing.of_type("MaxPool") if placing.remove(node, _ACTIVATION)
    )


def behind_pools_in_float(placing: Placing) -> tuple[str, ...]:
    """Convolutions right behind max pooling lose both pairs: a Q in front of them moves up through it."""
    touched = []
    for node in placing.of_type("Conv", "ConvTranspose"):
        pair = placing.pair(node, _ACTIVATION)
        maker = None if pair is None else placing.producer(pair.source)
        if maker is not None and maker.op_type == "MaxPool":
            _remove_both(placing, node)
            touched.append(name_of(node))
    return tuple(touched)


def pool_before_activation(placing: Placing) -> tuple[str, ...]:
    """Max pooling of an activation that never falls becomes the activation of the pooled values.

    The pooled branch is then activated last, as `conv -> LeakyRelu -> Q` is, and reads the
    convolution itself.
    """
    import onnx

    touched = []
    for pool in placing.of_type("MaxPool"):
        pair = placing.pair(pool, _ACTIVATION)
        source = pool.input[_ACTIVATION] if pair is None else pair.source
        activation = placing.producer(source)
        if activation is None or activation.op_type not in _MONOTONE or not _rises(activation):
            continue
        pooled = placing.wiring.free(f"{name_of(pool)}/values")
        behind = onnx.NodeProto.FromString(activation.SerializeToString())
        behind.name = f"{name_of(activation)}/{name_of(pool)}"
        behind.input[0], behind.output[0] = pooled, pool.output[0]
        pool.input[_ACTIVATION], pool.output[0] = activation.input[0], pooled
        placing.wiring.add(behind)
        touched.append(name_of(pool))
    return tuple(touched)


def _rises(activation: onnx.NodeProto) -> bool:
    """Whether the parameters of an activation let it never fall."""
    return all(entry.f >= 0 for entry in activation.attribute if entry.name == "alpha")


def pools_as_planes(placing: Placing) -> tuple[str, ...]:
    """Max pooling of a volume as that of its planes, then along its depth: both are 2D."""
    touched = []
    for pool in placing.of_type("MaxPool"):
        source = placing.float_source(pool.input[0])
        shape, out = placing.wiring.shape(source), placing.wiring.shape(pool.output[0])
        window = _window(pool, len(shape))
        if window is None:
            continue
        kernel, stride = window
        n, c, d, h, w = shape
        _, _, d2, h2, w2 = out
        steps = _Chain(placing, pool)
        steps.reshape((n, c * d, h, w))
        steps.pool(kernel[1:], stride[1:])
        steps.reshape((n, c, d, h2 * w2))
        steps.pool([kernel[0], 1], [stride[0], 1])
        steps.reshape((n, c, d2, h2, w2), pool.output[0])
        placing.wiring.nodes = [node for node in placing.wiring.nodes if node is not pool]
        placing.wiring.add(*steps.nodes)
        touched.append(name_of(pool))
    return tuple(touched)


def _window(pool: onnx.NodeProto, rank: int) -> tuple[list[int], list[int]] | None:
    """Kernel and stride of a pooling in 3D without pads or dilations; None for any other."""
    given = {entry.name: list(entry.ints) for entry in pool.attribute if entry.ints}
    modes = {entry.name: entry.i for entry in pool.attribute if not entry.ints}
    kernel = given.get("kernel_shape", [])
    plain = not any(given.get("pads", ())) and set(given.get("dilations", ())) <= {1}
    if rank != 5 or len(pool.output) != 1 or not plain or modes.get("ceil_mode", 0):
        return None
    return kernel, given.get("strides", [1] * len(kernel))


class _Chain:
    """Reshapes and poolings one after the other, in place of one pooling."""

    def __init__(self, placing: Placing, pool: onnx.NodeProto) -> None:
        self._placing = placing
        self._name = name_of(pool)
        self._tensor = str(pool.input[0])
        self.nodes: list[onnx.NodeProto] = []

    def reshape(self, shape: Sequence[int], end: str = "") -> None:
        """To a static shape; the last one keeps the name of what is replaced."""
        number = len(self.nodes)
        form = self._placing.wiring.constant(
            f"{self._name}/shape{number}", np.array(shape, np.int64)
        )
        self._add("Reshape", [form], end)

    def pool(self, kernel: Sequence[int], stride: Sequence[int]) -> None:
        """Max pooling without pads."""
        self._add("MaxPool", [], "", kernel_shape=list(kernel), strides=list(stride))

    def _add(self, kind: str, more: Sequence[str], end: str, **attributes: Any) -> None:
        import onnx

        number = len(self.nodes)
        end = end or self._placing.wiring.free(f"{self._name}/step{number}")
        inputs = [self._tensor, *more]
        name = f"{self._name}/{kind}{number}"
        self.nodes.append(onnx.helper.make_node(kind, inputs, [end], name=name, **attributes))
        self._tensor = end


# --- what stays in float -------------------------------------------------------------------------


def deconvolutions_in_float(placing: Placing) -> tuple[str, ...]:
    """Transposed convolutions lose the pairs of their image and of their weights."""
    nodes = placing.of_type("ConvTranspose")
    return tuple(name_of(node) for node in nodes if _remove_both(placing, node))


def deconvolution_weights_in_float(placing: Placing) -> tuple[str, ...]:
    """Transposed convolutions lose the pair of their weights alone.

    The pair in front stays where it is: without it the convolution that computes their image would
    have a float output.
    """
    nodes = placing.of_type("ConvTranspose")
    return tuple(name_of(node) for node in nodes if placing.remove(node, _WEIGHTS))


def heads_in_float(placing: Placing) -> tuple[str, ...]:
    """Convolutions that compute an output of the graph, in float, lose the pair of their weights."""
    ends = set(placing.wiring.outputs)
    heads = [n for n in placing.of_type("Conv") if not ends.isdisjoint(n.output)]
    return tuple(name_of(node) for node in heads if placing.remove(node, _WEIGHTS))


def linear_in_float(placing: Placing) -> tuple[str, ...]:
    """Matrix products lose both pairs."""
    nodes = placing.of_type(*_LINEAR)
    return tuple(name_of(node) for node in nodes if _remove_both(placing, node))


def _remove_both(placing: Placing, node: onnx.NodeProto) -> bool:
    removed = [placing.remove(node, index) for index in (_ACTIVATION, _WEIGHTS)]
    return any(removed)


# --- quantized outputs ---------------------------------------------------------------------------


def shared_pairs(placing: Placing) -> tuple[str, ...]:
    """All who read an activation that has a pair read that pair.

    A convolution with a float reader beside its quantize node has a float output, and becomes a
    float convolution where the runtime has no other kernel.
    """
    touched = []
    for node in placing.of_type("Add", "Conv", "LeakyRelu", "Relu"):
        pair = placing.pair_behind(node.output[0])
        if pair is None:
            continue
        for reader, index in placing.wiring.consumers().get(pair.source, ()):
            if reader.op_type != QUANTIZE:
                reader.input[index] = pair.result
                touched.append(name_of(reader))
    return tuple(touched)


def convolution_outputs(placing: Placing) -> tuple[str, ...]:
    """A pair behind each quantized convolution with a float output, but for those of the graph's.

    Behind a convolution alone or with the activation that is fused with it there may be a quantize
    node already, also one behind the sum that a residual block ends with.
    """
    return _outputs(placing, placing.of_type("Conv"))


def linear_outputs(placing: Placing) -> tuple[str, ...]:
    """A pair behind each quantized matrix product with a float output, and behind its bias."""
    return _outputs(placing, placing.of_type(*_LINEAR))


def _outputs(placing: Placing, nodes: Sequence[onnx.NodeProto]) -> tuple[str, ...]:
    ends = set(placing.wiring.outputs)
    touched = []
    for node in nodes:
        quantized = all(placing.pair(node, index) for index in (_ACTIVATION, _WEIGHTS))
        last = _with_bias(placing, node)
        if not quantized or last in ends or _ends_in_codes(placing, last):
            continue
        placing.add_behind(last)
        touched.append(name_of(node))
    return tuple(touched)


def _with_bias(placing: Placing, node: onnx.NodeProto) -> str:
    """The output of a node, or of the addition of a constant that alone reads it."""
    tensor = str(node.output[0])
    readers = placing.readers(tensor)
    if len(readers) != 1 or readers[0].op_type != "Add":
        return tensor
    other = [name for name in readers[0].input if name != tensor]
    constant = bool(other) and placing.wiring.value(other[0]) is not None
    return str(readers[0].output[0]) if constant else tensor


def _ends_in_codes(placing: Placing, tensor: str) -> bool:
    """Whether all who read a tensor quantize it, or are fused and lead to one who does."""
    readers = placing.readers(tensor)
    if not readers:
        return False
    return all(_takes_codes(placing, node, tensor) for node in readers)


def _takes_codes(placing: Placing, node: onnx.NodeProto, tensor: str) -> bool:
    if node.op_type == QUANTIZE:
        return True
    if node.op_type in _FUSED:
        return _ends_in_codes(placing, node.output[0])
    return node.op_type == "Add" and _joins_codes(placing, node, tensor)


def _joins_codes(placing: Placing, node: onnx.NodeProto, tensor: str) -> bool:
    """Whether a sum adds a dequantized tensor to this one, and is quantized."""
    (other,) = [index for index in (0, 1) if operand(node, index) != tensor] or (0,)
    return placing.pair(node, other) is not None and _ends_in_codes(placing, node.output[0])


def is_fused_sum(placing: Placing, node: onnx.NodeProto) -> bool:
    """Whether a node is the sum of a residual block: a convolution adds the other branch's codes to its own."""
    if node.op_type != "Add":
        return False
    makers = [placing.producer(operand(node, index)) for index in (0, 1)]
    return any(
        maker is not None
        and maker.op_type == "Conv"
        and all(placing.pair(maker, index) for index in (_ACTIVATION, _WEIGHTS))
        and len(placing.readers(maker.output[0])) == 1
        and _joins_codes(placing, node, str(maker.output[0]))
        for maker in makers
    )
