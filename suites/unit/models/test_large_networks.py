"""Networks beyond protobuf's 2 GiB, and networks that no checkpoint exists of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from voxgate.artifacts.cache import Cache
from voxgate.artifacts.launcher import Limits
from voxgate.artifacts.run_artifacts import Artifacts
from voxgate.backends.onnxruntime import run_file
from voxgate.config import RunConfig
from voxgate.errors import ArtifactError
from voxgate.records.runtime import EngineOptions
from voxgate.stages import export

OPTIONS = EngineOptions(precision="fp32", threads=1, model="unet", task="mni152", classes=3)


def test_weights_beyond_the_limit_go_beside_the_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_EXTERNAL_DATA_BYTES", 1)
    image = np.random.default_rng(0).random((1, 1, 8, 8, 8), dtype=np.float32)
    path = tmp_path / "model.onnx"
    reference = export._export(nn.Conv3d(1, 16, 3).eval(), image, path)
    weights = onnx.load(path, load_external_data=False).graph.initializer
    assert any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in weights)
    output = run_file(path, image, OPTIONS)
    assert output == pytest.approx(reference, rel=1e-4, abs=1e-5)


def _artifacts_of(tmp_path: Path, classes: str) -> Artifacts:
    config = RunConfig(
        models=("segresnet-24",), checkpoint_dir=tmp_path, cache_dir=tmp_path / "cache",
        classes=classes,  # type: ignore[arg-type]
    )  # fmt: skip
    limits = Limits(seconds=120, memory_bytes=None)
    return Artifacts(config=config, cache=Cache(tmp_path), limits=limits, announce=lambda _: None)


def test_network_without_a_checkpoint_is_seeded_with_the_papers_classes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    first = _artifacts_of(tmp_path, "paper").weights("segresnet-24")
    assert first.result.parameters == 10_576_761
    again = _artifacts_of(tmp_path / "other", "paper").weights("segresnet-24")
    assert first.result.sha256 == again.result.sha256


def test_network_without_a_checkpoint_is_refused_with_the_tasks_classes(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no checkpoint of segresnet-24 for mni152"):
        _artifacts_of(tmp_path, "task").weights("segresnet-24")
