"""The TensorRT backend around a stand-in for its SDK: what it refuses and how it says so.

Real plans are built in suites/contract; what a GPU must show is in test_tensorrt_session.py.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from voxgate.backends import cuda_runtime, get, load, require, tensorrt_network, timing_cache
from voxgate.backends.tensorrt import BACKEND
from voxgate.errors import BuildError, DeviceMemoryError, UnavailableError
from voxgate.machine import packages
from voxgate.records.case import Precision
from voxgate.records.runtime import EngineOptions, Probe

from suites.support.fake_cuda import Code, FakeCuda

OPTIONS = EngineOptions(precision="fp32", threads=1, model="unet", task="mni152", classes=3)


class Log:
    """As the bindings' ILogger."""

    Severity = SimpleNamespace(INTERNAL_ERROR=0, ERROR=1, WARNING=2, INFO=3)


class Parser:
    def __init__(self, network: Any, log: Any) -> None:
        del network, log
        self.num_errors = 0

    def parse_from_file(self, path: str) -> bool:
        return Path(path).is_file()


class TimingCache:
    """Knows what it was made of and combined with, and what a build adds."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def combine(self, other: TimingCache, *, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        self.content += other.content
        return True

    def serialize(self) -> bytes:
        return self.content + b"+"


class Config:
    """Takes any attribute and remembers what was called."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    def set_flag(self, flag: str) -> None:
        self.calls.append(("set", flag))

    def clear_flag(self, flag: str) -> None:
        self.calls.append(("clear", flag))

    def set_memory_pool_limit(self, pool: str, size: int) -> None:
        self.calls.append((pool, size))

    def get_tactic_sources(self) -> int:
        return 0b11111

    def set_tactic_sources(self, sources: int) -> bool:
        self.calls.append(("sources", sources))
        return True

    def create_timing_cache(self, content: bytes) -> TimingCache | None:
        return None if content == b"damaged" else TimingCache(content)

    def set_timing_cache(self, cache: TimingCache, *, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        self.timing = cache
        return b"foreign" not in cache.content

    def get_timing_cache(self) -> TimingCache | None:
        return getattr(self, "timing", None)


class Layer:
    """Reads some tensors and computes one, which is named after it."""

    def __init__(self, name: str, *inputs: str) -> None:
        self.name = name
        self.precision: str | None = None
        self.types: list[tuple[int, str]] = []
        self._inputs = [None, *inputs]  # a left-out one, too
        self.num_inputs = len(self._inputs)

    def get_input(self, index: int) -> SimpleNamespace | None:
        name = self._inputs[index]
        return None if name is None else SimpleNamespace(name=name)

    def get_output(self, index: int) -> SimpleNamespace:
        assert index == 0
        return SimpleNamespace(name=f"{self.name}:0")

    def set_output_type(self, index: int, kind: str) -> None:
        self.types.append((index, kind))


class Builder:
    """Logs what it is told to and gives what it is told to."""

    plan: bytes | None = b"plan"
    message = ""
    warnings: tuple[str, ...] = ()
    flags = 1 << 1
    config = Config()
    layers: tuple[Layer, ...] = ()

    def __init__(self, log: Any) -> None:
        self._log = log

    def create_network(self, flags: int) -> Any:
        assert flags == self.flags
        image = SimpleNamespace(name="image", shape=(1, 1, 96, 96, 96))
        return SimpleNamespace(
            num_inputs=1,
            num_outputs=1,
            get_input=lambda _: image,
            num_layers=len(self.layers),
            get_layer=lambda index: self.layers[index],
        )

    def create_builder_config(self) -> Config:
        type(self).config = Config()
        return self.config

    def build_serialized_network(self, network: Any, config: Any) -> bytes | None:
        del network, config
        for warning in self.warnings:
            self._log.log(Log.Severity.WARNING, warning)
        self._log.log(Log.Severity.INFO, "chatter")
        if self.message:
            self._log.log(Log.Severity.ERROR, self.message)
        return self.plan


class Runtime:
    """Refuses every plan, as TensorRT does: None, and the reason in the log."""

    def __init__(self, log: Any) -> None:
        self._log = log

    def deserialize_cuda_engine(self, plan: bytes) -> None:
        self._log.log(Log.Severity.WARNING, "chatter")
        self._log.log(Log.Severity.ERROR, f"incompatible serialization version in {len(plan)}")


@pytest.fixture
def sdk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    (tmp_path / "model.onnx").write_bytes(b"")
    module = SimpleNamespace(
        __version__="10.9.9",
        __name__="tensorrt",
        ILogger=Log,
        Builder=type("B", (Builder,), {}),
        OnnxParser=Parser,
        Runtime=Runtime,
        NetworkDefinitionCreationFlag=SimpleNamespace(STRONGLY_TYPED=1),
        ProfilingVerbosity=SimpleNamespace(DETAILED="detailed"),
        BuilderFlag=SimpleNamespace(TF32="tf32"),
        MemoryPoolType=SimpleNamespace(WORKSPACE="workspace"),
    )
    monkeypatch.setitem(sys.modules, "torch", None)  # a worker of TensorRT has none
    FakeCuda().install(monkeypatch)
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    return module


@pytest.fixture
def weak(sdk: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """TensorRT 8.6, without any library of CUDA's."""
    sdk.__version__ = "8.6.0"
    sdk.NetworkDefinitionCreationFlag = SimpleNamespace(EXPLICIT_BATCH=0)
    sdk.BuilderFlag = SimpleNamespace(
        TF32="tf32", FP16="fp16", INT8="int8", OBEY_PRECISION_CONSTRAINTS="obey"
    )
    sdk.float32 = "float32"
    sdk.TacticSource = SimpleNamespace(CUBLAS=0, CUBLAS_LT=1, CUDNN=2)
    sdk.Builder.flags = 1 << 0
    monkeypatch.setattr(tensorrt_network, "_loads", lambda _: False)
    return sdk


def source(tmp_path: Path) -> str:
    return str(tmp_path / "model.onnx")


def test_a_plan_is_copied_out_of_the_builder(sdk: SimpleNamespace, tmp_path: Path) -> None:
    assert BACKEND.build(source(tmp_path), OPTIONS) == b"plan"
    assert sdk.Builder.config.calls == [("clear", "tf32")]
    assert sdk.Builder.config.profiling_verbosity == "detailed"
    assert sdk.Builder.config.avg_timing_iterations >= 8


def test_tf32_and_the_workspace_are_set_on_request(sdk: SimpleNamespace, tmp_path: Path) -> None:
    options = EngineOptions(
        precision="tf32", threads=1, model="unet", task="mni152", classes=3, workspace_bytes=2**20
    )
    BACKEND.build(source(tmp_path), options)
    assert sdk.Builder.config.calls == [("workspace", 2**20), ("set", "tf32")]


@pytest.mark.parametrize(
    ("precision", "flags"),
    [
        ("fp32", [("clear", "tf32")]),
        ("tf32", [("set", "tf32")]),
        ("fp16", [("set", "tf32"), ("set", "fp16")]),
        ("int8", [("set", "tf32"), ("set", "int8")]),
        ("int8-fp16", [("set", "tf32"), ("set", "int8"), ("set", "fp16")]),
    ],
)
def test_weakly_typed_networks_take_their_precision_from_flags(
    weak: SimpleNamespace, tmp_path: Path, precision: Precision, flags: list[tuple[str, str]]
) -> None:
    assert BACKEND.build(source(tmp_path), replace(OPTIONS, precision=precision)) == b"plan"
    assert weak.Builder.config.calls == [*flags, ("sources", 0b11000)]


def with_norm() -> tuple[Layer, ...]:
    """A convolution, two layers of a norm one after the other, and what reads them."""
    return (
        Layer("conv", "image"),
        Layer("norm/square", "conv:0"),
        Layer("norm", "norm/square:0"),
        Layer("relu", "norm:0"),
    )


@pytest.mark.parametrize("precision", ["fp16", "int8-fp16"])
def test_norms_compute_in_single_precision_beside_the_half_flag(
    weak: SimpleNamespace, tmp_path: Path, precision: Precision
) -> None:
    weak.Builder.layers = with_norm()
    names = ("norm/square", "norm")
    BACKEND.build(source(tmp_path), replace(OPTIONS, precision=precision, single_precision=names))
    assert ("set", "obey") in weak.Builder.config.calls
    kinds = {layer.name: layer.precision for layer in weak.Builder.layers}
    assert kinds == {"conv": None, "norm/square": "float32", "norm": "float32", "relu": None}
    types = {layer.name: layer.types for layer in weak.Builder.layers}
    assert types.pop("norm/square") == [(0, "float32")]
    assert not any(types.values())  # what leaves the norm may be half


@pytest.mark.parametrize("precision", ["fp32", "tf32", "int8"])
def test_without_the_half_flag_nothing_is_demanded_of_layers(
    weak: SimpleNamespace, tmp_path: Path, precision: Precision
) -> None:
    weak.Builder.layers = with_norm()
    BACKEND.build(
        source(tmp_path), replace(OPTIONS, precision=precision, single_precision=("norm",))
    )
    assert ("set", "obey") not in weak.Builder.config.calls
    assert not any(layer.precision for layer in weak.Builder.layers)


def test_in_a_strongly_typed_network_the_graph_says_it(
    sdk: SimpleNamespace, tmp_path: Path
) -> None:
    sdk.Builder.layers = with_norm()
    BACKEND.build(source(tmp_path), replace(OPTIONS, precision="fp16", single_precision=("norm",)))
    assert not any(layer.precision for layer in sdk.Builder.layers)


def test_a_layer_of_a_norm_that_is_not_there_is_named(
    weak: SimpleNamespace, tmp_path: Path
) -> None:
    weak.Builder.layers = with_norm()
    names = ("norm", *(f"other/{number}" for number in range(6)))
    options = replace(OPTIONS, precision="fp16", single_precision=names)
    with pytest.raises(BuildError, match=r"layers other/0, .*other/4 and 1 more .* 4 layers"):
        BACKEND.build(source(tmp_path), options)


def test_kernels_of_a_library_that_is_there_stay(
    weak: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorrt_network, "_loads", lambda name: name == "libcublas.so.12")
    BACKEND.build(source(tmp_path), OPTIONS)
    assert weak.Builder.config.calls[-1] == ("sources", 0b11001)


def test_warnings_are_kept_once_with_their_number(sdk: SimpleNamespace, tmp_path: Path) -> None:
    sdk.Builder.warnings = ("subnormal weights", "another", "subnormal weights")
    BACKEND.build(source(tmp_path), OPTIONS)
    notes = BACKEND.build_notes()
    assert notes.warnings == ("subnormal weights (2 times)", "another")
    sdk.Builder.warnings = tuple(f"warning {number}" for number in range(25))
    BACKEND.build(source(tmp_path), OPTIONS)
    assert len(BACKEND.build_notes().warnings) == 21
    assert BACKEND.build_notes().warnings[-1] == "and 5 more"


def test_a_process_has_one_log(sdk: SimpleNamespace, tmp_path: Path) -> None:
    BACKEND.build(source(tmp_path), OPTIONS)
    first = BACKEND._log()
    with pytest.raises(BuildError):
        BACKEND.load(b"x", OPTIONS)
    assert BACKEND._log() is first
    assert isinstance(first, sdk.ILogger)


def test_words_of_an_earlier_build_are_no_reason_of_a_later_one(
    sdk: SimpleNamespace, tmp_path: Path
) -> None:
    sdk.Builder.message = "The timing cache will not be used!"
    BACKEND.build(source(tmp_path), OPTIONS)
    sdk.Builder.plan, sdk.Builder.message = None, ""
    with pytest.raises(BuildError, match="built no engine: it gave no reason"):
        BACKEND.build(source(tmp_path), OPTIONS)


def timed(folder: Path) -> EngineOptions:
    return replace(OPTIONS, timing_cache_dir=str(folder))


def kept(folder: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in folder.rglob("*.cache"))


def test_a_timing_cache_is_kept_when_the_build_was_clean(sdk: SimpleNamespace, tmp_path: Path) -> None:  # fmt: skip
    del sdk
    options = timed(tmp_path / "timing")
    BACKEND.build(source(tmp_path), options)
    assert kept(tmp_path) == []  # nothing says yet that it was
    timing_cache.keep(BACKEND.build_notes().timing_cache)
    assert kept(tmp_path) == [b"+"]
    (folder,) = (tmp_path / "timing").iterdir()
    assert folder.name == "tensorrt-10.9.9-cuda12.9-Fake_H100"
    BACKEND.build(source(tmp_path), options)
    timing_cache.drop(BACKEND.build_notes().timing_cache)
    assert kept(tmp_path) == [b"+"]
    assert len(list(folder.iterdir())) == 1


def test_builds_at_the_same_time_lose_no_timings(sdk: SimpleNamespace, tmp_path: Path) -> None:
    del sdk
    options = timed(tmp_path / "timing")
    notes = []
    for _ in range(2):
        BACKEND.build(source(tmp_path), options)
        notes.append(BACKEND.build_notes().timing_cache)
    for filled in notes:
        timing_cache.keep(filled)
    assert kept(tmp_path) == [b"+", b"+"]
    BACKEND.build(source(tmp_path), options)
    timing_cache.keep(BACKEND.build_notes().timing_cache)
    assert kept(tmp_path) == [b"+++"]


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"damaged", "made no timing cache"), (b"foreign", "did not take the timing cache")],
)
def test_a_timing_cache_that_is_refused_is_said_and_stops_no_build(
    sdk: SimpleNamespace, tmp_path: Path, content: bytes, words: str
) -> None:
    del sdk
    options = timed(tmp_path / "timing")
    BACKEND.build(source(tmp_path), options)
    timing_cache.keep(BACKEND.build_notes().timing_cache)
    (path,) = tmp_path.rglob("*.cache")
    path.write_bytes(content)
    assert BACKEND.build(source(tmp_path), options) == b"plan"
    assert any(words in warning for warning in BACKEND.build_notes().warnings)


