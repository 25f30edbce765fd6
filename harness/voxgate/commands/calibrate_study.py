"""Quantize one network by every method, number of patches and seed, and measure what each costs.

Dice against FP32 and int8 coverage on the evaluation patches, without latency. A study that was
interrupted goes on where it was; a combination that fails leaves the others.
"""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path

from voxgate.commands.options import add_run_options, reporting
from voxgate.commands.report import check_places, print_places, write_with_page
from voxgate.config import (
    DEFAULT_BACKENDS,
    DEFAULT_TASK,
    RunConfig,
    default_record_path,
    gib_to_bytes,
    split_names,
)
from voxgate.config.options import PLACES
from voxgate.errors import UsageError
from voxgate.records.study import StudyRecord
from voxgate.runs import calibration_study


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The network, what is combined, and what a worker may use."""
    defaults, grid = RunConfig(), calibration_study.Grid()
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("--task", default=DEFAULT_TASK, help="default: %(default)s")
    parser.add_argument("--backend", default=DEFAULT_BACKENDS[0], help="default: %(default)s")
    parser.add_argument("--quantizer", default="", help="default: the backend's own")
    combined = parser.add_argument_group("what is combined (separated by commas)")
    combined.add_argument("--methods", default="", help="default: all that the quantizer has")
    combined.add_argument(
        "--patches", default=_joined(grid.patches),
        help="how many to draw; 0: the task's fixed ones, or one a volume; default: %(default)s",
    )  # fmt: skip
    combined.add_argument("--seeds", default=_joined(grid.seeds), help="default: %(default)s")
    parser.add_argument(
        "--calibration-data", type=Path, metavar="DIR", help="*.nii.gz, *.nii and *.npy of your own"
    )
    parser.add_argument("--threads", type=int, default=0, help="default: every usable core")
    parser.add_argument(
        "--time-limit", type=float, default=defaults.time_limit_s, help="seconds a worker may take"
    )
    parser.add_argument("--memory-limit", type=float, help="GiB a worker may hold")
    add_run_options(parser, PLACES)
    parser.add_argument("--record", type=Path, help="default: records/<UTC time>-calibration.json")


def run(options: argparse.Namespace) -> int:
    """0 when FP32 and every combination were measured, 4 when one failed."""
    config = _config(options)
    grid = calibration_study.Grid(
        methods=split_names(options.methods),
        patches=_numbers("--patches", options.patches),
        seeds=_numbers("--seeds", options.seeds),
    )
    grid.choices(config)
    path = options.record or default_record_path(kind="calibration")
    check_places(path)
    with reporting() as reporter:
        found = calibration_study.run_study(config, grid, reporter)
    write_with_page(path, found)
    _print(found, path)
    return calibration_study.exit_code(found)


def _config(options: argparse.Namespace) -> RunConfig:
    return RunConfig(
        models=(options.model,),
        task=options.task,
        backends=(options.backend,),
        quantizer=options.quantizer,
        calibration_data=options.calibration_data,
        threads=options.threads,
        time_limit_s=options.time_limit,
        memory_limit_bytes=gib_to_bytes(options.memory_limit),
        cache_dir=options.cache_dir,
        checkpoint_dir=options.checkpoint_dir,
    ).check()


def _numbers(option: str, text: str) -> tuple[int, ...]:
    """The numbers of an option.

    Raises:
        UsageError: one of them is none.
    """
    try:
        return tuple(int(word) for word in split_names(text))
    except ValueError as error:
        msg = f"{option} is {text!r}; give whole numbers separated by commas, like 1,4,8"
        raise UsageError(msg) from error


def _joined(numbers: tuple[int, ...]) -> str:
    return ",".join(map(str, numbers))


def _print(found: StudyRecord, path: Path) -> None:
    from voxgate.report.study import print_study
    from voxgate.report.terminal import make_console

    console = make_console()
    with contextlib.suppress(SystemExit):  # rich's answer to a closed pipe; its code is not ours
        print_study(console, found)
        print_places(console, path)
