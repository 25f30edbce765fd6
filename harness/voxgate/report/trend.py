"""The page of a trend: what got worse, every step with its cause, and the charts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from voxgate.records.trend import Series, Source, Step, Trend
from voxgate.report.charts.trend import Window, chart_of
from voxgate.report.page import (
    Banner,
    Block,
    Cell,
    Chart,
    Charts,
    Column,
    Fold,
    Page,
    Prose,
    Section,
    Table,
    Tone,
    render,
)
from voxgate.report.trend_table import summary
from voxgate.report.trend_words import (
    case_words,
    cause_words,
    change_words,
    commit_words,
    kind_words,
    level_words,
    when,
)
from voxgate.verdicts.trend.metrics import metric_of

_MOST_MARKS = 20_000  # points of all charts together: some 6 MB
_FEWEST_SHOWN, _MOST_SHOWN = 30, 365  # records a chart
_MOST_REASONS = 5
_HOW_TO_READ = (
    "One point is one run. A bold line is a level, the median of its points; a vertical line is a step, "
    "red for the worse, green for the better, dotted while it is tentative; the band around it is where "
    "noise lets it lie as well. Dashed lines are other versions of the runtime. A cross is a run without "
    "a value. Hover a mark for its file, commit and cause. Latency is the median over the launches of "
    "each launch's fastest inference. Runs are evenly spaced, whatever the time between them; each panel "
    "has its own scale."
)


def page_of(trend: Trend, folder: str) -> str:
    """The HTML document of a trend; ``folder`` is where its records lie, as the caller named it."""
    page = Page(
        title=f"Trend of {folder}",
        subtitle=summary(trend),
        banner=_banner(trend),
        sections=(_step_section(trend), *_chart_sections(trend), _record_section(trend)),
        footer=f"VoxGate {trend.voxgate}. A report, not a gate: it ends with 0 whatever it finds.",
    )
    return render(page)


def _banner(trend: Trend) -> Banner:
    """What got worse and still is; else whether there is anything tentative."""
    steps = trend.steps()
    worse = [pair for pair in steps if pair[1].direction == "worsening" and pair[1].lasts]
    confirmed = [pair for pair in worse if not pair[1].tentative]
    reasons = tuple(
        Cell(text=_reason(*pair), tone=_tone(pair[1]), note=kind_words(pair[1]))
        for pair in worse[:_MOST_REASONS]
    )
    if confirmed:
        word = "1 worsening" if len(confirmed) == 1 else f"{len(confirmed)} worsenings"
        headline = _headline(*confirmed[0])
        return Banner(tone="regression", word=word, headline=headline, reasons=reasons)
    if worse:
        headline = "The newest records may be worse; more of them will tell."
        return Banner(tone="inconclusive", word="tentative", headline=headline, reasons=reasons)
    if all(series.last is None for series in trend.series):
        headline = "Nothing was measured in any record."
        return Banner(tone="failed", word="no values", headline=headline)
    headline = "No level is worse than it was before."
    return Banner(tone="pass", word="no worsening", headline=headline)


def _headline(series: Series, step: Step) -> str:
    title = metric_of(series.metric).title
    return (
        f"{case_words(series)}: {title} {change_words(series, step)} since {step.started:%Y-%m-%d}"
    )


def _reason(series: Series, step: Step) -> str:
    return f"{_headline(series, step)} ({level_words(series, step)}). Changed there: {cause_words(step)}."


def _tone(step: Step) -> Tone:
    if step.tentative:
        return "inconclusive"
    if step.direction == "improvement":
        return "pass"
    return "regression" if step.lasts else "plain"


def _step_section(trend: Trend) -> Section:
    several = len({(series.task, series.backend) for series in trend.series}) > 1

    def name(series: Series) -> str:
        case = case_words(series) if several else f"{series.model} {series.precision}"
        return f"{case} {metric_of(series.metric).title}"

    columns = (
        Column(heading="of what"), Column(heading="step"), Column(heading="change", numeric=True),
        Column(heading="levels"), Column(heading="since"),
        Column(heading="what changed there", wide=True),
    )  # fmt: skip
    rows = tuple(
        (
            Cell(text=name(series), note=f"{case_words(series)} on {series.machine}"),
            Cell(text=kind_words(step), tone=_tone(step)),
            change_words(series, step),
            level_words(series, step),
            _since(step),
            f"{cause_words(step)}. {_capital(step.confidence)}.",
        )
        for series, step in trend.steps()
    )
    if not rows:
        return Section(title="Steps", blocks=(Prose(paragraphs=("No level has changed.",)),))
    caption = "Worsenings first, the most important on top; times are UTC"
    return Section(title="Steps", blocks=(Table(columns=columns, rows=rows, caption=caption),))


def _chart_sections(trend: Trend) -> list[Section]:
    """One section a model on a kind of machine."""
    sections: list[Section] = []
    machines = [m for m, _ in groupby(trend.series, key=lambda series: series.machine)]
    for (machine, model, task, backend), found in groupby(
        trend.series, key=lambda s: (s.machine, s.model, s.task, s.backend)
    ):
        window, cut = _window(trend, machine)
        blocks: list[Block] = [Charts(charts=_charts(list(found), window))]
        notes = [_HOW_TO_READ] if not sections else []
        if len(machines) > 1:
            notes.insert(0, f"On {machine}.")
        if cut:
            notes.append(
                f"The newest {len(window.records)} records; {cut} older ones are in --json."
            )
        if notes:
            blocks.insert(0, Prose(paragraphs=tuple(notes)))
        sections.append(Section(title=f"{model} on {task}, {backend}", blocks=tuple(blocks)))
    return sections


def _charts(found: Sequence[Series], window: Window) -> tuple[Chart, ...]:
    names = dict.fromkeys(series.metric for series in found)
    return tuple(chart_of([s for s in found if s.metric == name], window) for name in names)


def _window(trend: Trend, machine: str) -> tuple[Window, int]:
    """The newest records of a machine, and how many older ones the charts leave out."""
    own = [n for n, record in enumerate(trend.records) if record.machine == machine]
    room = _MOST_MARKS // max(len(trend.series), 1)
    most = min(max(room, _FEWEST_SHOWN), _MOST_SHOWN)
    shown = tuple(own[-most:])
    window = Window(records=shown, sources=tuple(trend.records[n] for n in shown))
    return window, len(own) - len(shown)


def _record_section(trend: Trend) -> Section:
    columns = (
        Column(heading="started, UTC"), Column(heading="file"), Column(heading="kind"),
        Column(heading="host"), Column(heading="commit"), Column(heading="runtimes"),
        Column(heading="machine", wide=True),
    )  # fmt: skip
    rows = tuple(_record_row(record) for record in reversed(trend.records))
    table = Table(columns=columns, rows=rows, caption="Newest first")
    blocks: list[Block] = [Fold(summary=f"{len(rows)} records", blocks=(table,))]
    if trend.skipped:
        left_out = Table(
            columns=(Column(heading="file"), Column(heading="why", wide=True)),
            rows=tuple((skipped.file, skipped.reason) for skipped in trend.skipped),
        )
        blocks.append(Fold(summary=f"{len(trend.skipped)} files left out", blocks=(left_out,)))
    return Section(title="Records", blocks=tuple(blocks))


def _since(step: Step) -> Cell:
    where = f"{when(step.started)} UTC, {step.file}, {commit_words(step.commit)}"
    return Cell(text=f"{step.started:%Y-%m-%d}", note=where)


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _record_row(record: Source) -> tuple[Cell | str, ...]:
    runtimes = ", ".join(f"{name} {version}" for name, version in record.runtimes.items())
    return (
        when(record.started), record.file, record.kind, record.host,
        commit_words(record.commit), runtimes or "–", record.machine,
    )  # fmt: skip
