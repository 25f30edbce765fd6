"""Records that version 0.1.0 wrote before its packages moved: still read, and still shown alike.

``golden/`` holds one record of each kind and a baseline, as commit 11ea107 wrote them: run, gate and comparison by
their commands on the fake backend, sensitivity and study from its suites' samples. Beside each stands what is shown
of it today, as Markdown and as the text of the page. After a change that is meant, write them anew and read the
difference: ``python -m suites.unit.test_golden``.
"""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from voxgate.commands.report import _markdown
from voxgate.records import file
from voxgate.records.sensitivity import SensitivityRecord
from voxgate.records.study import StudyRecord
from voxgate.records.verdicts import ComparisonRecord, GateRecord
from voxgate.report.pages import html_of
from voxgate.report.paper import read_paper
from voxgate.verdicts import baseline

GOLDEN = Path(__file__).parent / "golden"
KINDS = ("run", "gate", "comparison", "sensitivity", "study")
# What the page draws or hides; its words stand in tables and paragraphs as well.
UNREAD = {"style", "script", "svg"}


class _Text(HTMLParser):
    """The words of a page, one line for each stretch of text."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        del attrs
        if tag in UNREAD:
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._inside and self._inside[-1] == tag:
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        words = " ".join(data.split())
        if words and not self._inside:
            self.lines.append(words)


def shown(kind: str) -> dict[str, str]:
    """What is shown of the record of a kind, by the file that holds it."""
    record = file.read_any(GOLDEN / f"{kind}.json")
    page = _Text()
    page.feed(html_of(record, read_paper()))
    return {f"{kind}.md": _markdown(record), f"{kind}.page.txt": "\n".join(page.lines) + "\n"}


@pytest.mark.parametrize("kind", KINDS)
def test_an_old_record_is_read_whole(kind: str) -> None:
    """Nothing that it says is dropped: every value that was written is written again."""
    path = GOLDEN / f"{kind}.json"
    before = msgspec.json.decode(path.read_bytes())
    after = msgspec.json.decode(file.encode(file.read_any(path)))
    assert missing(before, after) == []


def missing(before: object, after: object, place: str = "") -> list[str]:
    """The places where ``after`` lacks or changes what ``before`` says."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            fault
            for key, value in before.items()
            for fault in (
                missing(value, after[key], f"{place}.{key}") if key in after else [f"{place}.{key}"]
            )
        ]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return [fault for i, (a, b) in pairs for fault in missing(a, b, f"{place}[{i}]")]
    return [] if before == after else [f"{place}: {before!r} is now {after!r}"]


def test_what_is_missing_is_seen() -> None:
    assert missing({"a": [1, {"b": 2}]}, {"a": [1, {"b": 2}], "c": 3}) == []
    assert missing({"a": [1, {"b": 2}]}, {"a": [1, {}]}) == [".a[1].b"]
    assert missing({"a": 1}, {"a": None}) == [".a: 1 is now None"]


def test_an_old_record_says_what_it_said() -> None:
    gate, comparison, sensitivity, study = (
        file.read_any(GOLDEN / f"{kind}.json") for kind in KINDS[1:]
    )
    assert isinstance(gate, GateRecord)
    assert isinstance(comparison, ComparisonRecord)
    assert isinstance(sensitivity, SensitivityRecord)
    assert isinstance(study, StudyRecord)
    assert [str(case.case) for case in gate.cases] == [
        f"unet/phantom-mini/fake/{precision}" for precision in ("fp32", "fake-int8", "int8")
    ]
    assert gate.outcome == comparison.outcome == "pass"
    assert len(sensitivity.layers) == 6
    assert {point.case.status for point in study.points} == {"ok"}


def test_an_old_baseline_is_read() -> None:
    entries = baseline.read(GOLDEN / "unet.json").entries
    assert {e.identity.precision for e in entries} == {"fp32", "fake-int8", "int8"}
    assert all(entry.launches and entry.dice for entry in entries)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_shown_of_a_record_stays(kind: str) -> None:
    for name, text in shown(kind).items():
        assert text.splitlines() == (GOLDEN / name).read_text().splitlines(), name


if __name__ == "__main__":
    for golden in (pair for each in KINDS for pair in shown(each).items()):
        (GOLDEN / golden[0]).write_text(golden[1])
