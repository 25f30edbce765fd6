"""ModelOpt's TensorQuantizer multiplies with 127 / amax, and divides by it on the way back.

Both are off by a few 2**-24 of themselves: codes may differ within that of a tie, values by it.
"""

from __future__ import annotations

import importlib.util
import sys
import types
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from voxgate.quantization import formulas
from voxgate.quantization.grids import Grid

from suites.formulas.agreement import assert_codes_agree, codes_of
from suites.formulas.profile import examples
from suites.formulas.strategies import (
    BITS,
    SEEDS,
    Float32,
    grids_and_values,
    singles,
    storable_symmetric,
    values_on,
)

Quantizer = Callable[[Float32, Float32, Grid], Float32]


def stand_in() -> dict[str, types.ModuleType]:
    """For the hub's client, which ModelOpt imports for checkpoints and a quantizer never calls."""
    if importlib.util.find_spec("huggingface_hub") is not None:
        return {}
    client = types.ModuleType("huggingface_hub")
    raised = types.ModuleType("huggingface_hub.errors")
    client.__dict__.update(try_to_load_from_cache=None, errors=raised)
    raised.__dict__["HFValidationError"] = type("HFValidationError", (Exception,), {})
    return {client.__name__: client, raised.__name__: raised}


@pytest.fixture(scope="module")
def modelopt() -> Any:
    """ModelOpt's quantization of modules, which takes seconds to import."""
    pytest.importorskip("torch", reason="pip install torch")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, module in stand_in().items():
            patch.setitem(sys.modules, name, module)
        return pytest.importorskip(
            "modelopt.torch.quantization",
            reason="pip install nvidia-modelopt",
            exc_type=ImportError,
        )


@pytest.fixture(scope="module")
def simulate(modelopt: Any) -> Quantizer:
    """The output of a TensorQuantizer of the grid's bits, range and axis."""
    import torch

    def run(x: Float32, amax: Float32, grid: Grid) -> Float32:
        config = modelopt.config.QuantizerAttributeConfig(
            num_bits=grid.highest.bit_length() + 1,
            axis=grid.axis,
            narrow_range=grid.lowest == -grid.highest,
        )
        dims = [-1 if i == grid.axis else 1 for i in range(x.ndim)]
        bound = torch.from_numpy(amax.reshape(dims if grid.axis is not None else []))
        quantizer = modelopt.nn.TensorQuantizer(config, amax=bound)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.asarray(quantizer(torch.from_numpy(np.ascontiguousarray(x))).numpy())

    return run


def check(values: Float32, x: Float32, grid: Grid) -> None:
    codes = codes_of(values, grid)
    assert_codes_agree(codes, x, grid, tolerance_steps=(grid.highest + 2) * 2.0**-21)
    exact = formulas.dequantize(codes, grid)
    np.testing.assert_allclose(values, exact, rtol=2.0**-21, atol=0)


def any_grids() -> st.SearchStrategy[Grid]:
    return storable_symmetric(BITS, st.booleans())


@examples
@given(drawn=grids_and_values(any_grids))
@example(drawn=(formulas.symmetric_grid(127.0), singles([0.5, 1.5, 2.5, -128.5, np.inf, -np.inf])))
def test_a_tensor_quantizer_agrees_but_next_to_ties(
    simulate: Quantizer, drawn: tuple[Grid, Float32]
) -> None:
    grid, x = drawn
    amax = np.asarray(grid.scale * np.float32(grid.highest))
    check(simulate(x, amax, grid), x, grid)


@examples
@given(bits=BITS, narrow=st.booleans(), seed=SEEDS, axis=st.sampled_from([0, 1, 2]))
def test_a_tensor_quantizer_agrees_along_an_axis(
    simulate: Quantizer, bits: int, seed: int, axis: int, *, narrow: bool
) -> None:
    amax = np.exp2(np.random.default_rng(seed).uniform(-10, 10, 3)).astype(np.float32)
    grid = formulas.symmetric_grid(amax, bits, axis=axis, narrow=narrow)
    rows = [values_on(formulas.symmetric_grid(a, bits), seed + i, 8) for i, a in enumerate(amax)]
    x = np.moveaxis(np.stack(rows).reshape(3, 2, 4), 0, axis)
    check(simulate(x, amax, grid), x, grid)


def test_a_quantizer_makes_zero_of_a_small_range(simulate: Quantizer) -> None:
    """Up to 2**-24, the smallest half-precision number, ModelOpt takes amax for 0; we do not."""
    amax = np.asarray(2.0**-24, np.float32)
    grid, x = formulas.symmetric_grid(amax), np.asarray([amax, -amax])
    assert list(simulate(x, amax, grid)) == [0, 0]
    assert list(formulas.quantize(x, grid)) == [127, -127]
    above = np.asarray(np.nextafter(amax, np.float32(1)))
    assert list(codes_of(simulate(x, above, grid), grid)) == [127, -127]


def test_only_a_simulation_lets_nan_through(simulate: Quantizer) -> None:
    grid = formulas.symmetric_grid(1.0)
    assert np.isnan(simulate(singles([np.nan]), np.ones((), np.float32), grid)).all()
