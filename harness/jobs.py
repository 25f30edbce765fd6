"""The table of what a worker process can be asked to do."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from harness import adapting, requests, variants
from harness.scales import records
from harness.scores import Surfaces
from harness.verdicts import PairedLaunch

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
    request=requests.ProbeRequest,
    result=requests.Probe,
)
PREPARE = Job(
    name="prepare",
    target="harness.stages.prepare:prepare",
    request=requests.PrepareRequest,
    result=requests.Prepared,
)
CALIBRATE = Job(
    name="calibrate",
    target="harness.stages.calibrate:calibrate",
    request=requests.CalibrateRequest,
    result=requests.Calibrated,
)
EXPAND = Job(
    name="expand",
    target="harness.stages.expand:expand",
    request=requests.ExpandRequest,
    result=requests.Expanded,
)
EXPORT = Job(
    name="export",
    target="harness.stages.export:export",
    request=requests.ExportRequest,
    result=requests.Exported,
)
QUANTIZE = Job(
    name="quantize",
    target="harness.stages.quantize:quantize",
    request=requests.QuantizeRequest,
    result=requests.Quantized,
)
ADAPT = Job(
    name="adapt",
    target="harness.stages.adapt:adapt",
    request=adapting.AdaptRequest,
    result=adapting.Adapted,
)
SITES = Job(
    name="sites",
    target="harness.stages.sites:list_sites",
    request=adapting.SitesRequest,
    result=adapting.Sites,
)
LINT = Job(
    name="lint",
    target="harness.stages.lint:lint",
    request=requests.LintRequest,
    result=requests.Linted,
)
BUILD = Job(
    name="build",
    target="harness.stages.build:build",
    request=requests.BuildRequest,
    result=requests.Built,
)
RUN = Job(
    name="run",
    target="harness.measure:run",
    request=requests.RunRequest,
    result=requests.RunResult,
)
PAIR = Job(
    name="pair",
    target="harness.stages.pair:pair",
    request=requests.PairRequest,
    result=PairedLaunch,
)
PROFILE = Job(
    name="profile",
    target="harness.stages.profile:profile",
    request=requests.ProfileRequest,
    result=requests.Profiled,
)
SURFACE = Job(
    name="surface",
    target="harness.stages.surface:measure",
    request=requests.SurfaceRequest,
    result=Surfaces,
)
LABEL = Job(
    name="label",
    target="harness.stages.labelled:write_labelled",
    request=variants.LabelledRequest,
    result=variants.Labelled,
)
DISSECT = Job(
    name="dissect",
    target="harness.measure_variant:dissect",
    request=variants.DissectRequest,
    result=variants.Dissected,
)
VARIANT = Job(
    name="variant",
    target="harness.measure_variant:measure_variant",
    request=variants.VariantRequest,
    result=variants.Variant,
)
RANGES = Job(
    name="ranges",
    target="harness.stages.scales:measure_ranges",
    request=records.RangesRequest,
    result=records.Measured,
)
SCALES = Job(
    name="scales",
    target="harness.stages.scales:check_scales",
    request=records.ScalesRequest,
    result=records.CheckedScales,
)

JOBS: dict[str, Job[Any, Any]] = {
    job.name: job
    for job in (
        PROBE,
        PREPARE,
        CALIBRATE,
        EXPAND,
        EXPORT,
        QUANTIZE,
        ADAPT,
        SITES,
        LINT,
        BUILD,
        RUN,
        PAIR,
        PROFILE,
        SURFACE,
        LABEL,
        DISSECT,
        VARIANT,
        RANGES,
        SCALES,
    )
}