def test_no_plan_is_an_error_with_the_logs_words(sdk: SimpleNamespace, tmp_path: Path) -> None:
    sdk.Builder.plan, sdk.Builder.message = None, "no implementation for node deconv3"
    with pytest.raises(BuildError, match=r"built no engine: no implementation for node deconv3"):
        BACKEND.build(source(tmp_path), OPTIONS)


def test_out_of_memory_names_the_sizes(sdk: SimpleNamespace, tmp_path: Path) -> None:
    sdk.Builder.plan, sdk.Builder.message = None, "Cuda Runtime (out of memory)"
    options = EngineOptions(
        precision="fp32", threads=1, model="unet", task="mni152", classes=3, workspace_bytes=2**30
    )
    with pytest.raises(DeviceMemoryError, match=r"workspace limit 1024 MiB"):
        BACKEND.build(source(tmp_path), options)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("Error Code 2: OutOfMemory (no further information)", DeviceMemoryError),
        ("Requested amount of GPU memory (64 bytes) could not be allocated.", DeviceMemoryError),
        ("the memory format of node conv3 is not supported", BuildError),
        ("shared memory of the kernel is exceeded", BuildError),
    ],
)
def test_only_memory_that_ran_out_is_that_error(
    sdk: SimpleNamespace, tmp_path: Path, words: str, error: type[Exception]
) -> None:
    sdk.Builder.plan, sdk.Builder.message = None, words
    with pytest.raises(error) as caught:
        BACKEND.build(source(tmp_path), OPTIONS)
    assert type(caught.value) is error


