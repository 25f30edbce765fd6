"""The record: one versioned JSON file a run."""

from __future__ import annotations

from pathlib import Path

import msgspec

from harness.errors import ArtifactError
from harness.files import write_atomic
from harness.types import RunRecord

SCHEMA_VERSION = 1


def encode(record: object) -> bytes:
    """Indented JSON of a record, whichever command it comes from."""
    return msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n"


def write(path: Path, record: object) -> None:
    """Write a record atomically.

    Raises:
        ArtifactError: the folder cannot be written.
    """
    try:
        write_atomic(path, encode(record))
    except OSError as error:
        msg = f"the record {path} cannot be written: {error}"
        raise ArtifactError(msg) from error


def read(path: Path) -> RunRecord:
    """A record from its file.

    Raises:
        ArtifactError: unreadable, of another schema, or with a wrong value; names its key path.
    """
    try:
        data = path.read_bytes()
        version = msgspec.json.decode(data, type=dict[str, msgspec.Raw]).get("schema_version")
    except (OSError, ValueError) as error:
        msg = f"{path} is not a VoxGate record: {error}"
        raise ArtifactError(msg) from error
    if version is None or bytes(version) != str(SCHEMA_VERSION).encode():
        found = "none" if version is None else bytes(version).decode()
        msg = f"{path} has schema_version {found}; this version reads {SCHEMA_VERSION}"
        raise ArtifactError(msg)
    try:
        return msgspec.json.decode(data, type=RunRecord)
    except ValueError as error:  # of msgspec's errors each is a ValueError
        msg = f"{path} is not a valid record: {error}"
        raise ArtifactError(msg) from error
