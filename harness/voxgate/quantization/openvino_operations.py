"""Which operation of an OpenVINO model stands for a node of the ONNX graph."""

from __future__ import annotations

from typing import Any

from voxgate.errors import QuantizationError
from voxgate.records.engine import GraphNode

_WEIGHTED_OPS = frozenset(
    {
        "Convolution",
        "ConvolutionBackpropData",
        "GroupConvolution",
        "GroupConvolutionBackpropData",
        "MatMul",
    }
)


def operation_of(node: GraphNode, model: Any) -> str:
    """The name of the weighted OpenVINO operation that an ONNX node became.

    Of a node with a bias, its name goes to the addition, and the convolution above gets another one.

    Raises:
        QuantizationError: OpenVINO has no such operation.
    """
    known = {operation.get_friendly_name(): operation for operation in model.get_ops()}
    for found in (known[name] for name in (node.name, *node.outputs) if name in known):
        biased = found.get_type_name() == "Add"
        weighted = found.input_value(0).get_node() if biased else found
        if weighted.get_type_name() in _WEIGHTED_OPS:
            return str(weighted.get_friendly_name())
    msg = f"OpenVINO has no operation for the layer {node.name}; it cannot be left in float"
    raise QuantizationError(msg)
