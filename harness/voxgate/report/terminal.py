"""The table of a run, like the paper's Table 1, and the certificates below it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Literal

from voxgate.metrics import dice_lost
from voxgate.records.run import CaseResult, Ratios, RunRecord
from voxgate.report import simulated, worth
from voxgate.report.device_times import replayed
from voxgate.report.ledger_lines import print_ledgers

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_DASH = "–"
_MB = 1e6
_MIB = 2**20
_WIDE = 152  # columns that every column of the table needs, but for the one over float engines
_OVER_FLOAT = 14  # what that one needs
_UNLIMITED = 176  # what a pipe gets: the longest names fit into one line
_NOTABLE_LOAD = 0.1
_MOST_CLASSES = 4  # the record has them all


def make_console(file: IO[str] | None = None) -> Console:
    """A console on standard output or ``file``; a pipe or a log gets a width that fits the table."""
    from rich.console import Console

    # Names and errors are data: no brackets in them are markup.
    console = Console(file=file, markup=False)
    if not console.is_terminal:
        console.width = _UNLIMITED
    return console


def print_record(console: Console, record: RunRecord) -> None:
    """Table, certificates, what failed, and where the time went."""
    environment, timing = record.environment, record.timing
    wide = console.width >= _WIDE + (_OVER_FLOAT if worth.is_told(record.ratios) else 0)
    console.print(build_table(record, wide=wide))
    if marked := simulated.footnote(record.cases):
        console.print(f"{simulated.MARK} {marked}", highlight=False)
    print_ledgers(console, record, wide=wide)
    _print_findings(console, record)
    if record.config.get("classes") == "paper":
        console.print(_footnote(record), highlight=False, soft_wrap=True)
    busy = busy_share(record)
    if busy > _NOTABLE_LOAD:
        console.print(
            f"the host was busy: others took up to {busy:.0%} of the cores' time while engines were timed",
            style="yellow",
            highlight=False,
        )
    share = timing.inference_s / timing.wall_s if timing.wall_s else 0.0
    console.print(
        f"{environment.cpu}, {environment.threads} threads, {' '.join(environment.isa)}; "
        f"{timing.wall_s:.1f} s, {share:.0%} of it inside inference; "
        f"{timing.artifacts_built} artifacts built, {timing.artifacts_reused} reused",
        highlight=False,
        soft_wrap=True,
    )


def _print_findings(console: Console, record: RunRecord) -> None:
    """What each case proved, whether it is worth it, why it failed, and what else to know of it."""
    for case in record.cases:
        if case.certificate is not None:
            _print_certificate(console, case)
    for doubt in dice_lost.doubts(record.cases):
        console.print(doubt, style="bold red", highlight=False)
    for doubt in worth.doubts(record.ratios):
        console.print(doubt, style="yellow", highlight=False)
    for case in record.cases:
        if case.status != "ok":
            console.print(f"{case.status.upper()} {case.case}", style="bold red", highlight=False)
            console.print(f"  {case.error or case.reason}", highlight=False)
    for case in record.cases:
        for words in (*case.warnings, *replayed(case)):
            console.print(f"NOTE {case.case}: {words}", style="yellow", highlight=False)


def busy_share(record: RunRecord) -> float:
    """The largest share of the cores' time that others had during the timed inferences of a launch."""
    loads = [launch.load for case in record.cases for launch in case.launches]
    return max((load.steal + load.foreign for load in loads if load is not None), default=0.0)


def build_table(record: RunRecord, *, wide: bool) -> Table:
    """One row a case; a narrow terminal gets the columns that matter most."""
    from rich import box
    from rich.table import Table

    table = Table(
        title=f"Real INT8 on {record.config['task']}",
        title_justify="left",
        box=box.HEAVY_HEAD if wide else box.SIMPLE_HEAD,
        padding=(0, 1) if wide else 0,  # the box divides with a blank
    )
    told = worth.is_told(record.ratios)
    columns = [
        c for c in _COLUMNS if (wide or c.essential) and (told or c.heading != worth.HEADING)
    ]
    for column in columns:
        table.add_column(
            column.heading if wide else column.heading.replace(" ", "\n"),  # room for names
            justify=column.justify,
            no_wrap=not column.essential,
            min_width=column.least,
            overflow="fold",  # a name without its end could be another's
        )
    ratios = {r.case: r for r in record.ratios}
    previous = None
    for case in record.cases:
        if previous is not None and case.model != previous:
            table.add_section()
        previous = case.model
        own = ratios.get(case.case)
        table.add_row(*(column.cell(case, own) for column in columns))
    return table


