"""Turn a graph or weights into an engine file."""

from __future__ import annotations

import time
from pathlib import Path

from voxgate import backends
from voxgate.errors import BuildError, GraphLintError
from voxgate.files import sha256_bytes
from voxgate.quantization.lint import lint_file
from voxgate.records.findings import Finding
from voxgate.stages import file_names
from voxgate.stages.requests import BuildRequest, Built

_SHOWN_FINDINGS = 5


def build(request: BuildRequest) -> Built:
    """Write ``engine.bin``.

    Raises:
        GraphLintError: a quantized ONNX graph breaks a fatal rule of `voxgate.quantization.lint`.
        ArtifactError: a quantized ONNX graph is damaged.
        BuildError: the backend failed or returned nothing.
        UnavailableError: its SDK is not here.
    """
    backend = backends.load(request.backend)
    probe = backend.probe()  # imports the SDK, which is not part of the build time
    backends.require(request.backend, request.options.precision, probe)
    if request.lint and is_quantized_onnx(request):
        refuse(request.source, lint_file(Path(request.source)).findings)
    start = time.perf_counter()
    engine = backend.build(request.source, request.options)
    build_s = time.perf_counter() - start
    if not engine:
        msg = f"{request.backend} returned an empty engine and no error"
        raise BuildError(msg)
    (Path(request.folder) / file_names.ENGINE).write_bytes(engine)
    notes = backend.build_notes()
    return Built(
        engine_bytes=len(engine),
        engine_sha256=sha256_bytes(engine),
        build_s=build_s,
        warnings=notes.warnings,
        timing_cache=notes.timing_cache,
    )


def is_quantized_onnx(request: BuildRequest) -> bool:
    """Whether the source is a Q/DQ graph; OpenVINO's IR has FakeQuantize nodes and other rules."""
    kind = backends.get(request.backend).sources[request.options.precision]
    return kind == "quantized" and request.source.endswith(".onnx")


def refuse(source: str, findings: tuple[Finding, ...]) -> None:
    """Refuse a graph with fatal findings before a runtime makes something else of it.

    Raises:
        GraphLintError: shows the first of them.
    """
    fatal = [finding for finding in findings if finding.fatal]
    if not fatal:
        return
    shown = "; ".join(f"{f.node} ({f.rule}): {f.message}" for f in fatal[:_SHOWN_FINDINGS])
    rest = len(fatal) - _SHOWN_FINDINGS
    more = f"; and {rest} more, which 'voxgate lint' lists" if rest > 0 else ""
    msg = f"{source} would be refused, or run in float: {shown}{more}"
    raise GraphLintError(msg)
