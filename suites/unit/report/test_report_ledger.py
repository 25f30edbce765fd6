"""The ledger as people see it: terminal, Markdown, page; what is absent or missing is in words."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console
from voxgate.records.calibration import Calibration
from voxgate.records.run import CaseResult, RunRecord
from voxgate.report.charts.ledger import MOST_ROWS, ledger_chart
from voxgate.report.ledger import MOST_CASES, case_table, class_rows, ledger_blocks
from voxgate.report.ledger_words import MEANING, views_of
from voxgate.report.markdown import markdown_of
from voxgate.report.pages import html_of
from voxgate.report.terminal import print_record

from suites.support import report_records as records
from suites.support.ledger_records import with_ledger


def printed(record: RunRecord, width: int = 170) -> str:
    stream = io.StringIO()
    print_record(Console(file=stream, width=width, markup=False), record)
    return stream.getvalue()


def line_of(text: str, start: str) -> str:
    part = text[text.index("Where the Dice goes") :]
    return next(line for line in part.splitlines() if start in line)


def test_a_wide_terminal_has_steps_intervals_class_and_case() -> None:
    text = printed(with_ledger(surfaces=False), width=160)
    line = " ".join(line_of(text, "unet int8").split())
    found = re.findall(r"[+−]\d\.\d{4}", line)
    assert len(found) == 3 + 2 + 2  # three steps, the interval, the class, its worst case
    assert "cyst −0.9000" in line  # -0.8 where it is missed, -1 where it is invented
    assert "patch-2 −1.0000" in line
    assert "NSD" not in text


def test_a_narrow_terminal_has_one_short_line_a_model() -> None:
    text = printed(with_ledger(surfaces=False), width=80)
    part = text[text.index("Where the Dice goes") :]
    lines = [line for line in part.splitlines() if " int8 " in line]
    assert len(lines) == 2
    assert all(len(line) <= 80 for line in lines)
    assert "cyst −0.9000" in lines[0]
    assert "patch-2" not in lines[0]


def test_the_terminal_names_absent_missed_and_invented_classes() -> None:
    text = printed(with_ledger())
    assert (
        "unet int8: cyst missed in 1 of 4 cases, cyst invented in 1 of 4 cases, "
        "cyst absent in 2 of 4 cases, air absent in 4 of 4 cases"
    ) in text


def test_surfaces_have_a_ledger_and_their_own_columns() -> None:
    text = re.sub(r" +│", " │", printed(with_ledger(), width=220))
    assert "1.25 (2 infinite)" in line_of(text, "unet int8 │ Dice")
    assert "NSD" in line_of(text, "unet int8 │ NSD")


def test_missing_steps_are_said() -> None:
    text = printed(with_ledger(surfaces=False, precisions=("fp32", "int8")))
    assert "unet int8, Dice: backend: no measured fake-int8 beside openvino/int8." in text
    alone = printed(with_ledger(surfaces=False, precisions=("int8",)))
    assert "quantization: no measured fp32 and no fake-int8 beside openvino/int8" in alone
    assert "Where the Dice goes" not in alone


def test_a_stand_in_is_named() -> None:
    rows = with_ledger(surfaces=False).cases[:3]
    backends = ("tensorrt", "onnxruntime", "tensorrt")
    calibrated = with_calibration(rows)
    mixed = [replace(row, backend=name) for row, name in zip(calibrated, backends, strict=True)]
    assert "onnxruntime/fake-int8 stands in" in printed(records.run_of(mixed))


def with_calibration(rows: tuple[CaseResult, ...]) -> list[CaseResult]:
    made = Calibration(method="max", quantizer="modelopt", cases=("a",), patches=(), sha256="ab")
    return [replace(row, calibration=made) for row in rows]


def test_without_single_cases_there_is_no_section() -> None:
    old = records.eight_networks()
    assert ledger_blocks(old) == ()
    assert "Where the Dice goes" not in printed(old) + markdown_of(old, None) + html_of(old, None)


# --- tables ----------------------------------------------------------------------------------------


def test_every_class_has_a_row_and_an_absent_one_says_so() -> None:
    rows = class_rows(views_of(with_ledger(), "dice"))
    assert [row[:3] for row in rows[:4]] == [
        ("unet int8", name, "Dice") for name in ("grey", "white", "cyst", "air")
    ]
    air, cyst = rows[3], rows[2]
    assert air[3:7] == ("absent", "absent", "absent", "0 (4 absent)")
    assert air[8:] == ("absent", "absent")
    assert cyst[6] == "2 (2 absent, 1 missed, 1 invented)"
    assert cyst[8:] == ("0.0000", "– (2 infinite)")


def test_every_case_has_a_row_the_missed_first_and_the_absent_last() -> None:
    table = case_table(views_of(with_ledger(), "dice"))
    assert table is not None
    assert len(table.rows) == 2 * 4 * 4
    first, last = table.rows[0], table.rows[-1]
    assert first[1:5] == (
        "patch-2", "cyst", "Dice", "fp32: absent, fake-int8: absent, int8: invented",
    )  # fmt: skip
    assert first[5:] == ("+0.0000", "−1.0000", "−1.0000", "0.0000", "infinite")
    assert last[4:] == ("absent",) * 6


def test_many_cases_are_cut_and_the_caption_says_how_many() -> None:
    base = with_ledger(surfaces=False)
    rows = []
    for row in base.cases[:3]:
        assert row.dice is not None
        per_case = {f"p{i:03}": row.dice.per_case["patch-0"] for i in range(150)}
        rows.append(replace(row, dice=replace(row.dice, per_case=per_case, presence={})))
    table = case_table(views_of(records.run_of(rows)))
    assert table is not None
    assert len(table.rows) == MOST_CASES
    assert "200 more in the record" in table.caption


# --- page and Markdown -----------------------------------------------------------------------------


def test_the_page_has_the_section_with_chart_words_and_both_tables() -> None:
    text = html_of(with_ledger(), None)
    section = text[text.index("Where the Dice goes") :]
    assert MEANING.split(",")[0] in section
    assert section.count('class="mark') > 0
    for words in ("Every class in every case", "2 (2 absent, 1 missed, 1 invented)", "infinite"):
        assert words in section


def test_the_chart_is_bounded_and_says_what_is_left_out() -> None:
    base = with_ledger(surfaces=False)
    rows = []
    for row in base.cases[:3]:
        assert row.dice is not None
        per_case = {
            case: {f"organ-{i}": scores["grey"] for i in range(30)}
            for case, scores in row.dice.per_case.items()
        }
        rows.append(replace(row, dice=replace(row.dice, per_case=per_case, presence={})))
    chart = ledger_chart(views_of(records.run_of(rows)))
    assert chart is not None
    assert chart.drawing.count('class="mark') == 3 * MOST_ROWS
    assert chart.note == "10 classes more in the table below."


def test_markdown_has_a_folded_table_of_classes_and_stays_small() -> None:
    text = markdown_of(with_ledger(), None)
    part = text[text.index("<summary>Where the Dice goes") :]
    header = next(line for line in part.splitlines() if line.startswith("|"))
    assert [cell.strip() for cell in header.strip("|").split("|")] == [
        "case", "class", "of", "quantization", "backend", "total", "cases", "worst case", "NSD", "HD95 mm",
    ]  # fmt: skip
    assert part.count("\n| unet int8") == 2 * 4
    assert len(text.encode()) < 64 * 1024


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a|b`c"])
def test_names_are_data(name: str) -> None:
    rows = []
    for row in with_ledger(surfaces=False).cases[:3]:
        assert row.dice is not None
        per_case = {case: {name: scores["grey"]} for case, scores in row.dice.per_case.items()}
        rows.append(replace(row, dice=replace(row.dice, per_case=per_case, presence={})))
    record = records.run_of(rows)
    assert "<script" not in html_of(record, None)
    assert name not in markdown_of(record, None)


# --- patches are not subjects ------------------------------------------------------------------------


def of_one_head(record: RunRecord) -> RunRecord:
    rows = []
    for row in record.cases:
        assert row.dice is not None
        subjects = dict.fromkeys(row.dice.per_case, "head")
        rows.append(replace(row, dice=replace(row.dice, subjects=subjects)))
    return records.run_of(rows)


def test_of_one_subject_there_is_no_interval_anywhere_and_all_outputs_say_so() -> None:
    record = of_one_head(with_ledger(surfaces=False))
    page, markdown = html_of(record, None), markdown_of(record, None)
    for text in (printed(record, 160), printed(record, 80), markdown, page):
        part = text[text.index("Where the Dice goes") :]
        assert "1 subject: no interval." in part
        assert not re.search(r"\([+−]?\d\.\d{4} to [+−]?\d", part)
    assert "with its 95 % interval" not in printed(record, 160)
    assert "with the 95 % interval" not in page
    chart = ledger_chart(views_of(record))
    assert chart is not None
    assert "1 subject: no interval" in chart.drawing
    whole = ledger_chart(views_of(with_ledger(surfaces=False)))
    assert whole is not None
    assert chart.drawing.count('class="mark') == whole.drawing.count('class="mark')


def test_subjects_are_counted_and_a_class_in_too_few_says_so() -> None:
    record = with_ledger(surfaces=False)
    text = printed(record, 160)
    assert "the total with its 95 % interval" in text
    assert "\n4 subjects.\n" in text
    grey, _, cyst = class_rows(views_of(record))[:3]
    assert " to " in grey[5]
    assert cyst[5] == "−0.9000 (2 subjects: no interval)"


def test_ledgers_over_other_subjects_are_named() -> None:
    rows = with_ledger(surfaces=False).cases
    heads = of_one_head(with_ledger(surfaces=False)).cases
    mixed = records.run_of([*rows[:3], *heads[3:]])
    text = printed(mixed, 160)
    assert "unet int8: 4 subjects." in text
    assert "nnunet-small int8: 1 subject: no interval." in text
