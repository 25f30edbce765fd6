"""Files that are whole or absent: hashing, atomic writes, paths that stay where they belong."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import ArtifactError

_CHUNK_BYTES = 1 << 20


def sha256_bytes(data: bytes) -> str:
    """SHA-256 of ``data`` as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's content as 64 hex digits, read in chunks of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path in the folder of ``path`` that takes its place only on success.

    The rename is atomic: a reader, a crash or Ctrl-C sees the old file or the new one, never half.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomic(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` in one step."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def check_writable(path: Path, option: str) -> None:
    """Find out before the work, not after it, that its result has no place.

    Raises:
        ArtifactError: the path is a folder, or its folder cannot be written; names ``option``.
    """
    if path.is_dir():
        msg = f"{path} is a folder; name a file in it with {option}"
        raise ArtifactError(msg)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        msg = f"{path} cannot be written: {error}; choose another place with {option}"
        raise ArtifactError(msg) from error


def inside(folder: Path, name: str) -> Path:
    """``folder / name``, refused when the result would lie outside ``folder``.

    Raises:
        ArtifactError: an absolute name, a ``..``, or a link that leads out.
    """
    try:
        root = folder.resolve()
        path = (root / name).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        msg = f"{name!r} is no usable file name in {folder}: {error}"
        raise ArtifactError(msg) from error
    if not path.is_relative_to(root) or path == root:
        msg = f"{name!r} leads outside {folder}; names in a bundle must stay inside it"
        raise ArtifactError(msg)
    return path
