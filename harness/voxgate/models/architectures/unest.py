"""UNesT: a hierarchical transformer that attends within blocks of tokens, and a conv decoder.

4x4x4 voxels are a token; a level attends within blocks of 6x6x6 tokens and then merges 2x2x2
neighbouring tokens by a convolution and max pooling, which moves information across blocks: 64
blocks at the first width, 8 at the second, one at the third, with 2, 2 and 8 layers. The decoder is
a U-shaped one of residual blocks over the features of all levels, the tokens, and the image.

Source: Yu et al., Medical Image Analysis 90, 2023, arXiv 2209.14378; the blocks after NesT, Zhang et
al., AAAI 2022, arXiv 2105.12723.
"""

from __future__ import annotations

import itertools

import torch
from monai.networks.blocks.transformerblock import TransformerBlock
from monai.networks.blocks.unetr_block import UnetrBasicBlock, UnetrUpBlock
from torch import nn

LAYERS = (2, 2, 8)
HEAD_WIDTH = 32
PATCH, BLOCK = 4, 6
FULL_RESOLUTION, HALF_RESOLUTION = 32, 32
_ROI = 96

Widths = tuple[int, int, int]


def build(in_channels: int, classes: int, *, widths: Widths, bottleneck: int) -> torch.nn.Module:
    """The network for 96³ patches: its positions are learned for that size.

    ``widths`` are the features of a token on each level, ``bottleneck`` those of the voxels below the
    last one.
    """
    return UNesT(in_channels, classes, widths, bottleneck, tokens=_ROI // PATCH)


class UNesT(nn.Module):
    """Image (N, C, D, H, W) to logits (N, classes, D, H, W)."""

    def __init__(
        self, in_channels: int, classes: int, widths: Widths, bottleneck: int, tokens: int
    ) -> None:
        super().__init__()
        self.embed = nn.Conv3d(in_channels, widths[0], PATCH, PATCH)
        self.levels = nn.ModuleList(
            _Level(width, layers, width // HEAD_WIDTH, (tokens // 2**i // BLOCK) ** 3)
            for i, (width, layers) in enumerate(zip(widths, LAYERS, strict=True))
        )
        self.merge = nn.ModuleList(_Merge(a, b) for a, b in itertools.pairwise(widths))
        self.bottleneck = _residual(widths[-1], bottleneck, stride=2)
        self.image_skip = _residual(in_channels, FULL_RESOLUTION)
        self.token_skip = nn.ConvTranspose3d(widths[0], HALF_RESOLUTION, 2, 2)
        self.level_skips = nn.ModuleList(
            [*(_residual(width, width) for width in widths[:-1]), nn.Identity()]
        )
        steps = (bottleneck, *widths[::-1], HALF_RESOLUTION, FULL_RESOLUTION)
        self.decoder = nn.ModuleList(_up(a, b) for a, b in itertools.pairwise(steps))
        self.head = nn.Conv3d(FULL_RESOLUTION, classes, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits of every class."""
        x = self.embed(image)
        skips = [self.image_skip(image), self.token_skip(x)]
        for index, (level, skip) in enumerate(zip(self.levels, self.level_skips, strict=True)):
            x = level(self.merge[index - 1](x) if index else x)
            skips.append(skip(x))
        x = self.bottleneck(x)
        for up, skip in zip(self.decoder, reversed(skips), strict=True):
            x = up(x, skip)
        logits: torch.Tensor = self.head(x)
        return logits


class _Level(nn.Module):
    """Attention within blocks of BLOCK³ tokens: (N, width, d, h, w) to the same shape."""

    def __init__(self, width: int, layers: int, heads: int, blocks: int) -> None:
        super().__init__()
        # NesT learns a vector per block and token: 1.2 M float parameters that no runtime quantizes.
        # A vector per block plus one per token says where a token is, too.
        self.block_positions = nn.Parameter(torch.zeros(blocks, width))
        self.token_positions = nn.Parameter(torch.zeros(BLOCK**3, width))
        self.layers = nn.Sequential(
            *(
                TransformerBlock(
                    width, 4 * width, heads, qkv_bias=True, use_combined_linear=False,
                    use_flash_attention=True,
                )
                for _ in range(layers)
            ),
            nn.LayerNorm(width),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, c, *size = x.shape
        d, h, w = (side // BLOCK for side in size)
        x = x.reshape(n, c, d, BLOCK, h, BLOCK, w, BLOCK).permute(0, 2, 4, 6, 3, 5, 7, 1)
        tokens = x.reshape(n, d * h * w, BLOCK**3, c) + self.token_positions
        # The zero keeps compilers from adding the two tables up beforehand, to 4.6 MB of floats.
        tokens = tokens + (self.block_positions[:, None] + x[0, 0, 0, 0, 0, 0, 0, 0] * 0)
        x = self.layers(tokens.reshape(n * d * h * w, BLOCK**3, c))
        x = x.reshape(n, d, h, w, BLOCK, BLOCK, BLOCK, c).permute(0, 7, 1, 4, 2, 5, 3, 6)
        return x.reshape(n, c, *size)


class _Merge(nn.Module):
    """Block aggregation: convolution, layer norm over the channels, 3x3x3 max pooling by 2."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, 3, padding=1)
        self.norm = nn.LayerNorm(outputs)
        self.pool = nn.MaxPool3d(3, 2, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.conv(x).movedim(1, -1)).movedim(-1, 1)
        result: torch.Tensor = self.pool(x)
        return result


def _residual(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    block: nn.Module = UnetrBasicBlock(
        3, inputs, outputs, kernel_size=3, stride=stride, norm_name="instance", res_block=True
    )
    return block


def _up(inputs: int, outputs: int) -> nn.Module:
    block: nn.Module = UnetrUpBlock(
        3, inputs, outputs, kernel_size=3, upsample_kernel_size=2, norm_name="instance",
        res_block=True,
    )  # fmt: skip
    return block
