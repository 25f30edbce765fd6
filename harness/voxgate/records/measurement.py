"""What one launch of an engine measured: times, memory, load of the host, Dice."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from voxgate.records.dice import Presence
from voxgate.records.gpu import Phases

MemoryScope = Literal["process-gpu", "device-gpu", "process-host"]


# --- measurements ------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class HostLoad:
    """Who else used the cores during the timed inferences, as shares of all cores' time.

    ``steal`` is what the hypervisor gave to others, ``foreign`` what other processes here used.
    """

    steal: float
    foreign: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """The raw samples of one process, in the order they were taken.

    ``samples_ns`` are by the backend's own timer, of the inference alone; ``host_samples_ns`` are whole
    inferences as the host sees them, copies to and from a device included: on a CPU the same ones, on
    an accelerator a few of their own behind the others. ``load`` is None where the system does not
    tell. On an accelerator the samples are in flight: ``back_to_back_ns`` is what one took from the
    first to the last of them, ``enqueue_ns`` the median of what the host needs to enqueue one onto an
    idle device. ``graph_samples_ns`` are beside them with the launches replayed from a captured graph;
    where that failed, ``graph_error`` says why.
    """

    order: int
    load_s: float
    warmups_ns: tuple[int, ...]
    samples_ns: tuple[int, ...]
    cpu_s: float
    host_samples_ns: tuple[int, ...] = ()
    load: HostLoad | None = None
    back_to_back_ns: int | None = None
    enqueue_ns: int | None = None
    graph_samples_ns: tuple[int, ...] = ()
    graph_error: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """Bytes before the engine is loaded, at the highest point while it runs, and between."""

    baseline: int
    peak: int
    delta: int
    scope: MemoryScope


@dataclass(frozen=True, kw_only=True, slots=True)
class Dice:
    """Dice per foreground class and patch; None where it is in neither truth nor prediction.

    ``per_case``, ``presence`` and ``subjects`` are by patch name. ``subjects`` is the subject or region
    that a patch was cut from; records of before do not have it.
    """

    mean: float
    per_class: dict[str, float | None]
    per_case: dict[str, dict[str, float | None]]
    presence: dict[str, dict[str, Presence]] = field(default_factory=dict)
    subjects: dict[str, str] = field(default_factory=dict)


# --- what the record holds -----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Latency:
    """Milliseconds over all samples of all launches; percentiles without interpolation."""

    median: float
    p50: float
    p90: float
    p99: float
    min: float
    mean: float
    stdev: float
    n: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedLaunch:
    """One process with two engines loaded, timed in the order A B B A.

    ``b_first`` is the order of loading; ``a_ns`` and ``b_ns`` are in the order they were taken.
    ``disturbed`` says what else happened on an accelerator meanwhile; ``phases`` are the worker's, for
    who watches it.
    """

    b_first: bool
    a_ns: tuple[int, ...]
    b_ns: tuple[int, ...]
    disturbed: tuple[str, ...] = ()
    phases: Phases | None = None
