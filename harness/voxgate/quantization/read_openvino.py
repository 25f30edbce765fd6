"""The quantized tensors of an OpenVINO IR: its FakeQuantize operations."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxgate.backends.openvino import sdk as openvino_sdk
from voxgate.errors import ArtifactError, QuantizationError
from voxgate.quantization.grids import Grid
from voxgate.quantization.tensors import QuantizedTensor, Reading

_QUANTIZE = "FakeQuantize"
_INPUT_LOW, _INPUT_HIGH, _OUTPUT_LOW, _OUTPUT_HIGH = range(1, 5)
# How far zero may lie from a code, in steps: the bounds are rounded to float32, 2**-24 of 255 steps.
_OFF_GRID_STEPS = 1e-4
_CONVOLUTIONS = frozenset({"Convolution", "GroupConvolution"})
_CHANNEL_AXES = {
    "Convolution": 0,
    "GroupConvolution": 0,
    "ConvolutionBackpropData": 1,
}
# What passes the values of a tensor on, maybe in another order; of the second kind also some alone.
_SAME_VALUES = frozenset({"Reshape", "Squeeze", "Transpose", "Unsqueeze"})
_SLICES = frozenset({"Slice", "StridedSlice", "VariadicSplit"})
_TRANSPARENT = _SAME_VALUES | _SLICES | {"MaxPool", "Pad"}
_PICKING = _TRANSPARENT | {"Broadcast", "Gather", "Split", "Tile"}  # or repeat them


def read(path: Path) -> Reading:
    """What the FakeQuantize operations quantize.

    Raises:
        ArtifactError: there is no file, or OpenVINO reads no graph in it.
        UnavailableError: OpenVINO is not installed.
    """
    ov = openvino_sdk()
    if not path.is_file():
        msg = f"{path} cannot be read: there is no such file"
        raise ArtifactError(msg)
    try:
        model = ov.Core().read_model(path)
    except RuntimeError as error:
        msg = f"{path} is no OpenVINO IR, or was cut off: {error}"
        raise ArtifactError(msg) from error
    return Reading(tensors=_tensors(model), shared=_shared(model))


def _tensors(model: Any) -> Iterator[QuantizedTensor]:
    first = _first_weights(model)
    for operation in model.get_ordered_ops():
        if operation.get_type_name() == _QUANTIZE:
            yield _tensor(operation, first)


def _tensor(operation: Any, first: frozenset[str]) -> QuantizedTensor:
    value = operation.input_value(0)
    source = value.get_node()
    weight = source.get_type_name() == "Constant"
    consumers = [port.get_node() for port in operation.output(0).get_target_inputs()]
    axes = {_channel_axis(node, value) for node in consumers}
    tensor = QuantizedTensor(
        name=operation.get_friendly_name(),
        role="weight" if weight else "activation",
        grid=None,
        names=_names(value),
        producer=source.get_type_name(),
        consumers=tuple(sorted({node.get_type_name() for node in consumers})),
        channel_axis=next(iter(axes)) if weight and len(axes) == 1 else None,
        first=operation.get_friendly_name() in first,
    )
    try:
        tensor = replace(tensor, grid=_grid(operation))
    except QuantizationError as error:
        return replace(tensor, fault=str(error))
    return replace(tensor, values=np.asarray(source.data, np.float32)) if weight else tensor


def _names(value: Any) -> tuple[str, ...]:
    """The ONNX names of a tensor, or of one with the same values."""
    found = sorted(value.get_names())
    node = value.get_node()
    if not found and node.get_type_name() in _SAME_VALUES:
        return _names(node.input_value(0))
    return tuple(found)


def _grid(operation: Any) -> Grid:
    """The grid of a FakeQuantize.

    Signed codes around zero point 0 where its bounds are those of symmetric codes, else unsigned ones.

    Raises:
        QuantizationError: its bounds are no constants, differ between input and output, have more
            than one axis, or hold no code for zero.
    """
    name = operation.get_friendly_name()
    low, high = (_bound(operation, index) for index in (_INPUT_LOW, _INPUT_HIGH))
    for ours, index in ((low, _OUTPUT_LOW), (high, _OUTPUT_HIGH)):
        if not np.array_equal(ours, _bound(operation, index)):
            msg = f"{name!r} has another range for its output than for its input"
            raise QuantizationError(msg)
    axes = [axis for axis, size in enumerate(low.shape) if size > 1]
    if low.shape != high.shape or len(axes) > 1:
        msg = f"{name!r} has bounds of {low.shape} and {high.shape}; they need one common axis"
        raise QuantizationError(msg)
    levels = int(operation.get_attributes()["levels"])
    scale = ((high.astype(np.float64) - low) / (levels - 1)).ravel()
    steps = -low.ravel().astype(np.float64) / scale
    whole = np.rint(steps)
    if np.any(np.abs(steps - whole) > _OFF_GRID_STEPS):
        worst = int(np.abs(steps - whole).argmax())
        msg = f"{name!r} has no code for zero: it lies at code {steps[worst]:.4f} of range {worst}"
        raise QuantizationError(msg)
    lowest = -(levels // 2) if np.all(whole == levels // 2) else 0
    shape = (-1,) if axes else ()
    return Grid(
        scale=scale.astype(np.float32).reshape(shape),
        zero_point=(whole + lowest).astype(np.int64).reshape(shape),
        lowest=lowest,
        highest=lowest + levels - 1,
        axis=axes[0] if axes else None,
        name=name,
    )


def _bound(operation: Any, index: int) -> NDArray[np.float32]:
    node = operation.input_value(index).get_node()
    if node.get_type_name() != "Constant":
        msg = f"{operation.get_friendly_name()!r} has a bound that is computed by a {node.get_type_name()}"
        raise QuantizationError(msg)
    return np.asarray(node.data, np.float32)


def _channel_axis(node: Any, weights: Any) -> int | None:
    """The axis of the output channels in the weights of an operation."""
    if node.get_type_name() == "MatMul":
        rank = len(weights.get_partial_shape())
        return rank - (2 if node.get_attributes()["transpose_b"] else 1)
    return _CHANNEL_AXES.get(node.get_type_name())


def _first_weights(model: Any) -> frozenset[str]:
    """The FakeQuantize operations of the weights that the input reaches without another convolution."""
    queue = deque(
        port.get_node()
        for parameter in model.get_parameters()
        for port in parameter.output(0).get_target_inputs()
    )
    seen, found = set(), set()
    while queue:
        node = queue.popleft()
        if node.get_friendly_name() in seen:
            continue
        seen.add(node.get_friendly_name())
        if node.get_type_name() in _CONVOLUTIONS:
            weights = node.input_value(1).get_node()
            if weights.get_type_name() == _QUANTIZE:
                found.add(weights.get_friendly_name())
                continue
        for output in node.outputs():
            queue.extend(port.get_node() for port in output.get_target_inputs())
    return frozenset(found)


def _shared(model: Any) -> tuple[frozenset[str], ...]:
    """The FakeQuantize operations in front of each Concat, those of constants included.

    Those of slices alone may have ranges of their own (SwinUNETR's merged patches) or share one (its
    rolled windows): they share where the file says so.
    """
    groups = []
    for operation in model.get_ops():
        if operation.get_type_name() == "Concat":
            sources = [_behind(value.get_node(), _PICKING) for value in operation.input_values()]
            quantized = [s for s in sources if s.get_type_name() == _QUANTIZE]
            names = frozenset(s.get_friendly_name() for s in quantized)
            if len(names) > 1 and not _separate_slices(quantized):
                groups.append(names)
    return tuple(groups)


def _separate_slices(quantized: list[Any]) -> bool:
    """Whether all of these quantize slices, and not all with the same bound."""
    kinds = {operation.input_value(0).get_node().get_type_name() for operation in quantized}
    highs = {_bound(operation, _INPUT_HIGH).tobytes() for operation in quantized}
    return kinds <= _SLICES and len(highs) > 1


def _behind(node: Any, passing: frozenset[str]) -> Any:
    """The operation whose values these are, past those that move or pick values."""
    while node.get_type_name() in passing:
        node = node.input_value(0).get_node()
    return node
