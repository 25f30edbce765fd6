"""Hashes of the harness's own source, so that a changed stage does not reuse old artifacts."""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
_NAME = _PACKAGE.name


@functools.cache
def source_fingerprint(*parts: str) -> str:
    """SHA-256 over some files and everything of ours that they import, wherever in the file.

    Args:
        parts: files and folders, relative to the package, such as ``"stages/export.py"``. What is imported by a
            name in a table, as backends and architectures are, must be among them.

    Example:
        >>> source_fingerprint("stages/lint.py") == source_fingerprint("stages/lint.py", "errors.py")
        True
    """
    digest = hashlib.sha256()
    for file in reached(*parts):
        digest.update(file.encode())
        digest.update((_PACKAGE / file).read_bytes())
    return digest.hexdigest()


def reached(*parts: str) -> tuple[str, ...]:
    """The files that these parts and their imports are, relative to the package, in order."""
    pending = [file for part in parts for file in _files(_PACKAGE / part)]
    pending += [file.with_name("__init__.py") for file in pending if file.parent != _PACKAGE]
    found: set[Path] = set()
    while pending:
        file = pending.pop()
        if file not in found:
            found.add(file)
            pending += _imported(file)
    return tuple(sorted(file.relative_to(_PACKAGE).as_posix() for file in found))


def file_of(module: str) -> str:
    """The file of a module of ours, relative to the package: ``voxgate.stages.lint`` is "stages/lint.py".

    Raises:
        ValueError: it is none of ours.
    """
    file = _file(module)
    if file is None:
        msg = f"{module} is no module of {_NAME}"
        raise ValueError(msg)
    return file.relative_to(_PACKAGE).as_posix()


def _files(path: Path) -> list[Path]:
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


@functools.cache
def _imported(file: Path) -> tuple[Path, ...]:
    """The files of our modules that a file imports; a package is its ``__init__.py``."""
    names = (name for node in ast.walk(ast.parse(file.read_bytes())) for name in _names(node))
    files = (_file(name) for name in names)
    return tuple(found for found in files if found is not None)


def _names(node: ast.AST) -> Iterator[str]:
    """What a statement may import, and the packages around it, which are imported first."""
    named: list[str] = []
    if isinstance(node, ast.Import):
        named = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module:
        named = [f"{node.module}.{alias.name}" for alias in node.names]
    for name in named:
        words = name.split(".")
        yield from (".".join(words[:count]) for count in range(2, len(words) + 1))


def _file(module: str) -> Path | None:
    root, _, rest = module.partition(".")
    if root != _NAME or not rest:  # the package's own __init__ decides nothing
        return None
    path = _PACKAGE.joinpath(*rest.split("."))
    choices = (path.with_suffix(".py"), path / "__init__.py")
    return next((choice for choice in choices if choice.is_file()), None)
