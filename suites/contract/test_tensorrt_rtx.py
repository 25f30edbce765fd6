"""The build half for real: TensorRT-RTX's builder and parser behind TensorRT 11's bindings, on a CPU.

RTX is another product. What a plan of it shows is that the calls, the graphs and the error paths are
right; kernels, timing, accuracy and the inspector are not TensorRT's, and nothing here runs a plan.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import onnx
import pytest
from onnx import TensorProto, helper
from voxgate.artifacts.adapted_graphs import source_of
from voxgate.artifacts.cache import Cache
from voxgate.artifacts.run_artifacts import Artifacts
from voxgate.config import DEFAULT_MODELS, RunConfig, split_models
from voxgate.records.case import CaseId, Precision
from voxgate.records.runtime import EngineOptions, Probe
from voxgate.runs.bench import make_artifacts

from suites.contract.conftest import WHEELS, compile_library, unpack, unpack_wheel
from suites.formulas.profile import NIGHTLY

SCRIPT = Path(__file__).with_name("build_plan.py")
FORWARD = Path(__file__).with_name("forward.c")
NEWEST = "11.4.0.106"
PRECISIONS = ("fp32", "tf32", "fp16", "int8", "int8-fp16")
# At a push: normalized by batch and by instance. A nightly builds the eight of the default set.
PUSHED = ("unet", "stunet-s")
OPTIONS = EngineOptions(precision="fp32", threads=2, model="unet", task="mni152", classes=3)

Answer = Mapping[str, Any]
Build = Callable[[Path, EngineOptions], Answer]


def _models(config: pytest.Config) -> tuple[str, ...]:
    """Those that are selected, else two of them, or in a nightly the networks of the default set."""
    typed = config.getoption("--vg-models")
    if typed is not None:
        return split_models(typed)
    return DEFAULT_MODELS if NIGHTLY else PUSHED


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every selected model."""
    if "model" in metafunc.fixturenames:
        metafunc.parametrize("model", _models(metafunc.config))


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Where RTX's builder and parser lie, as the forwarding libraries look for them."""
    wheels = sorted(WHEELS.glob("onnxruntime_ep_nv_tensorrt_rtx_cu13-*.whl"))
    if not wheels:
        pytest.skip(f"TensorRT-RTX's libraries are not in {WHEELS}; run 'make test CI=true' once")
    folder = unpack_wheel(wheels[0], tmp_path_factory.mktemp("rtx"))
    (builder,) = folder.glob("*/libtensorrt_rtx.so.*")
    (parser,) = folder.glob("*/libtensorrt_onnxparser_rtx.so.*")
    return {"VOXGATE_RTX_BUILDER": str(builder), "VOXGATE_RTX_PARSER": str(parser)}


