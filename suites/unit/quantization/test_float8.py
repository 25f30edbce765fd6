"""E4M3 as voxgate.quantization.float8 has it: its own properties, and bit for bit against three libraries."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from voxgate.errors import QuantizationError
from voxgate.quantization import float8

Float32 = NDArray[np.float32]

# Every finite E4M3 number, in the order of the codes 0 to 126.
POSITIVE = np.arange(127, dtype=np.uint8).view(ml_dtypes.float8_e4m3fn).astype(np.float32)
ANY = st.floats(width=32, allow_nan=False)
IN_RANGE = st.floats(width=32, min_value=-1000, max_value=1000)
TENSORS = arrays.arrays(np.float32, arrays.array_shapes(max_dims=2, max_side=8), elements=IN_RANGE)


def one(value: float) -> Float32:
    return np.array([value], np.float32)


def nearest(value: float) -> float:
    """By search over all numbers: the least distance, then the even mantissa."""
    magnitude = min(abs(float(np.float32(value))), 448.0)
    best = min(
        range(127), key=lambda code: (abs(float(POSITIVE[code]) - magnitude), code % 2)
    )  # fmt: skip
    return float(np.copysign(POSITIVE[best], value))


@given(value=ANY)
@example(value=2.0**-10)  # the tie below the smallest number: even is 0
@example(value=1.5 * 2.0**-9)
@example(value=464.0)
@example(value=17.0)  # a tie between 16 and 18
@example(value=19.0)
@example(value=float("inf"))
@example(value=-0.0)
def test_every_value_gets_the_nearest_number(value: float) -> None:
    assert float8.decode(float8.encode(one(value)))[0] == nearest(value)


def test_every_number_is_kept_and_every_code_comes_back() -> None:
    both = np.concatenate([POSITIVE, -POSITIVE])
    codes = np.array([*range(127), *range(128, 255)], np.uint8)
    np.testing.assert_array_equal(float8.encode(both), codes)
    np.testing.assert_array_equal(float8.decode(codes).view(np.uint32), both.view(np.uint32))


def test_the_ends_are_what_the_paper_says() -> None:
    assert POSITIVE[-1] == float8.HIGHEST
    assert POSITIVE[1] == float8.SMALLEST == 2.0**-9


def _ties_and_neighbours() -> Float32:
    ties = (POSITIVE[1:] + POSITIVE[:-1]) / 2
    points = np.concatenate([POSITIVE, ties])
    around = [points, np.nextafter(points, np.inf), np.nextafter(points, -np.inf)]
    rng = np.random.default_rng(4)
    spread = rng.normal(size=20_000) * 2.0 ** rng.uniform(-14, 9, 20_000)
    values = np.concatenate([*around, spread]).astype(np.float32)
    return np.concatenate([values, -values])


def test_equal_to_ml_dtypes_up_to_the_tie_behind_the_greatest() -> None:
    values = _ties_and_neighbours()
    values = values[np.abs(values) <= 464]
    theirs = values.astype(ml_dtypes.float8_e4m3fn).view(np.uint8)
    np.testing.assert_array_equal(float8.encode(values), theirs)


@pytest.mark.parametrize("value", [464.1, 1e9, float("inf")])
def test_saturates_where_a_cast_of_ml_dtypes_makes_nan(value: float) -> None:
    assert float8.decode(float8.encode(one(-value)))[0] == -448
    with np.errstate(invalid="ignore"):
        assert np.isnan(one(value).astype(ml_dtypes.float8_e4m3fn).astype(np.float32))[0]


def test_equal_to_torch_which_saturates_too() -> None:
    values = np.concatenate([_ties_and_neighbours(), one(1e9), one(-np.inf)])
    theirs = torch.from_numpy(values).to(torch.float8_e4m3fn).view(torch.uint8).numpy()
    np.testing.assert_array_equal(float8.encode(values), theirs)


def test_equal_to_onnx_where_it_casts_with_saturation() -> None:
    values = np.concatenate([_ties_and_neighbours(), one(1e9), one(-470)])
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT8E4M3FN
    nodes = [
        helper.make_node("Cast", ["x"], ["q"], to=kind, saturate=1),
        helper.make_node("Cast", ["q"], ["y"], to=onnx.TensorProto.FLOAT),
    ]
    ends = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [None]) for n in "xy"]
    graph = helper.make_graph(nodes, "cast", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    (theirs,) = ReferenceEvaluator(model).run(None, {"x": values})
    np.testing.assert_array_equal(float8.decode(float8.encode(values)), theirs)


@given(values=TENSORS)
def test_again_changes_nothing(values: Float32) -> None:
    once = float8.decode(float8.encode(values))
    np.testing.assert_array_equal(float8.decode(float8.encode(once)), once)


@given(values=TENSORS)
def test_order_and_sign_are_kept(values: Float32) -> None:
    ordered = np.sort(values, axis=None)
    assert np.all(np.diff(float8.decode(float8.encode(ordered))) >= 0)
    mirrored = float8.decode(float8.encode(-values))
    np.testing.assert_array_equal(mirrored, -float8.decode(float8.encode(values)))


@given(values=TENSORS, power=st.integers(-20, 20))
def test_the_error_is_at_most_a_sixteenth_or_half_of_the_least_step(
    values: Float32, power: int
) -> None:
    values = values * np.float32(2.0**power)
    amax = np.abs(values).max()
    scale = float8.scale_of(amax)
    error = np.abs(float8.fake_quantize(values, scale) - values)
    allowed = np.maximum(np.abs(values) / 16, scale * np.float32(2.0**-10))
    assert np.all(error <= allowed * np.float32(1 + 1e-6))


@given(amax=st.floats(width=32, min_value=2.0**-100, max_value=2.0**120))
def test_the_greatest_magnitude_is_kept_whichever_way_the_scale_was_rounded(amax: float) -> None:
    kept = float8.fake_quantize(one(amax), float8.scale_of(amax))[0]
    assert kept == pytest.approx(amax, rel=2**-23)


def test_a_channel_of_zeros_stays_zero() -> None:
    assert float8.scale_of(0.0) == 1
    values = np.array([[0, 0], [3, -4]], np.float32)
    scale = float8.scale_of(np.abs(values).max(axis=1, keepdims=True))
    assert np.all(float8.fake_quantize(values, scale)[0] == 0)


def test_a_tiny_range_gets_a_scale_that_every_runtime_divides_by() -> None:
    assert float8.scale_of(1e-40) == np.finfo(np.float32).tiny


def test_empty_tensors_stay_empty() -> None:
    assert float8.decode(float8.encode(np.empty((0, 3), np.float32))).shape == (0, 3)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: float8.encode(one(float("nan")), name="w"), r"'w': a value is nan at \(0,\)"),
        (lambda: float8.encode(np.zeros(2), name="w"), r"'w' is float64"),  # type: ignore[arg-type]
        (lambda: float8.decode(np.array([0x7F], np.uint8)), r"a code is 127 at \(0,\).*NaN"),
        (lambda: float8.decode(np.array([0xFF], np.uint8)), "a code is 255"),
        (lambda: float8.decode(np.array([1])), "codes of int64"),
        (lambda: float8.scale_of(-1.0), "amax is -1.0"),
        (lambda: float8.scale_of([1.0, float("nan")]), r"amax is nan at \(1,\)"),
        (lambda: float8.scale_of(1e39), "amax is inf"),
        (lambda: float8.fake_quantize(one(1), one(0)), r"a scale is 0.0 at \(0,\)"),
        (lambda: float8.fake_quantize(one(float("nan")), one(1)), "NaN is refused"),
    ],
)
def test_what_makes_no_number_is_refused(call: object, match: str) -> None:
    assert callable(call)
    with pytest.raises(QuantizationError, match=match):
        call()
