"""What samples of a GPU say of a launch: its memory, its state, and what contaminated it. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from voxgate.machine.nvml import GpuSample, Identity
from voxgate.records.gpu import GpuFacts, GpuProcess, Phases, Span
from voxgate.records.measurement import Memory, MemoryScope

# A measurement is contaminated when more samples than these are throttled or at another clock:
# one sample in a hundred moves no median and no minimum, and neither does the only one of few.
_TOLERATED = 0.05
_LEAST_ODD = 2
_SAME_CLOCK = 0.10
# Fast engines reach a card's power cap by themselves, launch after launch; the driver then moves the
# clock by a few steps, and the launches agree all the same. Whether that spoils a time is told by the
# clock, as ever; the cap counts where no clock is told.
_CAP = "power cap"

# With fewer samples nobody knows what happened meanwhile.
_LEAST_SAMPLES = 5

# The driver averages what processes use over up to a second, and tells it then.
_USE_IS_TOLD_WITHIN_NS = 1_000_000_000

_MIB = 2**20
_ALWAYS = (0, 2**63)


def gpu_memory(samples: Sequence[GpuSample], phases: Phases) -> Memory | None:
    """The process's GPU memory before the load and at its highest until the last timed inference.

    Device-wide where the driver does not tell it per process; None where a phase has no sample.
    """
    before = _between(samples, phases.context_ns, phases.loading_ns)
    after = _between(samples, phases.loading_ns, phases.sampled_ns)
    own = _memory(
        [s.process_bytes for s in before], [s.process_bytes for s in after], "process-gpu"
    )
    return own or _memory(
        [s.device_bytes for s in before], [s.device_bytes for s in after], "device-gpu"
    )


def gpu_facts(
    samples: Sequence[GpuSample],
    phases: Phases | None,
    identity: Identity,
    driver: str,
    trouble: str,
) -> GpuFacts:
    """The GPU's state during the timed inferences; warm-ups are where the clocks rise.

    Without phases, as of a build, all samples count.
    """
    start_ns, end_ns = (phases.sampling_ns, phases.sampled_ns) if phases else _ALWAYS
    timed = _between(samples, start_ns, end_ns)
    lived = _between(samples, phases.context_ns, end_ns) if phases else samples
    visible = any(sample.listed for sample in lived)
    clocks = _told(sample.sm_clock_mhz for sample in timed)
    return GpuFacts(
        name=identity.name,
        uuid=identity.uuid,
        driver=driver,
        samples=len(timed),
        interval_ms=_interval_ms(timed),
        sm_clock_mhz=_span(clocks),
        unsteady=_unsteady(clocks),
        memory_clock_mhz=_span(_told(sample.memory_clock_mhz for sample in timed)),
        temperature_c=_span(_told(sample.temperature_c for sample in timed)),
        power_w=_span(_told(sample.power_w for sample in timed)),
        throttled=_shares(timed),
        foreign_visible=visible,
        foreign=_foreign(timed, _use(samples, start_ns, end_ns)) if visible else (),
        trouble=trouble,
        power_cap_w=identity.power_cap_w,
        ecc=identity.ecc,
        mig=identity.mig,
        mps=identity.mps,
    )


def contamination(launches: Sequence[GpuFacts]) -> tuple[str, ...]:
    """What makes the latencies of a case's launches say nothing; empty where nothing does."""
    found = [
        f"launch {number}: {what}"
        for number, facts in enumerate(launches, 1)
        for what in contamination_of_one(facts)
    ]
    medians = [facts.sm_clock_mhz.median for facts in launches if facts.sm_clock_mhz]
    if medians and max(medians) > min(medians) * (1 + _SAME_CLOCK):
        found.append(
            f"the SM clock's median was {min(medians):.0f} MHz in one launch and "
            f"{max(medians):.0f} MHz in another"
        )
    return tuple(found)


def contamination_of_one(facts: GpuFacts) -> tuple[str, ...]:
    """The same of one process, where no other one is to be compared with."""
    if facts.trouble:
        return (f"the GPU could not be watched: {facts.trouble}", *disturbance(facts))
    if facts.samples < _LEAST_SAMPLES:
        few = f"the GPU was read {facts.samples} times during the timed inferences"
        return (
            f"{few}, and {_LEAST_SAMPLES} are the fewest that tell something",
            *disturbance(facts),
        )
    return (*disturbance(facts), *_unsteadiness(facts))


def disturbance(facts: GpuFacts) -> tuple[str, ...]:
    """Who else computed on the GPU; a process of which the driver does not tell may have."""
    return tuple(
        f"process {process.pid} was on the GPU, too, with {_size(process)}{_busy(process)}"
        for process in facts.foreign
        if process.busy_percent != 0
    )


def remarks(launches: Sequence[GpuFacts]) -> tuple[str, ...]:
    """What a reader should know of the launches, though it spoilt nothing that is known."""
    idle = {
        f"process {process.pid} held {_size(process)} on the GPU, and computed nothing"
        for facts in launches
        for process in facts.foreign
        if process.busy_percent == 0
    }
    silent = [facts for facts in launches if facts.samples and _tells_no_slowdown(facts)]
    return (
        *sorted(idle),
        *_at_the_cap(launches),
        *(
            ["the GPU tells neither clocks nor throttling: a slowdown would not show"]
            if silent
            else []
        ),
    )


