"""The table of architectures. One file each; nothing heavy is imported until one is built."""

from __future__ import annotations

from harness.errors import look_up
from harness.models import unet
from harness.models.spec import ModelSpec

__all__ = ["MODELS", "ModelSpec", "get"]

MODELS: dict[str, ModelSpec] = {spec.name: spec for spec in (unet.SPEC,)}


def get(name: str) -> ModelSpec:
    """The architecture of that name.

    Raises:
        UsageError: no such model; the message lists them.
    """
    return look_up("model", name, MODELS)
