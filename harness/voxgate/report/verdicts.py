"""Verdicts of a gate or a comparison as people read them: the worst first, and where to look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from voxgate.records.run import CaseResult
from voxgate.records.verdicts import (
    CaseComparison,
    CaseVerdicts,
    LayerChange,
    Metric,
    Outcome,
    Verdict,
)
from voxgate.report import formats
from voxgate.report.page import Banner, Block, Cell, Column, Fold, Prose, Table, Tone

JudgedCase = CaseVerdicts | CaseComparison

# The worst first.
_ORDER: tuple[Tone, ...] = ("regression", "failed", "unavailable", "inconclusive", "pass")
_VERBS: dict[Tone, str] = {
    "regression": "regressed",
    "failed": "failed",
    "unavailable": "unavailable",
    "inconclusive": "inconclusive",
    "pass": "passed",
}
_METRICS: dict[Metric, str] = {
    "latency": "latency",
    "latency-p90": "latency, p90",
    "size": "engine size",
    "memory": "memory",
    "dice": "Dice",
    "int8-coverage": "int8 coverage",
    "case": "the whole case",
}
_MOST_REASONS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """One verdict with its case; ``tone`` tells unavailable from failed, ``where`` names layers."""

    case: str
    tone: Tone
    verdict: Verdict
    where: str = ""

    @property
    def what(self) -> str:
        """The metric, and the class where it is of one."""
        metric = _METRICS[self.verdict.metric]
        return f"{metric} of {self.verdict.subject}" if self.verdict.subject else metric

    @property
    def excess(self) -> float:
        """The change in tolerances; how bad it is beside others of the same outcome."""
        change, tolerance = self.verdict.change, self.verdict.tolerance
        return abs(change) / tolerance if change is not None and tolerance else 0.0


def judgements_of(cases: Sequence[JudgedCase], rows: Iterable[CaseResult]) -> list[Judgement]:
    """Every verdict of every case, the worst first; a case without any says why."""
    by_case = {row.case: row for row in rows}
    found = [one for case in cases for one in _judgements(case, by_case.get(case.case))]
    return sorted(found, key=lambda one: (_ORDER.index(one.tone), -one.excess))


def tone_of(case: JudgedCase, row: CaseResult | None) -> Tone:
    """The outcome; a case that failed since something is not installed is unavailable."""
    missing = case.outcome == "failed" and row is not None and row.status == "unavailable"
    return "unavailable" if missing else case.outcome


def banner(
    outcome: Outcome, tones: Sequence[Tone], judgements: Sequence[Judgement], since: str
) -> Banner:
    """Whether it is red, what, by how much, where; ``since`` says against what."""
    bad = [one for one in judgements if one.tone != "pass"]
    reasons = [
        Cell(text=_sentence(one), tone=one.tone, note=one.tone) for one in bad[:_MOST_REASONS]
    ]
    if len(bad) > _MOST_REASONS:
        reasons.append(Cell(text=f"{len(bad) - _MOST_REASONS} more below."))
    return Banner(
        tone=outcome, word=outcome, headline=f"{tally(tones)} {since}.", reasons=tuple(reasons)
    )


def tally(tones: Sequence[Tone]) -> str:
    """How many cases came to what."""
    counts = Counter(tones)
    parts = [f"{counts[tone]} {_VERBS[tone]}" for tone in _ORDER if counts[tone]]
    return f"Of {formats.count(len(tones), 'case')}, {', '.join(parts) or 'none was judged'}"


def verdict_blocks(judgements: Sequence[Judgement]) -> tuple[Block, ...]:
    """What is not a pass in the open, the passes folded away."""
    bad = [one for one in judgements if one.tone != "pass"]
    good = [one for one in judgements if one.tone == "pass"]
    blocks: list[Block] = []
    if bad:
        blocks.append(verdict_table(bad))
    elif good:
        blocks.append(Prose(paragraphs=("Every verdict is a pass.",)))
    else:
        blocks.append(Prose(paragraphs=("There is no verdict: nothing was judged.",)))
    if good:
        summary = formats.count(len(good), "verdict that is a pass", "verdicts that are a pass")
        blocks.append(Fold(summary=summary, blocks=(verdict_table(good),)))
    return tuple(blocks)


def verdict_table(judgements: Sequence[Judgement]) -> Table:
    """One row a verdict."""
    return Table(
        caption="Verdicts, the worst first",
        columns=(
            Column(heading="case"),
            Column(heading="verdict"),
            Column(heading="of"),
            Column(heading="before", numeric=True),
            Column(heading="after", numeric=True),
            Column(heading="change", numeric=True),
            Column(heading="tolerance", numeric=True),
            Column(heading="in words", wide=True),
        ),
        rows=tuple(
            (
                one.case,
                Cell(text=one.tone, tone=one.tone),
                one.what,
                *figures(one.verdict),
                " ".join(part for part in (one.verdict.words, one.where) if part),
            )
            for one in judgements
        ),
    )


def figures(verdict: Verdict) -> tuple[str, str, str, str]:
    """Before, after, change and tolerance of a verdict."""
    return (
        formats.measured(verdict.before, verdict.unit),
        formats.measured(verdict.after, verdict.unit),
        formats.changed(verdict, verdict.change),
        formats.changed(verdict, verdict.tolerance).replace("+", ""),
    )


def layer_words(layers: Sequence[LayerChange]) -> str:
    """The layers that changed arithmetic, or else the one that got slower most."""
    changed = [layer for layer in layers if layer.arithmetic_changed]
    if changed:
        names = (f"{source_words(layer)} ({layer.before} → {layer.after})" for layer in changed)
        return f"Layers with another arithmetic: {formats.some(names, 3)}."
    slower = max(layers, key=slowdown_ns, default=None)
    if slower is None or slowdown_ns(slower) <= 0:
        return ""
    times = " → ".join(layer_ms(ns) for ns in (slower.before_ns, slower.after_ns))
    return f"The layer that got slower most: {source_words(slower)} ({times} ms)."


def source_words(layer: LayerChange) -> str:
    """The graph nodes of a layer."""
    return formats.some(layer.sources, 2) or "a layer of no graph node"


def layer_ms(ns: int | None) -> str:
    """The time of a layer, without its unit."""
    return formats.number(None if ns is None else formats.ns_to_ms(ns), ",.3f")


def slowdown_ns(layer: LayerChange) -> int:
    """How much longer a layer takes; 0 where one side does not tell."""
    if layer.before_ns is None or layer.after_ns is None:
        return 0
    return layer.after_ns - layer.before_ns


def _judgements(case: JudgedCase, row: CaseResult | None) -> list[Judgement]:
    tone = tone_of(case, row)
    found = [
        Judgement(
            case=str(case.case),
            tone=verdict.outcome,
            verdict=verdict,
            where="" if verdict.outcome == "pass" else _where(case, verdict, row),
        )
        for verdict in case.verdicts
    ]
    if tone in {one.tone for one in found} and not case.reason:
        return found
    words = case.reason or "No verdict says why."
    return [*found, _on_the_case(case, tone, words)]


def _on_the_case(case: JudgedCase, tone: Tone, words: str) -> Judgement:
    verdict = Verdict(metric="case", outcome=case.outcome, words=words)
    return Judgement(case=str(case.case), tone=tone, verdict=verdict)


def _where(case: JudgedCase, verdict: Verdict, row: CaseResult | None) -> str:
    """The layers behind a verdict, as far as they are known."""
    if isinstance(case, CaseComparison):
        return layer_words(case.layers) if verdict.metric != "size" else ""
    if verdict.metric != "int8-coverage" or row is None or row.int8_coverage is None:
        return ""
    every = (*row.int8_coverage.float_nodes, *row.int8_coverage.unmapped_nodes)
    nodes = tuple(node for node in every if node not in verdict.words)
    return f"Not in int8: {formats.some(nodes)}." if nodes else ""


def _sentence(one: Judgement) -> str:
    subject = one.case if one.verdict.metric == "case" else f"{one.case}, {one.what}"
    parts = (f"{subject}:", one.verdict.words, one.where)
    return " ".join(part for part in parts if part)
