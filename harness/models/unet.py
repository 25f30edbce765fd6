"""U-Net: MONAI's BasicUNet with batch normalization, 5.75 M parameters.

The paper's U-Net has 5.65 M parameters and batch normalization; exporters fold the latter into the
convolutions, for FP32 and INT8 alike, which makes the fastest FP32 reference (measured here on two
AVX512-VNNI cores: 550 ms with batch, 608 ms with instance normalization).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.models.spec import ModelSpec

if TYPE_CHECKING:
    import torch

_FEATURES = (32, 32, 64, 128, 256, 32)


def _build(in_channels: int, classes: int) -> torch.nn.Module:
    from monai.networks.nets.basic_unet import BasicUNet

    network: torch.nn.Module = BasicUNet(
        spatial_dims=3,
        in_channels=in_channels,
        out_channels=classes,
        features=_FEATURES,
        act="relu",
        norm="batch",
    )
    return network


SPEC = ModelSpec(
    name="unet",
    title="U-Net",
    source="MONAI BasicUNet, features 32-32-64-128-256-32, batch normalization",
    build=_build,
    parameters=5_749_443,
    roi_multiple=16,
)
