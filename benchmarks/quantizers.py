"""Our INT8 engine against those of NNCF's and ModelOpt's defaults.

Is it at least as fast as the better one, from the same FP32 graph, in the same run, at no more Dice
lost? The better default is the fastest
one that loses at most 0.005 of the mean Dice, because speed bought with a segmentation that nobody
would accept is no standard to be held to; the fastest default whatever it loses is printed beside
it. A default that fails, or whose engine computes in float, is neither a win nor a loss.

.venv/bin/python -m benchmarks.quantizers --models unet,segresnet-24 --launches 3
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from voxgate import __version__
from voxgate.artifacts.cache import Cache
from voxgate.artifacts.progress import Reporter
from voxgate.artifacts.run_artifacts import Artifacts
from voxgate.cli import guarded
from voxgate.commands.options import add_run_options, make_config, reporting
from voxgate.config import RunConfig
from voxgate.config.options import MEASURING, PLACES
from voxgate.errors import EXIT_FAILED, EXIT_PASS
from voxgate.files import check_writable
from voxgate.machine.environment import read_environment
from voxgate.records import file
from voxgate.records.case import CaseId, Precision
from voxgate.runs import bench
from voxgate.runs.case_run import CaseRun

from benchmarks.comparison import (
    MOST_DICE_LOST,
    OURS,
    QUANTIZERS,
    ModelComparison,
    QuantizerRecord,
    answered,
    compare,
    contend,
    summarize,
)

SCHEMA_VERSION = 1
BACKEND = "openvino"  # the only one that computes in int8 and reads what every quantizer writes


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when FP32 and our engine of every model were measured, 4 otherwise."""
    options = build_parser().parse_args(arguments)
    return guarded(lambda: run(options))


def build_parser() -> argparse.ArgumentParser:
    """The options of ``voxgate bench``, without those that this benchmark decides."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quantizers",
        allow_abbrev=False,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_run_options(parser, ("models", "task", *MEASURING, *PLACES))
    parser.add_argument("--record", type=Path, help="write what was measured there, as JSON")
    parser.set_defaults(backend=BACKEND, precisions="fp32,int8")
    return parser


def run(options: argparse.Namespace) -> int:
    """Measure, write and print."""
    from voxgate.report.terminal import make_console

    from benchmarks.table import print_comparison

    config = make_config(options)
    if config.record is not None:
        check_writable(config.record, "--record")
    with reporting() as reporter:
        result = measure(config, reporter)
    if config.record is not None:
        file.write(config.record, result)
    with contextlib.suppress(SystemExit):  # rich's answer to a closed pipe; its code is not ours
        print_comparison(make_console(), result)
    return EXIT_PASS if answered(result.models) else EXIT_FAILED


def measure(config: RunConfig, reporter: Reporter) -> QuantizerRecord:
    """Build and measure FP32 and every quantizer's INT8 engine of each model, interleaved."""
    started, start = datetime.now(UTC), time.monotonic()
    cache = Cache(config.cache_root)
    made_by = {name: _artifacts_of(name, config, cache, reporter) for name in QUANTIZERS}
    groups = [_runs(model, made_by) for model in config.models]
    reporter.begin(len(groups) * (1 + len(QUANTIZERS)) * (1 + config.launches))
    probe = bench.probe_backends(made_by[OURS], reporter)[config.backends[0]]
    for case_run in (case_run for group in groups for case_run in group):
        bench.build(case_run, probe)
        reporter.advance()
    inference_s = sum(bench.measure(group, reporter) for group in groups)
    models = tuple(_compared(group) for group in groups)
    return QuantizerRecord(
        schema_version=SCHEMA_VERSION,
        voxgate=__version__,
        environment=read_environment(config.thread_count, {config.backends[0]: probe}),
        config=config.facts() | {"quantizer": list(QUANTIZERS)},
        most_dice_lost=MOST_DICE_LOST,
        models=models,
        summary=summarize(models),
        timing=bench.timing_since(started, start, inference_s, cache),
    )


def _artifacts_of(quantizer: str, config: RunConfig, cache: Cache, reporter: Reporter) -> Artifacts:
    """The artifacts of that quantizer; graphs and FP32 engines are the same in the shared cache."""
    return bench.make_artifacts(
        replace(config, quantizer=quantizer).check(),
        cache,
        announce=lambda what: reporter.say(f"{quantizer}: {what}"),
    )


def _runs(model: str, made_by: dict[str, Artifacts]) -> list[CaseRun]:
    """FP32, then INT8 by each quantizer."""

    def case_run(quantizer: str, precision: Precision) -> CaseRun:
        artifacts = made_by[quantizer]
        (backend,) = artifacts.config.backends
        case = CaseId(
            model=model, task=artifacts.config.task, backend=backend, precision=precision
        )  # fmt: skip
        by = "" if precision == "fp32" else f" by {quantizer}"
        return CaseRun(case, artifacts, title=f"{case}{by}")

    return [case_run(OURS, "fp32"), *(case_run(name, "int8") for name in made_by)]


def _compared(runs: Sequence[CaseRun]) -> ModelComparison:
    """The verdict on one model: each INT8 row is checked beside FP32, and beside no other INT8."""
    fp32, *quantized = runs
    pairs = [bench.results_of((fp32, int8)) for int8 in quantized]
    contenders = [contend(name, *pair) for name, pair in zip(QUANTIZERS, pairs, strict=True)]
    return compare(pairs[0][0], contenders)


if __name__ == "__main__":
    sys.exit(main())
