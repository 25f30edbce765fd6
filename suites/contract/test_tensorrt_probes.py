"""The probes: what they ask, and the answers of a TensorRT where there is one with a GPU."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suites.contract import probes
from suites.contract.probe_graphs import write_all

onnx: Any = pytest.importorskip("onnx", reason="onnx is not installed")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("probes")
    probes.write(made)
    return made


def test_every_probe_asks_about_a_node_and_says_what(folder: Path) -> None:
    questions = json.loads((folder / "questions.json").read_text())
    assert len(questions) > 50
    for name, question in questions.items():
        names = {node.name for node in onnx.load(folder / f"{name}.onnx").graph.node}
        assert names & set(probes._ASKED), name
        assert question.endswith("?"), name


def test_every_probe_is_a_graph_that_computes(folder: Path) -> None:
    ort = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    for path in sorted(folder.glob("*.onnx")):
        onnx.checker.check_model(path, full_check=True)
        session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        (given,) = session.get_inputs()
        image = np.random.default_rng(0).normal(size=given.shape).astype(np.float32)
        (output,) = session.run(None, {given.name: image})
        assert np.isfinite(output).all(), path.name


def test_a_python_that_dies_is_an_answer(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.onnx").write_bytes((folder / "linear-q.onnx").read_bytes())
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho it broke >&2\nexit 3\n")
    broken.chmod(0o755)
    found = probes.ask(tmp_path / "one", str(broken), ["int8"])
    assert found["patterns"] == {"a": {"int8": {"refused": "exit code 3: it broke"}}}


def test_write_all_names_each_pattern_once(tmp_path: Path) -> None:
    questions = write_all(tmp_path)
    assert sorted(questions) == sorted(path.stem for path in tmp_path.glob("*.onnx"))


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is None, reason="no TensorRT here")
def test_a_convolution_with_a_fused_activation_is_int8(folder: Path) -> None:
    from harness import backends

    probe = backends.load("tensorrt").probe()
    if not probe.available:
        pytest.skip(probe.reason)
    answer = probes._ask_one(folder / "3d-conv-relu-q-conv.onnx", sys.executable, "int8")
    assert answer["nodes"]["c1"]["arithmetic"] == "int8"
