"""What tables, chart and terminal show of the Dice ledger, in words."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from voxgate.metrics.bootstrap import subject_words
from voxgate.metrics.ledger import ledgers_in, step_of
from voxgate.records.dice import DiceLedger, Loss, Metric, Presence, Step
from voxgate.records.run import CaseResult, RunRecord
from voxgate.report import formats
from voxgate.report.names import group_key, short_names

STEPS: tuple[Step, ...] = ("quantization", "backend", "total")
METRICS: dict[Metric, str] = {"dice": "Dice", "nsd": "NSD"}
# What each step is between, for whoever reads it the first time.
MEANING = (
    "Quantization is FP32 to the simulation (the Q/DQ graph in float), backend is the simulation to "
    "the real engine, and the total is their sum, case by case. After minus before, so a loss is "
    "negative. Patches are averaged by subject; in brackets, with three subjects or more, the 95 % "
    "interval of the mean, by a bootstrap over the subjects."
)

_MOST_ODD = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerView:
    """A ledger, its label, its own row, and by backend/precision the rows that it is made of."""

    label: str
    ledger: DiceLedger
    row: CaseResult
    rows: dict[str, CaseResult]

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of its steps, in the order of the labels."""
        return tuple(dict.fromkeys(name for step in self.ledger.steps for name in step.per_class))

    @property
    def cases(self) -> tuple[str, ...]:
        """The evaluation cases."""
        return tuple(self.row.dice.per_case) if self.row.dice else ()

    def loss(self, step: Step, name: str | None) -> Loss | None:
        """Of a class, or over all classes; None where the step is missing or the class absent."""
        found = step_of(self.ledger, step)
        if found is None:
            return None
        return found.overall if name is None else found.per_class.get(name)

    def last(self, name: str | None) -> Loss | None:
        """The total, or the last step that there is."""
        found = (self.loss(step, name) for step in reversed(STEPS))
        return next((loss for loss in found if loss is not None), None)


def views_of(record: RunRecord, metric: Metric | None = None) -> tuple[LedgerView, ...]:
    """The ledgers of a record, or those of one metric."""
    labels = short_names(record.cases)
    rows = {row.case: row for row in record.cases}
    found = []
    for ledger in ledgers_in(record):
        beside = [r for r in rows.values() if (r.model, r.task) == (ledger.model, ledger.task)]
        named = {f"{r.backend}/{r.precision}": r for r in beside}
        row = named.get(f"{ledger.backend}/{ledger.precision}")
        if row is not None and metric in {None, ledger.metric}:
            label = f"{labels[group_key(row)]} {ledger.precision}"
            found.append(LedgerView(label=label, ledger=ledger, row=row, rows=named))
    return tuple(found)


def change(loss: Loss | None) -> str:
    """The mean, with its interval where there is one."""
    if loss is None:
        return formats.DASH
    mean = formats.difference(loss.mean)
    if loss.low is None:
        return mean
    return f"{mean} ({formats.difference(loss.low)} to {formats.difference(loss.high)})"


def class_change(view: LedgerView, step: Step, name: str) -> str:
    """Of a class; one that is in too few subjects says so where the others have an interval."""
    loss, overall = view.loss(step, name), view.loss(step, None)
    if loss and overall and loss.low is None and overall.low is not None:
        return f"{change(loss)} ({subject_words(loss.subjects)})"
    return change(loss)


def has_intervals(views: Sequence[LedgerView]) -> bool:
    """Whether any change has an interval."""
    losses = (loss for view in views if (loss := view.last(None)) is not None)
    return any(loss.low is not None for loss in losses)


def subject_lines(views: Sequence[LedgerView]) -> tuple[str, ...]:
    """How many subjects the means are over, named by ledger where that differs."""
    words: dict[str, list[str]] = {}
    for view in views:
        if (loss := view.last(None)) is not None:
            words.setdefault(subject_words(loss.subjects), []).append(view.label)
    if len(words) == 1:
        return tuple(f"{found}." for found in words)
    return tuple(f"{', '.join(dict.fromkeys(labels))}: {found}." for found, labels in words.items())


