"""SwinUNETR: MONAI's, feature_size 24, with window attention that exports without huge constants.

The parameters and what is computed are MONAI's; how attention is written differs in two ways.

- *Shifted windows.* MONAI adds a mask of (windows, tokens, tokens), which exporters fold to 200 MB of
  constants that every inference reads, and which keeps runtimes from fusing the attention. But two
  tokens of a window belong to the same image region exactly when they lie on the same side of the
  image's border along each axis. So each token gets three more features, its side (+1 or -1) per
  axis times a constant c: the product of two tokens is then 3c² within a region and at most c²
  across, and softmax does not see what all tokens of a row have in common.
- *Relative position bias.* Looked up from constants it is folded to (heads, tokens, tokens) per
  block, 29 MB in all against 0.6 MB of tables. Adding a zero that depends on the input keeps the
  look-up at run time, where it costs a few milliseconds.

Source: Hatamizadeh et al., BrainLes 2021, arXiv 2201.01266.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from monai.networks.nets.swin_unetr import (
    BasicLayer,
    SwinTransformerBlock,
    SwinUNETR,
    WindowAttention,
    get_window_size,
)

# Attention across regions gets exp(-2 c²) of its weight: 1e-26, nothing in float32.
_SIDE = 30.0**0.5


def build(in_channels: int, classes: int) -> torch.nn.Module:
    """The network, image (N, C, D, H, W) to logits (N, classes, D, H, W)."""
    network: torch.nn.Module = SwinUNETR(
        in_channels=in_channels, out_channels=classes, feature_size=24
    )
    for module in network.modules():
        if isinstance(module, SwinTransformerBlock):
            module.__class__ = _Block  # the parameters stay MONAI's, names and all
            module.attn.__class__ = _Attention
        elif isinstance(module, BasicLayer):
            module.__class__ = _Stage
    return network


class _Stage(BasicLayer):  # type: ignore[misc]
    """MONAI's stage without its masks: (N, C, D, H, W) in and out."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.movedim(1, -1)
        for block in self.blocks:
            x = block(x, None)
        if self.downsample is not None:
            x = self.downsample(x)
        return x.movedim(-1, 1)


class _Block(SwinTransformerBlock):  # type: ignore[misc]
    """MONAI's block, but the attention gets the sides of its tokens in place of a mask."""

    def forward(self, x: torch.Tensor, mask_matrix: torch.Tensor | None) -> torch.Tensor:
        del mask_matrix
        window, shift = get_window_size(x.shape[1:4], self.window_size, self.shift_size)
        sides = token_sides(x.shape[1:4], window, shift) if any(shift) else None
        result: torch.Tensor = super().forward(x, sides)
        return result


class _Attention(WindowAttention):  # type: ignore[misc]
    """Window attention with sides (windows, tokens, 3) instead of a mask."""

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        windows, tokens, width = x.shape
        shape = (windows, tokens, 3, self.num_heads, width // self.num_heads)
        q, k, v = self.qkv(x).reshape(shape).permute(2, 0, 3, 1, 4).unbind(0)
        q = q * self.scale
        if mask is not None:
            sides = _SIDE * mask.to(x)[:, None].expand(-1, self.num_heads, -1, -1)
            sides = sides.repeat(windows // len(mask), 1, 1, 1)
            q, k = torch.cat((q, sides), -1), torch.cat((k, sides), -1)
        weights = torch.softmax(q @ k.transpose(-2, -1) + self._position_bias(x), dim=-1)
        result: torch.Tensor = self.proj((weights @ v).transpose(1, 2).reshape(x.shape))
        return result

    def _position_bias(self, x: torch.Tensor) -> torch.Tensor:
        """(1, heads, tokens, tokens), looked up at run time."""
        tokens = x.shape[1]
        zero = x[0, 0, :1] * 0
        table = self.relative_position_bias_table.t() + zero
        index = self.relative_position_index[:tokens, :tokens].reshape(-1)
        bias: torch.Tensor = table.index_select(1, index)
        return bias.reshape(1, self.num_heads, tokens, tokens)


def token_sides(size: Sequence[int], window: Sequence[int], shift: Sequence[int]) -> torch.Tensor:
    """On which side of the image's border each token of each shifted window lies, per axis.

    ``size`` is the feature map's, which is padded to whole windows and rolled by ``shift``. Returns
    +1 or -1 as (windows, tokens, 3); windows and tokens in MONAI's order.
    """
    grid = [-(-side // width) for side, width in zip(size, window, strict=True)]
    axes = []
    for axis, (count, width, offset) in enumerate(zip(grid, window, shift, strict=True)):
        wrapped = torch.arange(count * width) >= count * width - offset
        shape = [1] * 6
        shape[axis], shape[axis + 3] = count, width
        side = 1.0 - 2.0 * wrapped.float()
        axes.append(side.reshape(shape).expand(*grid, *window))
    return torch.stack(axes, dim=-1).reshape(math.prod(grid), math.prod(window), 3)
