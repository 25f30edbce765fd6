"""What the comparison of rules found: shares, what they rest on, and the bars. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from benchmarks.certainty import wilson
from benchmarks.our_rules import ALTERNATING, CONFIRMED, GATE
from benchmarks.recording import State
from benchmarks.resampling import AA, Section

JUDGED_BY_BARS = (CONFIRMED, GATE, ALTERNATING)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """How many of the drawn comparisons a rule called slower, and how many undecided."""

    flagged: int
    inconclusive: int
    comparisons: int

    @property
    def share(self) -> float:
        """Called slower, of all; an undecided one is neither alarm nor catch."""
        return self.flagged / self.comparisons

    @property
    def interval(self) -> tuple[float, float]:
        """95 %, of the drawing alone: more drawings narrow it, and prove nothing about the host."""
        return wilson(self.flagged, self.comparisons)


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One rule in one state: of one engine on one host (``subject``), or of all (empty).

    ``launches`` are the recorded ones that the comparisons were drawn from.
    """

    subject: str
    section: Section
    rule: str
    ours: bool
    hosts: frozenset[str]
    launches: int
    cells: Mapping[str, Cell]


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What one engine on one host contributes in one state, and what it can prove.

    ``foreign`` is the median share of the cores that other processes took, ``spread`` the coefficient
    of variation of the solo launches' minima; ``beyond`` counts the
    paired launches that differ from themselves by more than the gate's tolerance, ``missed`` those
    that would not show 5 %. The two bounds hold at 95 % if the launches are independent.
    ``supported`` is the self-test's tolerance over all launches, ``taken`` how many launches a
    comparison of equal engines takes on average.
    """

    subject: str
    engine_sha256: str
    recordings: tuple[str, ...]
    state: State
    solo_launches: int
    solo_samples: int
    paired_launches: int
    pairs: int
    foreign: float | None
    spread: float
    beyond: int
    missed: int
    false_alarms_at_most: float
    found_at_least: float
    supported: float
    taken: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """What a rule has to reach under one effect: at most, or at least, that share."""

    effect: str
    limit: float
    at_least: bool

    def met(self, cell: Cell) -> bool:
        """Whether the share of the drawn comparisons is on the right side."""
        return cell.share >= self.limit if self.at_least else cell.share <= self.limit

    def __str__(self) -> str:
        return f"{self.effect} {'≥' if self.at_least else '≤'} {self.limit:.0%}"


BARS = (
    Bar(effect=AA.name, limit=0.01, at_least=False),
    Bar(effect="+5 %", limit=0.95, at_least=True),
    Bar(effect="+10 %", limit=0.99, at_least=True),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """All of it. ``rows`` are per engine and host, ``overall`` with equal weight for each of those."""

    schema_version: int
    voxgate: str
    comparisons: int
    seed: int
    hosts: int
    evidence: tuple[Evidence, ...]
    left_out: tuple[str, ...]
    overall: tuple[Row, ...]
    rows: tuple[Row, ...]


def combine(rows: Iterable[Row]) -> tuple[Row, ...]:
    """Rows of the same rule and state as one, in the order in which they first come."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.section, row.rule), []).append(row)
    return tuple(
        Row(
            subject="",
            section=group[0].section,
            rule=group[0].rule,
            ours=group[0].ours,
            hosts=frozenset().union(*(row.hosts for row in group)),
            launches=sum(row.launches for row in group),
            cells={name: total(row.cells[name] for row in group) for name in group[0].cells},
        )
        for group in groups.values()
    )


def total(cells: Iterable[Cell]) -> Cell:
    """All of them together."""
    found = list(cells)
    return Cell(
        flagged=sum(cell.flagged for cell in found),
        inconclusive=sum(cell.inconclusive for cell in found),
        comparisons=sum(cell.comparisons for cell in found),
    )
