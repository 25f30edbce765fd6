"""Measure the ranges of a float graph, and check a quantized graph's scales against them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from voxgate.errors import ArtifactError
from voxgate.files import write_atomic
from voxgate.quantization import readers
from voxgate.quantizers.check_scales import check
from voxgate.quantizers.conventions import CONVENTIONS
from voxgate.quantizers.ranges import measure
from voxgate.records.scales import CheckedScales, Measured, Ranges
from voxgate.stages import file_names
from voxgate.stages.scale_requests import RangesRequest, ScalesRequest


def measure_ranges(request: RangesRequest) -> Measured:
    """Write ``ranges.json``.

    Raises:
        ArtifactError: the graph or the images cannot be read.
        QuantizationError: ONNX Runtime refused the graph.
    """
    try:
        images = np.load(request.images, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        msg = f"{request.images} cannot be read: {error}"
        raise ArtifactError(msg) from error
    ranges = measure(Path(request.onnx), images, request.threads)
    write_atomic(Path(request.folder) / file_names.RANGES, msgspec.json.encode(ranges))
    return Measured(tensors=len(ranges.by_tensor), patches=len(images))


def check_scales(request: ScalesRequest) -> CheckedScales:
    """Compare every quantized tensor with what the formulas give.

    Raises:
        ArtifactError: the graph or the ranges are damaged.
        UsageError: there is no reader of that format.
    """
    try:
        ranges = msgspec.json.decode(Path(request.ranges).read_bytes(), type=Ranges)
    except (OSError, ValueError) as error:
        msg = f"the ranges in {request.ranges} cannot be read: {error}"
        raise ArtifactError(msg) from error
    reading = readers.read(Path(request.graph), request.format)
    found = check(reading, ranges, CONVENTIONS.get(request.quantizer), request.method)
    return CheckedScales(tensors=found)
