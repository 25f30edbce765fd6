"""The frozen records of a GPU beside a worker; `voxgate.records` holds the others. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Phases:
    """When a worker on an accelerator reached what, by `time.monotonic_ns`.

    ``context_ns``: the accelerator's context is there; ``loading_ns`` to ``loaded_ns``: the engine
    is loaded; ``sampling_ns`` to ``sampled_ns``: the timed inferences, after the warm-ups.
    """

    context_ns: int
    loading_ns: int
    loaded_ns: int
    sampling_ns: int
    sampled_ns: int


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuProcess:
    """A process with a compute context on a GPU; None is what the driver does not tell.

    ``busy_percent`` is the most that it computed or copied at a time: an idle context has 0.
    """

    pid: int
    memory_bytes: int | None
    busy_percent: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """The least, the middle and the greatest of some values."""

    min: float
    median: float
    max: float


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuFacts:
    """A GPU during the timed inferences of one launch.

    ``unsteady`` is the share of samples whose SM clock is far from the median, ``throttled`` the
    share with each reason to slow down; None where the GPU does not tell. Where the driver does not
    list the worker itself, as in many containers, ``foreign_visible`` is false and ``foreign`` empty.
    ``trouble`` says why the GPU could not be watched, or not to the end. The rest is how it is set up:
    cut into slices (``mig``), or shared through a server (``mps``).
    """

    name: str
    uuid: str
    driver: str
    samples: int
    interval_ms: float | None
    sm_clock_mhz: Span | None
    unsteady: float | None
    memory_clock_mhz: Span | None
    temperature_c: Span | None
    power_w: Span | None
    throttled: dict[str, float] | None
    foreign_visible: bool
    foreign: tuple[GpuProcess, ...]
    trouble: str = ""
    power_cap_w: float | None = None
    ecc: bool | None = None
    mig: bool | None = None
    mps: bool | None = None
