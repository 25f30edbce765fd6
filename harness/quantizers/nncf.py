"""NNCF on an OpenVINO model: FakeQuantize nodes in an IR that OpenVINO alone reads.

Weights stay float in the file (COMPRESS_WEIGHTS off): the fake-quantized engine then has FP32's
size, as a simulation has, and the INT8 engine is compiled from the very same graph.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.backends.openvino import sdk as openvino_sdk
from harness.errors import QuantizationError, UnavailableError
from harness.requests import Quantized

_FILE = "quantized.xml"


class Nncf:
    """Min-max calibration with bias correction, mixed preset."""

    def quantize(
        self, onnx: Path, images: NDArray[np.float32], method: str, folder: Path
    ) -> Quantized:
        """Write ``quantized.xml`` and ``quantized.bin``."""
        del method  # NNCF has one; the spec refused every other name
        ov = openvino_sdk()
        try:
            import nncf
            from nncf.openvino.quantization.backend_parameters import BackendParameters
            from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters
        except ImportError as error:
            msg = f"NNCF cannot be imported ({error}); install it with 'pip install nncf'"
            raise UnavailableError(msg) from error
        samples = [image[None] for image in images]
        try:
            quantized = nncf.quantize(
                ov.Core().read_model(onnx),
                nncf.Dataset(samples),
                subset_size=len(samples),
                preset=nncf.QuantizationPreset.MIXED,
                advanced_parameters=AdvancedQuantizationParameters(
                    backend_params={BackendParameters.COMPRESS_WEIGHTS: False}
                ),
            )
        except (RuntimeError, nncf.ValidationError, nncf.InternalError) as error:
            msg = f"NNCF could not quantize {onnx.name}: {error}"
            raise QuantizationError(msg) from error
        nodes = sum(op.get_type_name() == "FakeQuantize" for op in quantized.get_ops())
        ov.save_model(quantized, folder / _FILE, compress_to_fp16=False)
        return Quantized(format="openvino-ir", file=_FILE, quantize_nodes=nodes)


QUANTIZER = Nncf()
