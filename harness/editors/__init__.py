"""The table of editors: which part of a network a quantized graph quantizes, by its format."""

from __future__ import annotations

import importlib

from harness.editors.base import Editor
from harness.types import QuantizedFormat

__all__ = ["EDITORS", "Editor", "load"]

# The module of each format; its EDITOR does the work.
EDITORS: dict[QuantizedFormat, str] = {
    "openvino-ir": "harness.editors.openvino_ir",
    "onnx-qdq": "harness.editors.onnx_qdq",
}


def load(kind: QuantizedFormat) -> Editor:
    """The editor of a format; only workers call this."""
    editor: Editor = importlib.import_module(EDITORS[kind]).EDITOR
    return editor
