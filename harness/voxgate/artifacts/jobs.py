"""The table of what a worker process can be asked to do."""

from __future__ import annotations

from typing import Any

from voxgate.artifacts.messages import Job
from voxgate.quantization.editor import Dissected
from voxgate.quantization.lint import Linted
from voxgate.quantizers.base import Quantized
from voxgate.records import scales
from voxgate.records.dice import Surfaces
from voxgate.records.measurement import PairedLaunch
from voxgate.records.runtime import Probe
from voxgate.stages import adapt_requests, requests, scale_requests, variant_requests

PROBE = Job(
    name="probe",
    target="voxgate.stages.probe:probe",
    request=requests.ProbeRequest,
    result=Probe,
)
PREPARE = Job(
    name="prepare",
    target="voxgate.stages.prepare:prepare",
    request=requests.PrepareRequest,
    result=requests.Prepared,
)
CALIBRATE = Job(
    name="calibrate",
    target="voxgate.stages.calibrate:calibrate",
    request=requests.CalibrateRequest,
    result=requests.Calibrated,
)
EXPAND = Job(
    name="expand",
    target="voxgate.stages.expand:expand",
    request=requests.ExpandRequest,
    result=requests.Expanded,
)
EXPORT = Job(
    name="export",
    target="voxgate.stages.export:export",
    request=requests.ExportRequest,
    result=requests.Exported,
)
QUANTIZE = Job(
    name="quantize",
    target="voxgate.stages.quantize:quantize",
    request=requests.QuantizeRequest,
    result=Quantized,
)
ADAPT = Job(
    name="adapt",
    target="voxgate.stages.adapt:adapt",
    request=adapt_requests.AdaptRequest,
    result=adapt_requests.Adapted,
)
SITES = Job(
    name="sites",
    target="voxgate.stages.sites:list_sites",
    request=adapt_requests.SitesRequest,
    result=adapt_requests.Sites,
)
LINT = Job(
    name="lint",
    target="voxgate.stages.lint:lint",
    request=requests.LintRequest,
    result=Linted,
)
BUILD = Job(
    name="build",
    target="voxgate.stages.build:build",
    request=requests.BuildRequest,
    result=requests.Built,
)
RUN = Job(
    name="run",
    target="voxgate.stages.launch:run",
    request=requests.RunRequest,
    result=requests.RunResult,
)
PAIR = Job(
    name="pair",
    target="voxgate.stages.pair:pair",
    request=requests.PairRequest,
    result=PairedLaunch,
)
PROFILE = Job(
    name="profile",
    target="voxgate.stages.profile:profile",
    request=requests.ProfileRequest,
    result=requests.Profiled,
)
SURFACE = Job(
    name="surface",
    target="voxgate.stages.surface:measure",
    request=requests.SurfaceRequest,
    result=Surfaces,
)
LABEL = Job(
    name="label",
    target="voxgate.stages.labelled:write_labelled",
    request=variant_requests.LabelledRequest,
    result=variant_requests.Labelled,
)
DISSECT = Job(
    name="dissect",
    target="voxgate.stages.variant:dissect",
    request=variant_requests.DissectRequest,
    result=Dissected,
)
VARIANT = Job(
    name="variant",
    target="voxgate.stages.variant:measure_variant",
    request=variant_requests.VariantRequest,
    result=variant_requests.Variant,
)
RANGES = Job(
    name="ranges",
    target="voxgate.stages.scales:measure_ranges",
    request=scale_requests.RangesRequest,
    result=scales.Measured,
)
SCALES = Job(
    name="scales",
    target="voxgate.stages.scales:check_scales",
    request=scale_requests.ScalesRequest,
    result=scales.CheckedScales,
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
