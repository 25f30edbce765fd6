"""The TensorRT backend around a stand-in for its SDK: what it refuses and how it says so.

Real plans are built in suites/contract; what a GPU must show is in test_tensorrt_session.py.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.backends import get, load, require
from harness.backends.tensorrt import BACKEND
from harness.errors import BuildError, DeviceMemoryError, UnavailableError
from harness.requests import EngineOptions, Probe

OPTIONS = EngineOptions(precision="fp32", threads=1, model="unet", task="mni152", classes=3)


class Log:
    """As the bindings' ILogger."""

    Severity = SimpleNamespace(INTERNAL_ERROR=0, ERROR=1, WARNING=2)


class Parser:
    def __init__(self, network: Any, log: Any) -> None:
        del network, log
        self.num_errors = 0

    def parse_from_file(self, path: str) -> bool:
        return Path(path).is_file()


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


class Builder:
    """Logs what it is told to and gives what it is told to."""

    plan: bytes | None = b"plan"
    message = ""
    config = Config()

    def __init__(self, log: Any) -> None:
        self._log = log

    def create_network(self, flags: int) -> Any:
        assert flags == 1 << 1
        image = SimpleNamespace(name="image", shape=(1, 1, 96, 96, 96))
        return SimpleNamespace(num_inputs=1, num_outputs=1, get_input=lambda _: image)

    def create_builder_config(self) -> Config:
        type(self).config = Config()
        return self.config

    def build_serialized_network(self, network: Any, config: Any) -> bytes | None:
        del network, config
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
        ILogger=Log,
        Builder=type("B", (Builder,), {}),
        OnnxParser=Parser,
        Runtime=Runtime,
        NetworkDefinitionCreationFlag=SimpleNamespace(STRONGLY_TYPED=1),
        ProfilingVerbosity=SimpleNamespace(DETAILED="detailed"),
        BuilderFlag=SimpleNamespace(TF32="tf32"),
        MemoryPoolType=SimpleNamespace(WORKSPACE="workspace"),
    )
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    return module


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


def test_without_the_sdk_it_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    probe = BACKEND.probe()
    assert not probe.available
    assert "pip install tensorrt-cu13" in probe.reason


@pytest.mark.usefixtures("sdk")
def test_without_a_gpu_it_is_unavailable() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    probe = BACKEND.probe()
    assert not probe.available
    assert "CUDA GPU" in probe.reason


def test_rtx_is_the_same_code_under_another_module() -> None:
    rtx = load("tensorrt-rtx")
    assert type(rtx) is type(BACKEND)
    assert rtx is not BACKEND
    assert get("tensorrt-rtx").sources == get("tensorrt").sources


def test_what_tensorrt_lacks_is_explained() -> None:
    with pytest.raises(UnavailableError, match=r"cannot build fake-int8: it computes Q/DQ graphs"):
        require("tensorrt", "fake-int8", Probe(available=True))
