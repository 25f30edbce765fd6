"""The graphs that a runtime's version gets, and the ranges that they need: artifacts of our interpreter.

A graph that needs no change for a version is no artifact of its own.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from voxgate import backends, models
from voxgate.artifacts import jobs
from voxgate.artifacts.cache import Artifact
from voxgate.artifacts.fingerprint import source_fingerprint
from voxgate.artifacts.launcher import run_job
from voxgate.machine.environment import cpu_model, isa_flags, versions
from voxgate.quantization.lint import refuse
from voxgate.quantizers.graph_needs import VERSIONED, needs_of
from voxgate.quantizers.version_rules import NEED_RANGES
from voxgate.records.case import CaseId
from voxgate.records.runtime import GraphNeeds
from voxgate.records.scales import Measured
from voxgate.stages import file_names
from voxgate.stages.adapt_requests import Adapted, AdaptRequest
from voxgate.stages.scale_requests import RangesRequest

if TYPE_CHECKING:
    from voxgate.artifacts.run_artifacts import Artifacts

_PACKAGES = ("numpy", "nvidia-modelopt", "onnx", "onnxruntime")


def source_of(artifacts: Artifacts, case: CaseId) -> tuple[str, str]:
    """Path and digest of what an engine is built from: a graph as its runtime takes it.

    Raises:
        HarnessError: it cannot be made.
    """
    made = adapted(artifacts, case)
    return (
        _unadapted(artifacts, case)
        if made is None
        else (str(made.path(file_names.ONNX)), made.digest)
    )


def single_precision_of(artifacts: Artifacts, case: CaseId) -> tuple[str, ...]:
    """The nodes of a case's graph that must compute in single precision.

    They follow from the graph and what writes it, which its digest names: no key needs them beside it.
    """
    made = adapted(artifacts, case)
    return () if made is None else made.result.single_precision


def _unadapted(artifacts: Artifacts, case: CaseId) -> tuple[str, str]:
    """What the engines of a precision are built from, for any version of a runtime."""
    kind = backends.get(case.backend).sources[case.precision]
    if kind == "weights":
        weights = artifacts.weights(case.model)
        return str(weights.path(file_names.WEIGHTS)), weights.digest
    if kind == "onnx":
        graph = artifacts.onnx(case.model)
        return str(graph.path(file_names.ONNX)), graph.digest
    if kind == "quantized":
        quantized = artifacts.quantized(case.model, case.backend, case.precision)
        return str(quantized.path(quantized.result.file)), quantized.digest
    return "", models.get(case.model).name


def adapted(
    artifacts: Artifacts, case: CaseId, float_layers: tuple[str, ...] = ()
) -> Artifact[Adapted] | None:
    """The graph of a case for its runtime's version; None where it gets the graph as it is.

    ``float_layers`` lose the pairs that the quantizer gave them.

    Raises:
        HarnessError: the runtime is not here, or its graph cannot be made.
        GraphLintError: the graph breaks a fatal rule of `voxgate.quantization.lint`, as half scales that became 0 do.
    """
    kind = backends.get(case.backend).sources[case.precision]
    version = artifacts.probe(case.backend).version if case.backend in VERSIONED else ""
    needs = needs_of(case.backend, version, kind, case.precision)
    if needs is None:
        return None
    name = ("adapted", case.model, case.backend, kind, repr(needs), *float_layers)
    made = artifacts.once(name, lambda: _adapt(artifacts, case, needs, float_layers))
    refuse(str(made.path(made.result.file)), made.result.findings)
    return made


def _adapt(
    artifacts: Artifacts, case: CaseId, needs: GraphNeeds, float_layers: tuple[str, ...]
) -> Artifact[Adapted]:
    plain, patches = artifacts.onnx(case.model), artifacts.patches()
    quantized = backends.get(case.backend).sources[case.precision] == "quantized"
    source, digest = _unadapted(artifacts, case)
    measured = ranges(artifacts, case.model) if not NEED_RANGES.isdisjoint(needs.rules) else None
    inputs: dict[str, object] = {
        "source": digest,
        "needs": asdict(needs),
        "float_layers": sorted(float_layers),
        "ranges": "" if measured is None else measured.digest,
        "code": source_fingerprint("stages/adapt.py"),
        "packages": versions(_PACKAGES),
    }

    def make(folder: Path) -> Adapted:
        artifacts.announce(f"writing the graph of {case} for its runtime")
        request = AdaptRequest(
            source=source,
            quantized=quantized,
            needs=needs,
            nodes=plain.result.graph.nodes,
            images=str(patches.path(file_names.EXPORT_IMAGES)),
            folder=str(folder),
            options=artifacts.options(case),
            ranges="" if measured is None else str(measured.path(file_names.RANGES)),
            float_layers=float_layers,
        )
        return run_job(jobs.ADAPT, request, artifacts.limits)

    return artifacts.cache.get_or_make("adapted", inputs, Adapted, make)


def ranges(artifacts: Artifacts, model: str) -> Artifact[Measured]:
    """The ranges of the float graph's tensors on the calibration patches."""
    graph, patches = artifacts.onnx(model), artifacts.calibration()
    inputs: dict[str, object] = {
        "onnx": graph.digest,
        "patches": patches.digest,
        "cpu": [cpu_model(), *isa_flags()],  # it computes them
        "code": source_fingerprint("stages/scales.py"),
        "packages": versions(("numpy", "onnx", "onnxruntime")),
    }

    def make(folder: Path) -> Measured:
        artifacts.announce(f"measuring the ranges of {model}'s tensors on the calibration patches")
        request = RangesRequest(
            onnx=str(graph.path(file_names.ONNX)),
            images=str(patches.path(file_names.CALIBRATION_IMAGES)),
            folder=str(folder),
            threads=artifacts.config.thread_count,
        )
        return run_job(jobs.RANGES, request, artifacts.limits)

    return artifacts.cache.get_or_make("ranges", inputs, Measured, make)
