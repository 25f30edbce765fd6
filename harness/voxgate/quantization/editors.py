"""The table of editors: which part of a network a quantized graph quantizes, by its format."""

from __future__ import annotations

import importlib

from voxgate.quantization.editor import Editor
from voxgate.records.case import QuantizedFormat

__all__ = ["EDITORS", "Editor", "load"]

# The module of each format; its EDITOR does the work.
EDITORS: dict[QuantizedFormat, str] = {
    "openvino-ir": "voxgate.quantization.edit_openvino",
    "onnx-qdq": "voxgate.quantization.edit_onnx",
}


def load(kind: QuantizedFormat) -> Editor:
    """The editor of a format; only workers call this."""
    editor: Editor = importlib.import_module(EDITORS[kind]).EDITOR
    return editor
