"""The run half around an engine that copies: buffers, stream, events, CUDA graph.

Neither TensorRT nor a GPU is needed: the stand-in's `execute_async_v3` enqueues a copy between the
addresses that it is given, on the device of fake_cuda.py.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from voxgate.backends.tensorrt_inspector import kernels_sha256, parse_layers
from voxgate.backends.tensorrt_session import TensorRtSession
from voxgate.errors import BuildError, DeviceError, DeviceMemoryError, EngineOutputError

from suites.support.fake_cuda import Code, FakeCuda

SHAPE = (1, 1, 32, 32, 32)
DURATION_NS = 1_250_000


@pytest.fixture(autouse=True)
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    monkeypatch.setitem(sys.modules, "torch", None)  # a worker of TensorRT has none
    return FakeCuda().install(monkeypatch)


class Context:
    """Copies the input to the output, on the stream that it is given."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
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
        if self._engine.refusal:
            self._engine.log.lines.append((True, self._engine.refusal))
            return False
        source, target = self._addresses["image"], self._addresses["logits"]
        size = 4 * int(np.prod(SHAPE))
        self._engine.cuda.work(lambda: ctypes.memmove(target, source, size), DURATION_NS)
        return True


class Engine:
    device_memory_size_v2 = 12345
    names: tuple[str, ...] = ("image", "logits")
    shapes: tuple[tuple[int, ...], ...] = (SHAPE,)
    kind = "DataType.FLOAT"
    refusal = ""

    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda = cuda
        self.log = SimpleNamespace(lines=[(True, "said before")])
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
        return self.kind

    def create_execution_context(self) -> Context:
        self.context = Context(self)
        return self.context


SDK = SimpleNamespace(
    TensorIOMode=SimpleNamespace(INPUT="in"), LayerInformationFormat=SimpleNamespace(JSON="json")
)


def image(seed: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).random(SHAPE, dtype=np.float32)


def session(engine: Engine, *, cuda_graph: bool = False) -> TensorRtSession:
    return TensorRtSession(SDK, SimpleNamespace(), engine, log=engine.log, cuda_graph=cuda_graph)


@pytest.mark.parametrize("cuda_graph", [False, True])
def test_what_goes_in_comes_out(cuda: FakeCuda, *, cuda_graph: bool) -> None:
    engine = Engine(cuda)
    opened = session(engine, cuda_graph=cuda_graph)
    for seed in range(5):
        wanted = image(seed)
        logits, elapsed_ns = opened.infer(wanted)
        np.testing.assert_array_equal(logits, wanted)
        assert elapsed_ns == DURATION_NS
    assert engine.context is not None
    # A replayed graph calls the engine no more: once plainly, once to be captured.
    assert engine.context.runs == (2 if cuda_graph else 5)
    assert opened.device_memory_bytes() == 12345
    opened.close()
    assert cuda.used == 0
    assert cuda.calls.count("cudaGraphExecDestroy") == cuda_graph


def test_the_timed_loop_copies_the_image_once_and_fetches_nothing(cuda: FakeCuda) -> None:
    opened = session(Engine(cuda))
    burst = opened.sample(image(1), 20)
    assert burst.samples_ns == (DURATION_NS,) * 20
    assert burst.span_ns == 20 * DURATION_NS
    assert cuda.calls.count("cudaMemcpyAsync") == 1
    np.testing.assert_array_equal(opened.output(), image(1))


def test_a_replay_beside_leaves_no_graph_behind(cuda: FakeCuda) -> None:
    engine = Engine(cuda)
    opened = session(engine)
    burst = opened.replay(image(1), 10)
    assert burst is not None
    assert burst.samples_ns == (DURATION_NS,) * 10
    assert engine.context is not None
    assert engine.context.runs == 2
    assert cuda.calls.count("cudaGraphExecDestroy") == 1
    opened.infer(image(2))
    assert engine.context.runs == 3


def test_an_image_of_another_shape_gets_other_buffers(cuda: FakeCuda) -> None:
    other = (1, 1, 16, 16, 16)
    engine = Engine(cuda)
    engine.shapes = (SHAPE, other)
    opened = session(engine)
    opened._buffers_for(SHAPE)
    used = cuda.used
    opened._buffers_for(other)
    assert cuda.used < used
    opened.close()
    assert cuda.used == 0


