"""Show what an engine executes: each weighted layer, its arithmetic, and int8 coverage.

CASE is model/task/backend/precision, for instance unet/mni152/openvino/int8; it is built if the
cache does not hold it. ENGINE is an engine.bin of the cache, with its manifest beside it.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import cast

import msgspec

from voxgate.artifacts.cache import MANIFEST, read_manifest
from voxgate.commands.options import add_run_options, refuse, reporting, unchecked_config
from voxgate.config.options import PLACES, QUANTIZATION
from voxgate.errors import ArtifactError, HarnessError, UsageError, unknown_name
from voxgate.metrics.coverage import measure_coverage
from voxgate.metrics.expectations import MOST_UNMAPPED, NOT_INT8, required_int8_macs
from voxgate.records.case import INT8_PRECISIONS, PRECISIONS, CaseId, ClassSet, Precision
from voxgate.records.engine import Coverage, ExecutedLayer, Share
from voxgate.runs import bench

# What decides the engine of a case, and what else running one takes.
_BUILDING = ("classes", *QUANTIZATION, "threads", "workspace")
_RUNNING = ("python", "time_limit", "memory_limit", "cuda_graph", *PLACES)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to inspect, and the run options that its engine depends on."""
    parser.add_argument("target", metavar="CASE-or-ENGINE")
    parser.add_argument("--json", action="store_true", help="for programs")
    add_run_options(parser, (*_BUILDING, *_RUNNING))


def run(options: argparse.Namespace) -> int:
    """0 when the layers could be read."""
    engine = engine_file(options.target)
    if engine is None:
        case, config = parse_case(options.target), unchecked_config(options)
    else:
        refuse(options, "with an engine file, which is inspected as it was built", _RUNNING)
        case, threads, classes = _built_for(engine)
        config = replace(unchecked_config(options, _RUNNING), threads=threads, classes=classes)
    config = replace(
        config,
        models=(case.model,),
        task=case.task,
        backends=(case.backend,),
        precisions=(case.precision,),
    ).check()
    with reporting() as reporter:
        graph, layers = bench.inspect_case(config, case, reporter, engine)
    if layers is None:
        msg = f"{case.backend} does not tell what it executes; nothing to inspect"
        raise HarnessError(msg)
    coverage = measure_coverage(graph, layers) if graph else None
    if options.json:
        count = config.class_count(case.model)
        found = {"case": str(case), "classes": count, "coverage": coverage, "layers": layers}
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    else:
        _print(case, layers, coverage)
    return 0


def engine_file(target: str) -> Path | None:
    """The engine file that was named, or None when the target is a case.

    Raises:
        UsageError: it looks like a path, and there is no file.
    """
    path = Path(target)
    try:
        if path.is_file():
            return path
    except OSError as error:
        msg = f"no engine file at {target[:80]}: {error.strerror}"
        raise UsageError(msg) from error
    if path.suffix or path.is_absolute():
        msg = f"no engine file at {path}"
        raise UsageError(msg)
    return None


def parse_case(text: str) -> CaseId:
    """model/task/backend/precision.

    Raises:
        UsageError: another form, or an unknown precision.
    """
    parts = text.split("/")
    if len(parts) != 4:
        msg = f"{text!r} is no case; write model/task/backend/precision, like unet/mni152/openvino/int8"
        raise UsageError(msg)
    model, task, backend, precision = parts
    if precision not in PRECISIONS:
        raise unknown_name("precision", precision, PRECISIONS)
    return CaseId(model=model, task=task, backend=backend, precision=_precision(precision))


def _precision(name: str) -> Precision:
    return next(precision for precision in PRECISIONS if precision == name)


def _built_for(path: Path) -> tuple[CaseId, int, ClassSet]:
    """The case, the thread count and the class set that an engine of the cache was built for.

    Raises:
        ArtifactError: the engine is damaged, or is no engine of the cache.
    """
    if not (path.parent / MANIFEST).is_file():
        msg = f"{path} has no {MANIFEST} beside it; give an engine.bin of the cache, or a case"
        raise ArtifactError(msg)
    manifest = read_manifest(path.parent)
    if manifest.kind != "engine":
        msg = f"{path} belongs to an artifact of kind {manifest.kind!r}, not to an engine"
        raise ArtifactError(msg)
    inputs = manifest.inputs
    classes = cast("ClassSet", inputs.get("class_set", "task"))  # earlier versions had no other
    return parse_case(str(inputs["case"])), int(str(inputs["threads"])), classes


def _print(case: CaseId, layers: tuple[ExecutedLayer, ...], coverage: Coverage | None) -> None:
    from rich.table import Table

    from voxgate.report.terminal import make_console

    console = make_console()
    table = Table("layer", "kind", "arithmetic", "executed as", title=str(case))
    for layer in layers:
        table.add_row(layer.name, layer.kind, layer.arithmetic, layer.detail)
    console.print(table)
    if coverage is None:
        return
    for name, share in (("nodes", coverage.by_count), ("MACs", coverage.by_macs)):
        console.print(
            f"{name}: {share.int8:.1%} int8, {share.float:.1%} float, {share.unmapped:.1%} unmapped",
            highlight=False,
        )
    if coverage.float_nodes:
        console.print(f"in float: {', '.join(coverage.float_nodes)}", highlight=False)
    if coverage.unmapped_nodes:
        console.print(f"unmapped: {', '.join(coverage.unmapped_nodes)}", highlight=False)
    console.print(describe_arithmetic(case, coverage), highlight=False)


def describe_arithmetic(case: CaseId, coverage: Coverage) -> str:
    """The half of the certificate that needs no measurement, in one sentence."""
    shares, required = coverage.by_macs, required_int8_macs(case.backend, case.model)
    if case.precision in INT8_PRECISIONS:
        words = f"at least {required:.0%} of MACs and at most {MOST_UNMAPPED:.0%} unmapped required"
        return f"this engine {_how_int8(shares, required)}: {words}"
    if shares.unmapped > MOST_UNMAPPED:
        return f"what this engine computes cannot be told: {shares.unmapped:.1%} unmapped"
    quiet = shares.int8 == 0
    return f"this {case.precision} engine computes {'nothing' if quiet else 'something'} in INT8"


def _how_int8(shares: Share, required: float) -> str:
    if shares.int8 < NOT_INT8:
        return "does NOT compute in INT8"
    real = shares.int8 >= required and shares.unmapped <= MOST_UNMAPPED
    return "computes in INT8" if real else "computes PARTLY in INT8"
