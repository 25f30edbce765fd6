"""Two records on disk side by side: which files can be compared at all."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

from voxgate import __version__
from voxgate.errors import ArtifactError, UsageError
from voxgate.records.file import SCHEMA_VERSION, read_any
from voxgate.records.run import RunRecord, Timing
from voxgate.records.verdicts import ComparisonRecord, worst_outcome
from voxgate.verdicts.comparison import compare_stored, runtimes

_MADE_BY = {
    "gate": "'voxgate gate'",
    "comparison": "'voxgate compare'",
    "sensitivity": "'voxgate sensitivity'",
    "calibration-study": "'voxgate calibrate-study'",
}


def compare_files(path_a: Path, path_b: Path) -> ComparisonRecord:
    """Judge the run of one record against that of another.

    Raises:
        UsageError: both names are one file.
        ArtifactError: a file is unreadable, holds no cases, or is no record of a run.
    """
    started, start = datetime.now(UTC), time.monotonic()
    if path_a.resolve() == path_b.resolve():
        msg = f"{path_a} and {path_b} are one file; name two records"
        raise UsageError(msg)
    a, b = _read(path_a), _read(path_b)
    cases = compare_stored(a, b)
    return ComparisonRecord(
        kind="comparison",
        schema_version=SCHEMA_VERSION,
        voxgate=__version__,
        title_a=runtimes(a.environment, str(path_a)),
        title_b=runtimes(b.environment, str(path_b)),
        outcome=worst_outcome(case.outcome for case in cases),
        cases=cases,
        a=a,
        b=b,
        timing=Timing(
            started=started.isoformat(timespec="seconds"),
            wall_s=time.monotonic() - start,
            inference_s=0.0,
            artifacts_built=0,
            artifacts_reused=0,
        ),
    )


def _read(path: Path) -> RunRecord:
    found = read_any(path)
    if not isinstance(found, RunRecord):
        msg = (
            f"{path} was written by {_MADE_BY[found.kind]} and holds what that found; "
            "compare takes records of runs, which 'voxgate bench' writes"
        )
        raise ArtifactError(msg)
    if not found.cases:
        msg = f"{path} holds no cases; there is nothing to compare"
        raise ArtifactError(msg)
    return found
