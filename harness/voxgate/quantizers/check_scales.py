"""Compare every scale and zero point of a graph with what the formulas give. Pure.

A weight's range is that of its own values, so its scale must be the formula's float32, bit for bit.
An activation's range is measured again, by ONNX Runtime; that and the runtime which calibrated add
the same numbers in another order, so its scale may be off by `ACTIVATION_TOLERANCE` of itself: behind
normalizations over a whole volume OpenVINO and ONNX Runtime differ by up to 1.5e-3 (SegResNet), without
them by 5e-6. A wrong divisor (128 for 127) is off by 8e-3; another tensor, patch, axis or aggregation by
more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from voxgate.quantization.formulas import Float32, affine_grid, symmetric_grid, value_range
from voxgate.quantization.grids import Grid
from voxgate.quantization.tensors import QuantizedTensor, Reading
from voxgate.quantizers.conventions import Convention
from voxgate.records.scales import Ranges, TensorVerdict

ACTIVATION_TOLERANCE = 2e-3
_BITS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class _Span:
    """A calibrated range."""

    low: float
    high: float

    @property
    def magnitude(self) -> float:
        return max(abs(self.low), abs(self.high))


class _UnknownError(Exception):
    """Why what a tensor should have cannot be told; never leaves this file."""


def check(
    reading: Reading, ranges: Ranges, convention: Convention | None, method: str
) -> tuple[TensorVerdict, ...]:
    """A verdict a tensor, in the graph's order.

    Args:
        reading: the quantized graph.
        ranges: of the float graph, on the patches that calibrated.
        convention: the quantizer's; None where it is unknown, and then nothing is checked.
        method: the calibration method.
    """
    verdicts: list[TensorVerdict | None] = []
    activations: dict[int, QuantizedTensor] = {}
    constants: dict[str, _Span | str] = {}  # that share a range with activations
    sharing = frozenset[str]().union(*reading.shared)
    for tensor in reading.tensors:
        if tensor.role == "weight" and tensor.values is not None and tensor.name in sharing:
            constants[tensor.name] = _Span(
                low=float(tensor.values.min()), high=float(tensor.values.max())
            )
        if tensor.role == "activation" and not tensor.fault and convention is not None:
            activations[len(verdicts)] = tensor
            verdicts.append(None)
        else:
            verdicts.append(_judge(tensor, convention))
    if convention is not None:
        spans = _spans(activations.values(), ranges, convention, method)
        shared = _shared(reading.shared, spans | constants)
        for index, tensor in activations.items():
            verdicts[index] = _activation(tensor, shared[tensor.name], convention)
    return tuple(verdict for verdict in verdicts if verdict is not None)


def _judge(tensor: QuantizedTensor, convention: Convention | None) -> TensorVerdict:
    """The verdict on a weight, or on what the reader could make nothing of."""
    if tensor.fault:
        return replace(_verdict(tensor, "deviates"), detail=tensor.fault)
    if convention is None:
        return replace(
            _verdict(tensor, "not-checked"), detail="it is not known how this quantizer sets scales"
        )
    try:
        return _compared(tensor, _weight_grid(tensor, convention), 0.0)
    except _UnknownError as unknown:
        return replace(_verdict(tensor, "not-checked"), detail=str(unknown))


def _activation(
    tensor: QuantizedTensor, span: _Span | str, convention: Convention
) -> TensorVerdict:
    if isinstance(span, str):
        return replace(_verdict(tensor, "not-checked"), detail=span)
    return _compared(tensor, _activation_grid(span, convention), ACTIVATION_TOLERANCE)


# --- what the formulas give ----------------------------------------------------------------------


def _weight_grid(tensor: QuantizedTensor, convention: Convention) -> Grid:
    """The symmetric grid of a weight, one range an output channel."""
    if tensor.values is None:
        msg = "the graph keeps its integers alone; the float tensor is not there"
        raise _UnknownError(msg)
    if tensor.channel_axis is None:
        msg = (
            f"its output channels cannot be told from {', '.join(tensor.consumers) or 'no reader'}"
        )
        raise _UnknownError(msg)
    low, high = value_range(tensor.values, tensor.channel_axis, name=tensor.name)
    magnitude = np.maximum(np.abs(low), np.abs(high))
    magnitude = _floored(magnitude, convention)
    if tensor.first:
        magnitude = magnitude * np.float32(convention.first_factor)
    return symmetric_grid(
        magnitude, _BITS, axis=tensor.channel_axis, narrow=convention.narrow_weights,
        name=tensor.name,
    )  # fmt: skip


def _activation_grid(span: _Span, convention: Convention) -> Grid:
    """The grid of an activation, one range for all of it."""
    if convention.unsigned_activations and span.low >= 0:
        high = _floored(np.asarray(span.high, np.float32), convention)
        return affine_grid(np.zeros_like(high), high, _BITS)
    magnitude = np.asarray(span.magnitude, np.float32)
    return symmetric_grid(_floored(magnitude, convention), _BITS)


def _floored(magnitude: Float32, convention: Convention) -> Float32:
    if not convention.floor:
        return magnitude
    least = np.float32(convention.floor_share) * magnitude.max()
    return np.asarray(np.maximum(magnitude, np.maximum(least, np.float32(convention.floor))))


# --- calibrated ranges ---------------------------------------------------------------------------


def _spans(
    tensors: Iterable[QuantizedTensor], ranges: Ranges, convention: Convention, method: str
) -> dict[str, _Span | str]:
    """The range of each tensor by name, or why it cannot be told."""
    found: dict[str, _Span | str] = {}
    for tensor in tensors:
        try:
            found[tensor.name] = _span(tensor, ranges, convention, method)
        except _UnknownError as unknown:
            found[tensor.name] = str(unknown)
    return found


def _span(tensor: QuantizedTensor, ranges: Ranges, convention: Convention, method: str) -> _Span:
    aggregation = convention.aggregations.get(method)
    if aggregation is None:
        msg = f"the method {method} searches its ranges; no formula gives them"
        raise _UnknownError(msg)
    fixed = convention.fixed.get(tensor.producer)
    if fixed is not None:
        return _Span(low=0.0, high=fixed)
    name = next((name for name in tensor.names if name in ranges.by_tensor), None)
    if name is None:
        infinite = set(tensor.names) & set(ranges.not_finite)
        why = "it is not finite in" if infinite else "no tensor of its name is in"
        msg = f"{why} the float graph ({tensor.producer or 'no producer'})"
        raise _UnknownError(msg)
    lows, highs = np.asarray(ranges.by_tensor[name], np.float64).T
    if aggregation == "max":
        return _Span(low=float(lows.min()), high=float(highs.max()))
    # NNCF: the mean of the greatest magnitudes, beside the mean of the least values.
    magnitudes = np.maximum(np.abs(lows), np.abs(highs))
    return _Span(low=float(lows.mean()), high=float(magnitudes.mean()))


def _shared(
    groups: Iterable[frozenset[str]], spans: Mapping[str, _Span | str]
) -> dict[str, _Span | str]:
    """The ranges, widened to that of all that share it; unknown where one of them is."""
    result = dict(spans)
    for group in _joined(groups):
        members = {name: spans[name] for name in sorted(group) if name in spans}
        known = [span for span in members.values() if isinstance(span, _Span)]
        unknown = [name for name, span in members.items() if isinstance(span, str)]
        for name in members:
            result[name] = (
                f"it shares the range of {unknown[0]}: {members[unknown[0]]}"
                if unknown
                else _Span(low=min(s.low for s in known), high=max(s.high for s in known))
            )
    return result


def _joined(groups: Iterable[frozenset[str]]) -> list[frozenset[str]]:
    """The groups, those with a common tensor made one."""
    result: list[frozenset[str]] = []
    for group in groups:
        common = [known for known in result if known & group]
        result = [known for known in result if known not in common]
        result.append(group.union(*common))
    return result


# --- found against expected ----------------------------------------------------------------------


def _compared(tensor: QuantizedTensor, expected: Grid, tolerance: float) -> TensorVerdict:
    """Whether the tensor's grid is the expected one; its scales within the relative tolerance."""
    found = tensor.grid
    assert found is not None, tensor.name  # the readers name a fault where there is none
    differences = [
        f"its {what} is {have}, the formula's {want}"
        for what, have, want in (
            ("axis", _axis(found), _axis(expected)),
            ("lowest code", found.lowest, expected.lowest),
            ("highest code", found.highest, expected.highest),
            ("number of scales", found.scale.size, expected.scale.size),
        )
        if have != want
    ]
    deviation = None
    if found.scale.size == expected.scale.size:
        deviation, worst = _deviation(found, expected)
        if deviation > tolerance:
            have, want = found.scale.ravel()[worst], expected.scale.ravel()[worst]
            where = f" of channel {worst}" if expected.scale.size > 1 else ""
            differences.append(
                f"its scale{where} is {have:.9g}, the formula's {want:.9g} ({have / want - 1:+.2%})"
            )
        differences += _zero_points(found, expected)
    return replace(
        _verdict(tensor, "deviates" if differences else "equal"),
        deviation=deviation,
        detail="; ".join(differences),
    )


def _deviation(found: Grid, expected: Grid) -> tuple[float, int]:
    """The largest relative difference of two scales, and which."""
    have, want = found.scale.ravel().astype(np.float64), expected.scale.ravel().astype(np.float64)
    apart = np.abs(have - want) / want
    worst = int(apart.argmax())
    return float(apart[worst]), worst


def _zero_points(found: Grid, expected: Grid) -> list[str]:
    have, want = found.zero_point.ravel(), expected.zero_point.ravel()
    if np.array_equal(have, want):
        return []
    worst = int((have != want).argmax())
    return [f"its zero point is {have[worst]}, the formula's {want[worst]}"]


def _axis(grid: Grid) -> int | None:
    """None for one scale, along whichever axis of one channel it lies."""
    return grid.axis if grid.scale.size > 1 else None


def _verdict(tensor: QuantizedTensor, outcome: str) -> TensorVerdict:
    return TensorVerdict(
        name=tensor.name,
        role=tensor.role,
        outcome=outcome,  # type: ignore[arg-type]
        scales=0 if tensor.grid is None else tensor.grid.scale.size,
    )
