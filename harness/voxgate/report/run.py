"""The sections of a run: what was measured, what was not, and the evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from voxgate.metrics import dice_lost
from voxgate.records.case import INT8_PRECISIONS
from voxgate.records.measurement import Memory
from voxgate.records.run import CaseResult, Ratios, RunRecord
from voxgate.report import formats, simulated, worth
from voxgate.report.charts import run
from voxgate.report.charts.dice import class_rows, dice_chart, dice_table
from voxgate.report.charts.launches import strip_legend, strips
from voxgate.report.device_times import device_table
from voxgate.report.environment import environment_blocks, gpu_table, launch_table
from voxgate.report.ledger import ledger_blocks
from voxgate.report.names import Group, built, group_key, groups_of, short_names
from voxgate.report.page import (  # fmt: skip
    Banner,
    Block,
    Cell,
    Chart,
    Charts,
    Column,
    Fold,
    Mark,
    Prose,
    Section,
    Table,
    Tone,
)
from voxgate.report.paper import Paper, PaperRow

_MOST_REASONS = 5
_LONGEST = 2000  # characters of an error; the record has it whole
_TONES: dict[str, Tone] = {
    "failed": "failed",
    "unavailable": "unavailable",
    "inconclusive": "inconclusive",
}


def run_banner(record: RunRecord) -> Banner:
    """How much of the run was measured, and what quantization brought and cost."""
    bad = [case for tone in _TONES for case in record.cases if case.status == tone]
    ok = len(record.cases) - len(bad)
    if not record.cases:
        return Banner(tone="failed", word="failed", headline="Nothing was measured: no case.")
    of = f"{ok} of {formats.count(len(record.cases), 'case')} measured."
    if not bad:
        headline = f"{of} {gains(record)}".strip()
        return Banner(tone="plain", word="measured", headline=headline, reasons=_doubts(record))
    tone = _TONES[bad[0].status]
    reasons = [
        Cell(text=f"{case.case}: {first_line(problem(case))}", tone=_TONES[case.status], note=case.status)
        for case in bad[:_MOST_REASONS]
    ]  # fmt: skip
    if len(bad) > _MOST_REASONS:
        reasons.append(Cell(text=f"{len(bad) - _MOST_REASONS} more below."))
    return Banner(tone=tone, word=tone, headline=of, reasons=(*reasons, *_doubts(record)))


def _doubts(record: RunRecord) -> tuple[Cell, ...]:
    """What was measured, and lost its Dice, has no certificate or is not worth it all the same."""
    names = [
        str(case.case)
        for case in record.cases
        if case.status == "ok" and case.certificate and not case.certificate.granted
    ]
    words = [f"Certificate not granted, for the reasons below: {formats.some(names)}."]
    found = worth.doubts(record.ratios)
    lost = [f"{doubt}." for doubt in dice_lost.doubts(record.cases)]
    if len(lost) > _MOST_REASONS:
        lost[_MOST_REASONS:] = [f"{len(lost) - _MOST_REASONS} more lost theirs."]
    words = [*lost, *(words if names else []), *(f"{doubt}." for doubt in found[:_MOST_REASONS])]
    if len(found) > _MOST_REASONS:
        words.append(f"{len(found) - _MOST_REASONS} more are not worth it.")
    return tuple(Cell(text=text) for text in words)


def gains(record: RunRecord) -> str:
    """INT8 against FP32 over all models, in two sentences."""
    found = [ratios for ratios in record.ratios if ratios.precision in INT8_PRECISIONS]
    sizes = [r.size for r in found if r.size is not None]
    speeds = [r.latency for r in found if r.latency is not None]
    if not sizes or not speeds:
        return ""
    text = f"INT8 is {_range(sizes)} smaller and {_range(speeds)} faster than FP32{_over_float(found)}."
    losses = [row for row in class_rows(groups_of(record.cases)) if row.change is not None]
    if losses and (worst := losses[0]).change is not None:
        words = "largest change of Dice" if worst.change < 0 else "smallest gain of Dice"
        text += f" The {words} is {formats.difference(worst.change)} ({worst.model}, {worst.name})."
    return text


def _over_float(found: Iterable[Ratios]) -> str:
    """How fast INT8 is beside the fastest float engine, where that is another than FP32."""
    over = [
        r.latency_over_fastest_float
        for r in found
        if r.latency_over_fastest_float is not None and r.fastest_float != "fp32"
    ]
    return f", and {_range(over, 2)} as fast as the fastest float engine" if over else ""


def run_sections(record: RunRecord, paper: Paper | None) -> tuple[Section, ...]:
    """Everything that one run says, section by section; empty ones are left out."""
    groups = groups_of(record.cases)
    named = (
        Section(title="Not measured", blocks=_present([problem_table(record.cases)])),
        Section(title="Results", blocks=_results(record, groups, paper)),
        Section(title="Dice", blocks=_dice(groups)),
        Section(title="Where the Dice goes", blocks=ledger_blocks(record)),
        Section(title="Launches", blocks=_launches(record, groups)),
        Section(title="Real-INT8 certificates", blocks=_present([certificate_table(record.cases)])),
        Section(title="Environment", blocks=environment_blocks(record)),
    )
    return tuple(section for section in named if section.blocks)


def problem(case: CaseResult) -> str:
    """Why a case has no usable measurement."""
    return case.error or case.reason or "the record does not say why"


def first_line(words: str, most: int = 200) -> str:
    """The beginning of a message."""
    line = next((part for part in words.splitlines() if part.strip()), "")
    return line if len(line) <= most else f"{line[: most - 1]}…"


def problem_table(cases: Iterable[CaseResult]) -> Table | None:
    """Failed, unavailable and inconclusive cases with their reasons."""
    bad = [case for tone in _TONES for case in cases if case.status == tone]
    if not bad:
        return None
    return Table(
        caption="Cases without a usable measurement",
        columns=(
            Column(heading="case"),
            Column(heading="status"),
            Column(heading="error"),
            Column(heading="why", wide=True),
        ),
        rows=tuple(
            (
                str(case.case),
                Cell(text=case.status, tone=_TONES[case.status]),
                case.error_type or formats.DASH,
                _cut(problem(case)),
            )
            for case in bad
        ),
    )


@dataclass(frozen=True, slots=True)
class Row:
    """All that a cell of the results may need."""

    label: str
    case: CaseResult
    ratios: Ratios | None
    paper: PaperRow | None
    ms: formats.Words


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """A heading, how a case fills it, and whether it is the paper's."""

    heading: str
    fill: Callable[[Row], Cell | str]
    numeric: bool = True
    note: str = ""
    quiet: bool = False


