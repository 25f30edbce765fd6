"""A gate: one run, judged case by case against what was accepted. Composes; the rules are in `voxgate.verdicts.rules`.

What decides about time depends on the engine's file. If it is the accepted one, byte for byte, under
an equal identity, it cannot have become slower, and what the clock says is the host's hour. TensorRT
makes other bytes of one graph with every build: where the inspector lists the same kernels, on the same
weights, it is as if the file were the same. If it is another engine it is always timed again, however fast it looks: stored samples of another hour acquit as
wrongly as they convict. Then the accepted engine and the new one are timed in turn in one process.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from voxgate import __version__
from voxgate.artifacts.cache import Cache
from voxgate.artifacts.progress import Reporter
from voxgate.config import RunConfig
from voxgate.datasets.subjects import subjects_of
from voxgate.errors import HarnessError
from voxgate.files import check_writable
from voxgate.records.case import CaseId
from voxgate.records.file import SCHEMA_VERSION
from voxgate.records.measurement import PairedLaunch
from voxgate.records.run import CaseResult, RunRecord
from voxgate.records.verdicts import (
    CaseVerdicts,
    GateRecord,
    Outcome,
    SelfTest,
    Verdict,
    worst_outcome,
)
from voxgate.runs import bench
from voxgate.verdicts import baseline, dice
from voxgate.verdicts import rules as gate
from voxgate.verdicts.accepted_engines import AcceptedEngines
from voxgate.verdicts.baseline import Entry, Identity
from voxgate.verdicts.limits import GateConfig
from voxgate.verdicts.paired_launches import Pairing, engine_path

_NOTABLE_DRIFT = 0.10

_SAME_ENGINE = "the accepted engine, byte for byte"
_SAME_KERNELS = "a rebuild: other bytes, the accepted engine's kernels and weights"
_NO_ENGINE = "restore the cache of the run that accepted it, or accept anew with --update-baselines"


@dataclass
class _ChangedEngine:
    """A case whose engine is not the accepted file, while it is being judged."""

    row: CaseResult
    entry: Entry
    pairs: tuple[PairedLaunch, ...] = ()
    confirmation: tuple[PairedLaunch, ...] = ()
    self_test: SelfTest | None = None


def gate_run(config: RunConfig, rules: GateConfig, reporter: Reporter) -> GateRecord:
    """Measure a checked selection and judge it.

    Raises:
        ArtifactError: a baseline file is damaged; nothing is measured then.
    """
    check_baselines(rules)
    return judge(bench.bench(config, reporter), config, rules, reporter)


def check_baselines(rules: GateConfig) -> None:
    """Find out before the work, not after it, that there is nothing to judge against.

    Raises:
        ArtifactError: a baseline file is damaged, or baselines are to be updated and cannot be.
    """
    baseline.read_folder(rules.baselines)
    if rules.update:
        check_writable(rules.baselines / "model.json", "--baselines (pytest: --vg-baselines)")


def judge(run: RunRecord, config: RunConfig, rules: GateConfig, reporter: Reporter) -> GateRecord:
    """The verdicts on a run; changed engines are timed again, beside the accepted one.

    Raises:
        ArtifactError: a baseline file is damaged.
    """
    started, start = datetime.now(UTC), time.monotonic()
    cache = Cache(config.cache_root)
    artifacts = bench.make_artifacts(config, cache, reporter.say)
    pairing = Pairing(artifacts, reporter)
    cases = _Judge(run, pairing, config.cache_root, rules).cases()
    return GateRecord(
        kind="gate",
        schema_version=SCHEMA_VERSION,
        voxgate=__version__,
        environment=", ".join(sorted({baseline.identify(r, run).environment for r in run.cases})),
        tolerances={
            "latency": rules.tolerance,
            "latency-p90": gate.TAIL_TOLERANCE,
            "size": gate.SIZE_TOLERANCE,
            "memory": gate.MEMORY_TOLERANCE,
            "dice": rules.dice_margin,
        },
        outcome=worst_outcome(case.outcome for case in cases),
        cases=cases,
        run=run,
        timing=bench.timing_since(started, start, pairing.inference_s, cache),
    )


def accept_run(run: RunRecord, config: RunConfig, rules: GateConfig) -> tuple[Entry, ...]:
    """Make what a run measured the baseline, and keep its engines; returns what was written.

    Cases that were not measured stay out.

    Raises:
        ArtifactError: a file that is there is damaged, or nothing can be written.
    """
    rows = [row for row in run.cases if row.status == "ok"]
    entries = [baseline.accept(row, run) for row in rows]
    known = baseline.read_folder(rules.baselines)
    engines = AcceptedEngines(config.cache_root)
    for row, entry in zip(rows, entries, strict=True):
        # First, since a baseline without its engine can judge no other one.
        if rules.update != "new" or baseline.find(known, entry.identity) is None:
            engines.keep(entry.engine_sha256, engine_path(row, config.cache_root))
    return baseline.update(rules.baselines, entries, only_new=rules.update == "new")


def self_test_run(
    run: RunRecord, config: RunConfig, reporter: Reporter
) -> dict[CaseId, SelfTest | HarnessError]:
    """A fresh self-test of every measured case's engine: which tolerance this host supports."""
    pairing = Pairing(
        bench.make_artifacts(config, Cache(config.cache_root), reporter.say), reporter
    )
    found: dict[CaseId, SelfTest | HarnessError] = {}
    for row in run.cases:
        if row.engine_sha256 is None or row.status not in {"ok", "inconclusive"}:
            continue
        engine = engine_path(row, config.cache_root)
        try:
            found[row.case] = pairing.self_test(
                baseline.identify(row, run), row.engine_sha256, engine, fresh=True
            )
        except HarnessError as error:
            found[row.case] = error
    return found


