"""The run half on a real GPU, around an engine that copies: buffers, stream, events, CUDA graph.

TensorRT's own runtime is not needed: the stand-in's `execute_async_v3` enqueues a device-to-device
copy on the stream that it is given, between the addresses that it is given.
"""

from __future__ import annotations

import ctypes
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from harness.backends.tensorrt_session import TensorRtSession
from harness.errors import BuildError, DeviceMemoryError, EngineOutputError

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no CUDA GPU; this needs a real stream"
)

SHAPE = (1, 1, 32, 32, 32)
_DEVICE_TO_DEVICE = 3


def cuda_runtime() -> Any:
    """The CUDA runtime that PyTorch loaded into this process."""
    torch.cuda.current_stream()  # initializes CUDA
    found = re.search(r"\S*libcudart\S*\.so\S*", Path("/proc/self/maps").read_text())
    assert found is not None
    library = ctypes.CDLL(found[0])
    library.cudaMemcpyAsync.argtypes = [
        ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p,
    ]  # fmt: skip
    return library


class Context:
    """Copies the input to the output, on the stream that it is given."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._cuda = cuda_runtime()
        self._addresses: dict[str, int] = {}
        self.runs = 0

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert name == "image"
        return shape in self._engine.shapes

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        assert name == "logits"
        return SHAPE

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        self.runs += 1
        assert stream != 0, "the default stream adds synchronization"
        source, target = self._addresses["image"], self._addresses["logits"]
        size = 4 * int(np.prod(SHAPE))
        return bool(
            self._cuda.cudaMemcpyAsync(target, source, size, _DEVICE_TO_DEVICE, stream) == 0
        )


class Engine:
    device_memory_size_v2 = 12345
    names: tuple[str, ...] = ("image", "logits")
    shapes: tuple[tuple[int, ...], ...] = (SHAPE,)

    def __init__(self) -> None:
        self.context: Context | None = None

    @property
    def num_io_tensors(self) -> int:
        return len(self.names)

    def get_tensor_name(self, index: int) -> str:
        return self.names[index]

    def get_tensor_mode(self, name: str) -> str:
        return "in" if name.startswith("image") else "out"

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        del name
        return SHAPE

    def get_tensor_dtype(self, name: str) -> str:
        del name
        return "FLOAT"

    def create_execution_context(self) -> Context:
        self.context = Context(self)
        return self.context


SDK = SimpleNamespace(
    TensorIOMode=SimpleNamespace(INPUT="in"), nptype=lambda _: np.float32,
    LayerInformationFormat=SimpleNamespace(JSON="json"),
)  # fmt: skip


def image(seed: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).random(SHAPE, dtype=np.float32)


def session(engine: Engine, *, cuda_graph: bool = False) -> TensorRtSession:
    return TensorRtSession(SDK, SimpleNamespace(), engine, cuda_graph=cuda_graph)


@pytest.mark.parametrize("cuda_graph", [False, True])
def test_what_goes_in_comes_out(*, cuda_graph: bool) -> None:
    engine = Engine()
    opened = session(engine, cuda_graph=cuda_graph)
    for seed in range(5):
        wanted = image(seed)
        logits, elapsed_ns = opened.infer(wanted)
        np.testing.assert_array_equal(logits, wanted)
        assert elapsed_ns > 0
    assert engine.context is not None
    # A replayed graph calls the engine no more: once plainly, once to be captured.
    assert engine.context.runs == (2 if cuda_graph else 5)
    assert opened.device_memory_bytes() == 12345
    opened.close()


def test_another_shape_is_refused_with_both() -> None:
    with pytest.raises(EngineOutputError, match=r"takes \(1, 1, 32, 32, 32\), not an image of"):
        session(Engine()).infer(np.zeros((1, 1, 16, 16, 16), np.float32))


def test_two_outputs_are_no_segmentation_network() -> None:
    engine = Engine()
    engine.names = ("image", "logits", "aux")
    with pytest.raises(BuildError, match=r"outputs \['logits', 'aux'\]"):
        session(engine)


def test_no_context_names_the_memory_it_needs() -> None:
    class Full(Engine):
        device_memory_size_v2 = 3 * 2**20

        def create_execution_context(self) -> None:  # type: ignore[override]
            return None

    with pytest.raises(DeviceMemoryError, match=r"needs 3 MiB of device memory"):
        session(Full())


def test_no_memory_for_a_buffer_names_the_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    def empty(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(torch, "empty", empty)
    with pytest.raises(DeviceMemoryError, match=r"no device memory for tensor 'image'"):
        session(Engine()).infer(image(0))
