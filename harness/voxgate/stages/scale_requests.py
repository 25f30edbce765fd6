"""What workers are asked of the scales of a graph."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class RangesRequest:
    """Measure every float tensor of a float ONNX graph on the images of an .npy file, (N, 1, D, H, W).

    Writes ``ranges.json`` into ``folder``.
    """

    onnx: str
    images: str
    folder: str
    threads: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ScalesRequest:
    """Check the scales of a quantized graph; ``ranges`` is the file of a `RangesRequest`."""

    graph: str
    format: str
    quantizer: str
    method: str
    ranges: str
