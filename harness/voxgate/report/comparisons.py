"""What a comparison says beside its verdicts: agreement, build times, layers, what is unsaid."""

from __future__ import annotations

from collections.abc import Sequence

from voxgate.records.run import RunRecord
from voxgate.records.verdicts import CaseComparison, ComparisonRecord, LayerChange
from voxgate.report import formats
from voxgate.report.environment import configuration, environment_facts
from voxgate.report.page import Block, Cell, Column, Fold, Prose, Section, Table
from voxgate.report.verdicts import layer_ms, slowdown_ns, source_words

_MOST_LAYERS = 15


def comparison_sections(record: ComparisonRecord) -> tuple[Section, ...]:
    """The two sides beside each other; empty sections are left out."""
    layers = [block for case in record.cases for block in _layer_blocks(case)]
    unsaid = tuple(f"{case.case}: {words}" for case in record.cases for words in case.unsaid)
    named = (
        Section(title="Not said", blocks=(Prose(paragraphs=unsaid),) if unsaid else ()),
        Section(title="Side by side", blocks=_sides(record)),
        Section(title="Layers that changed", blocks=tuple(layers)),
        Section(title="What differs around them", blocks=(_differences(record),)),
    )
    return tuple(section for section in named if section.blocks)


def _sides(record: ComparisonRecord) -> tuple[Block, ...]:
    if not record.cases:
        return ()
    blocks: list[Block] = [_agreement_table(record)]
    if dice := _agreement_dice(record.cases):
        blocks.append(Fold(summary="Agreement of each class", blocks=(dice,)))
    return tuple(blocks)


def _agreement_table(record: ComparisonRecord) -> Table:
    a, b = ({row.case: row for row in run.cases} for run in (record.a, record.b))
    times = [r.latency_ms.min for r in (*a.values(), *b.values()) if r.latency_ms]
    ms = formats.milliseconds(times)

    def cells(case: CaseComparison) -> tuple[str, ...]:
        sides = [side.get(case.case) for side in (a, b)]
        return (
            *(formats.megabytes(row.engine_bytes if row else None) for row in sides),
            *(ms(row.latency_ms.median if row and row.latency_ms else None) for row in sides),
            *(formats.dice(row.dice.mean if row and row.dice else None) for row in sides),
            *(formats.number(seconds, ",.1f") for seconds in case.build_s),
        )

    measures = ("size MB", "latency ms", "mean Dice", "build s")
    return Table(
        caption=f"A: {record.title_a}; B: {record.title_b}",
        columns=(
            Column(heading="case"),
            *(Column(heading=f"{name} {side}", numeric=True) for name in measures for side in "AB"),
            Column(heading="same label", numeric=True, note="share of voxels that both label alike"),
        ),
        rows=tuple(
            (str(case.case), *cells(case), formats.number(case.agreement, ".5f"))
            for case in record.cases
        ),
    )  # fmt: skip


def _agreement_dice(cases: Sequence[CaseComparison]) -> Table | None:
    rows = tuple(
        (str(case.case), name, "absent" if value is None else formats.dice(value))
        for case in cases
        for name, value in (case.agreement_dice or {}).items()
    )
    headings = Column(heading="case"), Column(heading="class"), Column(heading="Dice", numeric=True)
    caption = "Dice of B's labels against A's; absent: in neither"
    return Table(caption=caption, columns=headings, rows=rows) if rows else None


def _layer_blocks(case: CaseComparison) -> list[Block]:
    """The layers that changed most in the open, the others folded."""
    if not case.layers:
        return []
    ranked = sorted(case.layers, key=lambda one: (not one.arithmetic_changed, -slowdown_ns(one)))
    shown, others = ranked[:_MOST_LAYERS], ranked[_MOST_LAYERS:]
    blocks: list[Block] = [_layer_table(str(case.case), shown)]
    if others:
        more = formats.count(len(others), "more layer", "more layers")
        blocks.append(
            Fold(summary=f"{more} of {case.case}", blocks=(_layer_table(str(case.case), others),))
        )
    return blocks


def _layer_table(caption: str, layers: Sequence[LayerChange]) -> Table:
    return Table(
        caption=caption,
        columns=(
            Column(heading="graph nodes"),
            Column(heading="before"),
            Column(heading="after"),
            Column(heading="arithmetic"),
            Column(heading="before ms", numeric=True),
            Column(heading="after ms", numeric=True),
            Column(heading="slower by ms", numeric=True),
        ),
        rows=tuple(
            (
                source_words(layer),
                layer.before,
                layer.after,
                Cell(text="changed", tone="inconclusive") if layer.arithmetic_changed else "the same",
                layer_ms(layer.before_ns),
                layer_ms(layer.after_ns),
                _slowdown(layer),
            )
            for layer in layers
        ),
    )  # fmt: skip


def _slowdown(layer: LayerChange) -> str:
    if layer.before_ns is None or layer.after_ns is None:
        return formats.DASH
    return formats.number(formats.ns_to_ms(slowdown_ns(layer)), "+,.3f")


def _differences(record: ComparisonRecord) -> Block:
    """Facts of machine, versions and settings that are not equal; these may explain the rest."""
    a, b = _all_facts(record.a), _all_facts(record.b)
    names = [name for name in dict.fromkeys((*a, *b)) if a.get(name) != b.get(name)]
    if not names:
        return Prose(paragraphs=("Machine, versions and settings are the same on both sides.",))
    return Table(
        caption="Facts that differ between the two runs",
        columns=(Column(heading="fact"), Column(heading="A"), Column(heading="B")),
        rows=tuple((name, a.get(name, formats.DASH), b.get(name, formats.DASH)) for name in names),
    )


def _all_facts(run: RunRecord) -> dict[str, str]:
    packages = ((f"package {name}", version) for name, version in run.environment.packages.items())
    return {
        **dict(environment_facts(run.environment)),
        **dict(configuration(run)),
        **dict(packages),
    }
