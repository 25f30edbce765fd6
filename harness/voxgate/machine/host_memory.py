"""Resident memory of this process: baseline, peak and delta.

On Linux the kernel keeps the peak (VmHWM) and resets it on request, so that the import of an SDK
does not count. Elsewhere, or where the reset is refused, the peak is that of the whole process.
"""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path

from voxgate.records.measurement import Memory

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


class HostMemory:
    """Start it before the engine is loaded; read it after the last timed inference."""

    def __init__(self) -> None:
        with contextlib.suppress(OSError):
            _CLEAR.write_text(_RESET_PEAK)
        self._baseline = _field_bytes("VmRSS") or _peak_bytes()

    def read(self) -> Memory:
        """Bytes; the scope is this process on the host."""
        peak = max(_peak_bytes(), self._baseline)
        return Memory(
            baseline=self._baseline,
            peak=peak,
            delta=peak - self._baseline,
            scope="process-host",
        )


def _peak_bytes() -> int:
    peak = _field_bytes("VmHWM")
    if peak is not None:
        return peak
    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return usage if sys.platform == "darwin" else usage * 1024


def _field_bytes(field: str) -> int | None:
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return None
