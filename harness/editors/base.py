"""What an editor of quantized graphs offers, and what editors of every format agree on.

A network is there twice, as a float graph and as the quantized one. An editor *grafts* parts of one
onto the other: the inputs of a layer are then what they are in the graph that it comes from. Thus
"only this layer quantized" is the float graph with one graft, "all but this layer" the quantized graph
with one, and nothing is calibrated again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from harness.variants import Dissected, Edit, Graphs

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
