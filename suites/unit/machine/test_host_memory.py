"""The memory of a process: what is allocated after the start is seen, what came before is not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from voxgate.machine import host_memory
from voxgate.machine.host_memory import HostMemory
from voxgate.records.measurement import Memory

MIB = 2**20

linux = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux resets the peak and reports VmHWM"
)


def _measure(before: str, after: str) -> Memory:
    """What a fresh process reads; its peak cannot come from other tests."""
    script = (
        "import sys\nimport msgspec\nimport numpy as np\n"
        "from voxgate.machine.host_memory import HostMemory\n"
        f"{before}\nmemory = HostMemory()\n{after}\n"
        "sys.stdout.buffer.write(msgspec.json.encode(memory.read()))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=True)
    return msgspec.json.decode(done.stdout, type=Memory)


@linux
def test_allocation_after_the_start_raises_the_peak() -> None:
    found = _measure("", f"block = np.ones({64 * MIB}, np.uint8)")
    assert 60 * MIB <= found.delta <= 100 * MIB
    assert found.peak == found.baseline + found.delta
    assert found.scope == "process-host"


@linux
def test_allocation_that_was_freed_still_raises_the_peak() -> None:
    found = _measure("", f"block = np.ones({64 * MIB}, np.uint8)\ndel block")
    assert found.delta >= 60 * MIB


@linux
def test_memory_held_before_the_start_is_baseline() -> None:
    found = _measure(f"block = np.ones({64 * MIB}, np.uint8)", "")
    assert found.baseline >= 64 * MIB
    assert found.delta <= 16 * MIB


@linux
def test_peak_before_the_start_does_not_count() -> None:
    found = _measure(f"block = np.ones({256 * MIB}, np.uint8)\ndel block", "")
    assert found.delta <= 64 * MIB


def test_baseline_is_at_most_the_peak() -> None:
    found = HostMemory().read()
    assert MIB < found.baseline <= found.peak
    assert found.delta == found.peak - found.baseline


def test_without_the_kernels_counters_the_peak_of_the_process_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(host_memory, "_STATUS", tmp_path / "missing" / "status")
    monkeypatch.setattr(host_memory, "_CLEAR", tmp_path / "missing" / "clear_refs")
    found = HostMemory().read()
    assert MIB < found.baseline <= found.peak
    assert found.delta == found.peak - found.baseline
