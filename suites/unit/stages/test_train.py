"""Training: resumable, refused when it cannot go on, and its checkpoint is what `bench` reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from voxgate import models
from voxgate.errors import ArtifactError, HarnessError, UnavailableError
from voxgate.models import checkpoint
from voxgate.stages.train import TrainConfig, train

TASK = "phantom-mini"


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)  # sums in one order, so that two runs can be compared


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    return TrainConfig(
        model="unet", task=TASK, output=tmp_path / "c.safetensors", steps=4, batch=1, save_every=1
    )


def silent(step: int, steps: int, text: str) -> None:
    del step, steps, text


def expanded(path: Path) -> dict[str, np.ndarray]:
    _, state = checkpoint.expand(path, models.get("unet"), TASK, 4)
    return dict(state)


def test_an_interrupted_run_goes_on_where_it_stopped(config: TrainConfig, tmp_path: Path) -> None:
    seen: list[int] = []

    def interrupt(step: int, steps: int, text: str) -> None:
        del steps, text
        seen.append(step)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, interrupt)
    assert not config.output.exists()
    assert (tmp_path / "c.partial.safetensors").is_file()
    train(config, interrupt)
    assert seen == [1, 2, 3, 4]
    assert not (tmp_path / "c.partial.safetensors").exists()
    whole = replace(config, output=tmp_path / "whole.safetensors")
    train(whole, silent)
    once, twice = expanded(whole.output), expanded(config.output)
    assert checkpoint.state_sha256(twice) == checkpoint.state_sha256(once)


def test_training_changes_the_weights_and_the_header_tells_how(config: TrainConfig) -> None:
    info = train(config, silent)
    assert (info.model, info.task, info.classes, info.steps) == ("unet", TASK, 4, 4)
    first, second = expanded(config.output), train(replace(config, seed=1), silent)
    assert second.sha256 != info.sha256
    assert any(np.abs(value).max() > 0 for name, value in first.items() if "bias" in name)


def test_an_interrupted_run_of_another_configuration_is_refused(config: TrainConfig) -> None:
    def interrupt(step: int, steps: int, text: str) -> None:
        del step, steps, text
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, interrupt)
    with pytest.raises(ArtifactError, match="is an interrupted run of"):
        train(replace(config, rank=2), silent)


def test_a_damaged_interrupted_run_is_refused_by_name(config: TrainConfig) -> None:
    config.output.with_suffix(".partial.safetensors").write_bytes(b"damaged")
    with pytest.raises(
        ArtifactError, match=r"c\.partial\.safetensors, of an interrupted run, is dam"
    ):
        train(config, silent)


def test_a_diverging_run_ends_with_the_step(config: TrainConfig) -> None:
    with pytest.raises(HarnessError, match="diverged at step"):
        train(replace(config, learning_rate=float("nan")), silent)
    assert not list(config.output.parent.iterdir())


def test_cuda_without_a_gpu_is_unavailable(config: TrainConfig) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(UnavailableError, match="use --device cpu"):
        train(replace(config, device="cuda"), silent)
