"""Turn a graph or weights into an engine file."""

from __future__ import annotations

import time
from pathlib import Path

from voxgate import backends
from voxgate.errors import BuildError
from voxgate.files import sha256_bytes
from voxgate.quantization.lint import lint_file, refuse
from voxgate.stages import file_names
from voxgate.stages.requests import BuildRequest, Built


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
    """Whether the source is a Q/DQ graph."""
    return backends.get(request.backend).takes_pairs(request.options.precision, request.source)
