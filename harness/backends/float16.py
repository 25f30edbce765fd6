"""A float ONNX graph in half precision, for runtimes that compute what the graph says.

Conversion is ModelOpt's: it knows Q/DQ nodes, whose scales must have the type of what they
dequantize to (opset 19). ONNX Runtime's gives two casts of one shared Resize scale the same name.
"""

from __future__ import annotations

from pathlib import Path

from harness.errors import BuildError, UnavailableError

_INLINE_BYTES = 2**30  # a protobuf holds no more than two of these


def write_float16(source: Path, target: Path) -> None:
    """Convert everything but the graph's input and output, which stay float32.

    Raises:
        BuildError: the converter refused the graph.
        UnavailableError: ModelOpt is not installed.
    """
    import onnx

    try:
        from modelopt.onnx.autocast.convert import convert_to_f16
    except ImportError as error:
        msg = f"half precision needs ModelOpt ({error}); install it with 'pip install nvidia-modelopt'"
        raise UnavailableError(msg) from error
    try:
        half = convert_to_f16(onnx.load(source), low_precision_type="fp16", keep_io_types=True)
    except Exception as error:  # its errors come from several libraries
        msg = f"{source.name} cannot be converted to half precision: {error}"
        raise BuildError(msg) from error
    weights = sum(len(tensor.raw_data) for tensor in half.graph.initializer)
    onnx.save(half, target, save_as_external_data=weights > _INLINE_BYTES)
