"""Tasks: which volumes, which classes, which patches calibrate and which evaluate."""

from __future__ import annotations

from voxgate.datasets.base import Dataset, Patch, Split, Volume
from voxgate.datasets.mni152 import Mni152
from voxgate.datasets.phantom import Phantom
from voxgate.errors import look_up
from voxgate.records.calibration import PatchInfo

__all__ = ["TASKS", "Dataset", "Patch", "Split", "Volume", "get", "identify"]

TASKS: dict[str, Dataset] = {
    task.name: task
    for task in (
        Mni152(),
        Phantom(name="phantom", organs=13, size=96, evaluation_count=8),
        Phantom(name="phantom-mini", organs=3, size=32, evaluation_count=4),
    )
}


def get(name: str) -> Dataset:
    """The task of that name.

    Raises:
        UsageError: no such task; the message lists them.
    """
    return look_up("task", name, TASKS)


def identify(patch: Patch) -> PatchInfo:
    """What a record keeps of a patch."""
    return PatchInfo(
        name=patch.name,
        case=patch.case,
        sha256=patch.sha256,
        image_sha256=patch.image_sha256,
        file=patch.file,
        corner=patch.corner,
    )
