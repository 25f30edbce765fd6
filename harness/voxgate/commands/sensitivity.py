"""Rank the layers of a network by what they lose in INT8; find those to leave in float for a margin.

Each layer is quantized alone and left in float alone, by editing one quantized graph. Layers are ranked
on labelled calibration patches; with --budget, the set that is found is quantized anew and measured on
the evaluation patches. An interrupted analysis goes on where it was.
"""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import cast

from voxgate.commands.options import add_run_options, make_config, reporting
from voxgate.commands.report import check_places, print_places, write_with_page
from voxgate.config import default_record_path
from voxgate.config.options import RUN_OPTIONS, SURFACES
from voxgate.errors import EXIT_FAILED, EXIT_INCONCLUSIVE, EXIT_PASS, UsageError
from voxgate.records.case import Precision
from voxgate.records.sensitivity import BudgetOutcome, Proxy
from voxgate.runs import sensitivity
from voxgate.runs.sensitivity import SensitivityConfig

# A margin that cannot be met is no regression; a set that evaluation refutes leaves it open.
EXIT_CODES: dict[BudgetOutcome, int] = {
    "met": EXIT_PASS,
    "found": EXIT_PASS,
    "refuted": EXIT_INCONCLUSIVE,
    "unreachable": EXIT_FAILED,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model, what to measure of it, and the run options."""
    defaults = SensitivityConfig()
    parser.add_argument("model", metavar="MODEL", help="one of 'voxgate models'")
    group = parser.add_argument_group("sensitivity")
    group.add_argument(
        "--proxy", default=defaults.proxy,
        help="sqnr: all layers by the SQNR of one patch, and Dice for the worst; default: %(default)s for all",
    )  # fmt: skip
    group.add_argument(
        "--checks", type=int, default=defaults.checks,
        help="with --proxy sqnr: layers whose Dice is measured; default: %(default)s",
    )  # fmt: skip
    group.add_argument(
        "--patches",
        type=int,
        default=defaults.patches,
        help="to rank on; default: all that calibrate",
    )
    group.add_argument(
        "--budget", type=float, metavar="DICE",
        help="find the layers to leave in float so that no class loses more than this to FP32",
    )  # fmt: skip
    group.add_argument(
        "--alone-in", metavar="PRECISION",
        help="arithmetic of one quantized layer among float ones; default: fake-int8 where there is one",
    )  # fmt: skip
    group.add_argument(
        "--rest-in", metavar="PRECISION",
        help="arithmetic of all others around one in float; default: int8 where there is one",
    )  # fmt: skip
    add_run_options(parser, [name for name in RUN_OPTIONS if name not in SURFACES])
    parser.add_argument("--record", type=Path, help="default: records/<UTC time>-sensitivity.json")


def run(options: argparse.Namespace) -> int:
    """0 when layers were ranked, and the budget met; 3 when evaluation refutes the set, else 4."""
    from voxgate.report.sensitivity_table import print_sensitivity
    from voxgate.report.terminal import make_console

    if options.models is not None:
        msg = f"one model at a time: leave --models out, and write 'voxgate sensitivity {options.model}'"
        raise UsageError(msg)
    options.models = options.model
    config = make_config(options)
    rules = SensitivityConfig(
        proxy=cast("Proxy", options.proxy),
        checks=options.checks,
        patches=options.patches,
        budget=options.budget,
        alone_in=cast("Precision | None", options.alone_in),
        rest_in=cast("Precision | None", options.rest_in),
    ).check(config)
    path = config.record or default_record_path(kind="sensitivity")
    check_places(path)
    with reporting() as reporter:
        found = sensitivity.analyse(config, rules, reporter)
    write_with_page(path, found)
    console = make_console()
    with contextlib.suppress(SystemExit):  # rich's answer to a closed pipe; its code is not ours
        print_sensitivity(console, found)
        print_places(console, path)
    return EXIT_PASS if found.budget is None else EXIT_CODES[found.budget.outcome]
