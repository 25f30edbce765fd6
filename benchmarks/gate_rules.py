"""How often each rule calls a slower engine slower, and an equal one too, on recorded launches.

Everything comes from recordings of an engine beside itself (`benchmarks.record_launches`): launches
are drawn from them, B's samples are multiplied, and each rule answers. The same launches serve every
rule of stored samples: five a side, pooled, which is more than most tools take.

.venv/bin/python -m benchmarks.gate_rules
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from voxgate import __version__
from voxgate.cli import guarded
from voxgate.errors import EXIT_PASS, ArtifactError, UsageError
from voxgate.records.measurement import PairedLaunch
from voxgate.verdicts.rules import TOLERANCE, self_test

from benchmarks import our_rules, recording, tool_rules
from benchmarks.certainty import false_alarms_at_most, found_at_least
from benchmarks.our_rules import Answer, Rule, decided
from benchmarks.recording import Kind, Recording, State
from benchmarks.resampling import EFFECTS, Draws, Section, Stratum, draw, stratify
from benchmarks.rules_report import Cell, Evidence, Report, Row, combine, total
from benchmarks.tool_rules import Pooled

SCHEMA_VERSION = 1
SAMPLES = Path(__file__).parent / "samples"
COMPARISONS = 2_000
_FOUND = 1.05  # the slowdown that must be found
_BLOCK = 500

Key = tuple[int, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when there was something to judge by."""
    options = build_parser().parse_args(arguments)
    return guarded(lambda: run(options))


