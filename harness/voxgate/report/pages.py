"""From a record of any kind to a page."""

from __future__ import annotations

from voxgate.records.file import AnyRecord, RunLike
from voxgate.records.run import RunRecord
from voxgate.records.sensitivity import SensitivityRecord
from voxgate.records.study import StudyRecord
from voxgate.records.verdicts import ComparisonRecord, GateRecord
from voxgate.report import formats
from voxgate.report.charts.launches import pairs
from voxgate.report.comparisons import comparison_sections
from voxgate.report.environment import subtitle
from voxgate.report.page import (
    Banner,
    Block,
    Chart,
    Charts,
    Column,
    Facts,
    Fold,
    Page,
    Section,
    Table,
    render,
)
from voxgate.report.paper import Paper
from voxgate.report.run import run_banner, run_sections
from voxgate.report.sensitivity import sensitivity_page
from voxgate.report.study import study_page
from voxgate.report.verdicts import banner, judgements_of, tone_of, verdict_blocks

_ANSWERS: dict[bool | None, str] = {None: formats.DASH, True: "yes", False: "no"}


def html_of(record: AnyRecord, paper: Paper | None) -> str:
    """The report of a record as one self-contained HTML document."""
    return render(page_of(record, paper))


def page_of(record: AnyRecord, paper: Paper | None) -> Page:
    """The page of a record: its banner first, then its evidence."""
    if isinstance(record, SensitivityRecord):
        return sensitivity_page(record)
    if isinstance(record, StudyRecord):
        return study_page(record)
    if isinstance(record, GateRecord):
        sections = _gate_sections(record, paper)
    elif isinstance(record, ComparisonRecord):
        sections = _comparison_sections(record, paper)
    else:
        sections = run_sections(record, paper)
    return Page(
        title=title_of(record),
        subtitle=subtitle(run_of(record)),
        banner=banner_of(record),
        sections=sections,
        footer=f"VoxGate {record.voxgate}. Everything here is in the record, and more.",
    )


def run_of(record: RunLike) -> RunRecord:
    """The run that a record judges: its own, the gated one, or side B."""
    if isinstance(record, GateRecord):
        return record.run
    return record.b if isinstance(record, ComparisonRecord) else record


def title_of(record: RunLike) -> str:
    """What the record is of."""
    if isinstance(record, GateRecord):
        return f"Gate on {record.run.config.get('task', 'an unnamed task')}"
    if isinstance(record, ComparisonRecord):
        return f"{record.title_a} against {record.title_b}"
    return f"Real INT8 on {record.config.get('task', 'an unnamed task')}"


def banner_of(record: RunLike) -> Banner:
    """Whether it is red, what, by how much, where, and since what."""
    if isinstance(record, RunRecord):
        return run_banner(record)
    rows = run_of(record).cases
    if isinstance(record, GateRecord):
        since = f"against the baselines of {record.environment}{_accepted(record)}"
    else:
        since = f"with {record.title_b} in place of {record.title_a}"
    by_case = {row.case: row for row in rows}
    tones = [tone_of(case, by_case.get(case.case)) for case in record.cases]
    return banner(record.outcome, tones, judgements_of(record.cases, rows), since)


def _accepted(record: GateRecord) -> str:
    """When the baselines were accepted: the span of days, where there are any."""
    days = sorted({case.accepted[:10] for case in record.cases if case.accepted is not None})
    if not days:
        return ""
    return f", accepted {days[0]}" + (f" to {days[-1]}" if days[1:] else "")


def _gate_sections(record: GateRecord, paper: Paper | None) -> tuple[Section, ...]:
    blocks = verdict_blocks(judgements_of(record.cases, record.run.cases))
    drawn = pairs(record)
    rules = tuple(
        (f"tolerance of {name}", f"{value:g}") for name, value in record.tolerances.items()
    )
    facts = (
        ("baselines", record.environment),
        ("gated", record.timing.started),
        ("the gate took", f"{record.timing.wall_s:,.1f} s"),
    )
    found = (
        Section(title="Verdicts", blocks=blocks),
        Section(title="Accepted and new engine in one process", blocks=_paired(record, drawn)),
        Section(title="Rules", blocks=(Facts(pairs=(*facts, *rules)),)),
        *run_sections(record.run, paper),
    )
    return tuple(section for section in found if section.blocks)


def _paired(record: GateRecord, drawn: Chart | None) -> tuple[Block, ...]:
    """Ratios of each launch, and what is known of engine and host beside them."""
    rows = tuple(
        (
            str(case.case),
            f"{case.accepted or formats.DASH} {(case.accepted_commit or '')[:12]}".strip(),
            "same kernels" if case.same_kernels else _ANSWERS[case.same_engine],
            formats.number(
                None if case.host_drift is None else 100 * case.host_drift, "+.1f", " %"
            ),
            formats.count(len(case.pairs), "pair"),
            formats.count(len(case.confirmation), "pair"),
            formats.share(case.self_test.supported if case.self_test else None),
        )
        for case in record.cases
        if case.pairs or case.same_engine is not None or case.host_drift is not None
    )
    drift = "how much slower the fastest sample is than when the baseline was accepted"
    supported = "the smallest tolerance that this host's noise allows"
    table = Table(
        caption="Engine and host since the baseline was accepted",
        columns=(
            Column(heading="case"),
            Column(heading="accepted", note="when, and by which commit of the harness"),
            Column(heading="same engine", note="byte for byte, or by its kernels and weights"),
            Column(heading="host drift", numeric=True, note=drift),
            Column(heading="paired", numeric=True),
            Column(heading="confirmed by", numeric=True),
            Column(heading="host supports", numeric=True, note=supported),
        ),
        rows=rows,
    )
    blocks: list[Block] = [Charts(charts=(drawn,))] if drawn else []
    if rows:
        blocks.append(Fold(summary="Engine and host of every case", blocks=(table,)))
    return tuple(blocks)


def _comparison_sections(record: ComparisonRecord, paper: Paper | None) -> tuple[Section, ...]:
    judgements = judgements_of(record.cases, record.b.cases)
    runs = (("A", record.title_a, record.a), ("B", record.title_b, record.b))
    folds = tuple(
        Fold(summary=f"{side}, {title}: {section.title}", blocks=section.blocks)
        for side, title, run in runs
        for section in run_sections(run, paper)
    )
    return (
        Section(title="Verdicts", blocks=verdict_blocks(judgements)),
        *comparison_sections(record),
        Section(title="The two runs", blocks=folds),
    )
