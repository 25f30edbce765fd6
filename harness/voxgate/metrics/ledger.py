"""Where the Dice goes: from FP32 over the simulation to real INT8, per class and case. Pure.

A step is the difference of two measured rows of one run, patch by patch. Patches are averaged by
subject, and the mean is bootstrapped over the subjects, paired. FP32 to the simulation is what quantization loses, the simulation to the real
engine what the backend does; their sum is the total. A precision that is only simulated has the first
step alone, one that is not quantized (fp16) the total alone.

A class that is in neither truth nor prediction of a row counts as 1 there, as in the gate: one that
is invented by a later row is a loss, not a gap. Where it is in no row of a ledger it is absent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from voxgate.datasets.subjects import subjects_of
from voxgate.metrics.bootstrap import ABSENT, estimate, subject_words
from voxgate.records.case import INT8_PRECISIONS, SIMULATED_PRECISIONS, Precision
from voxgate.records.dice import DiceLedger, LedgerStep, Loss, Metric, Step
from voxgate.records.run import CaseResult, RunRecord

CONFIDENCE = 0.95  # of the interval between the two bounds

# What a real INT8 engine is simulated by, and whose simulation stands in where a backend has none.
_SIMULATION: Precision = "fake-int8"
_STAND_IN = "onnxruntime"

Scores = Mapping[str, Mapping[str, float | None]]
# By class, then case; None: absent in every row of the ledger.
Changes = dict[str, dict[str, float | None]]


def ledgers_of(cases: Sequence[CaseResult]) -> tuple[DiceLedger, ...]:
    """A ledger for each measured case that is not FP32, of Dice and, where measured, of NSD.

    A simulation that is a step of a real engine's ledger has none of its own.
    """
    rows = [row for row in cases if row.dice and row.status in {"ok", "inconclusive"}]
    chains = [_chain(row, rows) for row in rows if row.precision != "fp32"]
    simulated = {chain.fake.case for chain in chains if chain.real and chain.fake}
    told = [chain for chain in chains if chain.real or chain.row.case not in simulated]
    return tuple(
        ledger
        for metric, scores in _METRICS.items()
        for chain in told
        if (ledger := _ledger(chain, metric, scores)) is not None
    )


def lost_most(step: LedgerStep) -> tuple[str, Loss] | None:
    """The class with the lowest mean change; None where every class is absent."""
    found = [(name, loss) for name, loss in step.per_class.items() if loss is not None]
    return min(found, key=lambda pair: pair[1].mean, default=None)


def step_of(ledger: DiceLedger, wanted: Step) -> LedgerStep | None:
    """That step of a ledger, if it could be told."""
    return next((step for step in ledger.steps if step.step == wanted), None)


def blame(ledgers: Iterable[DiceLedger], case: CaseResult) -> str:
    """For a failed assertion: each step's class that lost most and its worst case, in words.

    A simulated case that is a step of a real one is explained by that one's ledger.
    """
    own = [
        e for e in ledgers if (e.model, e.task, e.backend) == (case.model, case.task, case.backend)
    ]
    exact = [ledger for ledger in own if ledger.precision == case.precision]
    name = f"{case.backend}/{case.precision}"
    through = [e for e in own if any(step.after == name for step in e.steps)]
    lines = [
        _blamed(step) for ledger in exact or through[:1] for step in _told(ledger, name, exact)
    ]
    lines += [words for ledger in exact for words in ledger.missing]
    return (
        "\n".join([f"where {case.case} loses:", *lines]) if lines else f"no ledger of {case.case}"
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Chain:
    """The rows that a ledger is made of; of a simulation, ``fake`` is the row itself."""

    row: CaseResult
    fp32: CaseResult | None
    fake: CaseResult | None

    @property
    def real(self) -> bool:
        """Whether the row is no simulation."""
        return self.row.precision not in SIMULATED_PRECISIONS

    @property
    def steps(self) -> tuple[Step, ...]:
        """Those that its precision has."""
        if not self.real:
            return ("quantization",)
        if self.row.precision in INT8_PRECISIONS:
            return ("quantization", "backend", "total")
        return ("total",)

    def ends(self, step: Step) -> dict[str, CaseResult | None]:
        """The two rows that a step is between, by their precision; None where not measured."""
        fp32: dict[str, CaseResult | None] = {"fp32": self.fp32}
        fake: dict[str, CaseResult | None] = {_SIMULATION: self.fake}
        row: dict[str, CaseResult | None] = {self.row.precision: self.row}
        if step == "quantization":
            return fp32 | (fake if self.real else row)
        return (fake if step == "backend" else fp32) | row


def _chain(row: CaseResult, rows: Sequence[CaseResult]) -> _Chain:
    beside = [other for other in rows if (other.model, other.task) == (row.model, row.task)]
    own = {other.precision: other for other in beside if other.backend == row.backend}
    fake = row if row.precision in SIMULATED_PRECISIONS else None
    if row.precision in INT8_PRECISIONS:
        fake = own.get(_SIMULATION) or _stand_in(row, beside)
    return _Chain(row=row, fp32=own.get("fp32"), fake=fake)


def _stand_in(row: CaseResult, beside: Sequence[CaseResult]) -> CaseResult | None:
    """Another backend's simulation of the same quantized graph: same weights, same calibration."""
    fitting = [
        other
        for other in beside
        if other.precision == _SIMULATION
        and row.calibration is not None
        and other.calibration == row.calibration
        and other.weights_sha256 == row.weights_sha256
    ]
    return min(fitting, key=lambda other: other.backend != _STAND_IN, default=None)


