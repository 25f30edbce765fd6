"""SegResNet: MONAI's, with group normalization.

Source: Myronenko, BrainLes 2018, arXiv 1810.11654.
"""

from __future__ import annotations

import torch
from monai.networks.nets.segresnet import SegResNet


def build(in_channels: int, classes: int, *, filters: int) -> torch.nn.Module:
    """The network with ``filters`` at full resolution (MONAI's ``init_filters``).

    It takes images (N, C, D, H, W) and returns logits (N, classes, D, H, W).
    """
    network: torch.nn.Module = SegResNet(
        spatial_dims=3,
        in_channels=in_channels,
        out_channels=classes,
        init_filters=filters,
        blocks_down=(1, 2, 2, 4),
        blocks_up=(1, 1, 1),
    )
    return network
