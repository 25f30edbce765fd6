"""Build, prove and measure the engines of a selection; write record and report, print the table."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path

from voxgate.commands.options import add_run_options, make_config, reporting
from voxgate.commands.report import check_places, print_places, write_with_page
from voxgate.config import default_record_path
from voxgate.runs import bench


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run options and the record's path."""
    add_run_options(parser)
    parser.add_argument("--record", type=Path, help="default: records/<UTC time>.json")


def run(options: argparse.Namespace) -> int:
    """0 when every case was measured, 4 when one failed or is unavailable, else 3: inconclusive."""
    from voxgate.report.terminal import make_console, print_record

    config = make_config(options)
    path = config.record or default_record_path()
    check_places(path)
    with reporting() as reporter:
        result = bench.bench(config, reporter)
    write_with_page(path, result)
    console = make_console()
    with contextlib.suppress(SystemExit):  # rich's answer to a closed pipe; its code is not ours
        print_record(console, result)
        print_places(console, path)
    return bench.exit_code(result)
