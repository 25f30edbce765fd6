"""NNCF on an OpenVINO model: FakeQuantize nodes in an IR that OpenVINO alone reads.

Weights stay float in the file (COMPRESS_WEIGHTS off): the fake-quantized engine then has FP32's
size, as a simulation has, and the INT8 engine is compiled from the very same graph.

``nncf`` is what the harness uses; ``nncf-default`` is `nncf.quantize` as it comes, for comparison.
They differ in one thing: ``nncf`` leaves the last residual addition in front of the logits in
float, if its shortcut is an identity. Such a shortcut carries what all blocks before added up, and
in 8 bits its error goes straight into the head: VISTA3D loses 0.005 Dice to it, and gains no time.
A shortcut of its own convolution (STU-Net, SwinUNETR) loses nothing, and gains 6 % of the time.

The calibration methods set the ranges of activations; weights always get their largest value a
channel. ``min-max``, NNCF's default, is the *mean over the patches* of each patch's extremes, so
that one outlier in one of N patches counts for 1/N. ``max`` is the extremes of all patches, and
``percentile`` the mean over the patches of each one's 0.01 % and 99.99 % quantiles. (NNCF's histogram
is left out: it says itself that it falls back to ``max`` where activations have a range a channel.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxgate.backends.openvino import sdk as openvino_sdk
from voxgate.errors import QuantizationError, UnavailableError
from voxgate.quantization.openvino_operations import operation_of
from voxgate.quantizers.base import Quantized
from voxgate.quantizers.images import image_at
from voxgate.records.engine import GraphNode

_FILE = "quantized.xml"

# Between the last addition and the logits there is the head and what acts on each voxel alone.
_HEAD_OPS = frozenset({"Convolution", "LeakyRelu", "PRelu", "Relu"})

# By calibration method: the name of NNCF's set of range estimators; None for its default.
_RANGES: dict[str, str | None] = {"min-max": None, "max": "MINMAX", "percentile": "MEAN_QUANTILE"}


class Nncf:
    """Min-max calibration, symmetric activations (NNCF's default preset).

    NNCF's bias correction finds no bias in U-Net's graph: as read from ONNX, each is added behind a
    Reshape, and none is changed.

    Asymmetric activations (its MIXED preset) keep OpenVINO from computing transposed convolutions
    and instance norms in int8: nnU-Net 3.0 against 3.6 times FP32's speed.
    """

    def __init__(self, *, keep_last_addition: bool) -> None:
        self._keep_last_addition = keep_last_addition

    def quantize(
        self,
        onnx: Path,
        images: NDArray[np.float32],
        method: str,
        folder: Path,
        float_layers: Sequence[GraphNode],
    ) -> Quantized:
        """Write ``quantized.xml`` and ``quantized.bin``."""
        ov = openvino_sdk()
        try:
            import nncf
            from nncf.openvino.quantization.backend_parameters import BackendParameters
            from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters
            from nncf.quantization.range_estimator import (
                RangeEstimatorParameters,
                RangeEstimatorParametersSet,
            )
        except ImportError as error:
            msg = f"NNCF cannot be imported ({error}); install it with 'pip install nncf'"
            raise UnavailableError(msg) from error
        chosen = _RANGES[method]
        ranges = (
            getattr(RangeEstimatorParametersSet, chosen) if chosen else RangeEstimatorParameters()
        )
        model = ov.Core().read_model(onnx)
        kept = [operation_of(node, model) for node in float_layers]
        kept += last_additions(model) if self._keep_last_addition else ()
        try:
            quantized = nncf.quantize(
                model,
                nncf.Dataset(range(len(images)), lambda index: image_at(images, index)),
                subset_size=len(images),
                ignored_scope=nncf.IgnoredScope(names=kept),
                advanced_parameters=AdvancedQuantizationParameters(
                    activations_range_estimator_params=ranges,
                    backend_params={BackendParameters.COMPRESS_WEIGHTS: False},
                ),
            )
        except (RuntimeError, nncf.ValidationError, nncf.InternalError) as error:
            msg = f"NNCF could not quantize {onnx.name}: {error}"
            raise QuantizationError(msg) from error
        nodes = sum(op.get_type_name() == "FakeQuantize" for op in quantized.get_ops())
        ov.save_model(quantized, folder / _FILE, compress_to_fp16=False)
        return Quantized(format="openvino-ir", file=_FILE, quantize_nodes=nodes)


def last_additions(model: Any) -> tuple[str, ...]:
    """Names of the additions of an identity shortcut that reach the logits through the head alone."""
    return tuple(
        node.get_friendly_name()
        for result in model.get_results()
        for node in _above(result)
        if node.get_type_name() == "Add"
    )


def _above(node: Any) -> Iterator[Any]:
    """The residual addition above a node, if only head operations lie between."""
    source = node.input_value(0).get_node()
    biased = source.get_type_name() == "Add" and _has_constant(source)
    if biased or source.get_type_name() in _HEAD_OPS:
        yield from _above(source)
    elif source.get_type_name() == "Add" and _has_identity(source):
        yield source


def _has_constant(node: Any) -> bool:
    """Whether an addition adds a bias rather than two feature maps."""
    return any(
        value.get_node().get_type_name() in {"Constant", "Reshape"} for value in node.input_values()
    )


def _has_identity(addition: Any) -> bool:
    """Whether one side of an addition is used elsewhere too, as what a residual block skips is."""
    return any(len(value.get_target_inputs()) > 1 for value in addition.input_values())


QUANTIZER = Nncf(keep_last_addition=True)
DEFAULT = Nncf(keep_last_addition=False)
