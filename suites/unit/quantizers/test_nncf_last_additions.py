"""Which additions NNCF leaves in float: the last residual ones in front of the logits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from voxgate import quantizers
from voxgate.quantizers.nncf import last_additions

ov: Any = pytest.importorskip("openvino", reason="OpenVINO is not installed; NNCF reads its graphs")
ops: Any = pytest.importorskip("openvino.opset13", reason="this OpenVINO has no opset13")

CHANNELS = 4
SHAPE = [1, CHANNELS, 8, 8, 8]


def image(name: str) -> Any:
    return ops.parameter(SHAPE, np.float32, name=name)


def convolution(value: Any, channels: int = CHANNELS) -> Any:
    """1x1x1, without a bias."""
    weights = ops.constant(np.ones((CHANNELS, channels, 1, 1, 1), np.float32))
    return ops.convolution(value, weights, [1] * 3, [0] * 3, [0] * 3, [1] * 3)


def biased(value: Any, name: str = "bias") -> Any:
    """An addition of a constant, as the bias of a convolution comes out of ONNX."""
    return ops.add(value, ops.constant(np.ones((1, CHANNELS, 1, 1, 1), np.float32)), name=name)


def leaky(value: Any) -> Any:
    return ops.prelu(value, ops.constant(np.array([0.01], np.float32)))


def residual(value: Any, name: str) -> Any:
    """A block with an identity shortcut."""
    return ops.add(convolution(value), value, name=name)


def model(*logits: Any, inputs: tuple[Any, ...]) -> Any:
    return ov.Model([ops.result(value) for value in logits], list(inputs), "network")


def test_a_residual_addition_before_the_head_is_found_by_name() -> None:
    a = image("a")
    logits = biased(convolution(leaky(residual(a, "block"))))
    assert last_additions(model(logits, inputs=(a,))) == ("block",)


def test_a_residual_addition_that_is_the_logits_is_found() -> None:
    a = image("a")
    assert last_additions(model(residual(a, "block"), inputs=(a,))) == ("block",)


def test_only_the_last_of_two_residual_additions_is_found() -> None:
    a = image("a")
    last = residual(residual(a, "first"), "last")
    assert last_additions(model(convolution(last), inputs=(a,))) == ("last",)


def test_a_shortcut_with_a_convolution_of_its_own_is_quantized() -> None:
    a = image("a")
    projected = ops.add(convolution(a), convolution(a), name="projected")
    assert last_additions(model(convolution(leaky(projected)), inputs=(a,))) == ()


@pytest.mark.parametrize("reshaped", [False, True])
def test_a_bias_is_no_residual_addition(*, reshaped: bool) -> None:
    a = image("a")
    bias = ops.constant(np.ones(CHANNELS, np.float32))
    shape = ops.constant(np.array([1, CHANNELS, 1, 1, 1]))
    added = ops.add(convolution(a), ops.reshape(bias, shape, special_zero=False))
    head = added if reshaped else biased(convolution(a))
    assert last_additions(model(head, inputs=(a,))) == ()


def test_a_concatenation_below_the_addition_ends_the_search() -> None:
    a = image("a")
    joined = ops.concat([residual(a, "block"), a], axis=1)
    logits = biased(convolution(joined, channels=2 * CHANNELS))
    assert last_additions(model(logits, inputs=(a,))) == ()


def test_without_an_addition_there_is_nothing() -> None:
    a = image("a")
    assert last_additions(model(leaky(convolution(a)), inputs=(a,))) == ()


def test_each_of_two_outputs_is_looked_at() -> None:
    a, b = image("a"), image("b")
    logits = residual(a, "one"), convolution(residual(b, "two"))
    assert last_additions(model(*logits, inputs=(a, b))) == ("one", "two")


def test_ours_and_the_defaults_are_different_objects() -> None:
    ours, defaults = quantizers.load("nncf"), quantizers.load("nncf-default")
    assert type(ours) is type(defaults)
    assert ours is not defaults
    assert quantizers.load("nncf") is ours
    assert quantizers.get("nncf").packages == quantizers.get("nncf-default").packages
