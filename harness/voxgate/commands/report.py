"""Make a page of charts and tables, or Markdown for a pull request, from a record of any kind."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from voxgate.errors import ArtifactError, UsageError
from voxgate.files import check_writable, is_stream, write_atomic
from voxgate.records import file
from voxgate.records.study import StudyRecord

if TYPE_CHECKING:
    from rich.console import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The record and where to write what."""
    parser.add_argument(
        "file", metavar="FILE", type=Path, help="of a run, a gate, a comparison or a study"
    )
    parser.add_argument("--html", type=Path, help="default, without --markdown: FILE with .html")
    parser.add_argument("--markdown", metavar="FILE", help="a file, or - for standard output")


def run(options: argparse.Namespace) -> int:
    """0 when the report was written; what it says of the run changes no code."""
    from voxgate.report.pages import html_of
    from voxgate.report.paper import read_paper

    found, paper = file.read_any(options.file), read_paper()
    page, text = _targets(options)
    if page is not None:
        write(page, html_of(found, paper), "--html")
        sys.stderr.write(f"report: {page}\n")
    if text is not None:
        write(text, _markdown(found), "--markdown")
        sys.stderr.write(f"Markdown: {text}\n")
    elif options.markdown:
        sys.stdout.write(_markdown(found))
    return 0


def _markdown(found: file.AnyRecord) -> str:
    from voxgate.report.markdown import markdown_of
    from voxgate.report.paper import read_paper
    from voxgate.report.study_markdown import study_markdown

    if isinstance(found, StudyRecord):
        return study_markdown(found)
    return markdown_of(found, read_paper())


def check_places(path: Path) -> None:
    """Find out before the work that a record and its page have a place.

    Raises:
        ArtifactError, UsageError: one of them cannot be written.
    """
    for target in (path, page_beside(path)):
        if target is not None:
            check_writable(target, "--record")


def write_with_page(path: Path, found: file.AnyRecord) -> None:
    """Write a record, and its page beside it.

    Raises:
        ArtifactError: the folder cannot be written.
    """
    from voxgate.report.pages import html_of
    from voxgate.report.paper import read_paper

    file.write(path, found)
    page = page_beside(path)
    if page is not None:
        write(page, html_of(found, read_paper()), "--record")


def print_places(console: Console, path: Path) -> None:
    """Say where a record and its page are."""
    console.print(f"record: {path}", highlight=False, soft_wrap=True)
    page = page_beside(path)
    if page is not None:
        console.print(f"report: {page}", highlight=False, soft_wrap=True)


def page_beside(path: Path) -> Path | None:
    """Where the page of a record goes: beside it, under its name with .html.

    None where the record is no file: nothing belongs beside /dev/null or standard output.
    """
    if is_stream(path):
        return None
    return path.with_name(f"{path.name if path.suffix == '.html' else path.stem}.html")


def write(path: Path, text: str, option: str) -> None:
    """Write a report atomically.

    Raises:
        ArtifactError: the folder cannot be written; names ``option``.
    """
    try:
        write_atomic(path, text.encode())
    except OSError as error:
        msg = f"the report {path} cannot be written: {error}; choose another place with {option}"
        raise ArtifactError(msg) from error


def _targets(options: argparse.Namespace) -> tuple[Path | None, Path | None]:
    """The files to write, checked; standard output is none of them.

    Raises:
        UsageError: a report would replace the record or the other report, or has no place.
    """
    page: Path | None = options.html
    if page is None and options.markdown is None:
        page = page_beside(options.file)
        if page is None:
            msg = f"{options.file} is no file with a place beside it; name the page with --html"
            raise UsageError(msg)
    text = Path(options.markdown) if options.markdown not in {None, "-"} else None
    targets = [path for path in (page, text) if path is not None]
    resolved = [path.resolve() for path in (options.file, *targets)]
    if len(set(resolved)) != len(resolved):
        msg = f"{options.file} and its reports must be different files; name others with --html or --markdown"
        raise UsageError(msg)
    for path, option in ((page, "--html"), (text, "--markdown")):
        if path is not None:
            check_writable(path, option)
    return page, text
