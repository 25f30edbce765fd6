"""SegResNet: MONAI's, init_filters 24, group normalization.

Source: Myronenko, BrainLes 2018, arXiv 1810.11654.
"""

from __future__ import annotations

import torch
from monai.networks.nets.segresnet import SegResNet


def build(in_channels: int, classes: int) -> torch.nn.Module:
    """The network, image (N, C, D, H, W) to logits (N, classes, D, H, W)."""
    network: torch.nn.Module = SegResNet(
        spatial_dims=3,
        in_channels=in_channels,
        out_channels=classes,
        init_filters=24,
        blocks_down=(1, 2, 2, 4),
        blocks_up=(1, 1, 1),
    )
    return network