def result_rows(record: RunRecord, paper: Paper | None) -> list[Row]:
    """One a case, in the order of the record."""
    labels = short_names(record.cases)
    ratios = {(*group_key(r), r.precision): r for r in record.ratios}
    ms = formats.milliseconds(case.latency_ms.min for case in record.cases if case.latency_ms)
    return [
        Row(
            label=labels[group_key(case)],
            case=case,
            ratios=ratios.get((*group_key(case), case.precision)),
            paper=paper.of(case) if paper and case.precision == "int8" else None,
            ms=ms,
        )
        for case in record.cases
    ]


def result_table(record: RunRecord, paper: Paper | None) -> Table | None:
    """Like the paper's Table 1, with its ratios as a reference beside ours."""
    rows = result_rows(record, paper)
    if not rows:
        return None
    columns = shown_columns(rows)
    return Table(
        caption="Results; smaller, faster and Δ are against FP32 of the same run",
        columns=tuple(
            Column(heading=c.heading, numeric=c.numeric, note=c.note) for c in columns
        ),
        rows=tuple(tuple(_filled(column, row) for column in columns) for row in rows),
        grouped=True,
    )  # fmt: skip


def shown_columns(rows: Sequence[Row]) -> list[ResultColumn]:
    """The columns that have something to say of these rows."""
    with_paper = any(row.paper for row in rows)
    told = worth.is_told(row.ratios for row in rows if row.ratios)
    return [
        column
        for column in COLUMNS
        if (with_paper or not column.quiet) and (told or column.heading != worth.HEADING)
    ]


def _filled(column: ResultColumn, row: Row) -> Cell | str:
    value = column.fill(row)
    if not column.quiet:
        return value
    return Cell(text=value, quiet=True) if isinstance(value, str) else replace(value, quiet=True)


def _smaller_in_the_paper(row: Row) -> Cell | str:
    if row.paper is None:
        return ""
    if row.paper.smaller is None:
        return Cell(
            text=f"{formats.times(row.paper.smaller_in_arxiv)} †", note="not of engines: see below"
        )
    sizes = row.paper.engine_mib or {}
    note = " to ".join(f"{sizes[name]:g}" for name in ("fp32", "int8"))
    return Cell(text=formats.times(row.paper.smaller), note=f"{note} MiB")


def _memory(row: Row) -> Cell:
    memory: Memory | None = row.case.memory_bytes
    return Cell(
        text=formats.mebibytes(memory.delta if memory else None),
        note=memory.scope if memory else "",
    )


def _build(row: Row) -> Cell:
    note = "from the cache" if row.case.build_cached else ""
    seconds = formats.number(row.case.build_s, ",.1f")
    return Cell(text=f"{seconds} *" if note else seconds, note=note)


