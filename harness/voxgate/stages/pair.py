"""Two engines in one process, timed in turn.

What differs between two launches of one engine (memory layout, where the scheduler puts it, the
host's minute) is alike for both here, so their ratio has none of it. The order A B B A cancels what
the first engine of a pair does to the second: its caches are cold, and it runs some percent slower.
On an accelerator each turn is a burst of inferences in flight, as in a launch of one engine.
"""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np

from voxgate import backends
from voxgate.backends import Session
from voxgate.backends.base import Tensor
from voxgate.records.gpu import Phases
from voxgate.records.measurement import PairedLaunch
from voxgate.stages.requests import PairRequest

_ROUND = "ABBA"
_TURNS = len(_ROUND) // 2  # of each engine in a round

_WARMUP_S = 0.4  # on an accelerator, for both engines
_TURN_S = 0.03  # of which the inference ahead of a burst, which is not timed, must not be most
_LEAST_TURN = 2


def pair(request: PairRequest) -> PairedLaunch:
    """One paired launch: at least ``min_pairs`` samples of each engine, after the warm-ups.

    Raises:
        BuildError: one of the files is no engine of this runtime.
    """
    backend = backends.load(request.backend)
    backends.require(request.backend, request.options.precision, backend.probe())
    images = np.load(request.images, allow_pickle=False)
    files = {"A": request.engine_a, "B": request.engine_b}
    accelerated = backend.create_context(request.options)
    context_ns = loading_ns = time.monotonic_ns()
    sessions: dict[str, Session] = {}
    try:
        for side in "BA" if request.b_first else "AB":
            sessions[side] = backend.load(Path(files[side]).read_bytes(), request.options)
        loaded_ns = time.monotonic_ns()
        sample = _sample_bursts if accelerated else _sample
        samples_ns, sampling_ns = sample(request, sessions, images)
        phases = Phases(
            context_ns=context_ns,
            loading_ns=loading_ns,
            loaded_ns=loaded_ns,
            sampling_ns=sampling_ns,
            sampled_ns=time.monotonic_ns(),
        )
    finally:
        for session in sessions.values():
            session.close()
    return PairedLaunch(
        b_first=request.b_first,
        a_ns=tuple(samples_ns["A"]),
        b_ns=tuple(samples_ns["B"]),
        phases=phases if accelerated else None,
    )


def _sample(
    request: PairRequest, sessions: dict[str, Session], images: Tensor
) -> tuple[dict[str, list[int]], int]:
    """The samples of each side, and when the first of them began."""
    for index in range(request.warmups):
        for session in sessions.values():
            session.infer(_patch(images, index))
    samples_ns: dict[str, list[int]] = {"A": [], "B": []}
    start_ns = time.monotonic_ns()
    end = time.monotonic() + request.seconds
    rounds = 0
    while (pairs := rounds * _TURNS) < request.min_pairs or (
        pairs < request.max_pairs and time.monotonic() < end
    ):
        # One patch a round, so that both engines see the same data equally often.
        patch = _patch(images, rounds)
        for side in _ROUND:
            samples_ns[side].append(sessions[side].infer(patch)[1])
        rounds += 1
    return samples_ns, start_ns


def _sample_bursts(
    request: PairRequest, sessions: dict[str, Session], images: Tensor
) -> tuple[dict[str, list[int]], int]:
    """As `_sample`, with a burst a turn, and by time alone where there is any."""
    slowest_ns = _warm_up(request, sessions, images)
    count = max(math.ceil(_TURN_S * 1e9 / slowest_ns), _LEAST_TURN)
    samples_ns: dict[str, list[int]] = {"A": [], "B": []}
    start_ns = time.monotonic_ns()
    end = time.monotonic() + request.seconds
    rounds = 0
    while len(samples_ns["A"]) < request.min_pairs or time.monotonic() < end:
        patch = _patch(images, rounds)
        for side in _ROUND:
            samples_ns[side] += sessions[side].sample(patch, count).samples_ns
        rounds += 1
    return samples_ns, start_ns


def _warm_up(request: PairRequest, sessions: dict[str, Session], images: Tensor) -> int:
    """Until the clocks are up; the ns of the slower engine's last inference."""
    end = time.monotonic() + min(_WARMUP_S, request.seconds)
    rounds, last_ns = 0, [1]
    while rounds < max(request.warmups, 1) or time.monotonic() < end:
        patch = _patch(images, rounds)
        last_ns = [session.sample(patch, 1).samples_ns[-1] for session in sessions.values()]
        rounds += 1
    return max(*last_ns, 1)


def _patch(images: Tensor, index: int) -> Tensor:
    position = index % len(images)
    return images[position : position + 1]
