"""Recordings made up from a seed, for the tests of the rules."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
from voxgate.records.measurement import HostLoad
from voxgate.records.run import Environment

from benchmarks import recording
from benchmarks.recording import Header, Kind, RecordedLaunch, Recording, RecordingState, State
from benchmarks.resampling import Draws, Section, draw, stratify

TRIALS = 60
STATES: tuple[State, ...] = get_args(State)
SAMPLES = 30
PAIRS = 22
ENVIRONMENT = Environment(
    host="h", system="s", cpu="c", isa=(), cores=2, threads=2, memory_bytes=1, gpu=None, driver=None,
    cuda=None, python="3", backends={}, packages={}, git_commit=None,
)  # fmt: skip


def make_recording(
    *,
    state: RecordingState = "quiet",
    host: str = "h",
    launches: int = 6,
    spread: float = 0.02,
    noise: float = 0.02,
    pairs: int = PAIRS,
) -> Recording:
    """Launches whose speeds differ by ``spread``, with samples above their minimum by ``noise``."""
    generator = np.random.default_rng([*host.encode(), *state.encode()])
    labels: tuple[State, ...] = get_args(State) if state == "mixed" else (state,)
    kinds: tuple[Kind, ...] = get_args(Kind)

    def launch(number: int) -> RecordedLaunch:
        base = 1e8 * (1 + spread * generator.standard_normal())
        kind = kinds[number % 2]
        count = SAMPLES if kind == "solo" else pairs
        a, b = (base * (1 + noise * np.abs(generator.standard_normal(count))) for _ in range(2))
        return RecordedLaunch(
            number=number,
            kind=kind,
            state=labels[number // 4 % len(labels)],
            a_ns=tuple(map(int, a)),
            b_ns=() if kind == "solo" else tuple(map(int, b)),
            b_first=number % 4 == 3,
            load=HostLoad(steal=0.0, foreign=0.1),
        )

    header = Header(
        voxgate="0", case="unet/t/b/int8", engine_sha256="ab" * 32, state=state, warmups=1,
        samples=SAMPLES, pairs=pairs, neighbours=1, seed=0,
        environment=replace(ENVIRONMENT, host=host),
    )  # fmt: skip
    found = tuple(launch(number) for number in range(2 * launches))
    return Recording(name=f"{host}-{state}.jsonl", header=header, launches=found)


def write(folder: Path, made: Recording) -> Path:
    """The file of a recording."""
    path = folder / made.name
    recording.append(path, made.header)
    for launch in made.launches:
        recording.append(path, launch)
    return path


def drawn(
    section: Section = "quiet",
    *,
    trials: int = TRIALS,
    launches: int = 12,
    spread: float = 0.02,
    noise: float = 0.02,
) -> Draws:
    """Comparisons of one engine, quiet or beside a neighbour."""
    (stratum,) = stratify(
        [
            make_recording(state=state, launches=launches, spread=spread, noise=noise)
            for state in STATES
        ]
    )
    return draw(stratum, section, trials, np.random.default_rng(1))
