"""Calibrate and quantize an exported graph."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voxgate import quantizers
from voxgate.datasets.usable import why_unusable
from voxgate.errors import QuantizationError
from voxgate.quantization.macs import read_graph
from voxgate.quantization.operands import quantized_share
from voxgate.quantizers.base import Quantized
from voxgate.quantizers.images import image_at
from voxgate.stages.requests import QuantizeRequest

# Of the multiply-accumulates; a graph with less is a float network in a quantized one's file.
LEAST_QUANTIZED = 0.1
_SHOWN_NODES = 5


def quantize(request: QuantizeRequest) -> Quantized:
    """Write the quantized graph.

    Raises:
        QuantizationError: no usable calibration images, a graph without quantize nodes, or one that
            quantizes hardly any of its convolutions and matrix products.
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
    if spec.format != "onnx-qdq" or spec.scheme:  # a simulation rounds, whatever has no pairs
        return result
    return _with_share(result, request, spec.title)


def _with_share(result: Quantized, request: QuantizeRequest, title: str) -> Quantized:
    """What was quantized, with the share of the network's work that can be computed in integers.

    A network that is quantized in part is measured like any other; its record says the share.

    Raises:
        QuantizationError: hardly anything is quantized; names the nodes.
    """
    nodes = read_graph(Path(request.onnx)).nodes
    share = quantized_share(Path(request.folder) / result.file, nodes)
    if share.macs < LEAST_QUANTIZED and not request.float_layers:
        shown = ", ".join(share.float_nodes[:_SHOWN_NODES])
        more = len(share.float_nodes) - _SHOWN_NODES
        rest = f" and {more} more" if more > 0 else ""
        msg = (
            f"{title} quantized both operands of only {share.macs:.1%} of the "
            f"multiply-accumulates in {request.onnx}; in float: {shown}{rest}. Any engine of this "
            "graph computes in float: look for what stands between quantize nodes and these "
            "layers, or choose another --quantizer"
        )
        raise QuantizationError(msg)
    return replace(result, quantized_macs=share.macs, float_nodes=share.float_nodes)


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
