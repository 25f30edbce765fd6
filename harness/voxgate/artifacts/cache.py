"""Content-addressed artifacts on disk: built once, verified on every read, safe between processes.

An artifact is a folder ``<kind>/<key>`` with the files of one stage and ``manifest.json``, which
holds the inputs that the key hashes, the stage's result and the SHA-256 of every file. It is made in
a temporary folder and renamed into place, so it is whole or absent; a lock keeps two runs from
making the same one twice. A damaged artifact is removed and made again.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import msgspec
from filelock import FileLock, Timeout

from voxgate.errors import ArtifactError
from voxgate.files import inside, sha256_bytes, sha256_file

Result = TypeVar("Result")

MANIFEST = "manifest.json"

_QUIET_WAIT_S = 1.0

_log = logging.getLogger("voxgate")


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What lies beside the files of an artifact; ``sha256`` is over all other fields."""

    kind: str
    key: str
    inputs: dict[str, object]
    result: msgspec.Raw
    files: dict[str, str]
    sha256: str = ""

    def own_sha256(self) -> str:
        """The hash that ``sha256`` must hold."""
        result = msgspec.json.decode(self.result)  # not its bytes: the file is indented
        rest = [self.kind, self.key, self.inputs, result, self.files]
        return sha256_bytes(msgspec.json.encode(rest, order="deterministic"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact(Generic[Result]):
    """A finished artifact. ``digest`` is over its content, for the keys of what is made from it."""

    key: str
    folder: Path
    result: Result
    digest: str
    reused: bool

    def path(self, name: str) -> Path:
        """The path of one of its files."""
        return inside(self.folder, name)


class Cache:
    """A folder of artifacts, and how many were made and reused through this object."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.built = 0
        self.reused = 0

    def get_or_make(
        self,
        kind: str,
        inputs: Mapping[str, object],
        result_type: type[Result],
        make: Callable[[Path], Result],
        reusable: Callable[[Result], bool] = lambda _: True,
    ) -> Artifact[Result]:
        """The artifact of these inputs; ``make(folder)`` writes its files if it is not there.

        One that is there and not ``reusable`` is made again.

        Raises:
            ArtifactError: the cache folder cannot be written.
            HarnessError: whatever ``make`` raises; nothing is left behind.
        """
        key = sha256_bytes(msgspec.json.encode([kind, inputs], order="deterministic"))[:40]
        home = self.root / kind
        lock = FileLock(home / f"{key}.lock")
        with self._writing():
            home.mkdir(parents=True, exist_ok=True)
            self._acquire(lock, kind)
        try:
            found = self._read(home / key, kind, result_type)
            if found is not None and reusable(found.result):
                self.reused += 1
                return found
            if found is not None:
                with self._writing():
                    shutil.rmtree(home / key)
            self._make(home / key, kind, inputs, make)
            self.built += 1
            made = self._read(home / key, kind, result_type, reused=False)
        finally:
            lock.release()
        if made is None:
            msg = f"{home / key} was damaged as soon as it was written; check the disk"
            raise ArtifactError(msg)
        return made

    @staticmethod
    def _acquire(lock: FileLock, kind: str) -> None:
        try:
            lock.acquire(timeout=_QUIET_WAIT_S)
        except Timeout:
            _log.warning("waiting for another run that makes the same %s", kind)
            lock.acquire()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn a full or read-only disk into an error that says what to do."""
        try:
            yield
        except OSError as error:
            msg = (
                f"the cache folder {self.root} cannot be written: {error}; "
                "choose another with --cache-dir"
            )
            raise ArtifactError(msg) from error

    def _make(
        self,
        folder: Path,
        kind: str,
        inputs: Mapping[str, object],
        make: Callable[[Path], Result],
    ) -> None:
        mark = f".making-{folder.name}-"
        with self._writing():
            for left in folder.parent.glob(
                f"{mark}*"
            ):  # by a run that was killed: we hold the lock
                shutil.rmtree(left)
            temporary = Path(tempfile.mkdtemp(prefix=mark, dir=folder.parent))
        try:
            result = make(temporary)
            manifest = Manifest(
                kind=kind,
                key=folder.name,
                inputs=dict(inputs),
                result=msgspec.Raw(msgspec.json.encode(result)),
                files=_hash_files(temporary),
            )
            manifest = msgspec.structs.replace(manifest, sha256=manifest.own_sha256())
            encoded = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
            with self._writing():
                (temporary / MANIFEST).write_bytes(encoded)
                temporary.chmod(0o755)
                temporary.replace(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _read(
        self, folder: Path, kind: str, result_type: type[Result], *, reused: bool = True
    ) -> Artifact[Result] | None:
        """The verified artifact; None if it is absent, or damaged and therefore removed."""
        if not folder.is_dir():
            return None
        try:
            manifest = read_manifest(folder)
            result = msgspec.json.decode(manifest.result, type=result_type)
        except (ArtifactError, ValueError) as error:
            _log.warning("cached %s %s is damaged and made again: %s", kind, folder.name, error)
            with self._writing():
                shutil.rmtree(folder)
            return None
        digest = sha256_bytes(msgspec.json.encode(manifest.files, order="deterministic"))
        return Artifact(key=folder.name, folder=folder, result=result, digest=digest, reused=reused)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an artifact whose files all have the hashes that it names.

    Raises:
        ArtifactError: unreadable, a file is missing, extra names lead outside, or a hash differs.
    """
    path = folder / MANIFEST
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except (OSError, ValueError) as error:  # of msgspec's errors each is a ValueError
        msg = f"{path} is unreadable: {error}"
        raise ArtifactError(msg) from error
    if manifest.sha256 != manifest.own_sha256() or manifest.key != folder.name:
        msg = f"{path} was changed after it was written, or belongs to another artifact"
        raise ArtifactError(msg)
    for name, expected in manifest.files.items():
        file = inside(folder, name)
        try:
            actual = sha256_file(file)
        except OSError as error:
            msg = f"{file} is missing or unreadable: {error}"
            raise ArtifactError(msg) from error
        if actual != expected:
            msg = f"{file} has SHA-256 {actual[:12]}, expected {expected[:12]}"
            raise ArtifactError(msg)
    return manifest


def _hash_files(folder: Path) -> dict[str, str]:
    return {
        file.relative_to(folder).as_posix(): sha256_file(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
