"""The options that commands share, and the configuration that they make."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from harness.config import (
    DEFAULT_BACKENDS,
    DEFAULT_TASK,
    MODELS_HELP,
    RunConfig,
    gib_to_bytes,
    split_models,
    split_names,
    split_pythons,
)
from harness.report.progress import Bar, Lines, Reporter
from harness.types import ClassSet, Precision


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Selection, quantization, measuring, paths."""
    defaults = RunConfig()
    names = parser.add_argument_group("selection (names separated by commas)")
    names.add_argument("--models", default="default", help=MODELS_HELP)
    names.add_argument("--task", default=DEFAULT_TASK, help="default: %(default)s")
    names.add_argument(
        "--classes", default=defaults.classes,
        help="task, or paper: its class counts, for size, latency and memory without Dice",
    )  # fmt: skip
    names.add_argument("--backend", default=",".join(DEFAULT_BACKENDS), help="default: %(default)s")
    names.add_argument(
        "--precisions", default="", help="default: each backend's own; fake-* are simulated"
    )
    add_python_option(names)
    quantization = parser.add_argument_group("quantization")
    quantization.add_argument("--quantizer", default="", help="default: the backend's own")
    quantization.add_argument("--calibration", default="", help="method; default: the quantizer's")
    quantization.add_argument(
        "--calibration-patches", type=int, default=0, metavar="N",
        help="how many to draw; default: the task's fixed ones, or one a volume",
    )  # fmt: skip
    quantization.add_argument(
        "--calibration-seed", type=int, default=0, metavar="S", help="which to draw"
    )
    quantization.add_argument(
        "--calibration-data", type=Path, metavar="DIR", help="*.nii.gz, *.nii and *.npy of your own"
    )
    quantization.add_argument(
        "--float-layers", default="", help="layers of the one selected model that stay in float"
    )
    surfaces = parser.add_argument_group("surfaces")
    surfaces.add_argument(
        "--surface-metrics", action="store_true", help="NSD and HD95 of each case and class, too"
    )
    surfaces.add_argument(
        "--surface-tolerance", type=float, default=defaults.surface_tolerance_mm,
        help="mm within which NSD takes a surface as met; default: %(default)g",
    )  # fmt: skip
    add_measuring_options(parser)
    add_cache_option(parser)
    add_checkpoint_option(parser)


def add_python_option(parser: argparse._ActionsContainer) -> None:
    """Under which interpreter a backend runs."""
    parser.add_argument(
        "--python", action="append", default=[], metavar="BACKEND=PATH",
        help="the interpreter that has this backend's runtime; default: the one of VoxGate",
    )  # fmt: skip


def add_measuring_options(parser: argparse.ArgumentParser) -> None:
    """How often and how long, and what a worker may use."""
    defaults = RunConfig()
    measuring = parser.add_argument_group("measuring")
    measuring.add_argument("--threads", type=int, default=0, help="default: every usable core")
    measuring.add_argument("--launches", type=int, default=defaults.launches)
    measuring.add_argument("--warmups", type=int, default=defaults.warmups)
    measuring.add_argument("--min-samples", type=int, default=defaults.min_samples)
    measuring.add_argument("--max-samples", type=int, default=defaults.max_samples)
    measuring.add_argument(
        "--seconds", type=float, default=defaults.seconds_per_launch, help="of sampling a launch"
    )
    measuring.add_argument(
        "--time-limit", type=float, default=defaults.time_limit_s, help="seconds a worker may take"
    )
    measuring.add_argument(
        "--memory-limit", type=float, default=None, help="GiB a worker may hold; default: no limit"
    )
    gpu = parser.add_argument_group("GPU runtimes")
    gpu.add_argument(
        "--workspace", type=float, default=None, help="GiB the builder may use; default: its own"
    )
    gpu.add_argument("--cuda-graph", action="store_true", help="capture a launch and replay it")


def add_cache_option(parser: argparse.ArgumentParser) -> None:
    """Where artifacts are kept."""
    parser.add_argument(
        "--cache-dir", type=Path, help="default: VOXGATE_CACHE, or voxgate in the user's cache"
    )


def add_checkpoint_option(parser: argparse.ArgumentParser) -> None:
    """Where trained weights lie."""
    parser.add_argument("--checkpoint-dir", type=Path, help="trained checkpoints of your own")


def make_config(options: argparse.Namespace) -> RunConfig:
    """The checked configuration of the run options.

    Raises:
        UsageError: an unknown name or a number out of range.
    """
    return RunConfig(
        models=split_models(options.models),
        task=options.task,
        classes=cast("ClassSet", options.classes),
        backends=split_names(options.backend),
        precisions=cast("tuple[Precision, ...]", split_names(options.precisions)),
        quantizer=options.quantizer,
        calibration_method=options.calibration,
        calibration_patches=options.calibration_patches,
        calibration_seed=options.calibration_seed,
        calibration_data=options.calibration_data,
        float_layers=split_names(options.float_layers),
        pythons=split_pythons(options.python),
        threads=options.threads,
        launches=options.launches,
        warmups=options.warmups,
        min_samples=options.min_samples,
        max_samples=options.max_samples,
        seconds_per_launch=options.seconds,
        time_limit_s=options.time_limit,
        memory_limit_bytes=gib_to_bytes(options.memory_limit),
        workspace_bytes=gib_to_bytes(options.workspace),
        cuda_graph=options.cuda_graph,
        cache_dir=options.cache_dir,
        checkpoint_dir=options.checkpoint_dir,
        record=getattr(options, "record", None),
        surface_metrics=options.surface_metrics,
        surface_tolerance_mm=options.surface_tolerance,
    ).check()


@contextmanager
def reporting() -> Iterator[Reporter]:
    """A bar on a terminal, lines in a pipe."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    with Bar() as bar:
        yield bar