def test_a_plan_that_does_not_fit_the_device_is_a_lack_of_memory(
    sdk: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Any, plan: bytes) -> None:
        del plan
        self._log.log(Log.Severity.ERROR, "Cuda Runtime (out of memory)")

    monkeypatch.setattr(sdk.Runtime, "deserialize_cuda_engine", full)
    with pytest.raises(DeviceMemoryError, match="81920 MiB free"):
        BACKEND.load(b"x" * 10, OPTIONS)


def test_before_version_10_a_parser_error_has_the_nodes_number(
    weak: SimpleNamespace, tmp_path: Path
) -> None:
    error = SimpleNamespace(
        node=lambda: 7, desc=lambda: "No importer registered for op: GridSample"
    )

    class Refusing(Parser):
        def parse_from_file(self, path: str) -> bool:
            del path
            self.num_errors = 1
            return False

        def get_error(self, index: int) -> SimpleNamespace:
            assert index == 0
            return error

    weak.OnnxParser = Refusing
    with pytest.raises(
        BuildError, match="node number 7: No importer registered for op: GridSample"
    ):
        BACKEND.build(source(tmp_path), OPTIONS)


def test_a_parser_error_names_node_operation_and_message(
    sdk: SimpleNamespace, tmp_path: Path
) -> None:
    error = SimpleNamespace(
        node_name=lambda: "up3", node_operator=lambda: "GridSample", node=lambda: 7,
        desc=lambda: "5-D input is not supported",
    )  # fmt: skip

    class Refusing(Parser):
        def parse_from_file(self, path: str) -> bool:
            del path
            self.num_errors = 7
            return False

        def get_error(self, index: int) -> SimpleNamespace:
            del index
            return error

    sdk.OnnxParser = Refusing
    with pytest.raises(BuildError) as caught:
        BACKEND.build(source(tmp_path), OPTIONS)
    assert "node 'up3' (GridSample): 5-D input is not supported" in str(caught.value)
    assert "and 2 more" in str(caught.value)


