"""A network that labels phantoms by intensity, and a quantized graph of it whose layers differ in harm.

``coarse`` is quantized to 17 levels, ``fine`` to 40, ``exact`` to 256; all of it in OpenVINO's IR, so
that the whole of a sensitivity analysis runs on it in seconds, with a known answer.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voxgate.artifacts import jobs, messages
from voxgate.artifacts.cache import Artifact
from voxgate.artifacts.run_artifacts import Artifacts
from voxgate.files import sha256_file
from voxgate.quantization.macs import read_graph
from voxgate.quantizers.base import Quantized
from voxgate.records.case import Precision
from voxgate.stages import file_names
from voxgate.stages.requests import Exported

CLASSES = 4
SIZE = 32
LEVELS = {"coarse": 17, "fine": 40, "exact": 256}


def write_onnx(path: Path) -> Path:
    """Nearest intensity: the logit of class k is 2 k x - k², with k in 0..1."""
    import onnx

    kinds = np.linspace(0, 1, CLASSES, dtype=np.float32)
    shape = (1, 1, 1)
    weights = {
        "coarse.w": np.array([1.0, -1.0], np.float32).reshape(2, 1, *shape),
        "fine.w": np.stack([2 * kinds, -2 * kinds], 1).reshape(CLASSES, 2, *shape),
        "fine.b": -(kinds**2),
        "exact.w": np.eye(CLASSES, dtype=np.float32).reshape(CLASSES, CLASSES, *shape),
        "exact.b": np.zeros(CLASSES, np.float32),
        "coarse.b": np.zeros(2, np.float32),
    }
    make = onnx.helper.make_node
    nodes = [
        make("Conv", ["x", "coarse.w", "coarse.b"], ["a"], name="coarse"),
        make("Relu", ["a"], ["r"], name="relu"),
        make("Conv", ["r", "fine.w", "fine.b"], ["l"], name="fine"),
        make("Conv", ["l", "exact.w", "exact.b"], ["y"], name="exact"),
    ]
    ends = [
        onnx.helper.make_tensor_value_info(
            name, onnx.TensorProto.FLOAT, [1, count, SIZE, SIZE, SIZE]
        )
        for name, count in (("x", 1), ("y", CLASSES))
    ]
    tensors = [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = onnx.helper.make_graph(nodes, "graded", ends[:1], ends[1:], tensors)
    opset = [onnx.helper.make_opsetid("", 21)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return path


def write_quantized(onnx_path: Path, path: Path, without: Collection[str] = ()) -> Path:
    """A FakeQuantize in front of each layer but those that stay in float."""
    import openvino as ov
    from openvino import opset13 as ops

    model = ov.Core().read_model(onnx_path)
    for op in model.get_ordered_ops():
        name = op.get_friendly_name().removesuffix("/WithoutBiases")
        if op.get_type_name() != "Convolution":
            continue
        layer = {"y": "exact"}.get(name, name)  # what makes an output is named by it
        if layer in without:
            continue
        low, high = np.float32(-2), np.float32(2)
        fake = ops.fake_quantize(op.input_value(0), low, high, low, high, LEVELS[layer])
        fake.set_friendly_name(f"{layer}/fq")
        op.input(0).replace_source_output(fake.output(0))
    model.validate_nodes_and_infer_types()
    ov.save_model(model, path, compress_to_fp16=False)
    return path


@dataclass
class Asked:
    """The jobs that were done, by name; after ``patience`` variants somebody presses Ctrl-C."""

    names: list[str]
    patience: int = 10_000

    def count(self, name: str) -> int:
        return self.names.count(name)

    def run_job(self, job: messages.Job[Any, Any], request: Any, *_: object) -> Any:
        """Do a worker's job in this process."""
        if job is jobs.VARIANT and self.count("variant") >= self.patience:
            raise KeyboardInterrupt
        self.names.append(job.name)
        return job.function()(request)


def stand_in(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Asked:
    """Let this network be every model's, and workers this process."""
    from voxgate.artifacts import clean_build, run_artifacts
    from voxgate.runs import bench, variants

    asked = Asked([])
    for module in (run_artifacts, clean_build, variants, bench):
        monkeypatch.setattr(module, "run_job", asked.run_job)
    plain = folder / file_names.ONNX
    if not plain.exists():
        write_onnx(plain)

    def exported(self: Artifacts, model: str) -> Artifact[Exported]:
        del self
        result = Exported(graph=read_graph(plain), onnx_bytes=1, max_relative_error=0.0)
        digest = sha256_file(plain)
        return Artifact(key=model, folder=folder, result=result, digest=digest, reused=True)

    def quantized(
        self: Artifacts, model: str, backend: str, precision: Precision = "int8"
    ) -> Artifact[Quantized]:
        del backend, precision
        layers = self.config.float_layers
        path = folder / f"{'-'.join(layers) or 'all'}.xml"
        if not path.exists():
            write_quantized(plain, path, layers)
        result = Quantized(format="openvino-ir", file=path.name, quantize_nodes=3 - len(layers))
        digest = sha256_file(path)
        return Artifact(key=model, folder=folder, result=result, digest=digest, reused=True)

    def weights(self: Artifacts, model: str) -> Artifact[Any]:
        from voxgate.stages.requests import Expanded

        del self
        result = Expanded(parameters=1, sha256="0" * 64)
        return Artifact(key=model, folder=folder, result=result, digest="w", reused=True)

    for name, stub in (("onnx", exported), ("quantized", quantized), ("weights", weights)):
        monkeypatch.setattr(Artifacts, name, stub)
    return asked
