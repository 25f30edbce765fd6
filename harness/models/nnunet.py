"""nnU-Net: MONAI's DynUNet as nnU-Net would plan it for 96³ patches.

Five stages, two convolutions each, instance normalization and leaky ReLU. Features double from 32
up to a cap of 144, which meets the paper's size; nnU-Net's own cap of 320 would give 17 M.

Source: Isensee et al., Nature Methods 18, 2021.
"""

from __future__ import annotations

import torch
from monai.networks.nets.dynunet import DynUNet

FEATURES = (32, 64, 128, 144, 144)


def build(in_channels: int, classes: int) -> torch.nn.Module:
    """The network, image (N, C, D, H, W) to logits (N, classes, D, H, W)."""
    strides = [1] + [2] * (len(FEATURES) - 1)
    network: torch.nn.Module = DynUNet(
        spatial_dims=3,
        in_channels=in_channels,
        out_channels=classes,
        kernel_size=[3] * len(FEATURES),
        strides=strides,
        upsample_kernel_size=strides[1:],
        filters=FEATURES,
        trans_bias=True,  # as nnU-Net has it; MONAI leaves it out by default
    )
    return network