def test_a_builder_that_is_null_is_an_error(sdk: SimpleNamespace, tmp_path: Path) -> None:
    def null(log: Any) -> None:
        log.log(Log.Severity.ERROR, "CUDA initialization failure with error: 35")
        msg = "pybind11::init(): factory function returned nullptr"
        raise TypeError(msg)

    sdk.Builder = null
    with pytest.raises(BuildError, match=r"CUDA initialization failure.*does it see a GPU"):
        BACKEND.build(source(tmp_path), OPTIONS)


@pytest.mark.usefixtures("sdk")
def test_a_refused_plan_says_why_and_what_to_do() -> None:
    with pytest.raises(BuildError) as caught:
        BACKEND.load(b"x" * 10, OPTIONS)
    assert "TensorRT 10.9.9 refused the plan (10 bytes)" in str(caught.value)
    assert "incompatible serialization version in 10" in str(caught.value)
    assert "chatter" not in str(caught.value)


@pytest.mark.parametrize(
    ("distributions", "version"),
    [
        (["tensorrt-cu13", "tensorrt-cu13-bindings"], "10.9.9+cu13"),
        (["tensorrt-cu12-bindings"], "10.9.9+cu12"),
        (["tensorrt-cu12", "tensorrt-cu13"], "10.9.9"),  # which one was imported is not known
        ([], "10.9.9"),
    ],
)
@pytest.mark.usefixtures("sdk")
def test_two_packages_of_one_version_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, distributions: list[str], version: str
) -> None:
    def versions(names: list[str]) -> dict[str, str]:
        return {name: "10.9.9" for name in names if name in distributions}

    monkeypatch.setattr(packages, "versions", versions)
    assert BACKEND.probe().version == version


