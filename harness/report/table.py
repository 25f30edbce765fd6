"""The table of a run, like the paper's Table 1, and the certificates below it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.types import CaseResult, Ratios, RunRecord

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_DASH = "–"
_MB = 1e6
_MIB = 2**20
_MOST_CLASSES = 4  # the record has them all


def print_record(console: Console, record: RunRecord) -> None:
    """Table, certificates, what failed, and where the time went."""
    environment, timing = record.environment, record.timing
    console.print(build_table(record))
    for case in record.cases:
        if case.certificate is not None:
            _print_certificate(console, case)
    for case in record.cases:
        if case.status != "ok":
            console.print(f"[bold red]{case.status.upper()}[/] {case.case}", highlight=False)
            console.print(f"  {case.error or case.reason}", highlight=False, markup=False)
    share = timing.inference_s / timing.wall_s if timing.wall_s else 0.0
    console.print(
        f"{environment.cpu}, {environment.threads} threads, {' '.join(environment.isa)}; "
        f"{timing.wall_s:.1f} s, {share:.0%} of it inside inference; "
        f"{timing.artifacts_built} artifacts built, {timing.artifacts_reused} reused",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def build_table(record: RunRecord) -> Table:
    """One row a case."""
    from rich.table import Table

    table = Table(title=f"Real INT8 on {record.config['task']}", title_justify="left")
    table.add_column("model")
    table.add_column("backend")
    table.add_column("precision")
    for heading in (
        "size MB", "smaller", "latency ms", "faster", "mDice", "Δ mDice", "Dice by class",
        "int8 MACs", "memory MiB", "build s",
    ):  # fmt: skip
        table.add_column(heading, justify="right")
    ratios = {(r.model, r.backend, r.precision): r for r in record.ratios}
    previous = None
    for case in record.cases:
        if previous is not None and case.model != previous:
            table.add_section()
        previous = case.model
        table.add_row(*row_cells(case, ratios.get((case.model, case.backend, case.precision))))
    return table


def row_cells(case: CaseResult, ratios: Ratios | None) -> tuple[str, ...]:
    """The cells of a case; what was not measured is a dash."""
    shown = case.precision if case.status == "ok" else f"{case.precision} ({case.status})"
    size = case.engine_bytes
    return (
        case.model,
        case.backend,
        shown,
        _format(None if size is None else size / _MB, ".2f"),
        _format(ratios.size if ratios else None, ".2f", "x"),
        _format(case.latency_ms.median if case.latency_ms else None, ".1f"),
        _format(ratios.latency if ratios else None, ".2f", "x"),
        *_accuracy_cells(case, ratios),
        _format(case.memory_bytes.delta / _MIB if case.memory_bytes else None, ".0f"),
        _format(case.build_s, ".1f", " *" if case.build_cached else ""),
    )


def _accuracy_cells(case: CaseResult, ratios: Ratios | None) -> tuple[str, ...]:
    dice, coverage = case.dice, case.int8_coverage
    by_class = [_format(value, ".3f") for value in dice.per_class.values()] if dice else []
    return (
        _format(dice.mean if dice else None, ".4f"),
        _format(ratios.dice_mean_delta if ratios else None, "+.4f"),
        " ".join(by_class[:_MOST_CLASSES]) or _DASH,
        _format(coverage.by_macs.int8 if coverage else None, ".1%"),
    )


def _print_certificate(console: Console, case: CaseResult) -> None:
    certificate = case.certificate
    assert certificate is not None
    verdict = "[green]granted[/]" if certificate.granted else "[bold red]NOT granted[/]"
    console.print(f"Real-INT8 certificate of {case.case}: {verdict}", highlight=False)
    for finding in certificate.findings:
        console.print(f"  {finding}", highlight=False, markup=False)


def _format(value: float | None, how: str, unit: str = "") -> str:
    return _DASH if value is None else f"{value:{how}}{unit}"
