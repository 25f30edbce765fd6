"""Which operations of a Q/DQ graph have both operands quantized, in shares of the network's work.

An integer kernel needs integers on both sides. What a quantizer left in float no runtime computes in
int8, so this can be told before an engine is built.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from voxgate.quantization.onnx_view import (
    COMMUTING,
    DEQUANTIZE,
    View,
    name_of,
    operand,
    read_model,
    read_view,
)
from voxgate.records.engine import GraphNode

if TYPE_CHECKING:
    import onnx

# These put values together that all must be quantized.
_JOINING = frozenset({"Concat"})


@dataclass(frozen=True, kw_only=True, slots=True)
class QuantizedShare:
    """Of all multiply-accumulates those whose operands are both quantized; the nodes of the others."""

    macs: float
    float_nodes: tuple[str, ...]


def quantized_share(path: Path, nodes: Iterable[GraphNode]) -> QuantizedShare:
    """The share of a Q/DQ graph, over the weighted nodes of the float graph that it was made of.

    A node that the quantizer renamed is looked up by its outputs; one that is gone counts as float.

    Raises:
        ArtifactError: the file is no ONNX graph.
    """
    quantized = _quantized_names(read_view(read_model(path)))
    known = tuple(nodes)
    left = [n for n in known if quantized.isdisjoint({n.name, *n.outputs, *n.aliases})]
    total = sum(node.macs for node in known)
    in_float = sum(node.macs for node in left)
    return QuantizedShare(
        macs=(total - in_float) / total if total else 0.0,
        float_nodes=tuple(node.name for node in left),
    )


def _quantized_names(view: View) -> set[str]:
    """Names and outputs of the nodes that read integers on both sides."""
    return {
        name
        for node in view.nodes
        if len(node.input) > 1 and all(_dequantized(view, operand(node, i)) for i in (0, 1))
        for name in (name_of(node), *node.output)
    }


def _dequantized(view: View, tensor: str, most: int = 100) -> bool:
    """Whether a tensor comes from dequantize nodes, past what only moves values."""
    node: onnx.NodeProto | None = view.producers.get(tensor)
    if node is None or most == 0:  # a damaged graph may hold a circle
        return False
    if node.op_type == DEQUANTIZE:
        return True
    if node.op_type in COMMUTING:
        return _dequantized(view, operand(node, 0), most - 1)
    if node.op_type in _JOINING:
        return all(_dequantized(view, name, most - 1) for name in node.input)
    return False
