"""Samples a GPU beside a worker, from the launcher's side, on a thread of its own."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from types import TracebackType
from typing import Self

from harness.gpu_facts import gpu_facts, gpu_memory
from harness.nvml import Device, GpuSample, Identity, open_device
from harness.requests import RunResult

_INTERVAL_S = 0.02
_LAST_SAMPLE_S = 1.0  # a driver that hangs must not hang the run


class GpuMonitor:
    """Samples while it is entered; the first sample is taken at once."""

    def __init__(self, device: Device, pid: int, interval_s: float = _INTERVAL_S) -> None:
        self._device = device
        self._pid = pid
        self._interval_s = interval_s
        self._samples: list[GpuSample] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="gpu-monitor", daemon=True)

    @property
    def samples(self) -> tuple[GpuSample, ...]:
        """What was read so far, in order."""
        return tuple(self._samples)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(_LAST_SAMPLE_S)

    def _sample(self) -> None:
        while True:
            self._samples.append(self._device.read(self._pid))
            if self._stop.wait(self._interval_s):
                return


class GpuWatch:
    """What `harness.launcher.run_job` calls to have a worker's GPU watched; good for one launch.

    ``accelerator`` is the probe's. A GPU that cannot be read is not watched, and nothing fails.
    """

    def __init__(self, accelerator: str) -> None:
        self._accelerator = accelerator
        self._identity: Identity | None = None
        self._driver = ""
        self._samples: tuple[GpuSample, ...] = ()

    def __call__(self, pid: int) -> AbstractContextManager[object]:
        """Watch while the context is entered."""
        return self._watch(pid)

    def complete(self, result: RunResult) -> RunResult:
        """The result with the GPU's memory and state, where the worker used one and it was seen."""
        if self._identity is None or result.phases is None:
            return result
        return replace(
            result,
            gpu=gpu_facts(self._samples, result.phases, self._identity, self._driver),
            gpu_memory=gpu_memory(self._samples, result.phases),
        )

    @contextlib.contextmanager
    def _watch(self, pid: int) -> Iterator[None]:
        device, _ = open_device(uuid=self._accelerator)
        if device is None:
            yield
            return
        self._identity, self._driver = device.identity(), device.driver()
        monitor = GpuMonitor(device, pid)
        try:
            with monitor:
                yield
        finally:
            self._samples = monitor.samples
            device.close()
