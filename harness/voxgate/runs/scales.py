"""Composes the check of scales: the graph, the ranges of the float one, and a comparison; no maths."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from voxgate import backends
from voxgate.artifacts import jobs
from voxgate.artifacts.adapted_graphs import ranges
from voxgate.artifacts.cache import Artifact
from voxgate.artifacts.fingerprint import source_fingerprint
from voxgate.artifacts.launcher import run_job
from voxgate.artifacts.progress import Reporter
from voxgate.artifacts.run_artifacts import Artifacts
from voxgate.config import RunConfig
from voxgate.errors import EXIT_FAILED, EXIT_PASS, HarnessError, UsageError
from voxgate.machine.environment import versions
from voxgate.records.scales import CheckedScales
from voxgate.stages import file_names
from voxgate.stages.scale_requests import ScalesRequest


@dataclass(frozen=True, kw_only=True, slots=True)
class GraphScales:
    """What was found of one model's graph by one quantizer; ``error`` says why nothing was."""

    model: str
    quantizer: str
    method: str
    found: CheckedScales | None = None
    error: str = ""

    @property
    def passed(self) -> bool:
        """Whether something was checked, and all that was equals the formulas."""
        return bool(
            self.found is not None and self.found.of("equal") and not self.found.of("deviates")
        )


def quantizing_backends(config: RunConfig) -> tuple[str, ...]:
    """Of the selected backends one for each quantizer that they would use.

    Raises:
        UsageError: none of them is built from a quantized graph.
    """
    by_quantizer: dict[str, str] = {}
    for name in config.backends:
        spec = backends.get(name)
        if "quantized" in spec.sources.values() and spec.default_quantizer is not None:
            by_quantizer.setdefault(config.quantizer or spec.default_quantizer, name)
    if not by_quantizer:
        msg = (
            f"{', '.join(config.backends)}: built from no quantized graph, so there are no scales; "
            "choose another --backend"
        )
        raise UsageError(msg)
    return tuple(by_quantizer.values())


def check_all(artifacts: Artifacts, reporter: Reporter) -> tuple[GraphScales, ...]:
    """Every selected model with every quantizer; one that fails does not stop the others."""
    config = artifacts.config
    chosen = quantizing_backends(config)
    reporter.begin(len(config.models) * len(chosen))
    found = []
    for model in config.models:
        for backend in chosen:
            found.append(check_graph(artifacts, model, backend))
            reporter.advance()
    return tuple(found)


def exit_code(results: tuple[GraphScales, ...]) -> int:
    """0 when every graph passed; a graph of which nothing could be checked is no pass."""
    return EXIT_PASS if results and all(result.passed for result in results) else EXIT_FAILED


def check_graph(artifacts: Artifacts, model: str, backend: str) -> GraphScales:
    """The scales of the graph that a backend builds a model from."""
    quantizer = artifacts.quantizer(backend)
    method = artifacts.method(quantizer)
    try:
        found = _checked(artifacts, model, backend).result
    except HarnessError as error:
        return GraphScales(model=model, quantizer=quantizer.name, method=method, error=str(error))
    return GraphScales(model=model, quantizer=quantizer.name, method=method, found=found)


def _checked(artifacts: Artifacts, model: str, backend: str) -> Artifact[CheckedScales]:
    quantizer = artifacts.quantizer(backend)
    method = artifacts.method(quantizer)
    graph, measured = artifacts.quantized(model, backend), ranges(artifacts, model)
    inputs: dict[str, object] = {
        "graph": graph.digest,
        "ranges": measured.digest,
        "quantizer": quantizer.name,
        "method": method,
        # The readers and the checks are imported by names in tables.
        "code": source_fingerprint(
            "stages/scales.py", "quantization", "quantizers/check_scales.py"
        ),
        "packages": versions(("numpy", "onnx", "openvino")),
    }

    def make(folder: Path) -> CheckedScales:
        del folder  # the result is all there is
        artifacts.announce(
            f"comparing the scales of {model} by {quantizer.title} with the formulas"
        )
        request = ScalesRequest(
            graph=str(graph.path(graph.result.file)),
            format=graph.result.format,
            quantizer=quantizer.name,
            method=method,
            ranges=str(measured.path(file_names.RANGES)),
        )
        return run_job(jobs.SCALES, request, artifacts.limits)

    return artifacts.cache.get_or_make("scales", inputs, CheckedScales, make)
