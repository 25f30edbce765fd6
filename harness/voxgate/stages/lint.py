"""Check the quantize and dequantize nodes of an ONNX graph."""

from __future__ import annotations

from pathlib import Path

from voxgate.quantization.lint import Linted, lint_file
from voxgate.stages.requests import LintRequest


def lint(request: LintRequest) -> Linted:
    """The rules that the graph breaks.

    Raises:
        ArtifactError: there is no file, or it is damaged.
    """
    return lint_file(Path(request.onnx))