def build_parser() -> argparse.ArgumentParser:
    """Which recordings, how many comparisons, and the form of the answer."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gate_rules",
        allow_abbrev=False,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("samples", nargs="*", type=Path, help=f"default: all in {SAMPLES.name}/")
    parser.add_argument(
        "--comparisons", type=int, default=COMPARISONS, help="drawn per engine, host and state; "
        "default: %(default)s",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="for programs")
    form.add_argument("--markdown", action="store_true", help="tables for a document")
    return parser


def run(options: argparse.Namespace) -> int:
    """Read, compare and print."""
    from voxgate.report.terminal import make_console

    from benchmarks.rules_table import print_report

    if options.comparisons < 1 or options.seed < 0:
        msg = "--comparisons must be at least 1 and --seed must not be negative"
        raise UsageError(msg)
    recordings = [recording.read(path) for path in options.samples or default_samples()]
    report = compare(recordings, comparisons=options.comparisons, seed=options.seed)
    if options.json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
        return EXIT_PASS
    with contextlib.suppress(SystemExit):  # rich's answer to a closed pipe; its code is not ours
        print_report(make_console(), report, markdown=options.markdown)
    return EXIT_PASS


def default_samples() -> list[Path]:
    """The recordings of the repository.

    Raises:
        ArtifactError: there are none.
    """
    found = sorted(SAMPLES.glob("*.json*"))
    if not found:
        msg = f"no recordings in {SAMPLES}; make some with benchmarks.record_launches"
        raise ArtifactError(msg)
    return found


def compare(recordings: Sequence[Recording], *, comparisons: int, seed: int) -> Report:
    """Every rule under every effect, for each engine, host and state.

    Raises:
        ArtifactError: no recording has enough launches.
    """
    strata = stratify(recordings)
    rows: list[Row] = []
    evidence: list[Evidence] = []
    for index, stratum in enumerate(strata):
        for section in stratum.sections():
            key = (seed, index, len(rows))
            rows += _rows(stratum, section, comparisons, key)
            if section != "mixed":
                evidence.append(_evidence(stratum, section, key))
    if not rows:
        msg = "no recording has four launches of each kind in one state; record more of them"
        raise ArtifactError(msg)
    return Report(
        schema_version=SCHEMA_VERSION,
        voxgate=__version__,
        comparisons=comparisons,
        seed=seed,
        hosts=len({stratum.host for stratum in strata if stratum.pools}),
        evidence=tuple(evidence),
        left_out=tuple(f"{title(s)}: {', '.join(s.left_out)}" for s in strata if s.left_out),
        overall=combine(rows),
        rows=tuple(rows),
    )


def title(stratum: Stratum) -> str:
    """The engine and the host."""
    return f"{stratum.case} on {stratum.host}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Contestant:
    """A rule by its name, whether it is ours, and which launches it looks at."""

    name: str
    ours: bool
    kinds: frozenset[Kind]
    rule: Rule


def contestants() -> Iterator[Contestant]:
    """All rules, in the order of the table."""
    solo: frozenset[Kind] = frozenset({"solo"})
    for name, pooled in tool_rules.POOLED.items():
        yield Contestant(name=name, ours=False, kinds=solo, rule=_of_stored(pooled))
    yield Contestant(name="conbench z", ours=False, kinds=solo, rule=_conbench_z)
    for name, rule in our_rules.RULES.items():
        yield Contestant(name=name, ours=True, kinds=our_rules.kinds(name), rule=rule)


def _conbench_z(draws: Draws) -> Answer:
    return decided(tool_rules.conbench_z(draws))


def _of_stored(pooled: Pooled) -> Rule:
    def rule(draws: Draws) -> Answer:
        a, b = (draws.stored[:, side].reshape(len(draws.stored), -1) for side in (0, 1))
        return decided(pooled(a, b))

    return rule


def _rows(stratum: Stratum, section: Section, comparisons: int, key: Key) -> list[Row]:
    """All rules over all effects, a block of comparisons at a time: the samples are many."""
    cells: dict[tuple[str, str], list[Cell]] = {}
    for block, start in enumerate(range(0, comparisons, _BLOCK)):
        count = min(_BLOCK, comparisons - start)
        draws = draw(stratum, section, count, np.random.default_rng((*key, block)))
        for name, cell in _cells(draws, (*key, block)):
            cells.setdefault(name, []).append(cell)
    return [
        Row(
            subject=title(stratum),
            section=section,
            rule=each.name,
            ours=each.ours,
            hosts=frozenset({stratum.host}),
            launches=stratum.launches(section, each.kinds),
            cells={effect.name: total(cells[each.name, effect.name]) for effect in EFFECTS},
        )
        for each in contestants()
    ]


def _cells(draws: Draws, key: Key) -> Iterator[tuple[tuple[str, str], Cell]]:
    """((rule, effect), what the rule said), for all of both."""
    for number, effect in enumerate(EFFECTS):
        slowed = draws.slowed(effect, np.random.default_rng((*key, number)))
        for each in contestants():
            answer = each.rule(slowed)
            cell = Cell(
                flagged=int(answer.flagged.sum()),
                inconclusive=int(answer.inconclusive.sum()),
                comparisons=len(answer.flagged),
            )
            yield (each.name, effect.name), cell


def _evidence(stratum: Stratum, state: State, key: Key) -> Evidence:
    draws = draw(stratum, state, _BLOCK, np.random.default_rng((*key, 0)))
    pool = stratum.pools[state]
    minima = pool.pairs.min(axis=2)
    ratios = minima[:, 1] / minima[:, 0]
    beyond, missed = (
        int((ratios > 1 + TOLERANCE).sum()),
        int((ratios * _FOUND <= 1 + TOLERANCE).sum()),
    )
    own = [
        PairedLaunch(b_first=bool(order), a_ns=tuple(map(int, a)), b_ns=tuple(map(int, b)))
        for order, (a, b) in zip(pool.b_first, pool.pairs, strict=True)
    ]
    fastest = pool.solo.min(axis=1)
    return Evidence(
        subject=title(stratum),
        engine_sha256=stratum.engine_sha256,
        recordings=stratum.recordings,
        state=state,
        solo_launches=len(pool.solo),
        solo_samples=pool.solo.shape[1],
        paired_launches=len(pool.pairs),
        pairs=pool.pairs.shape[2],
        foreign=statistics.median(pool.foreign) if pool.foreign else None,
        spread=float(fastest.std(ddof=1) / fastest.mean()),
        beyond=beyond,
        missed=missed,
        false_alarms_at_most=false_alarms_at_most(beyond, len(own)),
        found_at_least=found_at_least(missed, len(own)),
        supported=self_test(stratum.engine_sha256, own).supported,
        taken=float(our_rules.taken(draws.series[0]).mean()),
    )


if __name__ == "__main__":
    sys.exit(main())