def _at_the_cap(launches: Sequence[GpuFacts]) -> tuple[str, ...]:
    shares = [
        facts.throttled.get(_CAP, 0.0)
        for facts in launches
        if facts.throttled and _kept_its_clock(facts)
    ]
    highest = max(shares, default=0.0)
    if highest <= _TOLERATED:
        return ()
    text = (
        f"the GPU was at its power cap in up to {highest:.0%} of a launch's samples, and its clock was "
        "steady: that is how fast this engine is on this card"
    )
    return (text,)


def settings(facts: GpuFacts | Identity) -> str:
    """How the GPU is set up, as far as it tells, in words."""
    modes = {"ECC": facts.ecc, "MIG": facts.mig, "MPS": facts.mps}
    told = [f"{name} {'on' if mode else 'off'}" for name, mode in modes.items() if mode is not None]
    cap = [] if facts.power_cap_w is None else [f"power cap {facts.power_cap_w:.0f} W"]
    return ", ".join((*cap, *told))


def unwatched(accelerator: str, why: str) -> GpuFacts:
    """What is known of a GPU that was never read."""
    return gpu_facts(
        (), None, Identity(name="", uuid=accelerator, memory_bytes=None, persistence=None), "", why
    )


def _unsteadiness(facts: GpuFacts) -> tuple[str, ...]:
    found = [
        f"{reason} in {share:.0%} of {facts.samples} samples"
        for reason, share in (facts.throttled or {}).items()
        if _too_many(share, facts.samples) and not (reason == _CAP and _kept_its_clock(facts))
    ]
    if facts.sm_clock_mhz and _too_many(facts.unsteady or 0.0, facts.samples):
        clock = facts.sm_clock_mhz
        found.append(
            f"the SM clock was unsteady, {clock.min:.0f} to {clock.max:.0f} MHz, in "
            f"{facts.unsteady:.0%} of {facts.samples} samples"
        )
    return tuple(found)


def _kept_its_clock(facts: GpuFacts) -> bool:
    return facts.sm_clock_mhz is not None and not _too_many(facts.unsteady or 0.0, facts.samples)


def _too_many(share: float, samples: int) -> bool:
    return share > _TOLERATED and round(share * samples) >= _LEAST_ODD


def _tells_no_slowdown(facts: GpuFacts) -> bool:
    return facts.sm_clock_mhz is None and facts.throttled is None


def _between(samples: Iterable[GpuSample], start_ns: int, end_ns: int) -> list[GpuSample]:
    return [sample for sample in samples if start_ns <= sample.at_ns <= end_ns]


def _memory(
    before: Sequence[int | None], after: Sequence[int | None], scope: MemoryScope
) -> Memory | None:
    known_before = [value for value in before if value is not None]
    known_after = [value for value in after if value is not None]
    if not known_before or not known_after:
        return None
    baseline = max(known_before)
    peak = max(baseline, *known_after)
    return Memory(baseline=baseline, peak=peak, delta=peak - baseline, scope=scope)


def _told(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _span(values: Sequence[float]) -> Span | None:
    if not values:
        return None
    return Span(min=min(values), median=statistics.median(values), max=max(values))


def _unsteady(clocks: Sequence[float]) -> float | None:
    if not clocks:
        return None
    median = statistics.median(clocks)
    return sum(abs(clock - median) > _SAME_CLOCK * median for clock in clocks) / len(clocks)


def _interval_ms(samples: Sequence[GpuSample]) -> float | None:
    """What the sampling really took, not what it was asked for."""
    if len(samples) < 2:
        return None
    return (samples[-1].at_ns - samples[0].at_ns) / (len(samples) - 1) / 1e6


def _shares(samples: Sequence[GpuSample]) -> dict[str, float] | None:
    told = [s.throttle_reasons for s in samples if s.throttle_reasons is not None]
    if not told:
        return None
    names = sorted({name for reasons in told for name in reasons})
    return {name: sum(name in reasons for reasons in told) / len(told) for name in names}


def _use(samples: Sequence[GpuSample], start_ns: int, end_ns: int) -> dict[int, int] | None:
    """The most that each process used; None where the driver told nothing that can be believed.

    It must have told what the worker itself used: else an empty answer may be one that came too early.
    """
    told = _between(samples, start_ns, end_ns + _USE_IS_TOLD_WITHIN_NS)
    most: dict[int, int] = {}
    for sample in told:
        for pid, percent in (sample.busy_percent or {}).items():
            most[pid] = max(most.get(pid, 0), percent)
    foreign = {process.pid for sample in told for process in sample.foreign}
    return most if any(most[pid] for pid in most.keys() - foreign) else None


def _foreign(samples: Sequence[GpuSample], use: dict[int, int] | None) -> tuple[GpuProcess, ...]:
    """Each other process, with the most that it held and used."""
    most: dict[int, int | None] = {}
    for process in (process for sample in samples for process in sample.foreign):
        held = (most.get(process.pid), process.memory_bytes)
        most[process.pid] = max((value for value in held if value is not None), default=None)
    return tuple(
        GpuProcess(
            pid=pid, memory_bytes=held, busy_percent=None if use is None else use.get(pid, 0)
        )
        for pid, held in sorted(most.items())
    )


def _size(process: GpuProcess) -> str:
    if process.memory_bytes is None:
        return "memory that the driver does not tell"
    return f"{process.memory_bytes / _MIB:.0f} MiB"


def _busy(process: GpuProcess) -> str:
    return "" if process.busy_percent is None else f", and used {process.busy_percent} % of it"
