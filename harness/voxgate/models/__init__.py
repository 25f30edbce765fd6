"""The table of architectures. One file each; nothing heavy is imported until one is built.

``paper_parameters`` and ``paper_classes`` are those of the paper's networks (arXiv 2501.17343). Its
tables print sizes in two units: for U-Net and TransUNet mebibytes of float32, for the others millions
of parameters, as the authors' repository shows (`baselines/paper.json` holds both).
"""

from __future__ import annotations

from voxgate.errors import look_up, unknown_name
from voxgate.models.spec import LazyBuilder, ModelSpec

__all__ = ["MODELS", "MODEL_SETS", "ModelSpec", "get", "names_of", "sets_with"]

# What a name in --models can stand for. ``paper``: its networks at its sizes, STU-Net-H apart, which
# takes 24 GB. ``default``: smaller ones of five, so that two CPU cores measure all within minutes.
MODEL_SETS: dict[str, tuple[str, ...]] = {
    "paper": (
        "unet", "transunet", "unest", "nnunet", "swinunetr", "segresnet", "vista3d", "stunet-s",
    ),
    "default": (
        "unet", "transunet", "unest-small", "nnunet-small", "swinunetr-24", "segresnet-24",
        "vista3d-16", "stunet-s",
    ),
}  # fmt: skip

MODELS: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        ModelSpec(
            name="unet",
            title="U-Net",
            source="MONAI BasicUNet, features 32-32-64-128-256-32, batch normalization",
            build=LazyBuilder("voxgate.models.architectures.unet"),
            parameters=5_749_443,
            paper_parameters=5_650_000,
            paper_classes=14,
            roi_multiple=16,
        ),
        ModelSpec(
            name="transunet",
            title="TransUNet",
            source="conv stem 16-256, 12 transformer layers of width 768, U-shaped decoder",
            build=LazyBuilder("voxgate.models.architectures.transunet"),
            parameters=91_280_979,
            paper_parameters=91_600_000,
            paper_classes=14,
            roi_multiple=16,
            roi=(96, 96, 96),
            minimum_int8_macs=0.90,
        ),
        *(
            ModelSpec(
                name=name,
                title=title,
                source=f"NesT blocks {'-'.join(map(str, widths))}, 2-2-8 layers, decoder of residual blocks",
                build=LazyBuilder(
                    "voxgate.models.architectures.unest",
                    {"widths": widths, "bottleneck": bottleneck},
                ),
                parameters=parameters,
                paper_parameters=paper,
                paper_classes=133,
                roi_multiple=96,
                roi=(96, 96, 96),
                minimum_int8_macs=0.85,
            )
            for name, title, widths, bottleneck, parameters, paper in (
                ("unest", "UNesT", (128, 256, 512), 608, 87_596_931, 87_300_000),
                ("unest-small", "UNesT, small", (64, 128, 256), 336, 22_991_043, None),
            )
        ),
        *(
            ModelSpec(
                name=name,
                title=title,
                source=f"MONAI DynUNet, features {'-'.join(map(str, features))}, instance normalization",
                build=LazyBuilder("voxgate.models.architectures.nnunet", {"features": features}),
                parameters=parameters,
                paper_parameters=paper,
                paper_classes=105,
                roi_multiple=2 ** (len(features) - 1),
                instance_norm=True,
            )
            for name, title, features, parameters, paper in (
                ("nnunet", "nnU-Net", (32, 64, 128, 256, 288, 256), 26_802_883, 26_940_000),
                ("nnunet-small", "nnU-Net, small", (32, 64, 128, 144, 144), 6_855_923, None),
            )
        ),
        *(
            ModelSpec(
                name=name,
                title=title,
                source=f"MONAI SwinUNETR, feature_size {features}",
                build=LazyBuilder("voxgate.models.architectures.swinunetr", {"features": features}),
                parameters=parameters,
                paper_parameters=paper,
                paper_classes=105,
                roi_multiple=32,
                instance_norm=True,
                minimum_int8_macs=0.85,
            )
            for name, title, features, parameters, paper in (
                ("swinunetr", "SwinUNETR", 48, 62_186_757, 61_980_000),
                ("swinunetr-24", "SwinUNETR, width 24", 24, 15_703_029, None),
            )
        ),
        *(
            ModelSpec(
                name=name,
                title=title,
                source=f"MONAI SegResNet, init_filters {filters}, group normalization",
                build=LazyBuilder("voxgate.models.architectures.segresnet", {"filters": filters}),
                parameters=parameters,
                paper_parameters=paper,
                paper_classes=105,
                roi_multiple=8,
            )
            for name, title, filters, parameters, paper in (
                ("segresnet", "SegResNet", 48, 42_285_315, 42_400_000),
                ("segresnet-24", "SegResNet, width 24", 24, 10_574_211, None),
            )
        ),
        *(
            ModelSpec(
                name=name,
                title=title,
                source=(
                    f"MONAI VISTA3D, automatic branch, encoder_embed_dim {width}, "
                    f"blocks {'-'.join(map(str, blocks))}"
                ),
                build=LazyBuilder(
                    "voxgate.models.architectures.vista3d", {"width": width, "blocks": blocks}
                ),
                parameters=parameters,
                paper_parameters=paper,
                paper_classes=105,
                roi_multiple=16,
                instance_norm=True,
            )
            for name, title, width, blocks, parameters, paper in (
                ("vista3d", "VISTA3D", 32, (1, 2, 2, 2, 3), 66_055_616, 65_140_000),
                ("vista3d-16", "VISTA3D, width 16", 16, (1, 2, 2, 3, 3), 17_406_432, None),
            )
        ),
        ModelSpec(
            name="vista3d-released",
            title="VISTA3D, released width",
            source="MONAI VISTA3D, automatic branch, encoder_embed_dim 48",
            build=LazyBuilder("voxgate.models.architectures.vista3d", {"width": 48}),
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
                build=LazyBuilder("voxgate.models.architectures.stunet", {"scale": scale}),
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


def names_of(name: str) -> tuple[str, ...]:
    """The models that a name in --models stands for: those of a set, or that model alone.

    Raises:
        UsageError: no such model or set; the message lists both.
    """
    if name not in MODELS and name not in MODEL_SETS:
        raise unknown_name("model", name, MODELS, MODEL_SETS)
    return MODEL_SETS.get(name, (name,))


def sets_with(name: str) -> list[str]:
    """The sets that a model is in."""
    return [title for title, names in MODEL_SETS.items() if name in names]
