"""A Q/DQ graph in a form that OpenVINO computes right: see `join_pairs`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxgate.machine.sdk import import_sdk

# What OpenVINO makes of a dequantize node and of the quantize node before it, from the end.
_DEQUANTIZE = "Multiply"
_BEFORE = ("Subtract", "Convert", "Convert", "FakeQuantize")
_OUTPUT_LOW, _OUTPUT_HIGH = 3, 4


def join_pairs(model: Any) -> int:
    """Make each Q/DQ pair of an activation one FakeQuantize, in place; returns how many.

    OpenVINO reads a pair as a FakeQuantize to codes, two conversions, and the steps back to values.
    Where pairs of signed codes stand at a Concat, on its inputs or behind it, its low-precision passes
    (2026.4.1) lose the scale: they round the tensor to whole numbers, and nothing says so. UNesT loses
    0.07 Dice to it. As a single FakeQuantize to values, on the same grid, a pair is computed right and
    as fast.
    """
    joined = [pair for node in model.get_ordered_ops() if (pair := _pair(node)) is not None]
    for quantize, subtract, multiply in joined:
        _join(quantize, subtract, multiply)
    if joined:
        model.validate_nodes_and_infer_types()
    return len(joined)


def _pair(multiply: Any) -> tuple[Any, Any, Any] | None:
    """The FakeQuantize, the Subtract and the Multiply of an activation's pair that ends here."""
    if multiply.get_type_name() != _DEQUANTIZE:
        return None
    found = [multiply]
    for kind in _BEFORE:
        node = found[-1].input_value(0).get_node()
        if node.get_type_name() != kind:
            return None
        found.append(node)
    quantize, subtract = found[-1], found[1]
    weight = quantize.input_value(0).get_node().get_type_name() == "Constant"
    operands = [subtract.input_value(1).get_node(), multiply.input_value(1).get_node()]
    operands += [quantize.input_value(index).get_node() for index in (_OUTPUT_LOW, _OUTPUT_HIGH)]
    single = all((value := _constant(node)) is not None and value.size == 1 for node in operands)
    return (quantize, subtract, multiply) if single and not weight else None


def _join(quantize: Any, subtract: Any, multiply: Any) -> None:
    opset = import_sdk("openvino", "OpenVINO").opset13
    zero, scale = (_value(node.input_value(1).get_node()) for node in (subtract, multiply))
    low, high = (
        (_value(quantize.input_value(index).get_node()) - zero) * scale
        for index in (_OUTPUT_LOW, _OUTPUT_HIGH)
    )
    levels = int(quantize.get_attributes()["levels"])
    bounds = [quantize.input_value(index) for index in (1, 2)]
    whole = opset.fake_quantize(
        quantize.input_value(0), *bounds, opset.constant(low), opset.constant(high), levels
    )
    whole.set_friendly_name(multiply.get_friendly_name())
    for reader in list(multiply.output(0).get_target_inputs()):
        reader.replace_source_output(whole.output(0))


def _value(node: Any) -> np.float32:
    value = _constant(node)
    assert value is not None  # _pair took no other
    return np.float32(value.ravel()[0])


def _constant(node: Any) -> NDArray[np.generic] | None:
    """The values of a constant, also behind a conversion; None for what is computed."""
    if node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    return np.asarray(node.data) if node.get_type_name() == "Constant" else None
