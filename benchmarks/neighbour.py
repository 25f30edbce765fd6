"""A neighbour that disturbs: processes that burn bursts of a core's time, at random, from a seed.

    with neighbours(count=2, seed=7):
        ...  # what is to be disturbed

Each process is pinned to a core of its own and keeps it busy for 2-30 % of the time, in bursts of
2-100 ms; every second one copies memory, the others calculate. They end with the ``with`` block, and
with the process that started them, however it ends: their standard input closes then.

As a script this file is the process itself. It imports the standard library alone and is started by
its path, so that it runs wherever Python does.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

_DUTY = (0.02, 0.30)
_BURST_S = (0.002, 0.1)
_EPISODE_S = (0.5, 3.0)  # for which a duty is kept
_COPIED_BYTES = 16 << 20  # beyond the caches of a core
_SUMMANDS = 2_000


@contextlib.contextmanager
def neighbours(count: int, seed: int) -> Iterator[None]:
    """``count`` disturbing processes on the cores that this process may use, while it is entered.

    Raises:
        HarnessError: one of them ended early.
    """
    from voxgate.errors import HarnessError  # the script has the standard library alone

    processes: list[subprocess.Popen[bytes]] = []
    try:
        while len(processes) < count:
            processes.append(_start(len(processes), seed * 1_000 + len(processes)))
        yield
        ended = [process for process in processes if process.poll() is not None]
        if ended:
            words = (ended[0].stderr.read() if ended[0].stderr else b"").decode(errors="replace")
            msg = (
                f"{len(ended)} of {count} neighbours ended early, and what they were to disturb was "
                f"not: {words.strip()[-300:] or 'they say nothing'}"
            )
            raise HarnessError(msg)
    finally:
        for process in processes:
            _end(process)


def _start(index: int, seed: int) -> subprocess.Popen[bytes]:
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    core = cores[index % len(cores)] if cores else -1
    kind = "memory" if index % 2 else "arithmetic"
    return subprocess.Popen(
        [sys.executable, "-I", __file__, str(core), str(seed), kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C reaches the parent alone, which ends them
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stderr):
        if stream is not None:
            stream.close()


def schedule(seed: int) -> Iterator[tuple[float, float]]:
    """(busy, idle) in seconds, without end: the same for the same seed."""
    draw = random.Random(seed)  # noqa: S311 - noise, not a secret
    while True:
        duty, left_s = draw.uniform(*_DUTY), draw.uniform(*_EPISODE_S)
        while left_s > 0:
            busy_s = draw.uniform(*_BURST_S)
            idle_s = busy_s * (1 - duty) / duty
            yield busy_s, idle_s
            left_s -= busy_s + idle_s


def _calculate() -> None:
    sum(range(_SUMMANDS))


def _copier() -> Callable[[], None]:
    source, target = bytes(_COPIED_BYTES), memoryview(bytearray(_COPIED_BYTES))

    def copy() -> None:
        target[:] = source

    return copy


def _disturb(core: int, seed: int, kind: str) -> None:
    if core >= 0:
        os.sched_setaffinity(0, {core})
    threading.Thread(target=_exit_at_end_of_input, daemon=True).start()
    work = _copier() if kind == "memory" else _calculate
    for busy_s, idle_s in schedule(seed):
        end = time.monotonic() + busy_s
        while time.monotonic() < end:
            work()
        time.sleep(idle_s)


def _exit_at_end_of_input() -> None:
    while os.read(0, 1):
        pass
    os._exit(0)


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("core", type=int, help="-1: any")
    parser.add_argument("seed", type=int)
    parser.add_argument("kind", choices=("arithmetic", "memory"))
    options = parser.parse_args()
    _disturb(options.core, options.seed, options.kind)


if __name__ == "__main__":
    _main()
