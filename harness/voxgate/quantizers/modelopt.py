"""NVIDIA ModelOpt: a Q/DQ ONNX that every runtime takes.

ModelOpt calibrates on random data when it is given none, and runs ``max`` for every method name but
``entropy``; the harness requires images and refuses other names before this file is reached.

Its ``entropy`` starts from a histogram with as many bins as quantized values, so that the first
patch's own range is the least that it can choose; only what later patches have beyond it adds bins,
and with them a choice. Of a single patch it is ``max`` without a word, which is refused here.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voxgate.errors import QuantizationError, UnavailableError
from voxgate.quantization.macs import count_quantize_nodes
from voxgate.quantizers.base import Quantized
from voxgate.quantizers.images import ImageReader
from voxgate.records.engine import GraphNode

_FILE = "quantized.onnx"
_FEWEST_FOR_ENTROPY = 2


class ModelOpt:
    """Explicit quantization with float weights and symmetric scales."""

    def quantize(
        self,
        onnx: Path,
        images: NDArray[np.float32],
        method: str,
        folder: Path,
        float_layers: Sequence[GraphNode],
    ) -> Quantized:
        """Write ``quantized.onnx``; everything that is not quantized stays fp32."""
        try:
            from modelopt.onnx.quantization import quantize
        except ImportError as error:
            msg = f"ModelOpt cannot be imported ({error}); install it with 'pip install nvidia-modelopt onnxslim onnx-graphsurgeon lief'"
            raise UnavailableError(msg) from error
        if method == "entropy" and len(images) < _FEWEST_FOR_ENTROPY:
            msg = (
                "ModelOpt's entropy of a single patch chooses the very ranges of max; "
                "calibrate on at least 2 patches, or use max"
            )
            raise QuantizationError(msg)
        target = folder / _FILE
        with tempfile.TemporaryDirectory(prefix="quantizing-", dir=folder) as scratch:
            # ModelOpt writes into the file that it is given, which may be an artifact of the cache.
            graph = shutil.copyfile(onnx, Path(scratch) / onnx.name)
            try:
                quantize(
                    str(graph),
                    quantize_mode="int8",
                    calibration_data_reader=ImageReader(_input_of(onnx), images),
                    calibration_method=method,
                    calibration_eps=["cpu"],
                    high_precision_dtype="fp32",
                    nodes_to_exclude=[node.name for node in float_layers],
                    output_path=str(target),
                )
            except Exception as error:  # its errors come from a dozen libraries
                msg = f"ModelOpt could not quantize {onnx.name}: {error}"
                raise QuantizationError(msg) from error
        if not target.is_file():
            msg = f"ModelOpt ended without an error and without writing {_FILE}"
            raise QuantizationError(msg)
        return Quantized(format="onnx-qdq", file=_FILE, quantize_nodes=count_quantize_nodes(target))


def _input_of(path: Path) -> str:
    """The name of a graph's one input.

    Raises:
        QuantizationError: it has none, or several.
    """
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    constants = {tensor.name for tensor in graph.initializer}
    names = [value.name for value in graph.input if value.name not in constants]
    if len(names) != 1:
        msg = f"{path.name} has {len(names)} inputs; a segmentation network has one image"
        raise QuantizationError(msg)
    return str(names[0])


QUANTIZER = ModelOpt()
