"""Whether a quantized graph's scales and zero points are those of the formulas: the readers' table."""

from __future__ import annotations

import importlib
from pathlib import Path

from voxgate.errors import look_up
from voxgate.quantization.tensors import Reading

__all__ = ["READERS", "read"]

# By format: the function that lists the quantized tensors of such a file.
READERS = {
    "onnx-qdq": "voxgate.quantization.read_onnx:read",
    "openvino-ir": "voxgate.quantization.read_openvino:read",
}


def read(path: Path, form: str) -> Reading:
    """The quantized tensors of a graph; only workers call this.

    Raises:
        UsageError: there is no reader of that format.
        ArtifactError: there is no file, or it is damaged.
    """
    module, _, attribute = look_up("quantized format", form, READERS).partition(":")
    reading: Reading = getattr(importlib.import_module(module), attribute)(path)
    return reading
