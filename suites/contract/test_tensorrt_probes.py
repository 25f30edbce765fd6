"""The probes: what they ask, and the answers of a TensorRT where there is one with a GPU."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voxgate.quantizers.tensorrt_patterns import in_float, read_patterns, refused
from voxgate.quantizers.version_rules import rules_for

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


def test_answers_become_a_version_of_the_table(tmp_path: Path) -> None:
    (tmp_path / "table.json").write_text(json.dumps({"8.5.3": {"old": {}}, "8.6.0": {"old": {}}}))
    nodes = {"c1": {"arithmetic": "int8", "kernel": "a kernel"}}
    answers = {"a": {"int8": {"nodes": nodes}, "int8-fp16": {"refused": "no"}}}
    probes.keep({"versions": ["8.6.0"], "patterns": answers}, tmp_path / "table.json")
    assert read_patterns(tmp_path / "table.json") == {
        "8.5.3": {"old": {}},
        "8.6.0": {"a": {"int8": {"c1": "int8"}, "int8-fp16": "no"}},
    }


def test_the_table_asks_what_probes_ask(folder: Path) -> None:
    known = {path.stem for path in folder.glob("*.onnx")}
    for version, patterns in read_patterns().items():
        assert set(patterns) <= known, version


# What of a quantizer's graph a version refuses or computes in float, and the rules that change it.
REMEDIES = {
    "3d-q-pool-q-conv": {"pools-as-planes", "barrier-before-pools", "behind-pools-in-float"},
    "3d-deconv-q-conv": {"deconvolutions-in-float", "deconvolution-weights-in-float"},
    "3d-linear-resize-q-conv": {"barrier-behind-resizes"},
    "3d-conv-float": {"convolution-outputs"},
    "3d-conv-leaky-q-conv": {"convolution-outputs"},
    "3d-nearest-resize-q-conv": {"barrier-behind-resizes"},
}


@pytest.mark.parametrize("version", sorted(read_patterns()))
def test_the_rules_of_a_version_follow_what_was_measured_of_it(version: str) -> None:
    patterns = read_patterns()
    bad = refused(patterns, version) | in_float(patterns, version)
    for pattern in bad & set(REMEDIES):
        assert REMEDIES[pattern] & set(rules_for("tensorrt", version)), pattern


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is None, reason="no TensorRT here")
def test_this_tensorrt_answers_as_the_table_says(folder: Path) -> None:
    from voxgate import backends

    probe = backends.load("tensorrt").probe()
    if not probe.available:
        pytest.skip(probe.reason)
    known = read_patterns().get(probe.version)
    if known is None:
        pytest.skip(f"the table has no answers of TensorRT {probe.version}; see probes.py")
    found = probes.as_table(probes.ask(folder, sys.executable))
    assert {p: _fates(found[p]) for p in known} == {p: _fates(known[p]) for p in known}


def _fates(answers: Any) -> dict[str, Any]:
    """Without the words of refusals, which differ from one GPU to the next."""
    return {key: "refused" if isinstance(a, str) else a for key, a in answers.items()}
