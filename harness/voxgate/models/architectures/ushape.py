"""The U shape: features of every resolution on the way down, joined on the way up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn


def encode(stages: Iterable[nn.Module], image: torch.Tensor) -> list[torch.Tensor]:
    """The features (N, C, D, H, W) of every stage, finest first; the last is the deepest."""
    features = []
    x = image
    for stage in stages:
        x = stage(x)
        features.append(x)
    return features


def decode(
    x: torch.Tensor,
    skips: Sequence[torch.Tensor],
    upsample: Iterable[nn.Module],
    stages: Iterable[nn.Module],
) -> torch.Tensor:
    """The finest features from the deepest ``x``: upsample, join the encoder's ``skips``, refine."""
    for up, stage, skip in zip(upsample, stages, reversed(skips), strict=True):
        x = stage(torch.cat((up(x), skip), dim=1))
    return x
