"""Compare two versions of a runtime, or two records: latency, size, memory, Dice, layers.

With --python-a and --python-b the same cases run under two interpreters, in alternating launches;
B is judged against A. With two records, what they hold is compared; their times are a screen alone.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from dataclasses import replace
from pathlib import Path

from voxgate import backends
from voxgate.commands.gate import EXIT_CODES
from voxgate.commands.options import add_run_options, make_config, refuse, reporting
from voxgate.commands.report import check_places, print_places, write_with_page
from voxgate.config import RunConfig, default_record_path
from voxgate.config.options import RUN_OPTIONS
from voxgate.errors import UsageError
from voxgate.records import file
from voxgate.records.verdicts import ComparisonRecord
from voxgate.verdicts import alternating
from voxgate.verdicts.stored_records import compare_files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Two interpreters or two records, and the run options for the first."""
    parser.add_argument("records", nargs="*", metavar="RECORD.json", help="two records of runs")
    parser.add_argument("--python-a", metavar="PYTHON", help="an environment's Python: what is")
    parser.add_argument("--python-b", metavar="PYTHON", help="another's: what shall be")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument(
        "--record", type=Path,
        help="default: records/<UTC time>-compare.json; of two records none is written",
    )  # fmt: skip
    add_run_options(parser)


def run(options: argparse.Namespace) -> int:
    """0 when B is no worse, 1 when it is, 3 when that cannot be told, 4 when a case failed."""
    pythons = [python for python in (options.python_a, options.python_b) if python]
    if options.records and pythons:
        msg = "compare two records, or two interpreters with --python-a and --python-b, not both"
        raise UsageError(msg)
    if pythons:
        return _show(_interpreters(options, pythons), options)
    if len(options.records) != 2:
        msg = (
            f"compare takes two records, not {len(options.records)}; "
            "or two interpreters: --python-a A/bin/python --python-b B/bin/python"
        )
        raise UsageError(msg)
    refuse(options, "with two records, which are compared as they were run")
    if options.record is not None:
        check_places(options.record)
    result = compare_files(*(Path(name) for name in options.records))
    if options.record is not None:
        write_with_page(options.record, result)
    return _show(result, options)


def _interpreters(options: argparse.Namespace, pythons: list[str]) -> ComparisonRecord:
    from voxgate.verdicts.interpreters import compare_interpreters

    if len(pythons) != 2:
        msg = "name both interpreters: --python-a and --python-b"
        raise UsageError(msg)
    # A file names the interpreters of other commands; here they are named by two options.
    config = make_config(options, [name for name in RUN_OPTIONS if name != "python"])
    if "launches" not in dict(config.set_by):
        config = replace(config, launches=alternating.LAUNCHES)
    if config.pythons:
        msg = "compare runs each backend under both interpreters: --python-a and --python-b, not --python"
        raise UsageError(msg)
    pythons = [_python(named, config) for named in pythons]
    options.record = config.record or default_record_path(kind="compare")
    check_places(options.record)
    with reporting() as reporter:
        result = compare_interpreters(config, (pythons[0], pythons[1]), reporter)
    write_with_page(options.record, result)
    return result


def _python(named: str, config: RunConfig) -> str:
    """The path of PYTHON or BACKEND=PYTHON.

    Raises:
        UsageError: of several backends one is named, or one that is not selected.
    """
    prefix, equals, path = named.partition("=")
    if not equals or os.sep in prefix:
        return named
    if config.backends != (backends.get(prefix).name,):
        msg = f"{named!r} is of {prefix} alone; select that backend alone, or leave its name out"
        raise UsageError(msg)
    return path


def _show(result: ComparisonRecord, options: argparse.Namespace) -> int:
    from voxgate.report.comparison import print_comparison
    from voxgate.report.terminal import make_console

    if options.json:
        sys.stdout.buffer.write(file.encode(result))
        return EXIT_CODES[result.outcome]
    console = make_console()
    with contextlib.suppress(SystemExit):  # rich's answer to a closed pipe; its code is not ours
        print_comparison(console, result)
        if options.record is not None:
            print_places(console, options.record)
    return EXIT_CODES[result.outcome]
