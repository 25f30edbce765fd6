"""VISTA3D: the automatic (class-prompt) branch of MONAI's, with the class set fixed at export.

MONAI's network has a decoder for clicks beside the one for class prompts; an engine that segments a
fixed set of classes needs the latter alone. Each class is an embedding that a small MLP turns into
the weights of one output channel, so for a fixed set the prompts are a 1x1x1 convolution.

Source: He et al., CVPR 2025, arXiv 2406.05285.
"""

from __future__ import annotations

import torch
from monai.networks.nets.segresnet_ds import SegResNetDS2
from monai.networks.nets.vista3d import ClassMappingClassify
from torch import nn

RELEASED_BLOCKS = (1, 2, 2, 4, 4)
_PROMPTS = 512  # class embeddings of the released network


def build(
    in_channels: int, classes: int, *, width: int, blocks: tuple[int, ...] = RELEASED_BLOCKS
) -> torch.nn.Module:
    """The network at ``width`` features (``encoder_embed_dim``; the released one has 48).

    ``blocks`` are the residual blocks of each encoder level.
    """
    return AutomaticBranch(in_channels, classes, width, blocks)


class AutomaticBranch(nn.Module):
    """Encoder, class decoder and class head for the classes 0, 1, ..., classes - 1.

    Images are (N, C, D, H, W) float32, logits (N, classes, D, H, W).
    """

    def __init__(self, in_channels: int, classes: int, width: int, blocks: tuple[int, ...]) -> None:
        super().__init__()
        backbone = SegResNetDS2(
            in_channels=in_channels,
            blocks_down=blocks,
            norm="instance",
            out_channels=width,
            init_filters=width,
            dsdepth=1,
        )
        self.encoder = backbone.encoder
        self.decoder = backbone.up_layers_auto
        self.class_head = ClassMappingClassify(n_classes=_PROMPTS, feature_size=width)
        self.classes = classes

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits of every class."""
        *skips, x = self.encoder(image)
        for level, skip in zip(self.decoder, reversed(skips), strict=True):
            x = level["head"](level["blocks"](level["upsample"](x) + skip))
        features = self.class_head.image_post_mapping(x)
        logits: torch.Tensor = nn.functional.conv3d(features, self._prompts())
        return logits

    def _prompts(self) -> torch.Tensor:
        """The class prompts as the weights of a 1x1x1 convolution, (classes, width, 1, 1, 1)."""
        # The MLP's norm is over the features of one class: (classes, 1, width).
        embeddings = self.class_head.class_embeddings.weight[: self.classes, None, :]
        prompts: torch.Tensor = self.class_head.mlp(embeddings)
        return prompts.reshape(self.classes, -1, 1, 1, 1)
