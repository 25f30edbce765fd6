"""Two runs side by side: verdicts of the rules that fit, and what cannot be said. Pure.

A comparison is of two runs that alternated launches (`voxgate.verdicts.interpreters`), or of two records of whatever
hours and hosts (`voxgate.verdicts.stored_records`), whose times can raise a suspicion and confirm nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from voxgate.datasets.subjects import subjects_of
from voxgate.metrics.dice import dice_scores
from voxgate.records.case import CaseId
from voxgate.records.run import CaseResult, Environment, RunRecord
from voxgate.records.verdicts import CaseComparison, LayerChange, Outcome, Verdict, worst_outcome
from voxgate.verdicts.alternating import judge_alternating
from voxgate.verdicts.dice import judge_dice
from voxgate.verdicts.layers import Side, Times, layer_changes
from voxgate.verdicts.rules import SCREEN, judge_coverage, judge_memory, judge_size, percent, screen

Mode = Literal["alternating", "stored"]

# What must be equal before times of two hours are even looked at, of a CPU and of a GPU.
_CPU_KEYS = ("host", "cpu", "isa", "cores", "threads")
_GPU_KEYS = ("host", "gpu", "driver", "cuda")
_GPU_SETTINGS = ("cuda_graph", "workspace_bytes")
# Single layers may add up to so much more than an inference that is not profiled.
_BUSY = 1.15
_RERUN = "compare both runtimes with 'voxgate compare --python-a ... --python-b ...'"


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What a comparison knows of a case beyond the two rows; nothing, of stored records."""

    agreement: float | None = None
    agreement_dice: dict[str, float | None] | None = None
    times_ns: tuple[Times, Times] = (None, None)
    unsaid: tuple[str, ...] = ()


def label_agreement(
    a: NDArray[np.integer], b: NDArray[np.integer], classes: Sequence[str]
) -> tuple[float, dict[str, float | None]]:
    """The share of equal voxels of two label volumes, and Dice of B's labels against A's per class.

    Raises:
        ValueError: the volumes differ in shape, or hold no voxel.
    """
    if a.shape != b.shape or a.size == 0:
        msg = f"labels of {a.shape} and of {b.shape} cannot be compared voxel by voxel"
        raise ValueError(msg)
    return float(np.mean(a == b)), dice_scores(b, a, classes)


def compare_runs(
    a: RunRecord, b: RunRecord, evidence: Mapping[CaseId, Evidence]
) -> tuple[CaseComparison, ...]:
    """Two runs that alternated their launches, case by case."""
    return tuple(
        _compare(before, after, "alternating", (), evidence.get(case, Evidence()))
        for case, before, after in _paired(a, b)
    )


def compare_stored(a: RunRecord, b: RunRecord) -> tuple[CaseComparison, ...]:
    """Two records as they lie on disk, case by case."""
    different = {on_gpu: different_hosts(a, b, on_gpu=on_gpu) for on_gpu in (False, True)}
    return tuple(
        _compare(before, after, "stored", different[bool(before and before.on_gpu)], Evidence())
        for _, before, after in _paired(a, b)
    )


def different_hosts(a: RunRecord, b: RunRecord, *, on_gpu: bool) -> tuple[str, ...]:
    """The keys that keep times apart, with both values."""
    keys = _GPU_KEYS if on_gpu else _CPU_KEYS
    hosts = [(key, getattr(a.environment, key), getattr(b.environment, key)) for key in keys]
    settings = [
        (key, a.config.get(key) or None, b.config.get(key) or None)
        for key in (_GPU_SETTINGS if on_gpu else ())
    ]
    return tuple(
        f"{key} is {_shown(before)} in A and {_shown(after)} in B"
        for key, before, after in (*hosts, *settings)
        if before != after
    )


def runtimes(environment: Environment, title: str) -> str:
    """The title of a side: its runtimes with their versions, and where they are."""
    named = ", ".join(f"{name} {version}" for name, version in environment.backends.items())
    return f"{named or 'no runtime'} ({title})"


def _paired(
    a: RunRecord, b: RunRecord
) -> Iterable[tuple[CaseId, CaseResult | None, CaseResult | None]]:
    """A's cases in their order, then those of B alone."""
    before, after = ({row.case: row for row in record.cases} for record in (a, b))
    return [(case, before.get(case), after.get(case)) for case in (before | after)]


def _compare(
    before: CaseResult | None,
    after: CaseResult | None,
    mode: Mode,
    different: Sequence[str],
    evidence: Evidence,
) -> CaseComparison:
    if before is None or after is None:
        only = "B" if before is None else "A"
        return _failed(before or after, f"only {only} has this case; there is nothing beside it")
    if before.classes != after.classes and None not in {before.classes, after.classes}:
        words = f"other networks: {before.classes} classes in A, {after.classes} in B"
        return _failed(before, words)
    reason = _not_measured(before, after)
    coverage = judge_coverage(before.int8_coverage, after.int8_coverage)
    verdicts, unsaid = [coverage] if coverage else [], [*evidence.unsaid]
    if reason is None:
        time = _alternating if mode == "alternating" else _stored
        told = [*time(before, after, different), *_footprint(before, after), *_dice(before, after)]
        verdicts = [v for v in told if isinstance(v, Verdict)] + verdicts
        unsaid += [word for word in told if isinstance(word, str)]
        unsaid += _other_origin(before, after)
        if coverage is None:
            unsaid.append("int8 share: the runtime does not tell what it executes")
        unsaid += _busy(before, after, evidence.times_ns)
    elif before.int8_coverage is None or after.int8_coverage is None:
        verdicts = []  # of a side that was not measured there is none
    return replace(
        _failed(before, reason),
        outcome=worst_outcome([*(v.outcome for v in verdicts), *_failures(before, after)]),
        verdicts=tuple(verdicts),
        build_s=(before.build_s, after.build_s),
        agreement=evidence.agreement,
        agreement_dice=evidence.agreement_dice,
        layers=_layers(before, after, evidence.times_ns),
        unsaid=tuple(unsaid),
    )


