"""One case while the run goes on."""

from __future__ import annotations

from dataclasses import dataclass, field

from voxgate.artifacts.cache import Artifact
from voxgate.artifacts.run_artifacts import Artifacts
from voxgate.errors import HarnessError
from voxgate.records.case import CaseId
from voxgate.records.dice import Surfaces
from voxgate.stages.requests import Built, RunResult


@dataclass
class CaseRun:
    """What is known of one case while the run goes on; ``title`` is what a waiting person reads.

    ``accelerator`` is the probe's: the GPU to watch, or nothing. ``predictions`` is where the first
    launch writes its labels, if anywhere.
    """

    case: CaseId
    artifacts: Artifacts
    title: str = ""
    accelerator: str = ""
    predictions: str = ""
    engine: Artifact[Built] | None = None
    launches: list[RunResult] = field(default_factory=list)
    error: HarnessError | None = None
    surfaces: Surfaces | None = None

    @property
    def alive(self) -> bool:
        """Whether nothing has failed so far."""
        return self.error is None

    def __str__(self) -> str:
        return self.title or str(self.case)
