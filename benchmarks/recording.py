"""Files of recorded launches: raw samples of one engine on one host, for judging rules afterwards.

JSON lines: a header, then one line a launch, written as each one ends. A recording that was
interrupted lacks launches and nothing else. A finished one may be gzipped.
"""

from __future__ import annotations

import gzip
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
from voxgate.errors import ArtifactError
from voxgate.files import write_atomic
from voxgate.records.measurement import HostLoad
from voxgate.records.run import Environment

SCHEMA_VERSION = 1

Kind = Literal["solo", "pair"]
State = Literal["quiet", "noisy"]
# What is asked for: mixed draws a state for each launch.
RecordingState = Literal["quiet", "noisy", "mixed"]


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What was recorded. ``environment.host`` is a label, not the name of a machine.

    Each side of a launch has ``samples`` (solo) or ``pairs`` samples after ``warmups`` discarded
    ones. ``neighbours`` is how many processes disturb a noisy launch, from ``seed`` on.
    """

    kind: Literal["launches"] = "launches"
    schema_version: int = SCHEMA_VERSION
    voxgate: str
    case: str
    engine_sha256: str
    state: RecordingState
    warmups: int
    samples: int
    pairs: int
    neighbours: int
    seed: int
    environment: Environment


class RecordedLaunch(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One process. Of a solo launch ``a_ns`` are the samples; of a pair, one engine's on both sides.

    ``at_s`` is when it started, in seconds since 1970; ``load`` is None where it was not read.
    """

    number: int = 0
    kind: Kind
    state: State = "quiet"
    at_s: int = 0
    a_ns: tuple[int, ...]
    b_ns: tuple[int, ...] = ()
    b_first: bool = False
    warmups_ns: tuple[int, ...] = ()
    load: HostLoad | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Recording:
    """A file of launches, in the order they were recorded."""

    name: str
    header: Header
    launches: tuple[RecordedLaunch, ...]


def read(path: Path) -> Recording:
    """A recording from its file; a last line that was cut short is left out.

    Raises:
        ArtifactError: unreadable, something else, or of another schema; names the file.
    """
    try:
        data = path.read_bytes()
        whole = (gzip.decompress(data) if path.suffix == ".gz" else data).rpartition(b"\n")[0]
        first, *lines = whole.split(b"\n")
        header = msgspec.json.decode(first, type=Header)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        msg = (
            f"{path} is no recording of launches: {error}; make one with benchmarks.record_launches"
        )
        raise ArtifactError(msg) from error
    if header.schema_version != SCHEMA_VERSION:
        msg = f"{path} has schema_version {header.schema_version}; this version reads {SCHEMA_VERSION}"
        raise ArtifactError(msg)
    launches = tuple(_launch(line, number, path) for number, line in enumerate(lines, start=2))
    return Recording(name=path.name, header=header, launches=launches)


def _launch(line: bytes, number: int, path: Path) -> RecordedLaunch:
    try:
        launch = msgspec.json.decode(line, type=RecordedLaunch)
    except ValueError as error:
        msg = f"line {number} of {path} is no launch: {error}; remove it, or record anew"
        raise ArtifactError(msg) from error
    if min((*launch.a_ns, *launch.b_ns), default=0) <= 0:
        msg = f"line {number} of {path} has no samples, or one that is not positive; record it anew"
        raise ArtifactError(msg)
    return launch


def cut_torn_line(path: Path) -> None:
    """Remove the end of a file that is no whole line, so that the next one starts on its own."""
    data = path.read_bytes()
    whole = data.rpartition(b"\n")[0] + b"\n"
    if whole != data:
        write_atomic(path, whole)


def append(path: Path, line: Header | RecordedLaunch) -> None:
    """Write one more line and have it on the disk before returning.

    Raises:
        ArtifactError: the file cannot be written.
    """
    data = msgspec.json.encode(line) + b"\n"
    try:
        with path.open("ab") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        msg = f"{path} cannot be written: {error}"
        raise ArtifactError(msg) from error