@dataclass(frozen=True, slots=True)
class _Column:
    """A heading and how a case fills it; what was not measured is a dash."""

    heading: str
    cell: Callable[[CaseResult, Ratios | None], str]
    essential: bool = True
    justify: Literal["left", "right"] = "right"
    least: int | None = None


def _precision(case: CaseResult, _: Ratios | None) -> str:
    name = simulated.short_name_of(case.precision)
    return name if case.status == "ok" else f"{name} ({case.status})"


def _size(case: CaseResult, _: Ratios | None) -> str:
    return _format(None if case.engine_bytes is None else case.engine_bytes / _MB, ".2f")


def _latency(case: CaseResult, _: Ratios | None) -> str:
    return _format(case.latency_ms.median if case.latency_ms else None, ".1f")


def _mean_dice(case: CaseResult, _: Ratios | None) -> str:
    return _format(case.dice.mean if case.dice else None, ".4f")


def _class_dice(case: CaseResult, _: Ratios | None) -> str:
    values = case.dice.per_class.values() if case.dice else ()
    return " ".join([_format(value, ".3f") for value in values][:_MOST_CLASSES]) or _DASH


def _gain(ratios: Ratios | None, value: float | None) -> str:
    shown = simulated.gain(ratios.precision, value) if ratios else None
    return _format(shown, ".2f", "x")


def _int8_macs(case: CaseResult, _: Ratios | None) -> str:
    return _format(case.int8_coverage.by_macs.int8 if case.int8_coverage else None, ".1%")


def _memory(case: CaseResult, _: Ratios | None) -> str:
    return _format(case.memory_bytes.delta / _MIB if case.memory_bytes else None, ".0f")


_COLUMNS = (
    _Column("model", lambda case, _: case.model, justify="left"),
    _Column("backend", lambda case, _: case.backend, justify="left", essential=False),
    _Column("precision", _precision, justify="left", least=len("fake-int8†")),
    _Column("size MB", _size),
    _Column("smaller", lambda _, ratios: _gain(ratios, ratios.size if ratios else None)),
    _Column("latency ms", _latency),
    _Column("faster", lambda _, ratios: _gain(ratios, ratios.latency if ratios else None)),
    _Column(worth.HEADING, lambda _, ratios: worth.cell(ratios, "x"), essential=False),
    _Column("mean Dice", _mean_dice),
    _Column("Δ Dice", lambda _, r: _format(r.dice_mean_delta if r else None, "+.4f")),
    _Column("Dice by class", _class_dice, essential=False),
    _Column("int8 MACs", _int8_macs),
    _Column("memory MiB", _memory, essential=False),
    _Column(
        "build s",
        lambda case, _: _format(case.build_s, ".1f", " *" if case.build_cached else ""),
        essential=False,
    ),
)


def cells(case: CaseResult, headings: Sequence[str]) -> tuple[str, ...]:
    """What a case has under those headings of the table; ratios are not among them."""
    columns = {column.heading: column for column in _COLUMNS}
    return tuple(columns[heading].cell(case, None) for heading in headings)


def _footnote(record: RunRecord) -> str:
    """Why a run with the paper's class counts has no Dice."""
    counts = {case.model: case.classes for case in record.cases if case.classes is not None}
    named = ", ".join(f"{model} {count}" for model, count in counts.items())
    return (
        f"Built with the paper's class counts{f' ({named})' if named else ''}: weights whose "
        "shape depends on them (the heads) are seeded, not trained, and Dice is not measured."
    )


def _print_certificate(console: Console, case: CaseResult) -> None:
    certificate = case.certificate
    assert certificate is not None
    verdict, style = ("granted", "green") if certificate.granted else ("NOT granted", "bold red")
    console.print(f"Real-INT8 certificate of {case.case}: {verdict}", style=style, highlight=False)
    for finding in certificate.findings:
        console.print(f"  {finding}", highlight=False)


def _format(value: float | None, how: str, unit: str = "") -> str:
    return _DASH if value is None else f"{value:{how}}{unit}"
