"""Check the quantize and dequantize nodes of an ONNX graph."""

from __future__ import annotations

from pathlib import Path

from harness.qdq import lint_file
from harness.requests import Linted, LintRequest


def lint(request: LintRequest) -> Linted:
    """The rules that the graph breaks.

    Raises:
        ArtifactError: there is no file, or it is damaged.
    """
    return lint_file(Path(request.onnx))