@pytest.mark.usefixtures("sdk")
def test_libraries_that_do_not_load_make_it_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        msg = f"libnvinfer.so.8: cannot open shared object file: {name}"
        raise ImportError(msg)

    monkeypatch.setattr(importlib, "import_module", broken)
    assert "its libraries cannot be loaded (libnvinfer.so.8: cannot open" in BACKEND.probe().reason


def test_without_the_sdk_it_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    probe = BACKEND.probe()
    assert not probe.available
    assert "pip install tensorrt-cu13" in probe.reason


@pytest.mark.usefixtures("sdk")
def test_it_is_there_with_its_version_and_the_gpus_uuid() -> None:
    probe = BACKEND.probe()
    assert (probe.available, probe.version, probe.device) == (True, "10.9.9", "Fake H100")
    assert probe.accelerator == "GPU-00010203-0405-0607-0809-0a0b0c0d0e0f"
    assert BACKEND.create_context(OPTIONS)


@pytest.mark.usefixtures("sdk")
def test_without_a_gpu_it_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeCuda().install(monkeypatch).fail("cudaGetDeviceCount", Code.cudaErrorNoDevice)
    probe = BACKEND.probe()
    assert not probe.available
    assert "TensorRT needs a CUDA GPU: CUDA says 'words of 100' (cudaErrorNoDevice)" in probe.reason
    assert not BACKEND.create_context(OPTIONS)


@pytest.mark.usefixtures("sdk")
def test_without_cudas_bindings_it_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda_runtime._runtime.cache_clear()
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    probe = BACKEND.probe()
    assert not probe.available
    assert "pip install cuda-bindings" in probe.reason


def test_a_version_that_nobody_tried_is_unavailable(sdk: SimpleNamespace) -> None:
    sdk.__version__ = "8.4.3"
    assert "TensorRT 8.4.3 is none that VoxGate knows" in BACKEND.probe().reason


def test_rtx_is_the_same_code_under_another_module() -> None:
    rtx = load("tensorrt-rtx")
    assert type(rtx) is type(BACKEND)
    assert rtx is not BACKEND
    assert get("tensorrt-rtx").sources == get("tensorrt").sources


def test_what_tensorrt_lacks_is_explained() -> None:
    with pytest.raises(UnavailableError, match=r"cannot build fake-int8: it computes Q/DQ graphs"):
        require("tensorrt", "fake-int8", Probe(available=True))
