"""The rules that keep Q/DQ pairs in their places: nodes that compute nothing, and that no pair passes.

A builder moves a Q up and a DQ down through what only selects values. Where it has no integer kernel
for that, a factor of one stands between; where it would compile a pair into what reads it, max pooling
of single voxels does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from voxgate.quantization.onnx_view import DEQUANTIZE, QUANTIZE, name_of, operand
from voxgate.quantizers.pairs import Placing
from voxgate.quantizers.placement_rules import is_fused_sum

if TYPE_CHECKING:
    import onnx

_ACTIVATION = 0
# What reads a dequantized tensor in a kernel of its own.
_TAKES_CODES = frozenset(
    {
        "Concat",
        "Conv",
        "ConvTranspose",
        "Gemm",
        "LeakyRelu",
        "MatMul",
        "MaxPool",
        "Pad",
        "Relu",
        "Resize",
        QUANTIZE,
    }
)


def barrier_before_pools(placing: Placing) -> tuple[str, ...]:
    """A factor of one between a DQ and max pooling, through which the DQ cannot move down."""
    return _barriers_before(placing, "MaxPool")


def barrier_before_resizes(placing: Placing) -> tuple[str, ...]:
    """A factor of one between a DQ and interpolation, likewise.

    Max pooling of single voxels between them keeps nothing apart: the builder takes it out first. The
    barrier takes its place.
    """
    return _barriers_before(placing, "Resize")


def _barriers_before(placing: Placing, kind: str) -> tuple[str, ...]:
    touched = []
    for node in placing.of_type(kind):
        source = _before_passes(placing, node.input[_ACTIVATION])
        maker = placing.producer(source)
        if maker is not None and maker.op_type == DEQUANTIZE:
            node.input[_ACTIVATION] = _barrier(placing, source)
            touched.append(name_of(node))
    return tuple(touched)


def _before_passes(placing: Placing, tensor: str) -> str:
    """The tensor in front of max poolings of single voxels, where there are such."""
    maker = placing.producer(tensor)
    while maker is not None and _passes(maker):
        tensor = str(maker.input[0])
        maker = placing.producer(tensor)
    return tensor


def _passes(node: onnx.NodeProto) -> bool:
    """Whether a node is a max pooling that computes nothing."""
    window = [e.ints for e in node.attribute if e.name in {"kernel_shape", "strides"}]
    return node.op_type == "MaxPool" and all(side == 1 for sides in window for side in sides)


def barrier_behind_pools(placing: Placing) -> tuple[str, ...]:
    """A factor of one between max pooling and a Q, through which the Q cannot move up."""
    return _barriers_behind(placing, "MaxPool")


def barrier_behind_resizes(placing: Placing) -> tuple[str, ...]:
    """A factor of one behind interpolation that a Q reads, also through a concatenation.

    A Q moves up through both.
    """
    return _barriers_behind(placing, "Resize")


def _barriers_behind(placing: Placing, kind: str) -> tuple[str, ...]:
    touched = []
    for node in placing.of_type(kind):
        end = str(node.output[0])
        readers = placing.readers(end)
        if not any(_leads_to_codes(placing, reader) for reader in readers):
            continue
        behind = _barrier(placing, end)
        for reader in readers:
            for index, name in enumerate(reader.input):
                if name == end:
                    reader.input[index] = behind
        touched.append(name_of(node))
    return tuple(touched)


def _leads_to_codes(placing: Placing, node: onnx.NodeProto) -> bool:
    """Whether a node quantizes, or joins tensors for one that does."""
    if node.op_type == QUANTIZE:
        return True
    return node.op_type == "Concat" and any(
        _leads_to_codes(placing, reader) for reader in placing.readers(node.output[0])
    )


def pass_behind_convolutions(placing: Placing) -> tuple[str, ...]:
    """Max pooling of single voxels behind the pair of a convolution's output, or of a sum.

    It computes nothing, and the builder takes it out. But norms and what is around them are compiled
    into one kernel, together with a pair in front; the pair is then behind no convolution, and the
    convolution computes in float. Behind the sum of two float tensors, as where a decoder adds what it
    interpolated to an encoder's features, such a pair is refused. With a pooling between them the pair
    stays outside. An activation takes codes itself, and needs none; so does the sum of a residual
    block, whose kernel adds the codes to those of its convolution; a barrier stands in front of what
    is a layer of its own.
    """
    import onnx

    touched = []
    sums = [node for node in placing.of_type("Add") if _adds_tensors(placing, node)]
    for node in [*placing.of_type("Conv"), *sums]:
        pair = placing.pair_behind(node.output[0])
        if pair is None or not any(_compiled(placing, r) for r in placing.readers(pair.result)):
            continue
        rank = len(placing.wiring.shape(pair.source))
        if rank < 4:
            continue
        end = placing.wiring.free(f"{pair.result}/pass")
        for reader, index in placing.wiring.consumers()[pair.result]:
            if _compiled(placing, reader):
                reader.input[index] = end
        placing.wiring.add(
            onnx.helper.make_node(
                "MaxPool", [pair.result], [end], name=end, kernel_shape=[1] * (rank - 2)
            )
        )
        touched.append(name_of(node))
    return tuple(touched)


def _adds_tensors(placing: Placing, node: onnx.NodeProto) -> bool:
    """Whether a sum has two tensors, and not one and a bias."""
    return all(placing.wiring.value(operand(node, index)) is None for index in (0, 1))


def _compiled(placing: Placing, node: onnx.NodeProto) -> bool:
    """Whether a node may be compiled into one kernel with others, a pair in front of it included."""
    if node.op_type in _TAKES_CODES or is_fused_sum(placing, node):
        return False
    return not _is_barrier(placing, node)


def _is_barrier(placing: Placing, node: onnx.NodeProto) -> bool:
    factor = placing.wiring.value(operand(node, 1)) if node.op_type == "Mul" else None
    return factor is not None and bool((factor == 1).all())


def _barrier(placing: Placing, tensor: str) -> str:
    """The tensor times one; a factor a channel, so that it is a scale layer and no shuffle."""
    import onnx

    shape = placing.wiring.shape(placing.float_source(tensor))
    ones = np.ones((1, shape[1], *[1] * (len(shape) - 2)), np.float32)
    factor = placing.wiring.constant(f"{tensor}/one", ones)
    end = placing.wiring.free(f"{tensor}/barrier")
    placing.wiring.add(onnx.helper.make_node("Mul", [tensor, factor], [end], name=end))
    return end
