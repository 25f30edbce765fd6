"""What runs, gates, comparisons and studies leave behind: versioned JSON, one file each."""

from __future__ import annotations

from pathlib import Path

import msgspec

from voxgate.errors import ArtifactError
from voxgate.files import write_atomic
from voxgate.records.run import RunRecord
from voxgate.records.sensitivity import SensitivityRecord
from voxgate.records.study import StudyRecord
from voxgate.records.verdicts import ComparisonRecord, GateRecord

SCHEMA_VERSION = 1

RunLike = RunRecord | GateRecord | ComparisonRecord  # that rest on the cases of a run
AnyRecord = RunLike | SensitivityRecord | StudyRecord

# By the key "kind"; the record of a run has none.
_TYPES: dict[
    str | None,
    type[RunRecord | GateRecord | ComparisonRecord | SensitivityRecord | StudyRecord],
] = {
    None: RunRecord,
    "gate": GateRecord,
    "comparison": ComparisonRecord,
    "sensitivity": SensitivityRecord,
    "calibration-study": StudyRecord,
}


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
    """The record of a run from its file; a gate's or a comparison's is refused.

    Raises:
        ArtifactError: unreadable, of another kind or schema, or with a wrong value; names its key
            path.
    """
    found = read_any(path)
    if not isinstance(found, RunRecord):
        msg = f"{path} is the record of a {found.kind}, not of a run"
        raise ArtifactError(msg)
    return found


def read_any(path: Path) -> AnyRecord:
    """A record of any kind from its file.

    Raises:
        ArtifactError: as `read`, but for the kind.
    """
    try:
        data = path.read_bytes()
        keys = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        kind = msgspec.json.decode(keys.get("kind", b"null"), type=str | None)
        version = msgspec.json.decode(keys.get("schema_version", b"null"))
    except (OSError, ValueError, RecursionError) as error:
        msg = f"{path} is not a VoxGate record: {error}"
        raise ArtifactError(msg) from error
    check_schema(version, SCHEMA_VERSION, path)
    if kind not in _TYPES:
        msg = f"{path} is a record of an unknown kind, {kind!r}; was a newer version its maker?"
        raise ArtifactError(msg)
    try:
        return msgspec.json.decode(data, type=_TYPES[kind])
    except (ValueError, RecursionError) as error:  # each of msgspec's own is a ValueError
        msg = f"{path} is not a valid record: {error}"
        raise ArtifactError(msg) from error


def check_schema(found: object, expected: int, path: Path) -> None:
    """Refuse a file of another schema.

    Raises:
        ArtifactError: ``found``, the value of ``schema_version``, is not ``expected``.
    """
    if type(found) is not int or found != expected:
        named = "none" if found is None else msgspec.json.encode(found).decode()
        msg = f"{path} has schema_version {named}; this version reads {expected}"
        raise ArtifactError(msg)
