"""Which FakeQuantize operations of an OpenVINO graph share one range at a Concat."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from voxgate.quantization import read_openvino

ov: Any = pytest.importorskip("openvino", reason="OpenVINO is not installed")
ops: Any = ov.opset13


def quantized(source: Any, amax: float, name: str) -> Any:
    bounds = [np.float32(-amax), np.float32(amax * 127 / 128)] * 2
    found = ops.fake_quantize(source, *bounds, 256)
    found.set_friendly_name(name)
    return found


def piece(source: Any, start: int) -> Any:
    return ops.slice(source, [start], [start + 2], [1], [1])


def groups(*joined: Any, given: Any) -> tuple[frozenset[str], ...]:
    return read_openvino._shared(ov.Model([ops.concat(list(joined), 1)], [given], "m"))


def test_inputs_of_a_concat_share() -> None:
    x = ops.parameter([1, 4], np.float32)
    left, right = quantized(ops.relu(x), 1.0, "left"), quantized(ops.tanh(x), 2.0, "right")
    assert groups(left, right, given=x) == (frozenset({"left", "right"}),)


@pytest.mark.parametrize(("other", "expected"), [(1.0, (frozenset({"a", "b"}),)), (2.0, ())])
def test_slices_share_where_the_file_says_so(
    other: float, expected: tuple[frozenset[str], ...]
) -> None:
    x = ops.parameter([1, 4], np.float32)
    a, b = quantized(piece(x, 0), 1.0, "a"), quantized(piece(x, 2), other, "b")
    assert groups(b, a, given=x) == expected


def test_what_is_split_repeated_or_picked_still_shares() -> None:
    x = ops.parameter([1, 4], np.float32)
    split = ops.split(quantized(ops.relu(x), 1.0, "split"), 1, 2)
    tiled = ops.tile(quantized(ops.tanh(x), 2.0, "tiled"), [1, 3])
    table = quantized(ops.constant(np.ones((8, 4), np.float32)), 3.0, "table")
    picked = ops.gather(table, [0], 0)
    found = groups(split.output(0), tiled, picked, given=x)
    assert found == (frozenset({"split", "tiled", "table"}),)
