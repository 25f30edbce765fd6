"""Loading refused for real: TensorRT's lean runtime on a GPU, and files that are no plan of it."""

from __future__ import annotations

import importlib
import importlib.util

import pytest
import torch
from voxgate.backends.tensorrt import TensorRt
from voxgate.errors import BuildError
from voxgate.records.runtime import EngineOptions

_MODULES = ("tensorrt_lean_libs", "tensorrt_lean_bindings")

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU"),
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in _MODULES),
        reason="TensorRT's lean runtime is not installed (tensorrt-lean-cu13-libs and -bindings)",
    ),
]

OPTIONS = EngineOptions(precision="fp32", threads=1, model="unet", task="mni152", classes=3)

# How a plan of TensorRT-RTX begins.
_RTX_TAG = (2021161080).to_bytes(4, "little")


@pytest.fixture(scope="session")
def lean() -> TensorRt:
    importlib.import_module("tensorrt_lean_libs")
    return TensorRt("tensorrt_lean_bindings", "TensorRT lean", "pip install tensorrt-lean-cu13")


@pytest.mark.parametrize(
    "plan", [b"", b"x" * 1000, _RTX_TAG + bytes(5000)], ids=["empty", "garbage", "foreign"]
)
def test_the_runtime_refuses_and_says_why(lean: TensorRt, plan: bytes) -> None:
    with pytest.raises(BuildError) as caught:
        lean.load(plan, OPTIONS)
    message = str(caught.value)
    assert f"refused the plan ({len(plan)} bytes)" in message
    assert "it gave no reason" not in message


def test_the_same_process_goes_on_after_a_refusal(lean: TensorRt) -> None:
    for _ in range(3):
        with pytest.raises(BuildError):
            lean.load(b"y" * 100, OPTIONS)
