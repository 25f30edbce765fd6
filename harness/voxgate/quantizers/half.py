"""Graphs in half precision, for networks that compute what the graph says: by NVIDIA ModelOpt."""

from __future__ import annotations

from pathlib import Path

from voxgate.errors import BuildError, UnavailableError
from voxgate.quantization import rewiring
from voxgate.quantization.norms import NORMS


def write_float16(source: Path, target: Path) -> None:
    """Convert a graph to half precision, Q/DQ scales included; its input and output stay float.

    Norms stay float, with casts around them: they sum up to a million voxels, which half precision
    cannot hold, and strongly typed networks compute what the graph says.

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
        half = convert_to_f16(
            onnx.load(source),
            low_precision_type="fp16",
            keep_io_types=True,
            op_block_list=sorted(NORMS),
        )
    except Exception as error:  # its errors come from several libraries
        msg = f"{source.name} cannot be converted to half precision: {error}"
        raise BuildError(msg) from error
    rewiring.save(half, target)
