"""One contract for every real runtime, on a small network of two convolutions."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from voxgate import backends
from voxgate.backends import Backend
from voxgate.backends.base import LayerTimes
from voxgate.backends.onnxruntime import _kernel_times
from voxgate.errors import BuildError, UnavailableError
from voxgate.metrics.coverage import measure_coverage
from voxgate.quantization.macs import read_graph
from voxgate.records.case import Precision
from voxgate.records.runtime import EngineOptions, Probe

SHAPE = (1, 1, 16, 16, 16)
CLASSES = 3
ONNX_BACKENDS = ("openvino", "onnxruntime")


def options(precision: Precision) -> EngineOptions:
    return EngineOptions(
        precision=precision, threads=1, model="unet", task="mni152", classes=CLASSES
    )


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Conv 3x3x3 to 8 channels, ReLU, Conv 1x1x1 to 3 classes."""
    generator = np.random.default_rng(0)
    weights = {
        "w1": generator.standard_normal((8, 1, 3, 3, 3)).astype(np.float32),
        "w2": generator.standard_normal((CLASSES, 8, 1, 1, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], name="first", pads=[1] * 6),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("Conv", ["b", "w2"], ["y"], name="second"),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, CLASSES, *SHAPE[2:]))],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    path = tmp_path_factory.mktemp("network") / "model.onnx"
    onnx.save(model, path)
    return path


def image() -> NDArray[np.float32]:
    return np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)


def as_float32(values: Any) -> Any:
    return np.asarray(values, np.float32)


def reference(path: Path) -> Any:
    from onnx.reference import ReferenceEvaluator

    (output,) = ReferenceEvaluator(str(path)).run(None, {"x": image()})
    return as_float32(output)