COLUMNS = (
    ResultColumn("model", lambda r: r.label, numeric=False),
    ResultColumn("precision", lambda r: simulated.words_of(r.case), numeric=False),
    ResultColumn("size MB", lambda r: formats.megabytes(r.case.engine_bytes), note="serialized engine, 10⁶ bytes"),
    ResultColumn("smaller", lambda r: formats.times(simulated.gain(r.case.precision, r.ratios.size if r.ratios else None))),
    ResultColumn("paper", _smaller_in_the_paper, note="smaller, in the authors' repository", quiet=True),
    ResultColumn("latency ms", lambda r: r.ms(r.case.latency_ms.median if r.case.latency_ms else None), note="median over all launches"),
    ResultColumn("min", lambda r: r.ms(r.case.latency_ms.min if r.case.latency_ms else None), note="the fastest sample, ms"),
    ResultColumn("faster", lambda r: formats.times(simulated.gain(r.case.precision, r.ratios.latency if r.ratios else None)), note="by medians"),
    ResultColumn("paper", lambda r: formats.times(r.paper.faster) if r.paper else "", note="faster, in the paper", quiet=True),
    ResultColumn(worth.HEADING, lambda r: worth.cell(r.ratios), note=worth.NOTE),
    ResultColumn("mean Dice", lambda r: formats.dice(r.case.dice.mean if r.case.dice else None)),
    ResultColumn("Δ", lambda r: formats.difference(r.ratios.dice_mean_delta if r.ratios else None), note="mean Dice minus that of FP32"),
    ResultColumn("paper", lambda r: formats.number(r.paper.dice_change, "+.3f") if r.paper else "", note="Δ of mDSC, in the paper", quiet=True),
    ResultColumn("int8 MACs", lambda r: formats.share(r.case.int8_coverage.by_macs.int8 if r.case.int8_coverage else None), note="share of multiply-accumulates executed in int8"),
    ResultColumn("memory MiB", _memory, note="added by loading and running the engine"),
    ResultColumn("build s", _build, note="* from the cache: the time is that of the original build"),
)  # fmt: skip


def certificate_table(cases: Iterable[CaseResult]) -> Table | None:
    """One row an INT8 case: granted or not, and each finding."""
    rows = [(case, case.certificate) for case in cases if case.certificate is not None]
    if not rows:
        return None
    return Table(
        caption="Evidence that each INT8 engine is one",
        columns=(
            Column(heading="case"),
            Column(heading="certificate"),
            Column(heading="int8 MACs", numeric=True),
            Column(heading="required", numeric=True),
            Column(heading="unmapped", numeric=True),
            Column(heading="findings", wide=True),
        ),
        rows=tuple(
            (
                str(case.case),
                Cell(text="granted", tone="pass") if found.granted else Cell(text="not granted", tone="failed"),
                formats.share(found.int8_macs),
                formats.share(found.required_int8_macs),
                formats.share(found.unmapped_macs),
                "; ".join(found.findings),
            )
            for case, found in rows
        ),
    )  # fmt: skip


def _results(record: RunRecord, groups: Sequence[Group], paper: Paper | None) -> tuple[Block, ...]:
    found = [
        run.size_against_latency(built(groups)),
        run.coverage(groups),
        run.latency_bars(built(groups)),
        run.size_bars(built(groups)),
    ]
    table = result_table(record, paper)
    source = [f"{doubt}." for doubt in worth.doubts(record.ratios)]
    source += list(paper.explained(record.cases)) if paper else []
    if record.config.get("classes") == "paper":
        source.append(
            "Built with the paper's class counts: the heads are seeded, not trained, "
            "and Dice is not measured."
        )
    if projected := simulated.footnote(record.cases):
        source.append(projected)
    prose = Prose(paragraphs=tuple(source), quiet=True) if source and table else None
    return _present([table, prose, _grid(found)])


def _dice(groups: Sequence[Group]) -> tuple[Block, ...]:
    table = dice_table(groups)
    fold = (
        Fold(summary=f"All {formats.count(len(table.rows), 'row')}", blocks=(table,))
        if table
        else None
    )
    return _present([_grid([dice_chart(groups)]), fold])  # fmt: skip


def _launches(record: RunRecord, groups: Sequence[Group]) -> tuple[Block, ...]:
    shown = built(groups)
    drawn = [strips(group) for group in shown]
    table, gpu = launch_table(record.cases), gpu_table(record.cases)
    device = device_table(record.cases)
    fold = (
        Fold(summary="Every launch, and the load of the host", blocks=(table,)) if table else None
    )
    return _present([_grid(drawn, strip_legend(shown)), device, gpu, fold])


def _grid(found: Iterable[Chart | None], legend: tuple[Mark, ...] = ()) -> Charts | None:
    drawn = tuple(chart for chart in found if chart is not None)
    return Charts(charts=drawn, legend=legend) if drawn else None


def _present(blocks: Iterable[Block | None]) -> tuple[Block, ...]:
    return tuple(block for block in blocks if block is not None)


def _range(values: Sequence[float], digits: int = 1) -> str:
    low, high = min(values), max(values)
    ends = f"{low:.{digits}f}", f"{high:.{digits}f}"
    return f"{ends[0]}×" if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}×"


def _cut(words: str) -> str:
    if len(words) <= _LONGEST:
        return words
    return f"{words[:_LONGEST]}… ({len(words) - _LONGEST:,} characters more in the record)"
