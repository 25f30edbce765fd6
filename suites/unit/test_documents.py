"""What the documents point to is there, and the commands that they show are ones."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from voxgate.commands.parser import build_parser

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)]*)?\)")
PATH = re.compile(r"`((?:harness|suites|docs|fixtures|baselines|benchmarks)/[\w./-]*\w)`")


def fenced(path: Path) -> list[str]:
    """The lines of a document's code blocks."""
    blocks = re.findall(r"(?ms)^```\w*\n(.*?)^```", path.read_text(encoding="utf-8"))
    return [line for block in blocks for line in block.splitlines()]


def commands() -> list[tuple[str, str]]:
    """Each `voxgate` line with what may be left out of it left out."""
    return [
        (path.name, " ".join(re.sub(r"\[.*?\]+", "", line).removesuffix("...").split()))
        for path in DOCUMENTS
        for line in fenced(path)
        if line.startswith("voxgate ")
    ]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_to_a_file(path: Path) -> None:
    links = [target for target, _ in LINK.findall(path.read_text(encoding="utf-8"))]
    files = [target for target in links if "://" not in target]
    assert [target for target in files if not (path.parent / target).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_path_that_is_named_is_there(path: Path) -> None:
    named = PATH.findall(path.read_text(encoding="utf-8"))
    files = [name for name in named if not name.rpartition("/")[2].isupper()]  # PACKAGE is a blank
    assert [name for name in files if not (ROOT / name).exists()] == []


@pytest.mark.parametrize(("document", "line"), commands())
def test_every_command_is_understood(document: str, line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    assert build_parser().parse_args(words).command == words[0], document


def test_the_first_page_is_short_and_links_every_document() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    assert [p.name for p in (ROOT / "docs").glob("*.md") if f"(docs/{p.name})" not in text] == []
