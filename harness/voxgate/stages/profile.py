"""The time of each layer, in a load of its own: an engine that times its layers is a slower one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from voxgate import backends
from voxgate.stages.requests import Profiled, ProfileRequest


def profile(request: ProfileRequest) -> Profiled:
    """Medians over ``inferences``, the first of which warms the engine up.

    Raises:
        BuildError: the engine file is not an engine of this runtime.
    """
    backend = backends.load(request.backend)
    backends.require(request.backend, request.options.precision, backend.probe())
    images = np.load(request.images, mmap_mode="r", allow_pickle=False)
    options = replace(request.options, profiled=True)
    backend.create_context(options)
    session = backend.load(Path(request.engine).read_bytes(), options)
    try:
        for index in range(request.inferences):
            position = index % len(images)
            session.infer(np.array(images[position : position + 1]))
        return Profiled(times_ns=session.layer_times_ns())
    finally:
        session.close()