def _failed(row: CaseResult | None, reason: str | None) -> CaseComparison:
    """A comparison that says nothing, until it is filled."""
    assert row is not None
    return CaseComparison(
        model=row.model, task=row.task, backend=row.backend, precision=row.precision,
        outcome="failed", reason=reason,
    )  # fmt: skip


def _failures(before: CaseResult, after: CaseResult) -> list[Outcome]:
    """What keeps a case from being compared."""
    kinds: tuple[Outcome, ...] = ("failed", "unavailable")
    return [kind for kind in kinds if kind in {before.status, after.status}]


def _not_measured(before: CaseResult, after: CaseResult) -> str | None:
    """Which side has no measurement, and why; None where both have."""
    words = [
        f"{side} {row.status}: {row.error or row.reason}"
        for side, row in (("A", before), ("B", after))
        if row.status not in {"ok", "inconclusive"}
    ]
    return "; ".join(words) or None


def _alternating(
    before: CaseResult, after: CaseResult, different: Sequence[str]
) -> tuple[Verdict | str, ...]:
    del different  # one host, one run
    if words := _contaminated(before, after):
        return (words,)
    return (judge_alternating(before.samples_ns, after.samples_ns),)


def _stored(
    before: CaseResult, after: CaseResult, different: Sequence[str]
) -> tuple[Verdict | str, ...]:
    """A screen: it says whether to look again, with both runtimes in one run."""
    if words := _contaminated(before, after):
        return (words,)
    if different:
        told = (
            f"latency: {'; '.join(different)}. The engines, too, are each of their own host: "
            "size, memory and int8 share may differ for that alone"
        )
        return (told,)
    a, b = before.samples_ns, after.samples_ns
    if not (a and b and all(a) and all(b)):
        return ("latency: a side has no samples",)
    ratio = screen(a, b)
    slower = ratio > 1 + SCREEN
    return (
        Verdict(
            metric="latency",
            outcome="inconclusive" if slower else "pass",
            words=(
                f"{percent(ratio - 1)} by the fastest samples of {len(a)} and {len(b)} stored "
                f"launches (screen {SCREEN:.1%}); two stored records cannot confirm a change of "
                f"latency{f': {_RERUN}' if slower else ''}"
            ),
            unit="ms",
            before=min(min(launch) for launch in a) / 1e6,
            after=min(min(launch) for launch in b) / 1e6,
            change=ratio - 1,
            tolerance=SCREEN,
        ),
    )


def _contaminated(before: CaseResult, after: CaseResult) -> Verdict | None:
    """The verdict on times that something else on the GPU, or the GPU itself, spoilt."""
    words = [
        f"times of {side} say nothing: {row.reason}"
        for side, row in (("A", before), ("B", after))
        if row.status == "inconclusive"
    ]
    if not words:
        return None
    return Verdict(metric="latency", outcome="inconclusive", words="; ".join(words))


def _footprint(before: CaseResult, after: CaseResult) -> Iterable[Verdict | str]:
    if before.engine_bytes and after.engine_bytes:
        yield judge_size(before.engine_bytes, after.engine_bytes)
    else:
        yield "size: a side has no engine file"
    if before.memory_bytes and after.memory_bytes:
        yield judge_memory(before.memory_bytes, after.memory_bytes)
    else:
        yield "memory: a side does not tell it"


def _dice(before: CaseResult, after: CaseResult) -> Sequence[Verdict | str]:
    if before.dice and after.dice:
        return judge_dice(before.dice, after.dice, subjects=subjects_of(after.task))
    return ("Dice: it was not measured on both sides",)


def _other_origin(before: CaseResult, after: CaseResult) -> Iterable[str]:
    """What else differs than the runtime, so that a change may come of that."""
    if before.weights_sha256 != after.weights_sha256:
        yield "whether the runtime or the network changed: the weights differ"
    made = [
        f"{row.calibration.quantizer}, {row.calibration.method}, {row.calibration.sha256[:8]}"
        if row.calibration
        else "none"
        for row in (before, after)
    ]
    if made[0] != made[1]:
        yield (
            f"whether the runtime or the quantization changed: it is {made[0]} in A and {made[1]} in B"
        )


def _layers(
    before: CaseResult, after: CaseResult, times_ns: tuple[Times, Times]
) -> tuple[LayerChange, ...]:
    if not before.layers or not after.layers:
        return ()
    return layer_changes(
        Side(layers=before.layers, times_ns=times_ns[0]),
        Side(layers=after.layers, times_ns=times_ns[1]),
    )


def _busy(before: CaseResult, after: CaseResult, times_ns: tuple[Times, Times]) -> Iterable[str]:
    """Sides whose layers took much longer than an inference does: their times are the host's."""
    for side, row, times in zip("AB", (before, after), times_ns, strict=True):
        if times is None or row.latency_ms is None:
            continue
        sum_ms, timed_ms = sum(times.values()) / 1e6, row.latency_ms.median
        if sum_ms > _BUSY * timed_ms:
            yield (
                f"which layers are slower: on {side} they add up to {sum_ms:.1f} ms and an "
                f"inference takes {timed_ms:.1f} ms; the host was busy while layers were timed"
            )


def _shown(value: object) -> str:
    return " ".join(str(part) for part in value) if isinstance(value, tuple) else str(value)