def test_kernels_and_layers_are_what_the_inspector_lists(cuda: FakeCuda) -> None:
    document = (Path(__file__).parent / "tensorrt_documents" / "unet-int8.json").read_text()
    engine: Any = Engine(cuda)
    engine.create_engine_inspector = lambda: SimpleNamespace(
        get_engine_information={"json": document}.get
    )
    opened = session(engine)
    assert opened.kernels_sha256() == kernels_sha256(document)
    assert opened.layers() == parse_layers(document)


def test_another_shape_is_refused_with_both(cuda: FakeCuda) -> None:
    with pytest.raises(EngineOutputError, match=r"takes \(1, 1, 32, 32, 32\), not an image of"):
        session(Engine(cuda)).infer(np.zeros((1, 1, 16, 16, 16), np.float32))


def test_two_outputs_are_no_segmentation_network(cuda: FakeCuda) -> None:
    engine = Engine(cuda)
    engine.names = ("image", "logits", "aux")
    with pytest.raises(BuildError, match=r"outputs \['logits', 'aux'\]"):
        session(engine)


def test_no_context_names_the_memory_it_needs(cuda: FakeCuda) -> None:
    class Full(Engine):
        device_memory_size_v2 = 3 * 2**20

        def create_execution_context(self) -> None:  # type: ignore[override]
            self.log.lines.append((True, "CUDA out of memory"))

    with pytest.raises(DeviceMemoryError, match=r"needs 3 MiB.*CUDA out of memory") as caught:
        session(Full(cuda))
    assert "said before" not in str(caught.value)


def test_no_context_for_another_reason_is_no_lack_of_memory(cuda: FakeCuda) -> None:
    class Broken(Engine):
        def create_execution_context(self) -> None:  # type: ignore[override]
            self.log.lines.append((True, "Error Code 3: API Usage Error"))

    with pytest.raises(BuildError, match="no execution context: Error Code 3"):
        session(Broken(cuda))


def test_the_older_name_of_the_scratch_memory_is_read(cuda: FakeCuda) -> None:
    engine = Engine(cuda)
    opened = session(engine)
    opened._engine = SimpleNamespace(device_memory_size=77)
    assert opened.device_memory_bytes() == 77


def test_no_memory_for_a_buffer_names_the_tensor(cuda: FakeCuda) -> None:
    cuda.fail("cudaMalloc", Code.cudaErrorMemoryAllocation)
    with pytest.raises(DeviceMemoryError, match=r"no device memory for tensor 'image'.*MiB free"):
        session(Engine(cuda)).infer(image(0))


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("Error Code 1: Cask (no workspace)", EngineOutputError),
        ("Error Code 1: Cuda Runtime (out of memory)", DeviceMemoryError),
    ],
)
def test_a_refusal_to_run_has_tensorrts_own_words(
    cuda: FakeCuda, words: str, error: type[Exception]
) -> None:
    engine = Engine(cuda)
    engine.refusal = words
    with pytest.raises(error) as caught:
        session(engine).infer(image(0))
    assert str(caught.value) == f"the engine refused to run: {words}"


def test_a_device_that_is_lost_is_that_error_and_can_be_closed(cuda: FakeCuda) -> None:
    opened = session(Engine(cuda))
    opened.infer(image(0))
    for name in ("cudaEventSynchronize", "cudaStreamSynchronize", "cudaFree"):
        cuda.fail(name, Code.cudaErrorLaunchFailure)
    with pytest.raises(DeviceError, match="the GPU is lost"):
        opened.sample(image(0), 3)
    opened.close()


@pytest.mark.parametrize(("kind", "dtype"), [("HALF", "float16"), ("DataType.BOOL", "bool")])
def test_other_types_stay_what_they_are(cuda: FakeCuda, kind: str, dtype: str) -> None:
    engine = Engine(cuda)
    engine.kind = kind
    assert session(engine)._allocate("logits", SHAPE).host.array.dtype == dtype
    engine.kind = "BF16"
    with pytest.raises(EngineOutputError, match="'logits' has the type BF16"):
        session(engine)._allocate("logits", SHAPE)
