"""A copy of the package with what docs/extending.md adds; with PYTHONPATH set to it, workers have it, too."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import voxgate

PACKAGE = Path(voxgate.__file__).parent
PAGE = PACKAGE.parents[1] / "docs" / "extending.md"
BLOCK = re.compile(r"(?ms)^```python\n# (.*?)\n(.*?)^```")
NEW, AFTER = "new: ", ", after: "


def sections() -> Mapping[str, list[tuple[str, str]]]:
    """The blocks of each section: the line that says where, and what."""
    _, *parts = re.split(r"(?m)^## ", PAGE.read_text(encoding="utf-8"))
    return {part.partition("\n")[0]: BLOCK.findall(part) for part in parts}


def copied(folder: Path) -> Path:
    """The same folder, with the package and everything that the page adds in it."""
    package = folder / "voxgate"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    for blocks in sections().values():
        for where, text in blocks:
            _put(package, where, text)
    return folder


def _put(package: Path, where: str, text: str) -> None:
    """A new file, or lines after the only line of a file that reads so."""
    if where.startswith(NEW):
        path = package / where.removeprefix(NEW)
        assert not path.exists()
        path.write_text(text, encoding="utf-8")
        return
    name, _, line = where.partition(AFTER)
    path = package / name
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    (found,) = (number for number, each in enumerate(lines) if each.strip() == line)
    path.write_text("".join([*lines[: found + 1], text, *lines[found + 1 :]]), encoding="utf-8")
