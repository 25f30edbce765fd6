"""Samples a GPU beside a worker, from the launcher's side, on a thread of its own.

All that asks the driver is on that thread: a driver that hangs then holds up nobody but it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from types import TracebackType
from typing import Self, TypeVar

from voxgate.artifacts.launcher import Watch
from voxgate.errors import HarnessError
from voxgate.machine.gpu_facts import gpu_facts, gpu_memory, unwatched
from voxgate.machine.nvml import Device, GpuLostError, GpuSample, Identity, open_device
from voxgate.records.gpu import GpuFacts, Phases
from voxgate.stages.requests import RunResult

Result = TypeVar("Result")

_INTERVAL_S = 0.02
_FIRST_SAMPLE_S = 10.0  # the driver may have to be loaded
_LAST_SAMPLE_S = 1.0

Open = Callable[[], tuple[Device | None, str]]


class GpuMonitor:
    """Samples while it is entered; the first sample is there when the body begins.

    What ends it early is kept: a GPU that is not watched must not pass for one that was left alone.
    """

    def __init__(self, opening: Open, pid: int, interval_s: float = _INTERVAL_S) -> None:
        self._opening = opening
        self._pid = pid
        self._interval_s = interval_s
        self._samples: list[GpuSample] = []
        self._begun, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._watch, name="gpu-monitor", daemon=True)
        self.identity: Identity | None = None
        self.driver = ""
        self.trouble = ""
        self.lost = False

    @property
    def samples(self) -> tuple[GpuSample, ...]:
        """What was read so far, in order."""
        return tuple(self._samples)

    def __enter__(self) -> Self:
        self._thread.start()
        self._begun.wait(_FIRST_SAMPLE_S)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(_LAST_SAMPLE_S)
        if self._thread.is_alive():
            self.trouble = "NVML does not answer any more; is the driver hung?"

    def _watch(self) -> None:
        try:
            device, reason = self._opening()
            if device is None:
                self.trouble = reason
                return
            try:
                self.identity, self.driver = device.identity(), device.driver()
                self._sample(device)
            finally:
                device.close()
        except GpuLostError as error:
            self.trouble, self.lost = f"it was lost: {error}", True
        except Exception as error:  # noqa: BLE001 - whoever waits must learn of every end
            self.trouble = f"{type(error).__name__}: {error}"
        finally:
            self._begun.set()

    def _sample(self, device: Device) -> None:
        while True:
            sample = device.read(self._pid)
            if not sample.says_something:
                self.trouble = "it answers no query of NVML"
                return
            self._samples.append(sample)
            self._begun.set()
            if self._stop.wait(self._interval_s):
                return


class GpuWatch:
    """What `voxgate.artifacts.launcher.run_job` calls to have a worker's GPU watched; good for one process.

    ``accelerator`` is the probe's.
    """

    def __init__(self, accelerator: str) -> None:
        self._accelerator = accelerator
        self._monitor: GpuMonitor | None = None

    def __call__(self, pid: int) -> AbstractContextManager[object]:
        """Watch while the context is entered."""
        return self._watch(pid)

    @property
    def lost(self) -> str:
        """What the driver said when it lost the GPU; empty where it has it."""
        monitor = self._monitor
        return monitor.trouble if monitor is not None and monitor.lost else ""

    def facts(self, phases: Phases | None = None) -> GpuFacts:
        """The GPU's state in the timed phase, or all the time."""
        monitor = self._monitor
        if monitor is None or monitor.identity is None:
            trouble = "" if monitor is None else monitor.trouble
            return unwatched(self._accelerator, trouble or "NVML has not answered")
        return gpu_facts(monitor.samples, phases, monitor.identity, monitor.driver, monitor.trouble)

    def complete(self, result: RunResult) -> RunResult:
        """The result with the GPU's memory and state, where the worker used one."""
        if result.phases is None:
            return result
        samples = () if self._monitor is None else self._monitor.samples
        return replace(
            result, gpu=self.facts(result.phases), gpu_memory=gpu_memory(samples, result.phases)
        )

    @contextlib.contextmanager
    def _watch(self, pid: int) -> Iterator[None]:
        self._monitor = GpuMonitor(lambda: open_device(self._accelerator), pid)
        with self._monitor:
            yield


def run_watched(start: Callable[[Watch], Result], accelerator: str) -> tuple[Result, GpuWatch]:
    """What ``start(watch)`` answers, and who watched the GPU meanwhile.

    Raises:
        HarnessError: whatever it raises; where the GPU was lost meanwhile, the driver's words, too.
    """
    watch = GpuWatch(accelerator)
    try:
        return start(watch), watch
    except HarnessError as error:
        if not watch.lost:
            raise
        msg = f"{error}; the GPU: {watch.lost}"
        raise type(error)(msg) from error
