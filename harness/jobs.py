"""The table of what a worker process can be asked to do."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from harness import types

Request = TypeVar("Request")
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class Job(Generic[Request, Result]):
    """A function that runs in a worker, and the records that go in and out."""

    name: str
    target: str
    request: type[Request]
    result: type[Result]

    def function(self) -> Callable[[Request], Result]:
        """Import the function; only workers call this."""
        module, _, attribute = self.target.partition(":")
        function: Callable[[Request], Result] = getattr(importlib.import_module(module), attribute)
        return function


PROBE = Job(
    name="probe",
    target="harness.stages.probe:probe",
    request=types.ProbeRequest,
    result=types.Probe,
)
PREPARE = Job(
    name="prepare",
    target="harness.stages.prepare:prepare",
    request=types.PrepareRequest,
    result=types.Prepared,
)
EXPAND = Job(
    name="expand",
    target="harness.stages.expand:expand",
    request=types.ExpandRequest,
    result=types.Expanded,
)
EXPORT = Job(
    name="export",
    target="harness.stages.export:export",
    request=types.ExportRequest,
    result=types.Exported,
)
QUANTIZE = Job(
    name="quantize",
    target="harness.stages.quantize:quantize",
    request=types.QuantizeRequest,
    result=types.Quantized,
)
BUILD = Job(
    name="build",
    target="harness.stages.build:build",
    request=types.BuildRequest,
    result=types.Built,
)
RUN = Job(
    name="run",
    target="harness.measure:run",
    request=types.RunRequest,
    result=types.RunResult,
)

JOBS: dict[str, Job[Any, Any]] = {
    job.name: job for job in (PROBE, PREPARE, EXPAND, EXPORT, QUANTIZE, BUILD, RUN)
}
