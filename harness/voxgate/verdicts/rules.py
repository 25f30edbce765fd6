"""The rules of the gate: samples and sizes in, verdicts out. Pure.

What decides about time. Noise sits between launches, where no number of samples averages it out, so
pooled tests call identical code slower in every third comparison. Two engines in one process share
most of that noise: each such launch says by the ratio of its minima whether B is slower than the
tolerance. Three launches that agree decide; where they do not, launches go on until one side leads
by three, so that a quiet host answers at once and a noisy one takes as many as it needs, or none will
do. It is a sequential sign test: it asks nothing of the noise but that it strikes A and B alike.
The tolerance of 3 % lies below the 5 % that must be found, because a rule finds a change of exactly
its threshold every second time. Stored samples of another hour are a screen alone.
`benchmarks/gate_rules.py` measures all this on recorded samples, beside other tools' rules.

A launch is the samples of one process, in nanoseconds; ratios are new over accepted, above 1 slower.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

from voxgate.records.engine import Coverage
from voxgate.records.measurement import Memory, PairedLaunch
from voxgate.records.verdicts import Outcome, SelfTest, Verdict

Launches = Sequence[Sequence[int]]

TOLERANCE = 0.03
SCREEN = 0.015  # stored launches that are slower by more are worth a look
LEAD = 3  # launches on one side of the tolerance more than on the other
MOST_PAIRED_LAUNCHES = 15
SELF_TEST_LAUNCHES = 6

TAIL_SAMPLES = 64  # the fewest from which a 90th percentile can be told
TAIL_TOLERANCE = 0.10

SIZE_TOLERANCE = 0.01
MEMORY_TOLERANCE = 0.10
MEMORY_SLACK_BYTES = 16 * 2**20  # a process's own coming and going, whatever the engine
COVERAGE_DUST = 1e-6

_TRIMMED = 0.2
_MIB = 2**20
# Of the launches of an engine with itself, the share that may be off by more than a tolerance, to
# either side: the wrong side comes to lead by three with (p / (1 - p))³ <= 1 % if p is half of this.
_EXCEEDING = 2 * 0.177
_MOST_NAMED = 3


# --- time ----------------------------------------------------------------------------------------


def screen(baseline: Launches, current: Launches) -> float:
    """How slow the launches are against stored ones; says as much about the host's hour.

    Raises:
        ValueError: a side has no samples.
    """
    return trimmed_minima_ratio(baseline, current)


def trimmed_minima_ratio(a: Launches, b: Launches) -> float:
    """The 20 %-trimmed mean of B's launch minima over A's.

    Raises:
        ValueError: a side has no samples.
    """
    return trimmed_mean(_minima(b)) / trimmed_mean(_minima(a))


def launch_ratio(launch: PairedLaunch) -> float:
    """min(B)/min(A) of one paired launch."""
    return min(launch.b_ns) / min(launch.a_ns)


def paired_ratio(pairs: Sequence[PairedLaunch]) -> float:
    """The median over the launches of min(B)/min(A)."""
    return statistics.median(launch_ratio(launch) for launch in pairs)


def needs_more_pairs(pairs: Sequence[PairedLaunch], *, tolerance: float = TOLERANCE) -> bool:
    """Whether neither side leads yet, and another launch could change that."""
    if disturbances(pairs):
        return False
    ratios = [launch_ratio(pair) for pair in pairs]
    return len(pairs) < MOST_PAIRED_LAUNCHES and abs(_lead(ratios, tolerance)) < LEAD


def judge_paired(
    pairs: Sequence[PairedLaunch],
    *,
    tolerance: float = TOLERANCE,
    self_test: SelfTest | None = None,
) -> Verdict:
    """The accepted engine (A) and the new one (B), timed in turn in the same processes.

    Where the self-test says that the host cannot tell ``tolerance`` from nothing, only a slowdown
    beyond what it can tell is a regression, and all else is inconclusive. So is everything where a
    launch was disturbed.
    """
    beside = disturbances(pairs) or (self_test.disturbed if self_test else ())
    if beside:
        words = f"the paired launches were disturbed, again and again: {'; '.join(beside)}"
        return Verdict(metric="latency", outcome="inconclusive", words=words, tolerance=tolerance)
    if len(pairs) < LEAD or not all(pair.a_ns and pair.b_ns for pair in pairs):
        words = f"{len(pairs)} paired launches with samples; {LEAD} are needed"
        return Verdict(metric="latency", outcome="inconclusive", words=words, tolerance=tolerance)
    ratios = [launch_ratio(pair) for pair in pairs]
    change = statistics.median(ratios) - 1
    slower = sum(ratio > 1 + tolerance for ratio in ratios)
    before = min(min(pair.a_ns) for pair in pairs) / 1e6
    after = min(min(pair.b_ns) for pair in pairs) / 1e6
    words = (
        f"{percent(change)} against the accepted engine ({before:.4g} → {after:.4g} ms), in turn in one "
        f"process: beyond the tolerance of {tolerance:.1%} in {slower} of {len(ratios)} launches "
        f"({', '.join(percent(ratio - 1) for ratio in ratios)})"
    )
    supported = self_test.supported if self_test else 0.0
    outcome = _decide(ratios, tolerance)
    if outcome == "inconclusive":
        words += "; the host is too noisy to tell"
    if supported > tolerance:
        words += f"; on this host the accepted engine differs from itself by {supported:.1%}"
        sure = outcome == "regression" and change > supported
        outcome = "regression" if sure else "inconclusive"
    return Verdict(
        metric="latency",
        outcome=outcome,
        words=words,
        unit="ms",
        before=before,
        after=after,
        change=change,
        tolerance=tolerance,
    )


def judge_tail(
    pairs: Sequence[PairedLaunch], *, tolerance: float = TAIL_TOLERANCE
) -> Verdict | None:
    """The 90th percentiles of the same samples; None with too few of them to tell.

    Minima do not see an engine that is slow every fifth time.
    """
    fewest = min(sum(len(p.a_ns) for p in pairs), sum(len(p.b_ns) for p in pairs))
    if len(pairs) < LEAD or fewest < TAIL_SAMPLES or disturbances(pairs):
        return None
    ratios = [_p90(pair.b_ns) / _p90(pair.a_ns) for pair in pairs]
    change = statistics.median(ratios) - 1
    slower = sum(ratio > 1 + tolerance for ratio in ratios)
    return Verdict(
        metric="latency-p90",
        outcome="regression" if _lead(ratios, tolerance) >= LEAD else "pass",
        words=(
            f"90th percentile {percent(change)}: beyond the tolerance of {tolerance:.0%} in {slower} "
            f"of {len(ratios)} paired launches"
        ),
        unit="ms",
        before=statistics.median(_p90(pair.a_ns) for pair in pairs) / 1e6,
        after=statistics.median(_p90(pair.b_ns) for pair in pairs) / 1e6,
        change=change,
        tolerance=tolerance,
    )


def confirmed(first: Verdict, fresh: Verdict | None) -> Verdict:
    """A red and what fresh launches say of it; they have the last word.

    Of twenty gates at 1 % every fifth night has a red; of reds that come twice there are none.
    """
    if first.outcome != "regression" or fresh is None:
        return first
    if fresh.outcome == "regression":
        return replace(fresh, words=f"{fresh.words}; and {percent(first.change or 0.0)} before")
    doubt = f"{fresh.words}; {percent(first.change or 0.0)} in a first series was not confirmed"
    return replace(fresh, words=doubt)


def self_test(engine_sha256: str, pairs: Sequence[PairedLaunch]) -> SelfTest:
    """What pairs of an engine with itself say of the host.

    Raises:
        ValueError: there is no launch.
    """
    ratios = tuple(launch_ratio(pair) for pair in pairs)
    if not ratios:
        msg = "a self-test needs at least one paired launch"
        raise ValueError(msg)
    deviations = sorted((abs(math.log(ratio)) for ratio in ratios), reverse=True)
    supported = math.expm1(deviations[int(_EXCEEDING * len(deviations))])
    return SelfTest(
        engine_sha256=engine_sha256,
        launch_ratios=ratios,
        supported=supported,
        disturbed=disturbances(pairs),
    )


def disturbances(pairs: Sequence[PairedLaunch]) -> tuple[str, ...]:
    """What else happened during paired launches, each once."""
    return tuple(dict.fromkeys(what for pair in pairs for what in pair.disturbed))


# --- bytes and shares ------------------------------------------------------------------------------


def judge_size(
    before_bytes: int, after_bytes: int, *, tolerance: float = SIZE_TOLERANCE
) -> Verdict:
    """The engine files. Smaller is fine; names and alignment may take a little more."""
    change = after_bytes / before_bytes - 1
    return Verdict(
        metric="size",
        outcome="regression" if change > tolerance else "pass",
        words=(
            f"{before_bytes / 1e6:.2f} → {after_bytes / 1e6:.2f} MB ({percent(change, 2)}); "
            f"tolerance {tolerance:.0%}"
        ),
        unit="bytes",
        before=before_bytes,
        after=after_bytes,
        change=change,
        tolerance=tolerance,
    )


def judge_memory(before: Memory, after: Memory, *, tolerance: float = MEMORY_TOLERANCE) -> Verdict:
    """What loading and running the engine added to the process, or to the device."""
    if before.scope != after.scope:
        words = f"memory of {after.scope} cannot be compared with that of {before.scope}"
        return Verdict(metric="memory", outcome="inconclusive", words=words, tolerance=tolerance)
    grown = after.delta - before.delta
    change = grown / before.delta if before.delta else float(grown > 0)
    worse = change > tolerance and grown > MEMORY_SLACK_BYTES
    return Verdict(
        metric="memory",
        outcome="regression" if worse else "pass",
        words=(
            f"{before.delta / _MIB:.0f} → {after.delta / _MIB:.0f} MiB ({percent(change)}); "
            f"tolerance {tolerance:.0%} and {MEMORY_SLACK_BYTES / _MIB:.0f} MiB"
        ),
        unit="bytes",
        before=before.delta,
        after=after.delta,
        change=change,
        tolerance=tolerance,
    )


def judge_coverage(before: Coverage | None, after: Coverage | None) -> Verdict | None:
    """The int8 share of multiply-accumulates may not fall, the unmapped not rise.

    None where the runtime told neither before nor now.
    """
    if before is None and after is None:
        return None
    if before is None or after is None:
        words = f"the runtime's layers are unknown {'now' if after is None else 'in the baseline'}"
        return Verdict(metric="int8-coverage", outcome="inconclusive", words=words)
    old, new = before.by_macs, after.by_macs
    fell, unmapped = old.int8 - new.int8, new.unmapped - old.unmapped
    words = f"{old.int8:.2%} → {new.int8:.2%} of MACs in int8, {new.unmapped:.2%} unmapped"
    lost = [
        name
        for name in (*after.float_nodes, *after.unmapped_nodes)
        if name not in {*before.float_nodes, *before.unmapped_nodes}
    ]
    if lost:
        words += f"; no longer int8: {', '.join(lost[:_MOST_NAMED])}" + (
            f" and {len(lost) - _MOST_NAMED} more" if len(lost) > _MOST_NAMED else ""
        )
    return Verdict(
        metric="int8-coverage",
        outcome="regression" if max(fell, unmapped) > COVERAGE_DUST else "pass",
        words=words,
        unit="share",
        before=old.int8,
        after=new.int8,
        change=new.int8 - old.int8,
        tolerance=0.0,
    )


def percent(change: float, digits: int = 1) -> str:
    """+1.2 %, with the sign: above zero is more than before."""
    return f"{change:+.{digits}%}"


def _lead(ratios: Sequence[float], tolerance: float) -> int:
    """How many launches more are beyond the tolerance than within it."""
    slower = sum(ratio > 1 + tolerance for ratio in ratios)
    return slower - (len(ratios) - slower)


def _decide(ratios: Sequence[float], tolerance: float) -> Outcome:
    lead = _lead(ratios, tolerance)
    if abs(lead) < LEAD:
        return "inconclusive"
    return "regression" if lead > 0 else "pass"


def _minima(launches: Launches) -> list[int]:
    if not launches or not all(launches):
        msg = "a launch without samples has no minimum"
        raise ValueError(msg)
    return sorted(min(samples) for samples in launches)


def trimmed_mean(ordered: Sequence[float]) -> float:
    """The mean of sorted values without a fifth at each end."""
    cut = int(_TRIMMED * len(ordered))
    return statistics.fmean(ordered[cut : len(ordered) - cut])


def _p90(samples: Sequence[int]) -> int:
    return sorted(samples)[math.ceil(0.9 * len(samples)) - 1]
