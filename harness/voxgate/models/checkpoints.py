"""Where the trained checkpoints lie."""

from __future__ import annotations

from pathlib import Path

from voxgate.errors import ArtifactError
from voxgate.files import sha256_file


def checkpoint_folder() -> Path:
    """The trained checkpoints: in the repository, or inside the installed package."""
    package = Path(__file__).resolve().parents[1]
    in_repository = package.parents[1] / "fixtures" / "checkpoints"
    return in_repository if in_repository.is_dir() else package / "_checkpoints"


def checkpoint_sha256(path: Path, model: str, task: str) -> str:
    """The hash of a checkpoint.

    Raises:
        ArtifactError: there is none; says how to train one.
    """
    if not path.is_file():
        msg = (
            f"no checkpoint of {model} for {task} at {path}; "
            f"train one with 'voxgate train --models {model} --task {task} --output-dir {path.parent}'"
        )
        raise ArtifactError(msg)
    return sha256_file(path)
