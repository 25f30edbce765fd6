"""A float ONNX graph in half precision, for runtimes that compute what the graph says.

Conversion is ONNX Runtime's. Scales of Q/DQ nodes become half precision too, which ONNX allows
from opset 19 on: a strongly typed runtime wants a scale in the type of what it dequantizes to.
"""

from __future__ import annotations

from pathlib import Path

from harness.errors import BuildError
from harness.graph import QUANTIZE_OPS

_FIRST_OPSET = 19


def write_float16(source: Path, target: Path) -> None:
    """Convert everything but the graph's input and output, which stay float32.

    Raises:
        BuildError: Q/DQ below opset 19.
    """
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = onnx.load(source)
    opset = next(entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"})
    if opset < _FIRST_OPSET and any(n.op_type in QUANTIZE_OPS for n in model.graph.node):
        msg = f"{source.name} has Q/DQ nodes at opset {opset}; half-precision scales need {_FIRST_OPSET}"
        raise BuildError(msg)
    half = convert_float_to_float16(model, keep_io_types=True)
    large = sum(len(tensor.raw_data) for tensor in half.graph.initializer) > 2**30
    onnx.save(half, target, save_as_external_data=large)
