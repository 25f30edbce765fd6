"""A sensitivity analysis on a terminal: the ranked layers, what they add up to, and the budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxgate.records.sensitivity import Budget, LayerLoss, SensitivityRecord
from voxgate.report import formats
from voxgate.report.page import visible

if TYPE_CHECKING:
    from rich.console import Console

_MOST_ROWS = 40  # the page and the record have them all
EXACT = "exact"


def print_sensitivity(console: Console, record: SensitivityRecord) -> None:
    """The table, how far SQNR can be trusted, the budget, and where the time went."""
    from rich import box
    from rich.table import Table

    table = Table(title=title_of(record), title_justify="left", box=box.SIMPLE_HEAD)
    for number, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="left" if number < 2 else "right")
    for layer in record.layers[:_MOST_ROWS]:
        table.add_row(*(visible(cell) for cell in cells_of(layer)))
    if record.between is not None:
        table.add_section()
        table.add_row(*cells_of(record.between))
    console.print(table)
    hidden = len(record.layers) - _MOST_ROWS
    if hidden > 0:
        _say(console, f"and {formats.count(hidden, 'layer')} more in the report")
    for sentence in sentences(record):
        _say(console, sentence)
    if record.budget is not None:
        _print_budget(console, record.budget)
    _say(console, costs_of(record))


HEADINGS = (
    "layer", "type", "MACs", "Dice lost", "SQNR dB", "Dice regained", "SQNR gained dB",
)  # fmt: skip


def cells_of(layer: LayerLoss) -> tuple[str, ...]:
    """One row under `HEADINGS`."""
    return (
        layer.name,
        layer.op_type,
        formats.share(layer.macs_share) if layer.op_type else formats.DASH,
        dice_change(layer.dice_lost),
        EXACT if layer.exact else formats.number(layer.sqnr_db, ".1f"),
        dice_change(layer.dice_regained),
        formats.number(layer.sqnr_gained_db, "+.2f"),
    )


def dice_change(value: float | None) -> str:
    """A change of Dice with the digits in which single layers differ."""
    return formats.number(value, "+.5f")


def title_of(record: SensitivityRecord) -> str:
    """What was ranked, and how."""
    return (
        f"Sensitivity of {record.model} on {record.task} ({record.backend}, {record.quantizer}): "
        f"alone quantized in {record.alone_in}, alone in float among {record.rest_in}"
    )


def sentences(record: SensitivityRecord) -> tuple[str, ...]:
    """What the table alone does not tell."""
    found = [_wholes(record), f"{record.agreement.words}."]
    lost = [layer.dice_lost for layer in record.layers if layer.dice_lost is not None]
    parts = [*record.layers, *([record.between] if record.between else [])]
    noises = [0.0 if p.sqnr_db is None else 10 ** (-p.sqnr_db / 10) for p in parts]
    whole = record.wholes.get(record.alone_in)
    if whole is not None and whole.sqnr_db is not None and len(lost) == len(record.layers):
        lost += [record.between.dice_lost or 0.0] if record.between else []
        share = sum(noises) / 10 ** (-whole.sqnr_db / 10)
        total = record.wholes["fp32"].dice_mean - whole.dice_mean
        found.append(
            f"All parts alone lose {sum(lost):+.5f} Dice and make {share:.0%} of the noise of "
            f"everything quantized, which loses {total:+.5f}."
        )
    if record.quantizers_left:
        left = formats.count(record.quantizers_left, "quantizer")
        found.append(f"No edit touches {left} behind the last layer.")
    if record.in_float:
        found.append(f"Left in float by the quantizer: {formats.some(record.in_float)}.")
    return tuple(found)


def _wholes(record: SensitivityRecord) -> str:
    fp32 = record.wholes["fp32"]
    others = [
        f"{name} {formats.dice(whole.dice_mean)} ({formats.number(whole.sqnr_db, '.1f')} dB)"
        for name, whole in record.wholes.items()
        if name not in {"fp32", "control"}
    ]
    patches = formats.count(
        len(record.patches), "labelled calibration patch", "labelled calibration patches"
    )
    return f"Mean Dice on {patches}: fp32 {formats.dice(fp32.dice_mean)}, {', '.join(others)}."


def _print_budget(console: Console, budget: Budget) -> None:
    style = {"met": "green", "found": "green", "refuted": "yellow"}.get(budget.outcome, "bold red")
    _say(console, f"Budget {budget.margin:g}: {budget.words}.", style)
    if budget.layers:
        _say(console, f"  leave in float: {','.join(budget.layers)}")
    for sentence in confirmation_lines(budget):
        _say(console, f"  {sentence}")
    if budget.command:
        _say(console, f"  {budget.command}")


def confirmation_lines(budget: Budget) -> tuple[str, ...]:
    """What the set does on the evaluation patches, and what it costs."""
    found = budget.confirmation
    if found is None:
        return ()
    before, after = (
        ", ".join(f"{name} {dice_change(value)}" for name, value in losses.items())
        for losses in (found.loss_before, found.loss_after)
    )
    if not budget.layers:
        return (f"Dice lost on the evaluation patches: {after}",)
    costs = (
        f"latency {formats.times(found.latency_ratio)} "
        f"(minima {formats.times(found.latency_ratio_by_minima)}), "
        f"size {formats.times(found.size_ratio)} of all in INT8"
    )
    failed = [case.error for case in found.run.cases if case.status != "ok" and case.error]
    doubts = tuple(f"bench will say: {error}" for error in failed)
    return (
        f"Dice lost on the evaluation patches: {before}; with the list: {after}",
        costs,
        *doubts,
    )


def costs_of(record: SensitivityRecord) -> str:
    """Where the time went."""
    costs = record.costs
    return (
        f"{record.timing.wall_s:.1f} s; {costs.variants} variants measured ({costs.inference_s:.0f} s in "
        f"inference, {costs.build_s:.0f} s building, {costs.edit_s:.0f} s editing, "
        f"{costs.overhead_s:.0f} s around), {costs.reused} taken from the cache"
    )


def _say(console: Console, words: str, style: str | None = None) -> None:
    console.print(visible(words), style=style, highlight=False, soft_wrap=True)
