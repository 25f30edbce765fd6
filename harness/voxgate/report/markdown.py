"""The report as Markdown that fits a comment on a pull request."""

from __future__ import annotations

from collections.abc import Sequence

from voxgate.metrics import dice_lost
from voxgate.records.file import RunLike
from voxgate.records.run import RunRecord
from voxgate.records.sensitivity import SensitivityRecord
from voxgate.records.verdicts import ComparisonRecord, GateRecord
from voxgate.report import formats, sensitivity_table, simulated, worth
from voxgate.report.environment import subtitle
from voxgate.report.ledger import class_headings, class_rows
from voxgate.report.ledger_words import missing, views_of
from voxgate.report.markdown_text import escape, table
from voxgate.report.page import Cell
from voxgate.report.pages import banner_of, run_of, title_of
from voxgate.report.paper import Paper
from voxgate.report.run import first_line, problem, result_rows, shown_columns
from voxgate.report.verdicts import Judgement, figures, judgements_of

_MOST_ROWS = 12  # of verdicts; the results have at most as many as fit
_MOST_RESULTS = 60
_MOST_LOSSES = 40
_SHOWN = (
    "model",
    "precision",
    "size MB",
    "smaller",
    "latency ms",
    "faster",
    worth.HEADING,
    "mean Dice",
    "Δ",
    "int8 MACs",
)


def markdown_of(record: RunLike | SensitivityRecord, paper: Paper | None) -> str:
    """Banner, what is wrong, then the results folded away; under 64 KiB, as GitHub demands."""
    if isinstance(record, SensitivityRecord):
        return _sensitivity(record)
    banner = banner_of(record)
    parts = [
        f"### {escape(banner.word.upper())}: {escape(title_of(record))}",
        escape(banner.headline),
    ]
    if isinstance(record, RunRecord):
        parts += [_problems(record), _worth(record), _results(record, paper), _ledgers(record)]
    else:
        parts += [_verdicts(record), *_unsaid(record)]
        parts += [_worth(run_of(record)), _results(run_of(record), paper), _ledgers(run_of(record))]
    origin = f"{subtitle(run_of(record))} · VoxGate {record.voxgate}"
    parts.append(f"<sub>{escape(origin)}</sub>")
    return "\n\n".join(part for part in parts if part) + "\n"


def _sensitivity(record: SensitivityRecord) -> str:
    """The layers that lose most, what they add up to, and the budget."""
    ranked = [sensitivity_table.cells_of(layer) for layer in record.layers[:_MOST_ROWS]]
    headings = sensitivity_table.HEADINGS
    sentences = list(sensitivity_table.sentences(record))
    if (budget := record.budget) is not None:
        sentences.append(f"Budget {budget.margin:g}: {budget.words}.")
        sentences += [*sensitivity_table.confirmation_lines(budget), budget.command]
    parts = [
        f"### {escape(sensitivity_table.title_of(record))}",
        *(escape(sentence) for sentence in sentences if sentence),
        f"{table(headings, ranked, [False, False, *[True] * 5])}{_more(len(record.layers))}",
        f"<sub>{escape(f'{subtitle(record)} · VoxGate {record.voxgate}')}</sub>",
    ]
    return "\n\n".join(parts) + "\n"


def _verdicts(record: GateRecord | ComparisonRecord) -> str:
    judgements = judgements_of(record.cases, run_of(record).cases)
    bad = [one for one in judgements if one.tone != "pass"]
    if not bad:
        return ""
    shown = table(
        ("verdict", "case", "of", "before", "after", "change", "tolerance", "in words"),
        [_verdict(one) for one in bad[:_MOST_ROWS]],
        (False, False, False, True, True, True, True, False),
    )
    return f"{shown}{_more(len(bad))}"


def _verdict(one: Judgement) -> Sequence[str]:
    words = " ".join(part for part in (one.verdict.words, one.where) if part)
    return one.tone, one.case, one.what, *figures(one.verdict), words


def _problems(record: RunRecord) -> str:
    bad = [case for case in record.cases if case.status != "ok"]
    if not bad:
        return ""
    rows = [(case.status, str(case.case), first_line(problem(case))) for case in bad[:_MOST_ROWS]]
    return f"{table(('status', 'case', 'why'), rows, (False,) * 3)}{_more(len(bad))}"


def _worth(record: RunRecord) -> str:
    """Engines that lost their Dice, and INT8 engines that are no faster than a float one."""
    found = (*dice_lost.doubts(record.cases), *worth.doubts(record.ratios))
    return "\n".join(f"- {escape(doubt)}" for doubt in found[:_MOST_ROWS])


def _more(found: int) -> str:
    return f"\n\n{found - _MOST_ROWS} more in the record." if found > _MOST_ROWS else ""


def _unsaid(record: GateRecord | ComparisonRecord) -> list[str]:
    if isinstance(record, GateRecord):
        return []
    words = [f"- {escape(f'{c.case}: {text}')}" for c in record.cases for text in c.unsaid]
    return ["\n".join(words[:_MOST_ROWS])] if words else []


def _results(record: RunRecord, paper: Paper | None) -> str:
    rows = result_rows(record, paper)
    if not rows:
        return ""
    columns = [c for c in shown_columns(rows) if c.heading in _SHOWN]
    shown = table(
        [column.heading for column in columns],
        [[_text(column.fill(row)) for column in columns] for row in rows[:_MOST_RESULTS]],
        [column.numeric for column in columns],
    )
    left = (
        f"\n\n{len(rows) - _MOST_RESULTS} more in the record." if len(rows) > _MOST_RESULTS else ""
    )
    projected = simulated.footnote(record.cases)
    left += f"\n\n{escape(projected, len(projected))}" if projected else ""
    summary = f"<summary>Results of {formats.count(len(rows), 'case')}</summary>"
    return f"<details>{summary}\n\n{shown}{left}\n\n</details>"


def _ledgers(record: RunRecord) -> str:
    """Where the Dice goes, class by class, and what could not be told."""
    views = views_of(record)
    rows, columns = class_rows(views), class_headings(views)
    if not views:
        return ""
    shown = table([c.heading for c in columns], rows[:_MOST_LOSSES], [c.numeric for c in columns])
    left = f"{len(rows) - _MOST_LOSSES} more in the record." if len(rows) > _MOST_LOSSES else ""
    unsaid = "\n".join(f"- {escape(words)}" for words in missing(views)[:_MOST_ROWS])
    parts = [shown if rows else "", left, unsaid]
    text = "\n\n".join(part for part in parts if part)
    return f"<details><summary>Where the Dice goes</summary>\n\n{text}\n\n</details>"


def _text(cell: Cell | str) -> str:
    return cell if isinstance(cell, str) else cell.text
