"""Text and tables in Markdown, in which nothing of a record is markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from voxgate.report.page import visible

_LONGEST_CELL = 240
# What Markdown, its tables and GitHub's formulas are made of. As entities these are text.
_SPECIAL: dict[int, str] = {ord(c): f"&#{ord(c)};" for c in "\\`*_{}[]()<>|~!&$"}
# A name behind @ would be notified, a number behind # linked; a joiner that takes no room parts them.
_SPECIAL |= {ord(c): f"&#{ord(c)};&#8288;" for c in "@#"}


def escape(words: str, most: int = _LONGEST_CELL) -> str:
    """One line of text in which nothing is markup, at most ``most`` characters of it."""
    line = " ".join(visible(words).split())
    if len(line) > most:
        line = f"{line[: most - 1]}…"
    return line.translate(_SPECIAL).replace("://", "&#58;//").replace("www.", "www&#46;")


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], numeric: Sequence[bool]) -> str:
    """A table of escaped cells; numeric columns are set flush right."""
    lines = [
        _line([escape(heading) for heading in headings]),
        _line(["---:" if right else "---" for right in numeric]),
        *(_line([escape(cell) for cell in row]) for row in rows),
    ]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
