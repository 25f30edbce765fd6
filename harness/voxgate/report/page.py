"""One self-contained HTML page: a banner, then sections of charts, tables and facts.

Whoever writes a page makes a `Page` of the blocks below and calls `render`. Every string of a block
is data and is escaped; only a `Chart` holds markup, which voxgate.report.charts.svg made. The page needs no
network, no script and no font: its one file is all there is, and its policy forbids more.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import ClassVar, Literal

import jinja2
from markupsafe import Markup

from voxgate.report.charts import svg

# What a status is shown as; "plain" is none.
Tone = Literal["pass", "regression", "inconclusive", "failed", "unavailable", "plain"]

_SYMBOLS: dict[Tone, str] = {
    "pass": "✓",
    "regression": "▲",
    "inconclusive": "?",
    "failed": "✕",
    "unavailable": "–",
    "plain": "",
}
# Bytes that a terminal obeys and marks that turn the direction of text: shown, not obeyed.
_UNSEEN = dict.fromkeys(
    [*(c for c in range(0x20) if chr(c) not in "\t\n"), *range(0x7F, 0xA0),
     0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)],
    "\N{REPLACEMENT CHARACTER}",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One cell. ``tone`` makes it a badge, ``quiet`` a reference, ``note`` is its tooltip."""

    text: str
    tone: Tone | None = None
    quiet: bool = False
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A heading; numbers are set flush right. ``wide`` columns hold sentences and wrap."""

    heading: str
    numeric: bool = False
    wide: bool = False
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Rows of as many cells as there are columns; scrolls inside itself where it is too wide.

    ``grouped``: rows that begin alike belong together, and a line parts them from the others.
    """

    kind: ClassVar[str] = "table"
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell | str, ...], ...]
    caption: str = ""
    grouped: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """An entry of a legend."""

    words: str
    shape: svg.Shape
    class_: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """A drawing of voxgate.report.charts.svg with its heading, legend and what to know of it."""

    title: str
    drawing: Markup
    legend: tuple[Mark, ...] = ()
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Charts:
    """Charts side by side where there is room, else one below the other; a legend for all."""

    kind: ClassVar[str] = "charts"
    charts: tuple[Chart, ...]
    legend: tuple[Mark, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """Names and values."""

    kind: ClassVar[str] = "facts"
    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Prose:
    """Paragraphs; ``quiet`` ones are notes to what is above them."""

    kind: ClassVar[str] = "prose"
    paragraphs: tuple[str, ...]
    quiet: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Fold:
    """Blocks that are closed until somebody opens them."""

    kind: ClassVar[str] = "fold"
    summary: str
    blocks: tuple[Block, ...]


Block = Table | Charts | Facts | Prose | Fold


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A heading and its blocks."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Banner:
    """What one must know first: the status in a word, in a sentence, and its reasons."""

    tone: Tone
    word: str
    headline: str
    reasons: tuple[Cell, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """A whole page; ``subtitle`` says of what and when, ``footer`` by what."""

    title: str
    subtitle: str
    banner: Banner
    sections: tuple[Section, ...]
    footer: str = ""


def render(page: Page) -> str:
    """The HTML document. The same page gives the same bytes."""
    return _environment().get_template("page.html").render(page=page)


def visible(words: str) -> str:
    """The words without characters that work unseen on whoever displays them."""
    return words.translate(_UNSEEN)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("voxgate", "report/templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: visible(value) if isinstance(value, str) else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(symbols=_SYMBOLS, swatch=svg.swatch)
    return environment
