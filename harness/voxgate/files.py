"""Files that are whole or absent: hashing, atomic writes, paths that stay where they belong."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from voxgate.errors import ArtifactError, UsageError

_CHUNK_BYTES = 1 << 20
_MAX_LINKS = 40  # as many as Linux follows


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
    A link stays, and the file that it leads to is replaced. A device or an open pipe, which no file
    can replace, gets the content when it is complete.
    """
    if is_stream(path):
        with _written_to(path) as temporary:
            yield temporary
        return
    path = _followed(path)
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
        UsageError: it is something that cannot be written to, like a disk.
    """
    if path.is_dir():
        msg = f"{path} is a folder; name a file in it with {option}"
        raise ArtifactError(msg)
    try:
        if is_stream(path):
            os.close(_open_stream(path))
            return
        folder = _followed(path).parent
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        msg = f"{path} cannot be written: {error}; choose another place with {option}"
        raise ArtifactError(msg) from error


def is_stream(path: Path) -> bool:
    """Whether something is there that is no file: a device, a pipe, or our own standard output."""
    if _descriptor(path) is not None:
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
        return False  # nothing is there yet
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


@contextmanager
def _written_to(path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder) / f"content{path.suffix}"
        yield temporary
        with os.fdopen(_open_stream(path), "wb") as stream, temporary.open("rb") as content:
            shutil.copyfileobj(content, stream)


def _open_stream(path: Path) -> int:
    """A descriptor to write to what is no file.

    Raises:
        UsageError: a disk, a socket or a pipe that nobody may read, or one that is only read from.
    """
    own = _descriptor(path)
    if own is not None:
        if fcntl.fcntl(own, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            msg = f"{path} is open for reading alone; name a file, or /dev/stdout"
            raise UsageError(msg)
        # Opened anew, a file would be written from its start, over what was printed before.
        return os.dup(own)
    mode = path.stat().st_mode
    if not stat.S_ISCHR(mode):
        # A named pipe waits for a reader, perhaps for ever; and a disk is not to be overwritten.
        kind = "named pipe" if stat.S_ISFIFO(mode) else "disk or socket"
        msg = f"{path} is a {kind}; name a file, or /dev/stdout"
        raise UsageError(msg)
    return os.open(path, os.O_WRONLY | os.O_NOCTTY)


def _descriptor(path: Path) -> int | None:
    """The number of the descriptor of ours that a path leads to, like 1 of /dev/stdout."""
    descriptors = Path("/dev/fd").resolve()
    for _ in range(_MAX_LINKS):
        if path.name.isdecimal() and path.parent.resolve() == descriptors:
            return int(path.name)
        if not path.is_symlink():
            return None
        path = path.parent / path.readlink()
    return None


def _followed(path: Path) -> Path:
    """What a link leads to, whether it is there or not; any other path as it is.

    Raises:
        OSError: the link leads to itself.
    """
    if not path.is_symlink():
        return path
    try:
        found = path.resolve()
    except RuntimeError:  # of a loop, up to Python 3.12
        found = path
    if found.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    return found


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


def default_root() -> Path:
    """VOXGATE_CACHE, or voxgate in the user's cache folder."""
    if chosen := os.environ.get("VOXGATE_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    with contextlib.suppress(RuntimeError):
        return (Path(base) if base else Path.home() / ".cache") / "voxgate"
    return Path(tempfile.gettempdir()) / "voxgate"
