"""TensorRT-RTX: TensorRT's API under another module's name."""

from __future__ import annotations

from voxgate.backends.tensorrt import TensorRt

BACKEND = TensorRt("tensorrt_rtx", "TensorRT-RTX", "pip install tensorrt-rtx")
