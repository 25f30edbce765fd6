"""TransUNet in 3D: a convolutional encoder, a vision transformer at its end, a U-shaped decoder.

Features 16 to 256 over four stride-2 stages; at 1/16 of the resolution each voxel is a token for 12
transformer layers of width 768 (ViT-Base: 12 heads, MLP 3072), with learned positions; the decoder
upsamples by transposed convolutions and joins the encoder's features. Batch normalization in the
convolutional parts, as in TransUNet's decoder; it folds into the convolutions.

Source: Chen et al., arXiv 2102.04306, and its 3D form, arXiv 2310.07781.
"""

from __future__ import annotations

import torch
from monai.networks.blocks.transformerblock import TransformerBlock
from torch import nn

from voxgate.models.architectures.ushape import decode, encode

FEATURES = (16, 32, 64, 128, 256)
WIDTH, LAYERS, HEADS, MLP = 768, 12, 12, 3072
_ROI = 96


def build(in_channels: int, classes: int) -> torch.nn.Module:
    """The network for 96³ patches: its positions are learned for that size."""
    return TransUNet(in_channels, classes, tokens=(_ROI // 16) ** 3)


class TransUNet(nn.Module):
    """Image (N, C, D, H, W) to logits (N, classes, D, H, W)."""

    def __init__(self, in_channels: int, classes: int, tokens: int) -> None:
        super().__init__()
        inputs = (in_channels, *FEATURES[:-1])
        strides = (1, *(2 for _ in FEATURES[1:]))
        self.encoder = nn.ModuleList(
            _two_convolutions(a, b, s) for a, b, s in zip(inputs, FEATURES, strides, strict=True)
        )
        self.embed = nn.Conv3d(FEATURES[-1], WIDTH, 1)
        self.positions = nn.Parameter(torch.zeros(tokens, WIDTH))
        self.transformer = nn.Sequential(
            *(
                TransformerBlock(
                    WIDTH, MLP, HEADS, qkv_bias=True, use_combined_linear=False,
                    use_flash_attention=True,
                )
                for _ in range(LAYERS)
            ),
            nn.LayerNorm(WIDTH),
        )  # fmt: skip
        self.project = nn.Conv3d(WIDTH, FEATURES[-1], 1)
        pairs = list(zip(FEATURES[:0:-1], FEATURES[-2::-1], strict=True))
        self.upsample = nn.ModuleList(nn.ConvTranspose3d(a, b, 2, 2) for a, b in pairs)
        self.decoder = nn.ModuleList(_two_convolutions(2 * b, b, 1) for _, b in pairs)
        self.head = nn.Conv3d(FEATURES[0], classes, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits of every class."""
        *skips, deepest = encode(self.encoder, image)
        x = self.project(self._attend(self.embed(deepest)))
        x = decode(x, skips, self.upsample, self.decoder)
        logits: torch.Tensor = self.head(x)
        return logits

    def _attend(self, x: torch.Tensor) -> torch.Tensor:
        """The transformer over all voxels of (N, WIDTH, d, h, w)."""
        tokens = x.flatten(2).transpose(1, 2) + self.positions
        result: torch.Tensor = self.transformer(tokens).transpose(1, 2).reshape(x.shape)
        return result


def _two_convolutions(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, 3, stride, padding=1, bias=False),
        nn.BatchNorm3d(outputs),
        nn.ReLU(),
        nn.Conv3d(outputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm3d(outputs),
        nn.ReLU(),
    )
