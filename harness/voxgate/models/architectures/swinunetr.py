"""SwinUNETR: MONAI's, with window attention that exports without huge constants.

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

from collections.abc import Sequence

import torch
from monai.networks.nets.swin_unetr import (
    BasicLayer,
    SwinTransformer,
    SwinTransformerBlock,
    SwinUNETR,
    WindowAttention,
    get_window_size,
    window_partition,
    window_reverse,
)

# Attention across regions gets exp(-2 c²) of its weight: 1e-26, nothing in float32.
_SIDE = 30.0**0.5


def build(in_channels: int, classes: int, *, features: int) -> torch.nn.Module:
    """The network at a width of ``features`` (MONAI's ``feature_size``; the paper has 48).

    It takes images (N, C, D, H, W) and returns logits (N, classes, D, H, W).
    """
    network: torch.nn.Module = SwinUNETR(
        in_channels=in_channels, out_channels=classes, feature_size=features
    )
    for module in network.modules():
        # The parameters stay MONAI's, names and all.
        module.__class__ = _CLASSES.get(module.__class__, module.__class__)
    return network


class _Encoder(SwinTransformer):  # type: ignore[misc]
    """MONAI's transformer; features are normalized over their channels as rows of tokens."""

    def proj_out(self, x: torch.Tensor, normalize: bool = False) -> torch.Tensor:  # noqa: FBT001, FBT002
        if not normalize:
            return x
        rows = x.flatten(2).transpose(1, 2)
        rows = torch.nn.functional.layer_norm(rows, rows.shape[-1:])
        return rows.transpose(1, 2).reshape(x.shape)


class _Stage(BasicLayer):  # type: ignore[misc]
    """MONAI's stage without its masks: (N, C, D, H, W) in and out."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, c, *size = x.shape
        rows = x.flatten(2).transpose(1, 2)
        for block in self.blocks:
            rows = block(rows, size)
        x = rows.reshape(n, *size, c)
        if self.downsample is not None:
            x = self.downsample(x)
        return x.movedim(-1, 1)


class _Block(SwinTransformerBlock):  # type: ignore[misc]
    """MONAI's block on rows of tokens, (N, D * H * W, C), of a volume of that size."""

    def forward(self, x: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
        volume = self.norm1(x).reshape(len(x), *size, -1)
        x = x + self._attend(volume).reshape(x.shape)
        result: torch.Tensor = x + self.mlp(self.norm2(x))
        return result

    def _attend(self, x: torch.Tensor) -> torch.Tensor:
        """Attention within (shifted) windows of a volume (N, D, H, W, C)."""
        n, *size, c = x.shape
        window, shift = get_window_size(size, self.window_size, self.shift_size)
        padding = [-side % width for side, width in zip(size, window, strict=True)]
        x = torch.nn.functional.pad(x, (0, 0, 0, padding[2], 0, padding[1], 0, padding[0]))
        padded = x.shape[1:4]
        sides = None
        if any(shift):
            x = torch.roll(x, [-step for step in shift], (1, 2, 3))
            sides = side_grids(size, window, shift)
        windows = self.attn(window_partition(x, window), sides)
        x = window_reverse(windows.reshape(-1, *window, c), window, (n, *padded))
        if any(shift):
            x = torch.roll(x, list(shift), (1, 2, 3))
        return x[:, : size[0], : size[1], : size[2]]


class _Attention(WindowAttention):  # type: ignore[misc]
    """Window attention with the sides of `side_grids` in place of a mask."""

    def forward(self, x: torch.Tensor, mask: Sequence[torch.Tensor] | None) -> torch.Tensor:
        windows, tokens, width = x.shape
        heads = (windows, tokens, self.num_heads, width // self.num_heads)
        q, k, v = (part.reshape(heads) for part in self.qkv(x).chunk(3, dim=-1))
        q = q * self.scale
        # Everything that follows from constants is added to this, or compilers fold it.
        zero = x[0, 0, 0] * 0
        if mask is not None:
            grids = torch.broadcast_tensors(*(side.to(zero) + zero for side in mask))  # type: ignore[no-untyped-call]
            sides = torch.stack(grids, dim=-1)
            sides = _SIDE * sides.reshape(-1, tokens, 1, 3)
            sides = sides.repeat(windows // len(sides), 1, self.num_heads, 1)
            q, k = torch.cat((q, sides), -1), torch.cat((k, sides), -1)
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        weights = torch.softmax(q @ k.transpose(-2, -1) + self._position_bias(tokens, zero), dim=-1)
        result: torch.Tensor = self.proj((weights @ v).transpose(1, 2).reshape(x.shape))
        return result

    def _position_bias(self, tokens: int, zero: torch.Tensor) -> torch.Tensor:
        """(1, heads, tokens, tokens), looked up at run time."""
        # MONAI's index is linear in both tokens: index[i, j] = index[i, 0] + index[0, j] - index[0, 0].
        index = self.relative_position_index[:tokens, :tokens]
        rows, columns = index[:, :1] + zero.long(), index[:1] - index[0, 0] + zero.long()
        index = (rows + columns).reshape(-1)
        table = self.relative_position_bias_table.t()
        bias: torch.Tensor = table.index_select(1, index)
        return bias.reshape(1, self.num_heads, tokens, tokens)


def side_grids(
    size: Sequence[int], window: Sequence[int], shift: Sequence[int]
) -> tuple[torch.Tensor, ...]:
    """On which side of the image's border each token of each shifted window lies, per axis.

    ``size`` is the feature map's, which is padded to whole windows and rolled by ``shift``. Returns
    +1 or -1 for three axes, each to be broadcast to (windows per axis ..., tokens per axis ...).
    """
    grid = [-(-side // width) for side, width in zip(size, window, strict=True)]
    sides = []
    for axis, (count, width, offset) in enumerate(zip(grid, window, shift, strict=True)):
        wrapped = torch.arange(count * width) >= count * width - offset
        shape = [1] * 6
        shape[axis], shape[axis + 3] = count, width
        sides.append((1.0 - 2.0 * wrapped.float()).reshape(shape))
    return tuple(sides)


_CLASSES: dict[type, type] = {
    SwinTransformer: _Encoder,
    BasicLayer: _Stage,
    SwinTransformerBlock: _Block,
    WindowAttention: _Attention,
}
