"""Two engines in one process, timed in turn.

What differs between two launches of one engine (memory layout, where the scheduler puts it, the
host's minute) is alike for both here, so their ratio has none of it. The order A B B A cancels what
the first engine of a pair does to the second: its caches are cold, and it runs some percent slower.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from harness import backends
from harness.backends import Session
from harness.backends.base import Tensor
from harness.requests import PairRequest
from harness.verdicts import PairedLaunch

_ROUND = "ABBA"
_PAIRS_A_ROUND = len(_ROUND) // 2


def pair(request: PairRequest) -> PairedLaunch:
    """One paired launch: at least ``min_pairs`` samples of each engine, after the warm-ups.

    Raises:
        BuildError: one of the files is no engine of this runtime.
    """
    backend = backends.load(request.backend)
    backends.require(request.backend, request.options.precision, backend.probe())
    images = np.load(request.images, allow_pickle=False)
    files = {"A": request.engine_a, "B": request.engine_b}
    backend.create_context(request.options)
    sessions: dict[str, Session] = {}
    try:
        for side in "BA" if request.b_first else "AB":
            sessions[side] = backend.load(Path(files[side]).read_bytes(), request.options)
        samples_ns = _sample(request, sessions, images)
    finally:
        for session in sessions.values():
            session.close()
    return PairedLaunch(
        b_first=request.b_first, a_ns=tuple(samples_ns["A"]), b_ns=tuple(samples_ns["B"])
    )


def _sample(
    request: PairRequest, sessions: dict[str, Session], images: Tensor
) -> dict[str, list[int]]:
    for index in range(request.warmups):
        for session in sessions.values():
            session.infer(_patch(images, index))
    samples_ns: dict[str, list[int]] = {"A": [], "B": []}
    end = time.monotonic() + request.seconds
    pairs = 0
    while pairs < request.min_pairs or (pairs < request.max_pairs and time.monotonic() < end):
        # One patch a round, so that both engines see the same data equally often.
        patch = _patch(images, pairs // _PAIRS_A_ROUND)
        for side in _ROUND:
            samples_ns[side].append(sessions[side].infer(patch)[1])
        pairs += _PAIRS_A_ROUND
    return samples_ns


def _patch(images: Tensor, index: int) -> Tensor:
    position = index % len(images)
    return images[position : position + 1]
