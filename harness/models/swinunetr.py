"""SwinUNETR: MONAI's, feature_size 24.

Source: Hatamizadeh et al., BrainLes 2021, arXiv 2201.01266.
"""

from __future__ import annotations

import torch
from monai.networks.nets.swin_unetr import SwinUNETR


def build(in_channels: int, classes: int) -> torch.nn.Module:
    """The network, image (N, C, D, H, W) to logits (N, classes, D, H, W)."""
    network: torch.nn.Module = SwinUNETR(
        in_channels=in_channels, out_channels=classes, feature_size=24
    )
    return network
