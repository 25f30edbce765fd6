"""The disturbing neighbour: it really burns, by its seed, and always ends."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from voxgate.errors import HarnessError

from benchmarks import neighbour
from benchmarks.neighbour import neighbours, schedule

SCRIPT = Path(neighbour.__file__).name


def running() -> list[psutil.Process]:
    children = psutil.Process(os.getpid()).children(recursive=True)
    return [child for child in children if SCRIPT in " ".join(child.cmdline())]


def test_the_schedule_is_that_of_its_seed() -> None:
    first, again, other = (list(itertools.islice(schedule(s), 500)) for s in (1, 1, 2))
    assert first == again
    assert first != other


def test_the_schedule_keeps_to_its_bounds() -> None:
    for busy_s, idle_s in itertools.islice(schedule(3), 2_000):
        assert 0.002 <= busy_s <= 0.1
        assert 0.0199 <= busy_s / (busy_s + idle_s) <= 0.3001


def test_neighbours_burn_a_little_and_end() -> None:
    with neighbours(2, seed=1):
        processes = running()
        assert len(processes) == 2
        assert [p.cmdline()[-1] for p in processes] == ["arithmetic", "memory"]
        time.sleep(1.5)
        used = [sum(p.cpu_times()[:2]) for p in processes]
    assert all(seconds > 0 for seconds in used)
    assert not running()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
def test_each_is_pinned_to_a_core_that_may_be_used() -> None:
    cores = sorted(os.sched_getaffinity(0))
    with neighbours(len(cores), seed=1):
        time.sleep(0.5)
        assert [p.cpu_affinity() for p in running()] == [[core] for core in cores]


def test_they_end_when_the_block_fails() -> None:
    with pytest.raises(KeyboardInterrupt), neighbours(1, seed=1):
        raise KeyboardInterrupt
    assert not running()


def test_a_neighbour_that_is_gone_is_an_error() -> None:
    def lose_one() -> None:
        with neighbours(2, seed=1):
            lost = running()[0]
            lost.kill()
            psutil.wait_procs([lost], timeout=10)

    with pytest.raises(HarnessError, match="1 of 2 neighbours ended early"):
        lose_one()
    assert not running()


def test_none_is_fine() -> None:
    with neighbours(0, seed=1):
        assert not running()


PARENT = """
import sys, time
from benchmarks.neighbour import neighbours
with neighbours(2, seed=1):
    print("started", flush=True)
    time.sleep(60)
"""


def test_they_do_not_outlive_a_killed_parent() -> None:
    root = Path(neighbour.__file__).resolve().parents[1]
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, cwd=root
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "started\n"
    children = psutil.Process(parent.pid).children(recursive=True)
    assert len(children) == 2
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive
