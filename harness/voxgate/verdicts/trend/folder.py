"""Reads a folder of records as a history; what is no part of it is named with its reason."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from voxgate.errors import ArtifactError, UsageError
from voxgate.files import inside
from voxgate.records.file import read_any
from voxgate.records.run import RunRecord
from voxgate.records.sensitivity import SensitivityRecord
from voxgate.records.study import StudyRecord
from voxgate.records.trend import Reading, Skipped
from voxgate.records.verdicts import ComparisonRecord
from voxgate.verdicts.trend.readings import read_run

_MOST_BYTES = 2**28  # a record with the layers of 20 networks has some 2**22


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """The readings of a folder in no particular order; ``others`` counts files that are no JSON."""

    readings: tuple[Reading, ...]
    skipped: tuple[Skipped, ...]
    others: int


def read_history(folder: Path) -> History:
    """Every record in a folder and the folders in it.

    A gate counts as the run that it measured, and a comparison not at all.

    Raises:
        UsageError: there is no such folder.
        ArtifactError: the folder holds no run or gate that can be read; the message says why.
    """
    if not folder.is_dir():
        msg = f"{folder} is not a folder; give the one that holds the records, like records/"
        raise UsageError(msg)
    readings: list[Reading] = []
    skipped: list[Skipped] = []
    others = 0
    for name in _names(folder, skipped):
        if not _is_record_name(name):
            others += 1
            continue
        try:
            readings.append(_read(folder, name))
        except ArtifactError as error:
            reason = str(error).removeprefix(f"{folder / name} ")
            skipped.append(Skipped(file=shown(name), reason=shown(reason)))
    if not readings:
        raise _nothing(folder, skipped, others)
    return History(readings=tuple(readings), skipped=tuple(skipped), others=others)


def shown(name: str) -> str:
    """A file's name as text that can be printed, whatever its bytes are."""
    text = os.fsencode(name).decode(errors="backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _names(folder: Path, skipped: list[Skipped]) -> Iterator[str]:
    """Files below the folder, by name. Folders behind links are named as skipped: inside the folder
    they are read where they lie, and outside they are none of its records.
    """

    def unreadable(error: OSError) -> None:
        name = os.path.relpath(error.filename, folder)
        skipped.append(Skipped(file=shown(name), reason=f"cannot be listed: {error.strerror}"))

    for parent, folders, files in os.walk(folder, onerror=unreadable):
        folders.sort()
        for name in folders:
            path = Path(parent, name)
            if path.is_symlink():
                relative = path.relative_to(folder).as_posix()
                skipped.append(
                    Skipped(file=shown(relative), reason=f"a link to {shown(str(path.readlink()))}")
                )
        for name in sorted(files):
            yield Path(parent, name).relative_to(folder).as_posix()


def _is_record_name(name: str) -> bool:
    """A name that starts with a dot is a file that is being written."""
    last = name.rpartition("/")[2]
    return last.lower().endswith(".json") and not last.startswith(".")


def _read(folder: Path, name: str) -> Reading:
    path = folder / name
    try:
        target = inside(folder, name)
    except ArtifactError as error:
        msg = "is a link that leads outside the folder; put a copy in its place"
        raise ArtifactError(msg) from error
    if not target.is_file():
        msg = "is no file, or a link to none"
        raise ArtifactError(msg)
    if (size := target.stat().st_size) > _MOST_BYTES:
        msg = f"has {size:,} bytes; no record is that large"
        raise ArtifactError(msg)
    found = read_any(path)
    if isinstance(found, ComparisonRecord):
        msg = "is the record of a comparison, whose two runs are interleaved: no part of a history"
        raise ArtifactError(msg)
    if isinstance(found, SensitivityRecord):
        msg = (
            "is the record of a sensitivity analysis, which measures no case: no part of a history"
        )
        raise ArtifactError(msg)
    if isinstance(found, StudyRecord):
        msg = (
            "is the record of a calibration study, whose cases were not timed: no part of a history"
        )
        raise ArtifactError(msg)
    if isinstance(found, RunRecord):
        return read_run(shown(name), found)
    return read_run(shown(name), found.run, "gate")


def _nothing(folder: Path, skipped: list[Skipped], others: int) -> ArtifactError:
    lines = [f"  {one.file}: {one.reason}" for one in sorted(skipped)]
    files = f"; {others} other files are no *.json" if others else ""
    why = "has no *.json file" if not lines else "has none of a run or a gate"
    heading = f"no usable record: {folder} {why}{files}. 'voxgate bench' writes one a run."
    return ArtifactError("\n".join([heading, *lines]))