class _Judge:
    """Judges the rows of one run."""

    def __init__(
        self, run: RunRecord, pairing: Pairing, cache_root: Path, rules: GateConfig
    ) -> None:
        self._run = run
        self._pairing = pairing
        self._cache_root = cache_root
        self._rules = rules
        self._engines = AcceptedEngines(cache_root)
        self._entries = baseline.read_folder(rules.baselines)

    def cases(self) -> tuple[CaseVerdicts, ...]:
        """All verdicts; reds of the clock are confirmed last, a while after they were found."""
        found: list[CaseVerdicts | _ChangedEngine] = [
            self._first_look(row) for row in self._run.cases
        ]
        changed_engines = [entry for entry in found if isinstance(entry, _ChangedEngine)]
        failed: dict[int, HarnessError] = {}
        for step in (self._examine, self._confirm):
            for changed in changed_engines:
                try:
                    if id(changed) not in failed:
                        step(changed)
                except HarnessError as error:
                    failed[id(changed)] = error
        return tuple(
            self._case_verdicts(entry, failed.get(id(entry)))
            if isinstance(entry, _ChangedEngine)
            else entry
            for entry in found
        )

    def _first_look(self, row: CaseResult) -> CaseVerdicts | _ChangedEngine:
        """The verdict on a row that needs no further launch, or a changed engine."""
        if row.status == "failed":
            return _unjudged(row, "failed", row.error)
        if row.status == "unavailable":
            return _unjudged(row, "unavailable", row.reason)
        identity = baseline.identify(row, self._run)
        entry = baseline.find(self._entries, identity)
        if entry is None:
            return _unjudged(row, "inconclusive", self._missing(identity))
        differences = entry.identity.differences(identity)
        if differences:
            file = baseline.file_of(self._rules.baselines, identity)
            words = f"the baseline in {file} cannot be compared with: {'; '.join(differences)}"
            return _unjudged(row, "inconclusive", f"{words}; {_advice(differences)}")
        same = row.engine_sha256 == entry.engine_sha256
        if not same and row.status == "ok" and not entry.has_kernels_of(row):
            return _ChangedEngine(row, entry)
        return self._screened(row, entry, same_engine=same)

    def _screened(self, row: CaseResult, entry: Entry, *, same_engine: bool) -> CaseVerdicts:
        """The accepted engine, or a row whose times say nothing: all but the clock is judged."""
        verdicts = _untimed(row, entry, self._rules)
        drift = gate.screen(_samples(entry), row.samples_ns) - 1
        if row.status == "inconclusive":
            doubt = _untold("inconclusive", row.reason or "")
            return _judged(row, entry, (doubt, *verdicts))
        own = Verdict(
            metric="latency",
            outcome="pass",
            words=f"{_SAME_ENGINE if same_engine else _SAME_KERNELS}; {_drift_words(drift)}",
            unit="ms",
            before=min(map(min, _samples(entry))) / 1e6,
            after=min(map(min, row.samples_ns)) / 1e6,
            change=drift,
            tolerance=self._rules.tolerance,
        )
        if same_engine:
            # A cache that was lost or is new: this is the accepted engine, so it can serve as one again.
            self._engines.keep(entry.engine_sha256, engine_path(row, self._cache_root))
        return replace(
            _judged(row, entry, (own, *verdicts)),
            same_engine=same_engine,
            same_kernels=None if same_engine else True,
        )

    def _examine(self, changed: _ChangedEngine) -> None:
        """Paired launches until they agree, and what this host can tell with this engine."""
        sha256 = changed.entry.engine_sha256
        accepted = self._engines.path(sha256)
        if accepted is not None:
            changed.pairs = self._pairs(changed, accepted, "beside the accepted engine")
            changed.self_test = self._pairing.self_test(changed.entry.identity, sha256, accepted)

    def _confirm(self, changed: _ChangedEngine) -> None:
        """The same anew, a while later, for a red."""
        accepted = self._engines.path(changed.entry.engine_sha256)
        first = self._timed(changed, changed.pairs)
        if accepted is not None and any(verdict.outcome == "regression" for verdict in first):
            how = "again beside the accepted engine"
            changed.confirmation = self._pairs(changed, accepted, how)

    def _pairs(self, changed: _ChangedEngine, accepted: Path, how: str) -> tuple[PairedLaunch, ...]:
        new = engine_path(changed.row, self._cache_root)
        return self._pairing.until_decided(
            changed.row.case, accepted, new, self._rules.tolerance, how
        )

    def _timed(self, changed: _ChangedEngine, pairs: Sequence[PairedLaunch]) -> tuple[Verdict, ...]:
        latency = gate.judge_paired(
            pairs, tolerance=self._rules.tolerance, self_test=changed.self_test
        )
        tail = gate.judge_tail(pairs)
        return (latency, tail) if tail else (latency,)

    def _case_verdicts(self, changed: _ChangedEngine, error: HarnessError | None) -> CaseVerdicts:
        row, entry = changed.row, changed.entry
        if error is not None:
            words = f"in the paired launches: {error}"
            timed: tuple[Verdict, ...] = (_untold("failed", words),)
        elif not changed.pairs:
            fault = self._engines.fault(entry.engine_sha256)
            words = f"the engine is another file than the accepted one, and {fault}; {_NO_ENGINE}"
            timed = (_untold("inconclusive", words),)
        else:
            fresh = {v.metric: v for v in self._timed(changed, changed.confirmation)}
            again = fresh if changed.confirmation else {}
            first = self._timed(changed, changed.pairs)
            timed = tuple(gate.confirmed(v, again.get(v.metric)) for v in first)
        return replace(
            _judged(row, entry, (*timed, *_untimed(row, entry, self._rules))),
            same_engine=False,
            same_kernels=None if None in {row.kernels_sha256, entry.kernels_sha256} else False,
            pairs=changed.pairs,
            confirmation=changed.confirmation,
            self_test=changed.self_test,
        )

    def _missing(self, identity: Identity) -> str:
        near = baseline.nearest(self._entries, identity)
        other = "; ".join(near.identity.differences(identity)) if near else ""
        known = f" (the nearest one cannot be compared with: {other})" if near else ""
        return (
            f"no baseline of this case for {identity.environment} in {self._rules.baselines}{known}; "
            "accept this run with --update-baselines=new"
        )


