"""What samples of a GPU say of a launch: its memory, its state, and what contaminated it. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from harness.nvml import GpuSample, Identity
from harness.types import GpuFacts, GpuProcess, Memory, MemoryScope, Phases, Span

# A measurement is contaminated when more samples than these are throttled or at another clock:
# one sample in a hundred moves no median and no minimum.
_TOLERATED = 0.05
_SAME_CLOCK = 0.10

_MIB = 2**20


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
    samples: Sequence[GpuSample], phases: Phases, identity: Identity, driver: str
) -> GpuFacts:
    """The GPU's state during the timed inferences; warm-ups are where the clocks rise."""
    timed = _between(samples, phases.sampling_ns, phases.sampled_ns)
    visible = any(
        sample.listed for sample in _between(samples, phases.context_ns, phases.sampled_ns)
    )
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
        foreign=_foreign(timed) if visible else (),
    )


def contamination(launches: Sequence[GpuFacts]) -> tuple[str, ...]:
    """What makes the latencies of a case's launches say nothing; empty where nothing does."""
    found = [
        f"launch {number}: {what}"
        for number, facts in enumerate(launches, 1)
        for what in _of_launch(facts)
    ]
    medians = [facts.sm_clock_mhz.median for facts in launches if facts.sm_clock_mhz]
    if medians and max(medians) > min(medians) * (1 + _SAME_CLOCK):
        found.append(
            f"the SM clock's median was {min(medians):.0f} MHz in one launch and "
            f"{max(medians):.0f} MHz in another"
        )
    return tuple(found)


def _of_launch(facts: GpuFacts) -> list[str]:
    found = [
        f"process {process.pid} was on the GPU, too, with {_size(process)}"
        for process in facts.foreign
    ]
    found += [
        f"{reason} in {share:.0%} of {facts.samples} samples"
        for reason, share in (facts.throttled or {}).items()
        if share > _TOLERATED
    ]
    if facts.sm_clock_mhz and (facts.unsteady or 0.0) > _TOLERATED:
        clock = facts.sm_clock_mhz
        found.append(
            f"the SM clock was unsteady, {clock.min:.0f} to {clock.max:.0f} MHz, in "
            f"{facts.unsteady:.0%} of {facts.samples} samples"
        )
    return found


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


def _foreign(samples: Sequence[GpuSample]) -> tuple[GpuProcess, ...]:
    """Each other process, with the most that it held."""
    most: dict[int, int | None] = {}
    for process in (process for sample in samples for process in sample.foreign):
        held = (most.get(process.pid), process.memory_bytes)
        most[process.pid] = max((value for value in held if value is not None), default=None)
    return tuple(GpuProcess(pid=pid, memory_bytes=held) for pid, held in sorted(most.items()))


def _size(process: GpuProcess) -> str:
    if process.memory_bytes is None:
        return "memory that the driver does not tell"
    return f"{process.memory_bytes / _MIB:.0f} MiB"
