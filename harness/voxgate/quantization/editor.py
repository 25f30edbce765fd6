"""What an editor of quantized graphs offers, and what editors of every format agree on.

A network is there twice, as a float graph and as the quantized one. An editor *grafts* parts of one
onto the other: the inputs of a layer are then what they are in the graph that it comes from. Thus
"only this layer quantized" is the float graph with one graft, "all but this layer" the quantized graph
with one, and nothing is calibrated again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from voxgate.records.case import QuantizedFormat
from voxgate.records.engine import GraphNode

# Operations that move values, or pick some of them, and compute none: a quantizer in front of them
# belongs to the layer behind them. The names are those of ONNX and of OpenVINO.
MOVING = frozenset({
    "Broadcast", "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Pad",
    "Reshape", "Roll", "Slice", "SpaceToDepth", "Split", "Squeeze", "StridedSlice", "Tile", "Transpose",
    "Unsqueeze", "VariadicSplit",
})  # fmt: skip


class Editor(Protocol):
    """Grafts between the float and the quantized graph of one network; see this file's top."""

    def dissect(self, graphs: Graphs) -> Dissected:
        """How many quantizers each weighted node has, and how many are in front of none.

        Raises:
            QuantizationError: the two are not graphs of one network.
        """

    def write(self, graphs: Graphs, edit: Edit, folder: Path) -> Path:
        """The edited graph in a file that backends read.

        A layer that comes from the float graph has its own weights and bias, whatever the quantizer
        made of them.

        Raises:
            QuantizationError: the two are not graphs of one network.
        """


# The graph that is edited; parts of the other one are grafted onto it.
Onto = Literal["float", "quantized"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Graphs:
    """One network twice: its float ONNX and its quantized graph. ``nodes`` are the weighted ones."""

    format: QuantizedFormat
    onnx: str
    quantized: str
    nodes: tuple[GraphNode, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """The graph ``onto`` with ``layers`` of the other one grafted onto it.

    ``between`` also grafts every quantizer that is in front of no layer.
    """

    onto: Onto
    layers: tuple[str, ...] = ()
    between: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Dissected:
    """Quantizers by layer: on its activations, its weights, and behind what only moves values.

    One in front of two layers counts for both. ``between`` are those that no layer reads, as on a
    residual addition; ``total`` are all, and ``left`` those that are neither, as behind the last
    layer: no edit touches them. A layer of
    ``rescaled`` has other weights than in the float graph, scaled together with its neighbours'.
    """

    layers: dict[str, int]
    between: int
    total: int
    left: int = 0
    rescaled: tuple[str, ...] = ()