def _untimed(row: CaseResult, entry: Entry, rules: GateConfig) -> tuple[Verdict, ...]:
    """Size, memory, coverage and Dice, as far as both sides have them."""
    assert row.engine_bytes is not None
    found: list[Verdict | None] = [gate.judge_size(entry.engine_bytes, row.engine_bytes)]
    if entry.memory is not None and row.memory_bytes is not None:
        found.append(gate.judge_memory(entry.memory, row.memory_bytes))
    elif entry.memory is not None:
        words = "memory was not measured, and the baseline has it"
        found.append(Verdict(metric="memory", outcome="inconclusive", words=words))
    found.append(gate.judge_coverage(entry.int8_coverage, row.int8_coverage))
    if entry.dice is not None and row.dice is not None:
        found += dice.judge_dice(
            entry.dice, row.dice, margin=rules.dice_margin, subjects=subjects_of(row.task)
        )
    elif entry.dice is not None:
        words = "Dice was not measured, and the baseline has it"
        found.append(Verdict(metric="dice", outcome="inconclusive", words=words))
    return tuple(verdict for verdict in found if verdict is not None)


def _untold(outcome: Outcome, words: str) -> Verdict:
    return Verdict(metric="latency", outcome=outcome, words=words)


def _advice(differences: Sequence[str]) -> str:
    compare = "compare the runtimes with 'voxgate compare --python-a OLD --python-b NEW', then "
    runtimes = any(words.split()[0] in {"runtime", "driver", "cuda"} for words in differences)
    return f"{compare if runtimes else ''}accept anew with --update-baselines"


def _samples(entry: Entry) -> Sequence[Sequence[int]]:
    return [launch.samples_ns for launch in entry.launches]


def _drift_words(drift: float) -> str:
    words = f"fastest samples {gate.percent(drift)} against when it was accepted"
    return f"{words}: the host, not the engine" if abs(drift) > _NOTABLE_DRIFT else words


def _unjudged(row: CaseResult, outcome: Outcome, reason: str | None) -> CaseVerdicts:
    """A row without verdicts, and why."""
    return CaseVerdicts(
        model=row.model, task=row.task, backend=row.backend, precision=row.precision,
        outcome=outcome, reason=reason,
    )  # fmt: skip


def _judged(row: CaseResult, entry: Entry, verdicts: tuple[Verdict, ...]) -> CaseVerdicts:
    """A row whose outcome is the worst of its verdicts."""
    return replace(
        _unjudged(row, worst_outcome(verdict.outcome for verdict in verdicts), None),
        verdicts=verdicts,
        accepted=entry.accepted,
        accepted_commit=entry.git_commit,
        host_drift=gate.screen(_samples(entry), row.samples_ns) - 1,
    )