def presence(row: CaseResult, case: str, name: str) -> Presence | None:
    """Where a class is in a case; None where an old record does not tell."""
    if row.dice is None:
        return None
    told = row.dice.presence.get(case, {}).get(name)
    score = row.dice.per_case.get(case, {}).get(name)
    if told is not None:
        return told
    return "absent" if score is None else "present" if score > 0 else None


def where(view: LedgerView, case: str, name: str) -> str:
    """Where a class is: one word if all rows agree, else a word for each."""
    ends = dict.fromkeys(end for step in view.ledger.steps for end in (step.before, step.after))
    words = {
        end: presence(view.rows[end], case, name) or "unknown" for end in ends if end in view.rows
    }
    if len(set(words.values())) == 1:
        return next(iter(words.values()))
    return ", ".join(f"{end.partition('/')[2]}: {word}" for end, word in words.items())


def counted(view: LedgerView, name: str) -> str:
    """In how many cases a class counts, and how many are not plainly present."""
    loss = view.last(name)
    kinds = [presence(view.row, case, name) for case in view.cases]
    odd = [
        f"{kinds.count(kind)} {kind}" for kind in ("absent", "missed", "invented") if kind in kinds
    ]
    number = str(loss.cases if loss else 0)
    return f"{number} ({', '.join(odd)})" if odd else number


def oddities(view: LedgerView) -> str:
    """The classes that are absent, missed or invented in the row's cases; empty where none is."""
    told = []
    for name in view.row.dice.per_class if view.row.dice else ():
        kinds = [presence(view.row, case, name) for case in view.cases]
        told += [
            f"{name} {kind} in {kinds.count(kind)} of {len(kinds)} cases"
            for kind in ("missed", "invented", "absent")
            if kind in kinds
        ]
    return formats.some(told, _MOST_ODD)


def nsd(row: CaseResult, name: str) -> str:
    """The mean over the cases of a class."""
    found = row.surfaces.per_class.get(name) if row.surfaces else None
    if found is None:
        return formats.DASH
    return "absent" if found.nsd is None else formats.dice(found.nsd)


def hd95(row: CaseResult, name: str) -> str:
    """The mean of the finite distances of a class, and how many are not."""
    found = row.surfaces.per_class.get(name) if row.surfaces else None
    if found is None:
        return formats.DASH
    return "absent" if found.nsd is None else _distance(found.hd95_mm, found.infinite)


def surface_means(row: CaseResult) -> tuple[str, str]:
    """NSD and HD95, the mean over the classes that are not absent; dashes where not measured."""
    found = (
        [c for c in row.surfaces.per_class.values() if c.nsd is not None] if row.surfaces else []
    )
    if not found:
        return formats.DASH, formats.DASH
    finite = [c.hd95_mm for c in found if c.hd95_mm is not None]
    distance = statistics.fmean(finite) if finite else None
    mean = statistics.fmean(c.nsd for c in found if c.nsd is not None)
    return formats.dice(mean), _distance(distance, sum(c.infinite for c in found))


def case_surface(row: CaseResult, case: str, name: str) -> tuple[str, str]:
    """NSD and HD95 of one case: absent, infinite or numbers."""
    found = row.surfaces.per_case.get(case, {}).get(name) if row.surfaces else None
    if found is None:
        return formats.DASH, formats.DASH
    if found.nsd is None:
        return found.presence, found.presence
    return formats.dice(found.nsd), "infinite" if found.hd95_mm is None else _distance(
        found.hd95_mm, 0
    )


def missing(views: Sequence[LedgerView]) -> tuple[str, ...]:
    """How many subjects there are, what could not be told, and whose simulation stood in."""
    words: dict[str, None] = dict.fromkeys(subject_lines(views))
    for view in views:
        what = METRICS[view.ledger.metric]
        for reason in view.ledger.missing:
            words[f"{view.label}, {what}: {reason}."] = None
        if view.ledger.stand_in:
            words[
                f"{view.label}, {what}: {view.ledger.stand_in} stands in as the simulation of the same "
                "quantized graph, so another runtime's float arithmetic is in both steps."
            ] = None
    return tuple(words)


def _distance(mm: float | None, infinite: int) -> str:
    number = formats.number(mm, ".2f")
    return f"{number} ({infinite} infinite)" if infinite else number
