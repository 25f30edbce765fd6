"""What is known of a graph and of the engine that was built from it: nodes, layers, shares of arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Arithmetic = Literal["int8", "float", "unknown"]
_Float = float  # the type, where a field of that name hides it


# --- the network -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class GraphNode:
    """A weighted ONNX node (Conv, ConvTranspose, Gemm, MatMul) and its multiply-accumulates.

    ``aliases`` are the names of a bias addition right behind it: a runtime that fuses the two may
    report that one alone.
    """

    name: str
    op_type: str
    outputs: tuple[str, ...]
    macs: int
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class GraphFacts:
    """The denominator of int8 coverage, read from the float ONNX graph."""

    nodes: tuple[GraphNode, ...]
    parameters: int
    opset: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutedLayer:
    """One layer as the runtime executes it.

    ``sources`` are the names of graph nodes that it stands for; ``arithmetic`` is int8 only when
    the activations and the weights that the layer reads are both 8-bit integers.
    """

    name: str
    kind: str
    arithmetic: Arithmetic
    detail: str
    sources: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """Three parts of one whole; they add up to 1."""

    int8: _Float
    float: _Float
    unmapped: _Float


@dataclass(frozen=True, kw_only=True, slots=True)
class Coverage:
    """How much of the network an engine executes in int8, and which nodes it does not."""

    by_count: Share
    by_macs: Share
    float_nodes: tuple[str, ...] = ()
    unmapped_nodes: tuple[str, ...] = ()
