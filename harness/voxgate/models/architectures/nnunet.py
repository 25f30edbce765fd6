"""nnU-Net: MONAI's DynUNet as nnU-Net would plan it for 96³ patches.

Two convolutions a stage, instance normalization and leaky ReLU. Features double from 32 up to a cap.
Six stages with nnU-Net's own cap of 320 have 31.2 M parameters and five have 16.5 M; the paper's
network has 26.9 M, which six stages meet with 288 and 256 features at the two lowest resolutions.

Source: Isensee et al., Nature Methods 18, 2021.
"""

from __future__ import annotations

import torch
from monai.networks.nets.dynunet import DynUNet


def build(in_channels: int, classes: int, *, features: tuple[int, ...]) -> torch.nn.Module:
    """The network with ``features`` of each stage, the highest resolution first.

    It takes images (N, C, D, H, W) and returns logits (N, classes, D, H, W).
    """
    strides = [1] + [2] * (len(features) - 1)
    network: torch.nn.Module = DynUNet(
        spatial_dims=3,
        in_channels=in_channels,
        out_channels=classes,
        kernel_size=[3] * len(features),
        strides=strides,
        upsample_kernel_size=strides[1:],
        filters=features,
        trans_bias=True,  # as nnU-Net has it; MONAI leaves it out by default
    )
    return network
