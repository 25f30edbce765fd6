"""Kernel timings of earlier builds, kept in parts: one folder a device, CUDA and SDK version.

A build reads every part, and writes all that it then knows to a new file beside them. That becomes a
part when the build is known to be clean, and replaces those that it holds: noise that was measured as
kernels' times would choose kernels for ever. Builds at the same time each leave a part of their own.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path

_PART = ".cache"
_NEW = ".new"


@dataclass(frozen=True, kw_only=True, slots=True)
class FilledCache:
    """The file that a build wrote, and the parts that are in it."""

    file: str
    holds: tuple[str, ...]


def parts(folder: Path) -> dict[str, bytes]:
    """What is kept, by the file's path; a part that is replaced meanwhile is in another one."""
    found = {}
    for path in sorted(folder.glob(f"*{_PART}")):
        try:
            found[str(path)] = path.read_bytes()
        except FileNotFoundError:
            continue
    return found


def write_new(folder: Path, content: bytes, holds: tuple[str, ...]) -> FilledCache:
    """Write what a build knows, which is no part yet."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{uuid.uuid4().hex}{_NEW}"
    path.write_bytes(content)
    return FilledCache(file=str(path), holds=holds)


def keep(filled: FilledCache | None) -> None:
    """Make a part of it; call this after a clean build."""
    if filled is None:
        return
    path = Path(filled.file)
    path.rename(path.with_suffix(_PART))
    for held in filled.holds:
        Path(held).unlink(missing_ok=True)


def drop(filled: FilledCache | None) -> None:
    """Forget it; call this after a build beside which something else ran."""
    if filled is not None:
        Path(filled.file).unlink(missing_ok=True)