def _dice_of(row: CaseResult) -> Scores:
    return row.dice.per_case if row.dice else {}


def _nsd_of(row: CaseResult) -> Scores:
    if row.surfaces is None:
        return {}
    return {
        case: {name: score.nsd for name, score in scores.items()}
        for case, scores in row.surfaces.per_case.items()
    }


_METRICS: dict[Metric, Callable[[CaseResult], Scores]] = {"dice": _dice_of, "nsd": _nsd_of}


def _ledger(
    chain: _Chain, metric: Metric, scores: Callable[[CaseResult], Scores]
) -> DiceLedger | None:
    """None where the metric has no scores of single cases, as in records of before."""
    if not scores(chain.row):
        return None
    row = chain.row
    why = {step: _lacking(chain, step, scores) for step in chain.steps}
    ends = {
        step: tuple(row for row in chain.ends(step).values() if row is not None)
        for step in chain.steps
        if not why[step]
    }
    changes = _changes({step: (scores(a), scores(b)) for step, (a, b) in ends.items()})
    subjects = subjects_of(row.task, *(end.dice for pair in ends.values() for end in pair))
    steps = [_step(step, ends[step], change, subjects) for step, change in changes.items()]
    other = chain.fake if chain.fake and chain.fake.backend != row.backend else None
    return DiceLedger(
        model=row.model, task=row.task, backend=row.backend, precision=row.precision, metric=metric,
        steps=tuple(step for step in steps if step is not None),
        missing=tuple(f"{step}: {words}" for step, words in why.items() if words),
        stand_in=_named(other) if other else "",
    )  # fmt: skip


def _lacking(chain: _Chain, step: Step, scores: Callable[[CaseResult], Scores]) -> str:
    """Why a step cannot be told; empty where it can."""
    ends = chain.ends(step)
    gone = [name for name, row in ends.items() if row is None]
    if gone:
        return f"no measured {' and no '.join(gone)} beside {_named(chain.row)}"
    rows = [row for row in ends.values() if row is not None]
    sets = [{(case, name) for case, found in scores(row).items() for name in found} for row in rows]
    empty = [_named(row) for row, found in zip(rows, sets, strict=True) if not found]
    if empty:
        return f"{' and '.join(empty)} has no scores of single cases"
    if sets[0] != sets[1]:
        return f"{' and '.join(map(_named, rows))} were evaluated on other cases or classes"
    return ""


