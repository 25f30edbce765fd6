"""STU-Net: nnU-Net's plan with residual blocks, scaled jointly in width and depth.

Six resolutions. A stage is ``depth`` residual blocks of two 3x3x3 convolutions with instance
normalization; the first block of a stage halves the resolution in its first convolution and in the
1x1x1 shortcut. Upsampling is nearest-neighbour interpolation and a 1x1x1 convolution, without
weights that depend on the plan. Deep supervision is for training and left out.

Source: Huang et al., arXiv 2304.06716; widths and depths from its table of scales.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from voxgate.models.architectures.ushape import decode, encode

Scale = Literal["S", "B", "L", "H"]

# Features per resolution and blocks per stage.
SCALES: dict[Scale, tuple[tuple[int, ...], int]] = {
    "S": ((16, 32, 64, 128, 256, 256), 1),
    "B": ((32, 64, 128, 256, 512, 512), 1),
    "L": ((64, 128, 256, 512, 1024, 1024), 2),
    "H": ((96, 192, 384, 768, 1536, 1536), 3),
}


def build(in_channels: int, classes: int, *, scale: Scale) -> torch.nn.Module:
    """The network of a published scale."""
    features, depth = SCALES[scale]
    return STUNet(in_channels, classes, features, depth)


class STUNet(nn.Module):
    """Image (N, C, D, H, W) to logits (N, classes, D, H, W)."""

    def __init__(
        self, in_channels: int, classes: int, features: tuple[int, ...], depth: int
    ) -> None:
        super().__init__()
        inputs = (in_channels, *features[:-1])
        strides = (1, *(2 for _ in features[1:]))
        self.encoder = nn.ModuleList(
            _stage(a, b, stride, depth)
            for a, b, stride in zip(inputs, features, strides, strict=True)
        )
        pairs = list(zip(features[:0:-1], features[-2::-1], strict=True))
        self.upsample = nn.ModuleList(_Upsample(deep, skip) for deep, skip in pairs)
        self.decoder = nn.ModuleList(_stage(2 * skip, skip, 1, depth) for _, skip in pairs)
        self.head = nn.Conv3d(features[0], classes, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits of every class."""
        *skips, deepest = encode(self.encoder, image)
        x = decode(deepest, skips, self.upsample, self.decoder)
        logits: torch.Tensor = self.head(x)
        return logits


def _stage(inputs: int, outputs: int, stride: int, depth: int) -> nn.Sequential:
    blocks = [_ResidualBlock(inputs, outputs, stride)]
    blocks += [_ResidualBlock(outputs, outputs, 1) for _ in range(depth - 1)]
    return nn.Sequential(*blocks)


class _ResidualBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(inputs, outputs, 3, stride, padding=1)
        self.norm1 = nn.InstanceNorm3d(outputs, affine=True)
        self.conv2 = nn.Conv3d(outputs, outputs, 3, padding=1)
        self.norm2 = nn.InstanceNorm3d(outputs, affine=True)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv3d(inputs, outputs, 1, stride)
        self.act = nn.LeakyReLU(0.01)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        residual = self.norm2(self.conv2(self.act(self.norm1(self.conv1(x)))))
        result: torch.Tensor = self.act(residual + self.shortcut(x))
        return result


class _Upsample(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        # A 1x1x1 convolution commutes with nearest-neighbour interpolation, and costs an eighth
        # in front of it.
        self.conv = nn.Conv3d(inputs, outputs, 1)
        self.resize = nn.Upsample(scale_factor=2, mode="nearest")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.resize(self.conv(x))
        return result
