"""The frozen records of a gate and of a comparison: what was judged, and what it rests on.

Only the standard library and `voxgate.records` are imported here. Times are in nanoseconds where a
name ends with ``_ns``, sizes in bytes, Dice and shares in 0..1, tolerances as shares of the value
that was accepted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from voxgate.records.case import OfCase
from voxgate.records.measurement import PairedLaunch
from voxgate.records.run import RunRecord, Timing

# A case that was not measured has none of the first three.
Outcome = Literal["pass", "regression", "inconclusive", "failed", "unavailable"]
Metric = Literal["latency", "latency-p90", "size", "memory", "dice", "int8-coverage", "case"]
Unit = Literal["ms", "bytes", "Dice", "share", ""]

_GRAVITY: tuple[Outcome, ...] = ("pass", "inconclusive", "unavailable", "failed", "regression")


def worst_outcome(outcomes: Iterable[Outcome]) -> Outcome:
    """The worst outcome. Of no outcomes at all it is ``failed``, never ``pass``.

    A regression is a finding and outweighs a case that could not be measured.
    """
    found = list(outcomes)
    return max(found, key=_GRAVITY.index) if found else "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What one rule says of one metric of one case.

    ``subject`` is the class, for Dice. ``change`` is relative for times and bytes (0.05: five percent
    more), a difference for Dice and shares; ``tolerance`` is in the same terms. ``words`` has the
    numbers and what they mean, in one sentence.
    """

    metric: Metric
    outcome: Outcome
    words: str
    subject: str = ""
    unit: Unit = ""
    before: float | None = None
    after: float | None = None
    change: float | None = None
    tolerance: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SelfTest:
    """An engine paired with itself on one host: what the host's noise alone makes of nothing.

    ``launch_ratios`` are min(B)/min(A) of each launch; ``supported`` is the smallest tolerance with
    which the whole rule would call at most one in a hundred such comparisons a regression.
    ``disturbed`` is that of its launches: what was meant to be the host's noise is somebody's work.
    """

    engine_sha256: str
    launch_ratios: tuple[float, ...]
    supported: float
    disturbed: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseVerdicts(OfCase):
    """One case of a gate. ``reason`` says why there is no verdict, where there is none.

    ``accepted`` is when its baseline was, ``accepted_commit`` the harness's commit then.
    ``host_drift`` is how much slower (0.1: ten percent) the fastest sample is than when the baseline
    was accepted, which says more about the host than about the engine. ``same_engine``: the file is
    the accepted one, byte for byte; ``same_kernels``: it is another one, which executes the same. ``confirmation`` are the fresh launches after a first red.
    """

    outcome: Outcome
    reason: str | None = None
    accepted: str | None = None
    accepted_commit: str | None = None
    verdicts: tuple[Verdict, ...] = ()
    same_engine: bool | None = None
    same_kernels: bool | None = None
    host_drift: float | None = None
    pairs: tuple[PairedLaunch, ...] = ()
    confirmation: tuple[PairedLaunch, ...] = ()
    self_test: SelfTest | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class GateRecord:
    """What one gate measured (``run``) and judged. ``environment`` names the folder of baselines."""

    kind: Literal["gate"]
    schema_version: int
    voxgate: str
    environment: str
    tolerances: dict[str, float]
    outcome: Outcome
    cases: tuple[CaseVerdicts, ...]
    run: RunRecord
    timing: Timing


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerChange:
    """One layer under two runtimes. Times are medians of single layers; None where not told.

    ``sources`` are the graph nodes that both sides' layers stand for.
    """

    sources: tuple[str, ...]
    before: str
    after: str
    before_ns: int | None
    after_ns: int | None
    arithmetic_changed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseComparison(OfCase):
    """One case of a comparison.

    ``agreement`` is the share of voxels that both sides label alike, ``agreement_dice`` the Dice of B's
    labels against A's, per class. ``unsaid`` is what the inputs do not allow to be said, and why.
    """

    outcome: Outcome
    reason: str | None = None
    verdicts: tuple[Verdict, ...] = ()
    build_s: tuple[float | None, float | None] = (None, None)
    agreement: float | None = None
    agreement_dice: dict[str, float | None] | None = None
    layers: tuple[LayerChange, ...] = ()
    unsaid: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonRecord:
    """Two runs side by side; ``title_a`` and ``title_b`` say which is which (runtime and version)."""

    kind: Literal["comparison"]
    schema_version: int
    voxgate: str
    title_a: str
    title_b: str
    outcome: Outcome
    cases: tuple[CaseComparison, ...]
    a: RunRecord
    b: RunRecord
    timing: Timing
