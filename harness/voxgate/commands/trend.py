"""Show the history of a folder of records: every metric over time, and where its level changed.

A step names what changed between the records on both of its sides: commit, runtime, packages,
engine. It is a report, not a gate: it ends with 0 whatever it finds.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path

from voxgate.commands.report import write
from voxgate.config import split_names
from voxgate.errors import EXIT_PASS
from voxgate.files import check_writable
from voxgate.records import file
from voxgate.verdicts.trend.folder import read_history, shown
from voxgate.verdicts.trend.series import make_trend


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The folder, the models, and the form."""
    parser.add_argument("folder", metavar="DIR", type=Path, help="of records, read recursively")
    parser.add_argument("--models", default="", help="names separated by commas; default: all")
    parser.add_argument("--html", metavar="OUT.html", type=Path, help="one page with charts")
    parser.add_argument("--json", action="store_true", help="series and steps, for programs")


def run(options: argparse.Namespace) -> int:
    """0 when there was something to show."""
    if options.html is not None:
        check_writable(options.html, "--html")
    history = read_history(options.folder)
    trend = make_trend(history.readings, history.skipped, split_names(options.models))
    if options.html is not None:
        from voxgate.report.trend import page_of

        write(options.html, page_of(trend, shown(str(options.folder))), "--html")
    if options.json:
        sys.stdout.buffer.write(file.encode(trend))
        return EXIT_PASS
    from voxgate.report.terminal import make_console
    from voxgate.report.trend_table import print_trend

    console = make_console()
    with contextlib.suppress(SystemExit):  # rich's answer to a closed pipe; its code is not ours
        print_trend(console, trend, others=history.others)
        if options.html is not None:
            console.print(f"page: {options.html}", highlight=False, soft_wrap=True)
    return EXIT_PASS