@pytest.fixture(params=ONNX_BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    loaded = backends.load(request.param)
    if not (probe := loaded.probe()).available:
        pytest.skip(probe.reason)
    return loaded


def test_an_engine_computes_the_network(backend: Backend, network: Path) -> None:
    session = backend.load(backend.build(str(network), options("fp32")), options("fp32"))
    output, elapsed_ns = session.infer(image())
    np.testing.assert_allclose(as_float32(output), reference(network), rtol=1e-4, atol=1e-4)
    assert elapsed_ns > 0
    session.close()


def test_every_weighted_node_is_mapped_and_float(backend: Backend, network: Path) -> None:
    session = backend.load(backend.build(str(network), options("fp32")), options("fp32"))
    coverage = measure_coverage(read_graph(network), session.layers() or ())
    assert coverage.by_macs.float == 1.0
    assert coverage.float_nodes == ("first", "second")
    session.close()


def test_a_profiled_engine_tells_the_time_of_each_layer(backend: Backend, network: Path) -> None:
    engine = backend.build(str(network), options("fp32"))
    session = backend.load(engine, replace(options("fp32"), profiled=True))
    (output, _), *_ = [session.infer(image()) for _ in range(3)]
    np.testing.assert_allclose(as_float32(output), reference(network), rtol=1e-4, atol=1e-4)
    times_ns = session.layer_times_ns()
    assert times_ns is not None
    assert {layer.name for layer in session.layers() or ()} <= set(times_ns)
    assert all(elapsed_ns >= 0 for elapsed_ns in times_ns.values())
    session.close()


def test_an_engine_that_is_not_profiled_tells_no_times(backend: Backend, network: Path) -> None:
    session = backend.load(backend.build(str(network), options("fp32")), options("fp32"))
    session.infer(image())
    assert session.layer_times_ns() is None
    session.close()


def test_the_time_of_a_layer_is_its_median_over_inferences() -> None:
    times = LayerTimes()
    for first, second in ((90, 1), (10, 2), (11, 3)):
        times.add([("conv", first), ("split", second), ("split", second)])
    assert times.medians() == {"conv": 11, "split": 4}


def test_onnx_runtimes_events_are_read_inference_by_inference() -> None:
    run = [
        {"cat": "Session", "name": "model_loading", "ts": 0, "dur": 9},
        *(
            event
            for start, dur in ((10, 9), (30, 4), (50, 5))
            for event in (
                {"cat": "Session", "name": "model_run", "ts": start, "dur": 19},
                {"cat": "Node", "name": "conv_kernel_time", "ts": start + 1, "dur": dur},
                {"cat": "Node", "name": "conv_fence_before", "ts": start, "dur": 1},
            )
        ),
    ]
    assert _kernel_times(run) == {"conv": 5_000}


@pytest.mark.parametrize("damage", ["garbage", "empty", "half"])
def test_bytes_that_are_no_engine_are_refused(backend: Backend, network: Path, damage: str) -> None:
    whole = backend.build(str(network), options("fp32"))
    bad = {"garbage": b"\x00\x01 no engine" * 50, "empty": b"", "half": whole[: len(whole) // 2]}
    with pytest.raises(BuildError, match="bytes"):
        backend.load(bad[damage], options("fp32"))


def test_a_graph_that_is_none_is_refused(backend: Backend, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not a graph")
    with pytest.raises(BuildError):
        backend.build(str(path), options("fp32"))


def test_a_graph_of_a_later_release_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "quantized.xml"
    path.write_text('<net name="x" version="99"><layers/></net>')
    with pytest.raises(BuildError, match=r"older than the one that wrote.*--quantizer modelopt"):
        backends.load("openvino").build(str(path), options("int8"))


def test_bf16_runs_or_is_refused_with_a_reason(network: Path) -> None:
    openvino = backends.load("openvino")
    probe = openvino.probe()
    if "bf16" in probe.refused:
        assert "bf16" in probe.refused["bf16"]
        return
    session = openvino.load(openvino.build(str(network), options("bf16")), options("bf16"))
    output, _ = session.infer(image())
    exact = reference(network)
    difference = np.abs(as_float32(output) - exact).max() / np.abs(exact).max()
    assert 1e-4 < difference < 0.05  # bf16 has 8 bits of mantissa: neither exact nor wrong
    session.close()


def test_fp32_is_not_silently_bf16(network: Path) -> None:
    openvino = backends.load("openvino")
    session = openvino.load(openvino.build(str(network), options("fp32")), options("fp32"))
    output, _ = session.infer(image())
    np.testing.assert_allclose(as_float32(output), reference(network), rtol=1e-5, atol=1e-5)
    session.close()


def test_require_tells_the_kinds_of_unavailability_apart() -> None:
    here = Probe(available=True, version="1", refused={"bf16": "no bf16 instructions"})
    backends.require("openvino", "int8", here)
    with pytest.raises(UnavailableError, match="no bf16 instructions"):
        backends.require("openvino", "bf16", here)
    with pytest.raises(UnavailableError, match="fp16 is for GPU backends"):
        backends.require("openvino", "fp16", here)
    with pytest.raises(UnavailableError, match="pip install openvino"):
        backends.require("openvino", "int8", Probe(available=False))


@pytest.mark.parametrize("name", [n for n in backends.BACKENDS if n != "fake"])
def test_a_missing_sdk_is_unavailable_with_what_to_install(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, distribution = next(iter(backends.get(name).modules.items()))
    monkeypatch.setitem(sys.modules, module, None)
    probe = backends.load(name).probe()
    assert not probe.available
    assert f"pip install {distribution}" in probe.reason


@pytest.mark.parametrize("spec", backends.BACKENDS.values(), ids=lambda spec: spec.name)
def test_the_table_is_consistent(spec: backends.BackendSpec) -> None:
    assert set(spec.default_precisions) <= set(spec.precisions)
    assert set(spec.reasons).isdisjoint(spec.precisions)
    needs_quantizer = "quantized" in spec.sources.values()
    assert (spec.default_quantizer is not None) == needs_quantizer == bool(spec.formats)
