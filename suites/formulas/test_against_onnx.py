"""QuantizeLinear and DequantizeLinear, by ONNX's reference evaluator and by ONNX Runtime: bit for bit."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from voxgate.quantization import formulas
from voxgate.quantization.grids import Grid

from suites.formulas.agreement import assert_codes_agree
from suites.formulas.profile import examples
from suites.formulas.strategies import (
    HOSTILE,
    SEEDS,
    Float32,
    grids_and_values,
    singles,
    storable_grids,
    values_on,
)

Pair = Callable[[Float32, Grid], tuple[NDArray[Any], Float32]]
WHOLE_TYPES = st.sampled_from([8, 16])  # ONNX clamps to a type, so narrower codes are no node's
# The reference evaluator converts x / s to int32 before it clamps.
_INT32 = 2.0**31 - 2**7


def stored_grids() -> st.SearchStrategy[Grid]:
    return storable_grids(WHOLE_TYPES)


@functools.cache
def graph(code_type: str, axis: int | None) -> Any:
    """A pair of nodes that takes values, scales and zero points, of any length."""
    helper = pytest.importorskip("onnx", reason="pip install onnx").helper
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(code_type))
    scales = [] if axis is None else ["c"]
    attributes = {} if axis is None else {"axis": axis}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], **attributes),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], **attributes),
    ]
    value = helper.make_tensor_value_info
    inputs = [value("x", 1, ["n"] if axis is None else ["n", "m"])]
    inputs += [value("s", 1, scales), value("z", kind, scales)]
    made = helper.make_graph(nodes, "pair", inputs, [value("q", kind, None), value("y", 1, None)])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def feeds(x: Float32, grid: Grid) -> dict[str, NDArray[Any]]:
    return {"x": x, "s": grid.scale, "z": grid.zero_point.astype(grid.code_type)}


@functools.cache
def reference_evaluator(code_type: str, axis: int | None) -> Any:
    reference = pytest.importorskip("onnx.reference", reason="pip install onnx")
    return reference.ReferenceEvaluator(graph(code_type, axis))


def by_reference(x: Float32, grid: Grid) -> tuple[NDArray[Any], Float32]:
    with np.errstate(all="ignore"):
        codes, values = reference_evaluator(grid.code_type.name, grid.axis).run(
            None, feeds(x, grid)
        )
    return codes, values


@functools.cache
def session(code_type: str, axis: int | None) -> Any:
    ort = pytest.importorskip("onnxruntime", reason="pip install onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    # Or it drops a pair that dequantizes what it has just quantized.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    model = graph(code_type, axis).SerializeToString()
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def by_runtime(x: Float32, grid: Grid) -> tuple[NDArray[Any], Float32]:
    codes, values = session(grid.code_type.name, grid.axis).run(None, feeds(x, grid))
    return codes, values


def near(x: Float32, grid: Grid) -> Float32:
    """The values whose number of steps an int32 holds."""
    with np.errstate(over="ignore"):
        return np.asarray(x[np.abs(x / grid.scale) < _INT32])


@examples
@given(drawn=grids_and_values(stored_grids))
def test_the_reference_evaluator_agrees_bit_for_bit(drawn: tuple[Grid, Float32]) -> None:
    grid, x = drawn
    x = near(x, grid)
    codes, values = by_reference(x, grid)
    assert_codes_agree(codes, x, grid)
    assert np.array_equal(values, formulas.fake_quantize(x, grid))


@pytest.mark.xfail(strict=True, reason="onnx 1.21 converts to int32 before it clamps")
@pytest.mark.parametrize("far", [np.inf, 2.0**31, 1e30])
def test_the_reference_evaluator_saturates_far_values(far: float) -> None:
    """It makes the lowest code of values 2**31 steps above zero."""
    grid, x = formulas.symmetric_grid(127.0), singles([far])
    assert_codes_agree(by_reference(x, grid)[0], x, grid)


@examples
@given(drawn=grids_and_values(stored_grids))
@example(drawn=(formulas.symmetric_grid(127.0), singles([np.inf, -np.inf, 1e30, 2.0**31])))
@example(drawn=(formulas.symmetric_grid(1e-38), singles([1e-45, 1e-40, 0.0])))
@example(drawn=(formulas.affine_grid(-5, 250), singles([0.5, 1.5, 2.5])))  # an odd zero point
def test_onnx_runtime_agrees_bit_for_bit(drawn: tuple[Grid, Float32]) -> None:
    grid, x = drawn
    codes, values = by_runtime(x, grid)
    assert_codes_agree(codes, x, grid)
    assert np.array_equal(values, formulas.fake_quantize(x, grid))


@st.composite
def channels(draw: st.DrawFn) -> tuple[Grid, Float32]:
    """Three grids of one kind as one, and hard values for each along the axis."""
    drawn = [draw(stored_grids()) for _ in range(3)]
    same = [grid for grid in drawn if grid.code_type == drawn[0].code_type]
    axis = draw(st.sampled_from([0, 1]))
    rows = [values_on(grid, draw(SEEDS), 8) for grid in same]
    rows[0][0] = draw(HOSTILE)
    grid = Grid(
        scale=np.stack([g.scale for g in same]),
        zero_point=np.stack([g.zero_point for g in same]),
        lowest=same[0].lowest,
        highest=same[0].highest,
        axis=axis,
    )
    return grid, np.ascontiguousarray(np.stack(rows, axis))


@examples
@given(drawn=channels())
def test_onnx_runtime_agrees_along_an_axis(drawn: tuple[Grid, Float32]) -> None:
    grid, x = drawn
    codes, values = by_runtime(x, grid)
    assert_codes_agree(codes, x, grid)
    assert np.array_equal(values, formulas.fake_quantize(x, grid))


@examples
@given(drawn=channels())
def test_the_reference_evaluator_agrees_along_an_axis(drawn: tuple[Grid, Float32]) -> None:
    grid, x = drawn
    x = np.clip(x, -1e3 * grid.scale.min(), 1e3 * grid.scale.min())
    codes, values = by_reference(x, grid)
    assert_codes_agree(codes, x, grid)
    assert np.array_equal(values, formulas.fake_quantize(x, grid))


@pytest.mark.parametrize("run", [by_reference, by_runtime])
def test_every_code_is_dequantized_alike(run: Pair) -> None:
    for grid in (formulas.symmetric_grid(3.3, 16), formulas.affine_grid(-1, 5, 16)):
        every = formulas.dequantize(np.arange(grid.lowest, grid.highest + 1), grid)
        codes, values = run(every, grid)
        assert np.array_equal(codes, np.arange(grid.lowest, grid.highest + 1))
        assert np.array_equal(values, every)
