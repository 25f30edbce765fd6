"""The variables of a worker's process, and where it finds the package."""

from __future__ import annotations

import functools
import os
import sys
import tempfile
from pathlib import Path


def worker_environment(python: str) -> dict[str, str] | None:
    """The variables of a worker's process; None, ours unchanged, for our own interpreter.

    Another interpreter finds the package through a folder with nothing else in it. What PYTHONPATH
    held before is dropped: packages there would be the same ones in every interpreter.
    """
    if python == sys.executable:
        return None
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONHOME"}
    return kept | {"PYTHONPATH": _package_folder().name}


@functools.cache
def _package_folder() -> tempfile.TemporaryDirectory[str]:
    """Where VoxGate is installed, our other packages lie beside it; here it is alone."""
    folder = tempfile.TemporaryDirectory(prefix="voxgate-package-")
    package = Path(__file__).resolve().parents[1]
    (Path(folder.name) / package.name).symlink_to(package, target_is_directory=True)
    return folder
