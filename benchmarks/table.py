"""The benchmark of quantizers as a person reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxgate.records.run import CaseResult

from benchmarks.comparison import (
    OURS,
    Contender,
    Duel,
    Means,
    ModelComparison,
    QuantizerRecord,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_DASH = "–"
_LEFT = ("model", "quantizer", "ours / better default", "ours / fastest default")


def print_comparison(console: Console, record: QuantizerRecord) -> None:
    """Table, what failed and why, geometric means."""
    console.print(build_table(record))
    for model in record.models:
        _print_failures(console, model)
    for line in summary_lines(record):
        console.print(line, highlight=False, soft_wrap=True)


def build_table(record: QuantizerRecord) -> Table:
    """A section a model, a line a quantizer; ours, the first, carries the verdict."""
    from rich.table import Table

    table = Table(
        title=f"INT8 by three quantizers on {record.config['task']}", title_justify="left"
    )
    for heading in (
        "model", "fp32 ms", "quantizer", "ms", "faster", "smaller", "Dice lost", "int8 MACs",
        "ours / better default", "ours / fastest default",
    ):  # fmt: skip
        table.add_column(heading, justify="left" if heading in _LEFT else "right")
    for model in record.models:
        table.add_section()
        for contender in model.contenders:
            table.add_row(*_cells(model, contender))
    return table


def _cells(model: ModelComparison, contender: Contender) -> tuple[str, ...]:
    first = contender.quantizer == OURS
    case, ratios = contender.case, contender.ratios
    coverage = case.int8_coverage
    return (
        model.model if first else "",
        _median(model.fp32) if first else "",
        contender.quantizer if contender.sound else f"{contender.quantizer} ({_state(contender)})",
        _median(case),
        _format(ratios.latency if ratios else None, ".2f", "x"),
        _format(ratios.size if ratios else None, ".2f", "x"),
        _format(contender.dice_lost, "+.4f"),
        _format(coverage.by_macs.int8 if coverage else None, ".1%"),
        _verdict(model.over_better) if first else "",
        _verdict(model.over_fastest) if first else "",
    )


def summary_lines(record: QuantizerRecord) -> list[str]:
    """Geometric means, each with the number of models behind it, and the answer as counts."""
    summary, duels = record.summary, [m.over_better for m in record.models if m.over_better]
    speedups = ", ".join(f"{name} {_mean(m)}" for name, m in summary.speedup.items())
    most = record.most_dice_lost
    as_fast = sum(duel.speed is not None and duel.speed >= 1 for duel in duels)
    no_worse = sum(duel.dice_lost_more is not None and duel.dice_lost_more <= 0 for duel in duels)
    same = sum(duel.same_engine for duel in duels)
    over = (
        f"ours over the better default (at most {most} Dice lost): {_mean(summary.over_better)}; "
        f"over the fastest one, whatever it loses: {_mean(summary.over_fastest)}"
    )
    counts = (
        f"of {len(duels)} models with a better default, ours has at least its speed in {as_fast} "
        f"({same} the same engine) and loses no more Dice in {no_worse}; ratios of medians"
    )
    return [f"geometric means, faster than fp32: {speedups}", over, counts]


def _print_failures(console: Console, model: ModelComparison) -> None:
    failed = [(c.quantizer, c.case) for c in model.contenders if not c.sound]
    for name, case in [("fp32", model.fp32), *failed]:
        if case.status != "ok":
            title = f"{case.status.upper()} {model.model} {name}"
            console.print(title, style="bold red", highlight=False)
            console.print(f"  {case.error or case.reason}", highlight=False, soft_wrap=True)


def _state(contender: Contender) -> str:
    """Why a contender is not compared."""
    return "no fp32" if contender.case.status == "ok" else contender.case.status


def _verdict(duel: Duel | None) -> str:
    if duel is None:
        return _DASH
    if duel.same_engine:
        return f"the same engine as {duel.default}"
    lost = _format(duel.dice_lost_more, "+.4f")
    return f"{_format(duel.speed, '.2f', 'x')} {duel.default}, Dice lost {lost}"


def _mean(means: Means) -> str:
    return f"{_format(means.mean, '.2f', 'x')} (n = {means.models})"


def _median(case: CaseResult) -> str:
    return _format(case.latency_ms.median if case.latency_ms else None, ".1f")


def _format(value: float | None, how: str, unit: str = "") -> str:
    return _DASH if value is None else f"{value:{how}}{unit}"
