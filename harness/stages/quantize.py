"""Calibrate and quantize an exported graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness import quantizers
from harness.calibration import why_unusable
from harness.errors import QuantizationError
from harness.quantizers.images import image_at
from harness.requests import Quantized, QuantizeRequest


def quantize(request: QuantizeRequest) -> Quantized:
    """Write the quantized graph.

    Raises:
        QuantizationError: no usable calibration images, or a graph without quantize nodes.
    """
    spec = quantizers.find(request.quantizer, request.scheme)
    method = spec.check_method(request.method)
    images = np.load(request.images, mmap_mode="r", allow_pickle=False)
    check_images(images, request.images)
    result = quantizers.load(spec.name, spec.scheme).quantize(
        Path(request.onnx), images, method, Path(request.folder), request.float_layers
    )
    if result.quantize_nodes == 0:
        msg = f"{spec.title} quantized nothing in {request.onnx}: no quantize node in its output"
        raise QuantizationError(msg)
    return result


def check_images(images: NDArray[np.float32], name: str) -> None:
    """Refuse calibration images that are missing, of the wrong shape, or unusable.

    Raises:
        QuantizationError: says what is wrong with which patch.
    """
    if images.ndim != 5 or images.shape[1] != 1 or images.size == 0:
        msg = f"{name} holds {images.shape}, not (N, 1, D, H, W) with N of at least 1"
        raise QuantizationError(msg)
    for index in range(len(images)):
        if why := why_unusable(image_at(images, index)):
            msg = f"calibration patch {index} of {name} {why}"
            raise QuantizationError(msg)
