"""Quantize-dequantize pairs of an ONNX graph that is being rewritten: found, taken away and added."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from voxgate.errors import QuantizationError
from voxgate.quantization.formulas import symmetric_grid
from voxgate.quantization.onnx_view import DEQUANTIZE, QUANTIZE, name_of, operand
from voxgate.quantization.rewiring import Wiring

if TYPE_CHECKING:
    import onnx

_BITS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """A quantize node and one of its dequantize nodes."""

    quantize: onnx.NodeProto
    dequantize: onnx.NodeProto

    @property
    def source(self) -> str:
        """The float tensor in front."""
        return str(self.quantize.input[0])

    @property
    def result(self) -> str:
        """The float tensor behind."""
        return str(self.dequantize.output[0])


@dataclass(kw_only=True)
class Placing:
    """A graph whose pairs are moved, and the greatest magnitude of its tensors by calibration.

    Producers and consumers are looked up anew after each change; graphs have hundreds of nodes.
    """

    wiring: Wiring
    ranges: Mapping[str, float] = field(default_factory=dict)

    def of_type(self, *kinds: str) -> list[onnx.NodeProto]:
        """The nodes of these types that an input of the graph reaches."""
        varying = self.wiring.varying()
        return [
            node
            for node in self.wiring.nodes
            if node.op_type in kinds and not varying.isdisjoint(node.output)
        ]

    def producer(self, tensor: str) -> onnx.NodeProto | None:
        """The node that computes a tensor."""
        return self.wiring.producers().get(tensor)

    def readers(self, tensor: str) -> list[onnx.NodeProto]:
        """The nodes that read a tensor."""
        return [node for node, _ in self.wiring.consumers().get(tensor, ())]

    def pair(self, node: onnx.NodeProto, index: int) -> Pair | None:
        """The pair directly in front of an operand."""
        dequantize = self.producer(operand(node, index))
        if dequantize is None or dequantize.op_type != DEQUANTIZE:
            return None
        quantize = self.producer(dequantize.input[0])
        if quantize is None or quantize.op_type != QUANTIZE:
            return None
        return Pair(quantize=quantize, dequantize=dequantize)

    def float_source(self, tensor: str) -> str:
        """The tensor that a pair quantizes, for a tensor behind one: shapes are known of it alone."""
        maker = self.producer(tensor)
        if maker is None or maker.op_type != DEQUANTIZE:
            return tensor
        quantize = self.producer(maker.input[0])
        return tensor if quantize is None else str(quantize.input[0])

    def pair_behind(self, tensor: str) -> Pair | None:
        """A pair that reads a tensor; None where there is none."""
        for quantize in self.readers(tensor):
            if quantize.op_type == QUANTIZE:
                for dequantize in self.readers(quantize.output[0]):
                    if dequantize.op_type == DEQUANTIZE:
                        return Pair(quantize=quantize, dequantize=dequantize)
        return None

    def remove(self, node: onnx.NodeProto, index: int) -> bool:
        """Let an operand read what is in front of its pair; False where it has none."""
        found = self.pair(node, index)
        if found is None:
            return False
        node.input[index] = found.source
        return True

    def add_behind(self, tensor: str) -> Pair:
        """A new pair that reads a tensor; all its readers then read the pair.

        An output of the graph keeps its name, and its float values.

        Raises:
            QuantizationError: the calibration has no range of that tensor.
        """
        import onnx

        readers = self.readers(tensor)
        scale = self._scale(tensor)
        names = [self.wiring.free(f"{tensor}/{what}") for what in ("codes", "rounded")]
        shared = [
            self.wiring.constant(f"{tensor}/scale", scale),
            self.wiring.constant(f"{tensor}/zero", np.zeros((), np.int8)),
        ]
        pair = Pair(
            quantize=onnx.helper.make_node(
                QUANTIZE, [tensor, *shared], [names[0]], name=f"{names[0]}/{QUANTIZE}"
            ),
            dequantize=onnx.helper.make_node(
                DEQUANTIZE, [names[0], *shared], [names[1]], name=f"{names[1]}/{DEQUANTIZE}"
            ),
        )
        for node in readers:
            for index, name in enumerate(node.input):
                if name == tensor:
                    node.input[index] = names[1]
        self.wiring.add(pair.quantize, pair.dequantize)
        return pair

    def free(self, layers: Collection[str]) -> None:
        """Take the pairs of a layer's operands away, for each node of these names or outputs."""
        for node in list(self.wiring.nodes):
            if not {name_of(node), *node.output}.isdisjoint(layers):
                for index in range(len(node.input)):
                    self.remove(node, index)

    def _scale(self, tensor: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        largest = self.ranges.get(tensor)
        if largest is None or not np.isfinite(largest):
            maker = self.producer(tensor)
            behind = "" if maker is None else f" behind {maker.op_type} {name_of(maker)}"
            msg = (
                f"the calibration measured no range of tensor {tensor!r}{behind}, so no pair can "
                "be put there; leave that layer in float with --float-layers"
            )
            raise QuantizationError(msg)
        grid = symmetric_grid(np.float32(largest), _BITS, name=tensor)
        return np.asarray(grid.scale, np.float32).reshape(())


def without_pairs(wiring: Wiring) -> None:
    """Take every pair of a graph away: it computes in float then."""
    producers = wiring.producers()
    for node in wiring.nodes:
        for index, name in enumerate(node.input):
            maker = producers.get(name)
            while maker is not None and maker.op_type in {DEQUANTIZE, QUANTIZE}:
                node.input[index] = maker.input[0]
                maker = producers.get(maker.input[0])
