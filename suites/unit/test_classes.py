"""Networks with the paper's class counts: what is trained in them, what is measured, what is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from harness import models
from harness.models import checkpoint
from harness.models.initialization import State, initial_state
from harness.models.spec import ModelSpec

SHIPPED = Path(__file__).parents[2] / "fixtures" / "checkpoints" / "unet-mni152.safetensors"
SEED = 5


# --- weights -------------------------------------------------------------------------------------


class _Tiny(torch.nn.Module):
    """A body, and a head with a channel a class."""

    def __init__(self, in_channels: int, classes: int) -> None:
        super().__init__()
        self.body = torch.nn.Conv3d(in_channels, 4, 3, padding=1)
        self.norm = torch.nn.BatchNorm3d(4)
        self.head = torch.nn.Conv3d(4, classes, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(torch.relu(self.norm(self.body(image))))
        return logits


TINY = ModelSpec(
    name="tiny", title="Tiny", source="", build=_Tiny, parameters=135, roi_multiple=1,
    paper_classes=14,
)  # fmt: skip
BODY = {
    "body.weight", "body.bias", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var",
}  # fmt: skip
HEAD = {"head.weight", "head.bias"}


def _trained() -> State:
    """Weights of three classes that are nobody's initial ones."""
    return {name: value + 0.5 for name, value in initial_state(_Tiny(1, 3), SEED).items()}


def test_the_body_is_trained_and_the_head_is_seeded() -> None:
    state = checkpoint.with_classes(_trained(), TINY, 14, SEED)
    seeded = initial_state(_Tiny(1, 14), SEED)
    assert set(state) == BODY | HEAD
    for name in BODY:
        assert np.array_equal(state[name], _trained()[name])
        assert not np.array_equal(state[name], seeded[name])
    for name in HEAD:
        assert np.array_equal(state[name], seeded[name])
    assert state["head.weight"].shape == (14, 4, 1, 1, 1)


def test_the_head_depends_on_the_checkpoints_seed() -> None:
    one, other = (checkpoint.with_classes(_trained(), TINY, 14, seed) for seed in (5, 6))
    assert not np.array_equal(one["head.weight"], other["head.weight"])


def test_as_many_classes_as_were_trained_keep_every_weight() -> None:
    state = checkpoint.with_classes(_trained(), TINY, 3, SEED)
    assert checkpoint.state_sha256(state) == checkpoint.state_sha256(_trained())


def test_only_the_head_of_the_shipped_unet_is_seeded() -> None:
    info, trained = checkpoint.expand(SHIPPED, models.get("unet"), "mni152", 3)
    state = checkpoint.with_classes(trained, models.get("unet"), 14, info.seed)
    assert set(state) == set(trained)
    assert {name for name in state if state[name] is not trained[name]} == {
        "final_conv.weight", "final_conv.bias",
    }  # fmt: skip
    assert state["final_conv.bias"].shape == (14,)
