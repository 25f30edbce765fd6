"""Measure a selection and judge it against accepted baselines: pass, regression or inconclusive.

A changed engine is timed in turn with the accepted one in one process, and a red is confirmed by
fresh launches. Baselines change only with --update-baselines.
"""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path

from voxgate.commands.options import add_run_options, reporting, settings_of
from voxgate.commands.report import check_places, print_places, write_with_page
from voxgate.config import RunConfig, default_record_path
from voxgate.config.options import GATE_OPTIONS, config_of, flag_of, limits_of
from voxgate.errors import EXIT_FAILED, EXIT_INCONCLUSIVE, EXIT_PASS, EXIT_REGRESSION, HarnessError
from voxgate.records.case import CaseId
from voxgate.records.run import RunRecord
from voxgate.records.verdicts import GateRecord, Outcome, SelfTest
from voxgate.runs import bench
from voxgate.verdicts import gate as judge
from voxgate.verdicts.baseline import Entry
from voxgate.verdicts.limits import GateConfig
from voxgate.verdicts.rules import percent

EXIT_CODES: dict[Outcome, int] = {
    "pass": EXIT_PASS,
    "regression": EXIT_REGRESSION,
    "inconclusive": EXIT_INCONCLUSIVE,
    "failed": EXIT_FAILED,
    "unavailable": EXIT_FAILED,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run options, the baselines and the tolerances."""
    add_run_options(parser)
    gate = parser.add_argument_group("gate")
    defaults = GateConfig()
    for name, option in GATE_OPTIONS.items():
        words = f"{option.help}; default: {getattr(defaults, option.field)}"
        gate.add_argument(flag_of(name), **(option.keywords() | {"help": words}))
    gate.add_argument(
        "--update-baselines", nargs="?", const="all", default="", metavar="new",
        help="accept this run instead of judging it; =new: only what has no baseline",
    )  # fmt: skip
    gate.add_argument(
        "--self-test", action="store_true",
        help="judge nothing, but say which tolerance this host supports: engines beside themselves",
    )  # fmt: skip
    parser.add_argument("--record", type=Path, help="default: records/<UTC time>-gate.json")


def run(options: argparse.Namespace) -> int:
    """0 pass, 1 regression, 3 inconclusive, 4 when a case failed or is unavailable."""
    found = settings_of(options)
    config = config_of(options, found.values, found.places).check()
    limits = limits_of(options, found.values)
    rules = GateConfig(**limits, update=options.update_baselines).check()
    path = config.record or default_record_path(kind="" if rules.update == "all" else "gate")
    check_places(path)
    if options.self_test:
        return _self_test(config, rules)
    judge.check_baselines(rules)
    if rules.update == "all":
        return _accept(config, rules, path)
    with reporting() as reporter:
        if rules.update == "new":
            measured = bench.bench(config, reporter)
            _say(judge.accept_run(measured, config, rules), rules)
            result = judge.judge(measured, config, rules, reporter)
        else:
            result = judge.gate_run(config, rules, reporter)
    write_with_page(path, result)
    _print(result, path)
    return EXIT_CODES[result.outcome]


def _accept(config: RunConfig, rules: GateConfig, path: Path) -> int:
    """Accept what was measured; what was not is told, and makes the exit code."""
    with reporting() as reporter:
        measured = bench.bench(config, reporter)
    write_with_page(path, measured)
    _say(judge.accept_run(measured, config, rules), rules)
    _print_run(measured, path)
    return bench.exit_code(measured)


def _self_test(config: RunConfig, rules: GateConfig) -> int:
    """0 when the host supports the tolerance with every engine, 3 when not, 4 when one failed."""
    from voxgate.report.terminal import make_console

    with reporting() as reporter:
        measured = bench.bench(config, reporter)
        found = judge.self_test_run(measured, config, reporter)
    console, code = make_console(), bench.exit_code(measured)
    for case, result in found.items():
        console.print(self_test_line(case, result, rules.tolerance), highlight=False)
        if isinstance(result, HarnessError):
            code = EXIT_FAILED
        elif result.supported > rules.tolerance:
            code = code or EXIT_INCONCLUSIVE
    return code


def self_test_line(case: CaseId, result: SelfTest | HarnessError, tolerance: float) -> str:
    """What a self-test says of a case, in one line."""
    if isinstance(result, HarnessError):
        return f"{case}: failed: {result}"
    able = "supports" if result.supported <= tolerance else "does NOT support"
    each = ", ".join(percent(ratio - 1) for ratio in result.launch_ratios)
    return (
        f"{case}: this host {able} {tolerance:.1%}; the engine differs from itself by "
        f"{result.supported:.1%} ({each})"
    )


def _say(entries: tuple[Entry, ...], rules: GateConfig) -> None:
    from voxgate.report.terminal import make_console

    console = make_console()
    for entry in entries:
        identity = entry.identity
        place = rules.baselines / identity.environment / f"{identity.model}.json"
        console.print(f"accepted {identity.case} in {place}", highlight=False, soft_wrap=True)
    if not entries:
        console.print(f"nothing accepted in {rules.baselines}", highlight=False)


def _print_run(result: RunRecord, path: Path) -> None:
    from voxgate.report.terminal import make_console, print_record

    console = make_console()
    with contextlib.suppress(SystemExit):  # rich's answer to a closed pipe; its code is not ours
        print_record(console, result)
        print_places(console, path)


def _print(result: GateRecord, path: Path) -> None:
    from voxgate.report.terminal import make_console
    from voxgate.report.verdict_lines import print_gate

    console = make_console()
    _print_run(result.run, path)
    with contextlib.suppress(SystemExit):
        print_gate(console, result)