@pytest.fixture(scope="session", params=["11.0.0.114", NEWEST])
def forwarded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bindings whose libraries forward to RTX."""
    return _forwarding(request.param, tmp_path_factory.mktemp("forwarded"))


@pytest.fixture(scope="session")
def newest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _forwarding(NEWEST, tmp_path_factory.mktemp("newest"))


def _forwarding(version: str, folder: Path) -> Path:
    unpack(version, folder)
    for library in ("nvinfer", "nvonnxparser", "nvinfer_plugin"):
        target = (
            folder / "tensorrt_bindings" / f"lib{library}.so.{version.split('.', maxsplit=1)[0]}"
        )
        compile_library(FORWARD, target, "-ldl")
    return folder


def build(
    bindings: Path, libraries: Mapping[str, str], source: Path, options: EngineOptions
) -> Answer:
    """One build in a process of its own; a crash is an error of this test, not of the session."""
    plan = bindings / "engine.plan"
    plan.unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(bindings), str(source), str(plan)],
        input=msgspec.json.encode(options).decode(),
        env={**os.environ, **libraries},
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr[-3000:]}"
    answer: Answer = json.loads(done.stdout.splitlines()[-1])
    return answer


@pytest.fixture
def build_newest(newest: Path, libraries: Mapping[str, str]) -> Build:
    return lambda source, options: build(newest, libraries, source, options)


@pytest.fixture(scope="session")
def artifacts(vg_config: RunConfig) -> Artifacts:
    """The graphs of the session's models, as `voxgate bench --backend tensorrt` would make them.

    No GPU is here to probe; the version is that of the bindings.
    """
    made = make_artifacts(vg_config, Cache(vg_config.cache_root), lambda _: None)
    probe = ("probe", "tensorrt", made.interpreter_for("tensorrt").path)
    made.once(probe, lambda: Probe(available=True, version=NEWEST))
    return made


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_network_builds(
    build_newest: Build, artifacts: Artifacts, model: str, precision: Precision
) -> None:
    case = CaseId(model=model, task=artifacts.config.task, backend="tensorrt", precision=precision)
    source, _ = source_of(artifacts, case)
    answer = build_newest(Path(source), replace(OPTIONS, precision=precision))
    assert "error" not in answer, answer
    weights = 4 * (artifacts.weights(model).result.parameters or 0)
    most = 1.5 if precision in {"fp32", "tf32"} else 0.9  # SwinUNETR's position biases are folded
    assert 0.1 * weights < answer["bytes"] < most * weights


def graph(path: Path, nodes: list[onnx.NodeProto], shape: list[int | str]) -> Path:
    model = helper.make_model(
        helper.make_graph(
            nodes, "network",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        ),
        opset_imports=[helper.make_opsetid("", 19), helper.make_opsetid("made.up", 1)],
        ir_version=9,
    )  # fmt: skip
    onnx.save(model, path)
    return path


def test_both_versions_of_the_bindings_build(
    forwarded: Path, libraries: Mapping[str, str], tmp_path: Path
) -> None:
    relu = helper.make_node("Relu", ["image"], ["logits"], name="relu")
    source = graph(tmp_path / "relu.onnx", [relu], [1, 1, 8, 8, 8])
    assert build(forwarded, libraries, source, OPTIONS)["bytes"] > 0


def test_an_unknown_operation_is_named_with_its_node(build_newest: Build, tmp_path: Path) -> None:
    odd = helper.make_node("Frobnicate", ["image"], ["logits"], name="odd_one", domain="made.up")
    answer = build_newest(graph(tmp_path / "odd.onnx", [odd], [1, 1, 8, 8, 8]), OPTIONS)
    assert answer["error"] == "BuildError"
    assert "odd_one" in answer["message"]
    assert "Frobnicate" in answer["message"]


@pytest.mark.parametrize("content", [b"", b"no ONNX at all" * 100])
def test_what_is_no_graph_is_refused(build_newest: Build, tmp_path: Path, content: bytes) -> None:
    source = tmp_path / "garbage.onnx"
    source.write_bytes(content)
    assert build_newest(source, OPTIONS)["error"] == "BuildError"


def test_a_dynamic_graph_needs_its_rois(build_newest: Build, tmp_path: Path) -> None:
    relu = helper.make_node("Relu", ["image"], ["logits"], name="relu")
    source = graph(tmp_path / "dynamic.onnx", [relu], [1, 1, "d", "h", "w"])
    refused = build_newest(source, OPTIONS)
    assert refused["error"] == "BuildError"
    assert "name the ROIs" in refused["message"]
    rois = ((32, 32, 32), (64, 64, 32))
    assert build_newest(source, replace(OPTIONS, rois=rois))["bytes"] > 0


def test_the_timing_cache_is_kept(build_newest: Build, tmp_path: Path) -> None:
    relu = helper.make_node("Relu", ["image"], ["logits"], name="relu")
    source = graph(tmp_path / "relu.onnx", [relu], [1, 1, 8, 8, 8])
    options = replace(OPTIONS, timing_cache_dir=str(tmp_path / "timing"))
    first = build_newest(source, options)
    (cache,) = (tmp_path / "timing").iterdir()
    assert cache.stat().st_size > 0
    assert build_newest(source, options) == first
