"""The page of a sensitivity analysis: the ranked layers, how far to trust the ranking, the budget."""

from __future__ import annotations

from voxgate.records.sensitivity import Budget, BudgetOutcome, LayerLoss, SensitivityRecord
from voxgate.report import formats
from voxgate.report.charts.sensitivity import agreement_chart, dice_chart, noise_chart
from voxgate.report.environment import environment_blocks, subtitle
from voxgate.report.page import (
    Banner,
    Block,
    Charts,
    Column,
    Facts,
    Fold,
    Page,
    Prose,
    Section,
    Table,
    Tone,
)
from voxgate.report.sensitivity_table import (
    HEADINGS,
    cells_of,
    confirmation_lines,
    costs_of,
    dice_change,
    sentences,
    title_of,
)

_TONES: dict[BudgetOutcome, Tone] = {
    "met": "pass",
    "found": "pass",
    "refuted": "inconclusive",
    "unreachable": "failed",
}
_NOTES = {
    "Dice lost": "FP32's mean Dice minus that of the network with this layer alone quantized",
    "SQNR dB": "of the logits against FP32's, with this layer alone quantized; low is bad",
    "Dice regained": "how much nearer to FP32's the mean Dice is with this layer alone in float",
    "SQNR gained dB": "of the logits, with this layer alone in float",
    "MACs": "share of the network's multiply-accumulates",
}
_HOW_TO_READ = (
    "Each layer is measured twice: alone quantized in a float network, and alone in float in a "
    "quantized one. Both are edits of one quantized graph, so every scale is the same. Layers are "
    "ranked on the labelled calibration patches; the evaluation patches have no say."
)


def sensitivity_page(record: SensitivityRecord) -> Page:
    """The whole page."""
    return Page(
        title=title_of(record),
        subtitle=subtitle(record),
        banner=_banner(record),
        sections=_sections(record),
        footer=f"VoxGate {record.voxgate}. Everything here is in the record, and more.",
    )


def _banner(record: SensitivityRecord) -> Banner:
    if (budget := record.budget) is not None:
        tone = _TONES[budget.outcome]
        headline = f"Margin {budget.margin:g}: {budget.words}."
        return Banner(tone=tone, word=budget.outcome, headline=headline)
    worst = next(iter(record.layers))
    by = (
        f"moves Dice by {dice_change(-worst.dice_lost)}"
        if worst.dice_lost is not None and abs(worst.dice_lost) > record.agreement.floor
        else f"leaves {formats.number(worst.sqnr_db, '.1f')} dB"
    )
    headline = f"Of {formats.count(len(record.layers), 'quantized layer')}, {worst.name} matters most: it {by} alone."
    return Banner(tone="plain", word="ranked", headline=headline)


def _sections(record: SensitivityRecord) -> tuple[Section, ...]:
    charts = [dice_chart(record), noise_chart(record), agreement_chart(record)]
    drawn = tuple(chart for chart in charts if chart is not None)
    found = [
        Section(
            title="Layers, the most sensitive first",
            blocks=(
                Prose(paragraphs=sentences(record)),
                *((Charts(charts=drawn),) if drawn else ()),
                _layer_table(record),
                Prose(paragraphs=(_HOW_TO_READ,), quiet=True),
            ),
        )
    ]
    if record.budget is not None:
        found.append(Section(title="Layers to leave in float", blocks=_budget(record.budget)))
    environment = (Facts(pairs=_facts(record)), *environment_blocks(record))
    found.append(Section(title="Where and how", blocks=environment))
    return tuple(found)


def _layer_table(record: SensitivityRecord) -> Table:
    classes = tuple(record.wholes["fp32"].dice_per_class)
    parts = [*record.layers, *([record.between] if record.between is not None else [])]
    return Table(
        caption="Every quantized layer, alone quantized and alone in float",
        columns=(
            *(
                Column(heading=heading, numeric=number > 1, note=_NOTES.get(heading, ""))
                for number, heading in enumerate(HEADINGS)
            ),
            *(Column(heading=f"{name} lost", numeric=True) for name in classes),
        ),
        rows=tuple((*cells_of(part), *_classes(part, classes)) for part in parts),
    )


def _classes(layer: LayerLoss, classes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dice_change(layer.dice_lost_per_class.get(name)) for name in classes)


def _budget(budget: Budget) -> tuple[Block, ...]:
    words = [f"{budget.words}.", *confirmation_lines(budget), budget.command]
    trials = Table(
        caption="Sets that were tried on the ranking patches, in this order",
        columns=(
            Column(heading="in float", numeric=True),
            Column(heading="worst class from FP32", numeric=True),
            Column(heading="within the margin"),
            Column(heading="layers", wide=True),
        ),
        rows=tuple(
            (
                str(len(trial.layers)),
                dice_change(trial.loss),
                "yes" if trial.loss <= budget.margin else "no",
                formats.some(trial.layers, 12) or formats.DASH,
            )
            for trial in budget.trials
        ),
    )
    return (
        Prose(paragraphs=tuple(word for word in words if word)),
        Fold(summary=f"The search: {formats.count(len(trials.rows), 'set')}", blocks=(trials,)),
    )


def _facts(record: SensitivityRecord) -> tuple[tuple[str, str], ...]:
    return (
        ("model, task", f"{record.model}, {record.task}"),
        ("one layer quantized in", record.alone_in),
        ("all but one quantized in", record.rest_in),
        ("quantizer", f"{record.quantizer}, {record.calibration_method}"),
        ("quantizers in the graph", str(record.quantizers)),
        ("ranked on", formats.some((patch.name for patch in record.patches), 8)),
        ("time", costs_of(record)),
    )
