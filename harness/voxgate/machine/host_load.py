"""Who else used the cores while an engine was timed, from Linux's own accounts."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from voxgate.records.measurement import HostLoad

_STAT = Path("/proc/stat")
# The columns of a cpu line: user, nice, system, idle, iowait, irq, softirq, steal (guest times are
# contained in the first two).
_IDLE = (3, 4)
_STEAL = 7
_COLUMNS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class _Account:
    """Seconds since boot of the cores that this process may use, and its own CPU seconds."""

    total: float
    idle: float
    steal: float
    own: float


class LoadMeter:
    """Start it before the timed inferences; read it after them."""

    def __init__(self) -> None:
        self._start = _account()

    def read(self) -> HostLoad | None:
        """Shares since the start; None where the system does not tell, or no tick went by."""
        start, end = self._start, _account()
        if start is None or end is None or end.total <= start.total:
            return None
        total = end.total - start.total
        steal = max(end.steal - start.steal, 0.0)  # a guest that was moved may read less
        busy = total - (end.idle - start.idle) - steal
        # The accounts are kept in ticks of 10 ms, ours more finely: the difference may be below 0.
        return HostLoad(steal=steal / total, foreign=max(busy - (end.own - start.own), 0.0) / total)


def _account() -> _Account | None:
    try:
        lines = _STAT.read_text().splitlines()
    except OSError:
        return None
    names = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    rows = [
        [int(ticks) for ticks in line.split()[1 : _COLUMNS + 1]]
        for line in lines
        if line.split(maxsplit=1)[0] in names
    ]
    if not rows or any(len(row) < _COLUMNS for row in rows):
        return None
    second = os.sysconf("SC_CLK_TCK")
    return _Account(
        total=sum(sum(row) for row in rows) / second,
        idle=sum(row[column] for row in rows for column in _IDLE) / second,
        steal=sum(row[_STEAL] for row in rows) / second,
        own=time.process_time(),
    )
