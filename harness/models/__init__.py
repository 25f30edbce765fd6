"""The table of architectures. One file each; nothing heavy is imported until one is built.

Sizes and class counts beside ours are those of the paper's tables (arXiv 2501.17343): its model
sizes in MiB of float32, its table 3 in millions of parameters.
"""

from __future__ import annotations

from harness.errors import look_up
from harness.models.spec import LazyBuilder, ModelSpec

__all__ = ["MODELS", "ModelSpec", "get"]

MODELS: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        ModelSpec(
            name="unet",
            title="U-Net",
            source="MONAI BasicUNet, features 32-32-64-128-256-32, batch normalization",
            build=LazyBuilder("harness.models.unet"),
            parameters=5_749_443,
            paper_parameters=5_650_000,
            paper_classes=14,
            roi_multiple=16,
        ),
        ModelSpec(
            name="transunet",
            title="TransUNet",
            source="conv stem 16-256, 12 transformer layers of width 768, U-shaped decoder",
            build=LazyBuilder("harness.models.transunet"),
            parameters=91_280_979,
            paper_parameters=91_600_000,
            paper_classes=14,
            roi_multiple=16,
            roi=(96, 96, 96),
            minimum_int8_macs=0.90,
        ),
        ModelSpec(
            name="unest",
            title="UNesT",
            source="NesT blocks 64-128-256, 2-2-8 layers, conv decoder of residual blocks",
            build=LazyBuilder("harness.models.unest"),
            parameters=22_991_043,
            paper_parameters=22_900_000,
            paper_classes=133,
            roi_multiple=96,
            roi=(96, 96, 96),
            minimum_int8_macs=0.85,
        ),
        ModelSpec(
            name="nnunet",
            title="nnU-Net",
            source="MONAI DynUNet, features 32-64-128-144-144, instance normalization",
            build=LazyBuilder("harness.models.nnunet"),
            parameters=6_855_923,
            paper_parameters=7_060_000,
            paper_classes=105,
            roi_multiple=16,
            instance_norm=True,
        ),
        ModelSpec(
            name="swinunetr",
            title="SwinUNETR",
            source="MONAI SwinUNETR, feature_size 24",
            build=LazyBuilder("harness.models.swinunetr"),
            parameters=15_703_029,
            paper_parameters=15_710_000,
            paper_classes=105,
            roi_multiple=32,
            instance_norm=True,
            minimum_int8_macs=0.85,
        ),
        ModelSpec(
            name="segresnet",
            title="SegResNet",
            source="MONAI SegResNet, init_filters 24, group normalization",
            build=LazyBuilder("harness.models.segresnet"),
            parameters=10_574_211,
            paper_parameters=10_580_000,
            paper_classes=105,
            roi_multiple=8,
        ),
        ModelSpec(
            name="vista3d",
            title="VISTA3D",
            source="MONAI VISTA3D, automatic branch, encoder_embed_dim 16, blocks 1-2-2-3-3",
            build=LazyBuilder("harness.models.vista3d", {"width": 16, "blocks": (1, 2, 2, 3, 3)}),
            parameters=17_406_432,
            paper_parameters=17_080_000,
            paper_classes=105,
            roi_multiple=16,
            instance_norm=True,
        ),
        ModelSpec(
            name="vista3d-released",
            title="VISTA3D, released width",
            source="MONAI VISTA3D, automatic branch, encoder_embed_dim 48",
            build=LazyBuilder("harness.models.vista3d", {"width": 48}),
            parameters=196_385_184,
            paper_parameters=None,
            paper_classes=105,
            roi_multiple=16,
            instance_norm=True,
        ),
        *(
            ModelSpec(
                name=f"stunet-{scale.lower()}",
                title=f"STU-Net-{scale}",
                source=f"residual nnU-Net blocks, features {features}, {depth} a stage",
                build=LazyBuilder("harness.models.stunet", {"scale": scale}),
                parameters=parameters,
                paper_parameters=paper,
                paper_classes=105,
                roi_multiple=32,
                instance_norm=True,
            )
            for scale, features, depth, parameters, paper in (
                ("S", "16 to 256", 1, 14_544_387, 14_600_000),
                ("B", "32 to 512", 1, 58_158_083, None),
                ("L", "64 to 1024", 2, 440_093_955, None),
                ("H", "96 to 1536", 3, 1_457_013_507, 1_457_330_000),
            )
        ),
    )
}


def get(name: str) -> ModelSpec:
    """The architecture of that name.

    Raises:
        UsageError: no such model; the message lists them.
    """
    return look_up("model", name, MODELS)