def _changes(ends: Mapping[Step, tuple[Scores, Scores]]) -> dict[Step, Changes]:
    """After minus before of each step, class and case; the total is the sum of the others."""
    rows = [scores for pair in ends.values() for scores in pair]
    changes = {step: _change(*pair, rows) for step, pair in ends.items()}
    parts = [changes.get("quantization"), changes.get("backend")]
    if "total" in changes and parts[0] is not None and parts[1] is not None:
        changes["total"] = _added(parts[0], parts[1])
    return changes


def _change(before: Scores, after: Scores, rows: Sequence[Scores]) -> Changes:
    classes = dict.fromkeys(name for scores in before.values() for name in scores)
    return {
        name: {
            case: _filled(after[case].get(name)) - _filled(before[case].get(name))
            if any(scores[case].get(name) is not None for scores in rows)
            else None
            for case in sorted(before)
        }
        for name in classes
    }


def _filled(score: float | None) -> float:
    return ABSENT if score is None else score


def _added(one: Changes, other: Changes) -> Changes:
    return {
        name: {case: _sum(value, other[name][case]) for case, value in values.items()}
        for name, values in one.items()
    }


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other


def _step(
    step: Step, ends: Sequence[CaseResult], changes: Changes, subjects: Mapping[str, str]
) -> LedgerStep | None:
    """None where every class is absent in every case."""
    overall = _loss(_over_classes(changes), subjects)
    if overall is None:
        return None
    return LedgerStep(
        step=step,
        before=_named(ends[0]),
        after=_named(ends[1]),
        overall=overall,
        per_class={name: _loss(per_case, subjects) for name, per_case in changes.items()},
    )


def _over_classes(changes: Changes) -> dict[str, float | None]:
    """The mean over the classes that a case has."""
    cases = dict.fromkeys(case for per_case in changes.values() for case in per_case)
    found = {
        case: [v for each in changes.values() if (v := each[case]) is not None] for case in cases
    }
    return {case: float(np.mean(values)) if values else None for case, values in found.items()}


def _loss(per_case: dict[str, float | None], subjects: Mapping[str, str]) -> Loss | None:
    known = {case: value for case, value in per_case.items() if value is not None}
    if not known:
        return None
    found = estimate(known, subjects, (1 + CONFIDENCE) / 2)
    worst_case = min(known, key=lambda case: known[case])
    return Loss(
        mean=found.mean, low=found.low, high=found.high, cases=len(known),
        worst_case=worst_case, worst=known[worst_case], per_case=per_case, subjects=found.subjects,
    )  # fmt: skip


def _named(row: CaseResult) -> str:
    return f"{row.backend}/{row.precision}"


def _told(ledger: DiceLedger, name: str, exact: Sequence[DiceLedger]) -> list[LedgerStep]:
    """All steps of a case's own ledger; of another's those that end at the case."""
    return [step for step in ledger.steps if exact or step.after == name]


def _blamed(step: LedgerStep) -> str:
    found = lost_most(step)
    assert found is not None  # a step has a class
    name, loss = found
    between = "" if loss.low is None else f"{loss.low:+.4f} to {loss.high:+.4f}, "
    return (
        f"{step.step} ({step.before} to {step.after}) {step.overall.mean:+.4f}, most in {name}: "
        f"{loss.mean:+.4f} ({between}{subject_words(loss.subjects)}), "
        f"worst case {loss.worst_case} {loss.worst:+.4f}"
    )


def ledgers_in(record: RunRecord) -> tuple[DiceLedger, ...]:
    """The ledgers of a record, computed from its rows where it has none.

    So are ledgers that do not count subjects: their intervals took every patch for a subject.
    """
    steps = [step for ledger in record.ledgers for step in ledger.steps]
    counted = all(step.overall.subjects is not None for step in steps)
    return record.ledgers if record.ledgers and counted else ledgers_of(record.cases)
