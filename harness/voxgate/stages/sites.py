"""The nodes of a graph that read quantize-dequantize pairs, and what stands around them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from voxgate.quantization import rewiring
from voxgate.quantization.onnx_view import DEQUANTIZE, QUANTIZE, name_of
from voxgate.quantizers.pairs import Placing
from voxgate.stages.adapt_requests import Site, Sites, SitesRequest

if TYPE_CHECKING:
    import onnx

_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


def list_sites(request: SitesRequest) -> Sites:
    """Every node with a pair in front of an operand, in the graph's order.

    Raises:
        ArtifactError: the file is no ONNX graph.
    """
    placing = Placing(wiring=rewiring.Wiring(rewiring.load(Path(request.onnx))))
    return Sites(
        sites=tuple(
            Site(
                name=name_of(node),
                pattern=_pattern(placing, node),
                weighted=node.op_type in _WEIGHTED,
            )
            for node in placing.wiring.nodes
            if node.op_type not in {QUANTIZE, DEQUANTIZE}
            and any(placing.pair(node, index) for index in range(len(node.input)))
        )
    )


def _pattern(placing: Placing, node: onnx.NodeProto) -> str:
    """What computes the node's image, the node, and what reads it: ``MaxPool -> Q -> Conv -> Relu``."""
    pair = placing.pair(node, 0)
    source = str(node.input[0]) if pair is None else pair.source
    maker = placing.producer(source)
    before = "input" if maker is None else maker.op_type
    readers = sorted({_kind(reader) for reader in placing.readers(node.output[0])})
    after = " and ".join(readers) or "output"
    quantized = "" if pair is None else " -> Q"
    return f"{before}{quantized} -> {node.op_type} -> {after}"


def _kind(node: onnx.NodeProto) -> str:
    return "Q" if node.op_type == QUANTIZE else str(node.op_type)
