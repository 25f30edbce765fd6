"""Turn a graph or weights into an engine file."""

from __future__ import annotations

import time
from pathlib import Path

from harness import backends, layout
from harness.errors import BuildError
from harness.files import sha256_bytes
from harness.requests import BuildRequest, Built


def build(request: BuildRequest) -> Built:
    """Write ``engine.bin``.

    Raises:
        BuildError: the backend failed or returned nothing.
        UnavailableError: its SDK is not here.
    """
    backend = backends.load(request.backend)
    probe = backend.probe()  # imports the SDK, which is not part of the build time
    backends.require(request.backend, request.options.precision, probe)
    start = time.perf_counter()
    engine = backend.build(request.source, request.options)
    build_s = time.perf_counter() - start
    if not engine:
        msg = f"{request.backend} returned an empty engine and no error"
        raise BuildError(msg)
    (Path(request.folder) / layout.ENGINE).write_bytes(engine)
    return Built(engine_bytes=len(engine), engine_sha256=sha256_bytes(engine), build_s=build_s)
