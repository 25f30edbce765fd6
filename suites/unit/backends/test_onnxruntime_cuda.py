"""ONNX Runtime's CUDA provider: what is missing in words, and its session on a stand-in for both.

The stand-in's run enqueues a copy between the addresses that are bound, on the device of fake_cuda.py.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from voxgate import backends
from voxgate.backends import cuda_runtime, onnxruntime, onnxruntime_cuda
from voxgate.backends.onnxruntime_cuda import PROVIDER, OnnxRuntimeCudaSession
from voxgate.errors import BuildError, DeviceMemoryError, EngineOutputError, UnavailableError
from voxgate.records.case import Precision
from voxgate.records.runtime import EngineOptions

from suites.support.fake_cuda import Code, FakeCuda

SHAPE = (1, 1, 8, 8, 8)
DURATION_NS = 1_500_000
IMAGE = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)


def options(precision: Precision = "fp32") -> EngineOptions:
    return EngineOptions(
        precision=precision, threads=1, model="unet", task="mni152", classes=1, profiled=True
    )


@dataclass
class Settings:
    """Of a session, or of a run."""

    entries: dict[str, str] = field(default_factory=dict)

    def add_session_config_entry(self, name: str, value: str) -> None:
        self.entries[name] = value

    add_run_config_entry = add_session_config_entry


class Binding:
    def __init__(self) -> None:
        self.bound: dict[str, int] = {}

    def bind(self, name: str, buffer_ptr: int, **facts: Any) -> None:
        assert facts["device_type"] == "cuda"
        assert facts["element_type"] is np.float32
        assert facts["shape"] == SHAPE
        self.bound[name] = buffer_ptr

    bind_input = bind_output = bind


@dataclass
class OnnxRuntime:
    """A build with the CUDA provider, as far as the backend uses it.

    ``loads`` is whether the provider's libraries do; ``refusal`` is what a session is refused with, and
    ``trouble`` a run.
    """

    cuda: FakeCuda
    __version__ = "1.31"
    providers: tuple[str, ...] = (PROVIDER, "CPUExecutionProvider")
    loads: bool = True
    refusal: str = ""
    trouble: str = ""
    sessions: list[Any] = field(default_factory=list)
    preloaded: int = 0
    SessionOptions = RunOptions = Settings

    def get_available_providers(self) -> list[str]:
        return list(self.providers)

    def preload_dlls(self) -> None:
        self.preloaded += 1

    def InferenceSession(  # noqa: N802 - their name
        self, engine: bytes, settings: Any, providers: list[Any], enable_fallback: int
    ) -> Any:
        assert enable_fallback == 0
        gpu_alone = settings.entries.get("session.disable_cpu_ep_fallback") == "1"
        if gpu_alone and (self.refusal or not self.loads):
            raise RuntimeError(self.refusal or "nodes are assigned to the default CPU EP")
        if not engine:
            msg = "no protobuf"
            raise RuntimeError(msg)
        session = Session(self, settings, providers)
        self.sessions.append(session)
        return session


class Session:
    def __init__(self, ort: OnnxRuntime, settings: Any, providers: list[Any]) -> None:
        self.ort, self.settings, self.asked = ort, settings, providers
        self.runs = 0

    def get_providers(self) -> list[str]:
        return [PROVIDER, "CPUExecutionProvider"] if self.ort.loads else ["CPUExecutionProvider"]

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name="image", shape=list(SHAPE))]

    def get_outputs(self) -> list[Any]:
        return [SimpleNamespace(name="logits", shape=list(SHAPE))]

    def io_binding(self) -> Binding:
        return Binding()

    def run_with_iobinding(self, binding: Binding, settings: Any) -> None:
        assert settings.entries == {"disable_synchronize_execution_providers": "1"}
        if self.ort.trouble:
            raise RuntimeError(self.ort.trouble)
        self.runs += 1
        source, target = binding.bound["image"], binding.bound["logits"]
        self.ort.cuda.work(lambda: ctypes.memmove(target, source, IMAGE.nbytes), DURATION_NS)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    for name in ("torch", "psutil"):  # a worker has neither
        monkeypatch.setitem(sys.modules, name, None)
    return FakeCuda().install(monkeypatch)


@pytest.fixture
def ort(cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> OnnxRuntime:
    fake = OnnxRuntime(cuda)
    for module in (onnxruntime, onnxruntime_cuda):
        monkeypatch.setattr(module, "sdk", lambda *_: fake)
    return fake


@pytest.fixture
def session(ort: OnnxRuntime) -> Iterator[OnnxRuntimeCudaSession]:
    assert not ort.sessions
    loaded = onnxruntime_cuda.BACKEND.load(b"a graph", options())
    yield loaded
    loaded.close()


# --- what is missing -----------------------------------------------------------------------------


def test_our_own_onnxruntime_has_no_cuda_provider() -> None:
    """The real package of this environment."""
    real = pytest.importorskip("onnxruntime")
    if PROVIDER in real.get_available_providers():
        pytest.skip("this environment has onnxruntime-gpu")
    probe = onnxruntime_cuda.BACKEND.probe()
    assert not probe.available
    assert "has no CUDA provider; install it in an environment of its own" in probe.reason
    assert "pip install 'onnxruntime-gpu[cuda,cudnn]' onnx cuda-bindings" in probe.reason
    assert "--python onnxruntime-cuda=PATH" in probe.reason
    with pytest.raises(UnavailableError, match="no CUDA provider"):
        backends.require("onnxruntime-cuda", "fp32", probe)


def test_it_is_there_with_its_gpu(ort: OnnxRuntime) -> None:
    probe = onnxruntime_cuda.BACKEND.probe()
    assert (probe.available, probe.version, probe.device) == (True, "1.31", "Fake H100")
    assert probe.accelerator.startswith("GPU-")
    assert onnxruntime_cuda.BACKEND.create_context(options()) is True
    assert not ort.sessions


def test_without_a_gpu_it_says_so(ort: OnnxRuntime, cuda: FakeCuda) -> None:
    assert not ort.sessions
    cuda.fail("cudaGetDeviceCount", Code.cudaErrorNoDevice)
    probe = onnxruntime_cuda.BACKEND.probe()
    assert not probe.available
    assert "CUDA provider needs a GPU: CUDA says" in probe.reason
    assert probe.version == "1.31"


def test_without_cudas_bindings_it_says_what_to_install(
    ort: OnnxRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not ort.sessions
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    cuda_runtime._runtime.cache_clear()
    probe = onnxruntime_cuda.BACKEND.probe()
    assert not probe.available
    assert "pip install cuda-bindings" in probe.reason


def test_libraries_that_do_not_load_are_missing_and_no_fault_of_the_graph(ort: OnnxRuntime) -> None:
    ort.loads = False
    with pytest.raises(UnavailableError, match=r"CUDA or cuDNN is missing; install it in"):
        onnxruntime_cuda.BACKEND.load(b"a graph", options())


def test_a_graph_that_would_run_on_the_cpu_in_part_is_refused(ort: OnnxRuntime) -> None:
    ort.refusal = "This session contains graph nodes that are assigned to the default CPU EP"
    with pytest.raises(BuildError, match="assigned to the default CPU EP"):
        onnxruntime_cuda.BACKEND.load(b"a graph", options())


def test_what_is_no_graph_is_refused(ort: OnnxRuntime) -> None:
    assert not ort.sessions
    with pytest.raises(BuildError, match=r"refused the model \(0 bytes\): no protobuf"):
        onnxruntime_cuda.BACKEND.load(b"", options())


# --- the session ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("precision", "tf32"), [("fp32", "0"), ("tf32", "1")])
def test_precision_is_the_providers_option(
    precision: Precision, tf32: str, ort: OnnxRuntime
) -> None:
    loaded = onnxruntime_cuda.BACKEND.load(b"a graph", options(precision))
    ((name, given),) = ort.sessions[0].asked
    assert name == PROVIDER
    assert given["use_tf32"] == tf32
    assert given["user_compute_stream"] == str(loaded._stream.address)
    assert ort.preloaded == 1
    loaded.close()


def test_it_builds_from_the_file_and_frees_everything(
    ort: OnnxRuntime, cuda: FakeCuda, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"a graph")
    assert onnxruntime_cuda.BACKEND.build(str(path), options()) == b"a graph"
    assert len(ort.sessions) == 1
    assert cuda.used == 0


def test_an_inference_is_timed_by_the_gpu(session: OnnxRuntimeCudaSession) -> None:
    output, elapsed_ns = session.infer(IMAGE)
    np.testing.assert_array_equal(output, IMAGE)
    assert elapsed_ns == DURATION_NS
    other, _ = session.infer(IMAGE + 1)
    np.testing.assert_array_equal(other, IMAGE + 1)
    np.testing.assert_array_equal(output, IMAGE)  # a copy


def test_samples_are_in_flight_and_nothing_is_fetched(
    session: OnnxRuntimeCudaSession, ort: OnnxRuntime, cuda: FakeCuda
) -> None:
    copies = cuda.calls.count("cudaMemcpyAsync")
    burst = session.sample(IMAGE, 4)
    assert burst.samples_ns == (DURATION_NS,) * 4
    assert burst.span_ns == 4 * DURATION_NS
    assert ort.sessions[0].runs == 5
    assert cuda.calls.count("cudaMemcpyAsync") == copies + 1
    np.testing.assert_array_equal(session.output(), IMAGE)
    assert session.replay(IMAGE, 4) is None


def test_it_tells_no_times_of_layers_and_no_memory(session: OnnxRuntimeCudaSession) -> None:
    session.infer(IMAGE)
    assert session.layer_times_ns() is None  # type: ignore[func-returns-value]
    assert session.device_memory_bytes() is None  # type: ignore[func-returns-value]


def test_an_image_of_another_size_is_refused(session: OnnxRuntimeCudaSession) -> None:
    with pytest.raises(EngineOutputError, match=r"takes \(1, 1, 8, 8, 8\), not an image of"):
        session.infer(np.zeros((1, 1, 4, 4, 4), np.float32))


@pytest.mark.parametrize(
    "words", ["CUDA failure 2: out of memory ; GPU=0", "Failed to allocate memory for requested"]
)
def test_memory_that_runs_out_is_told_from_other_trouble(
    words: str, session: OnnxRuntimeCudaSession, ort: OnnxRuntime
) -> None:
    ort.trouble = words
    with pytest.raises(DeviceMemoryError, match=r"MiB free on the device"):
        session.infer(IMAGE)
    ort.trouble = "CUDNN_STATUS_EXECUTION_FAILED"
    with pytest.raises(RuntimeError, match="EXECUTION_FAILED"):
        session.infer(IMAGE)


def test_memory_that_runs_out_at_loading_is_that_error(ort: OnnxRuntime) -> None:
    ort.refusal = "CUDA error cudaErrorMemoryAllocation:out of memory"
    with pytest.raises(DeviceMemoryError, match="out of memory"):
        onnxruntime_cuda.BACKEND.load(b"a graph", options())


def test_the_real_package_takes_these_calls(
    cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its CPU provider computes in the memory of the stand-in's device, which is the host's."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    assert cuda.used == 0
    weight = numpy_helper.from_array(np.full((1, 1, 1, 1, 1), 3.0, np.float32), "weight")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "weight"], ["logits"], name="only")],
        "network",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, SHAPE)],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    monkeypatch.setattr(OnnxRuntimeCudaSession, "device_type", "cpu")
    opened, folder = onnxruntime.open_session(
        onnx.ModelProto.SerializeToString(model), options(), "CPUExecutionProvider", {}
    )
    session = OnnxRuntimeCudaSession(opened, folder, cuda_runtime.Stream())
    np.testing.assert_array_equal(session.infer(IMAGE)[0], 3 * IMAGE)
    assert len(session.sample(IMAGE + 1, 2).samples_ns) == 2
    np.testing.assert_array_equal(session.output(), 3 * (IMAGE + 1))
    assert [layer.name for layer in session.layers()] == ["only"]
    session.close()
    assert cuda.used == 0
