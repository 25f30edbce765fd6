"""Check the scales and zero points of quantized graphs against the formulas.

A weight's scales are computed from its own values and must be equal bit for bit; an activation's from
its range, measured again on the calibration patches by ONNX Runtime. A tensor whose range no formula
gives is listed as not checked, with the reason. Exits with 4 when a tensor deviates, or nothing was
checked.
"""

from __future__ import annotations

import argparse
import sys

import msgspec

from voxgate.artifacts.cache import Cache
from voxgate.commands.options import add_run_options, make_config, reporting
from voxgate.config.options import PLACES, QUANTIZATION
from voxgate.records.scales import ROLES
from voxgate.runs import bench, scales
from voxgate.runs.scales import GraphScales

# No engine is built, and nothing is timed.
_USED = (
    "task", "classes", "backend", *QUANTIZATION, "threads", "time_limit", "memory_limit", *PLACES,
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Models by name, and the run options that a quantized graph depends on."""
    parser.add_argument(
        "models", metavar="MODEL", nargs="?", help="or several, or a set of them, by commas"
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    add_run_options(parser, _USED)


def run(options: argparse.Namespace) -> int:
    """0 when all that could be checked is equal, 4 otherwise."""
    config = make_config(options)
    with reporting() as reporter:
        artifacts = bench.make_artifacts(config, Cache(config.cache_root), reporter.say)
        results = scales.check_all(artifacts, reporter)
    if options.json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
    else:
        sys.stdout.write("".join(describe(result) for result in results))
    return scales.exit_code(results)


def describe(result: GraphScales) -> str:
    """A line of counts, then one for each tensor that deviates or was not checked."""
    title = f"{result.model} by {result.quantizer} ({result.method})"
    if result.found is None:
        return f"{title}: FAILED: {result.error}\n"
    found = result.found
    counts = ", ".join(
        f"{len(found.of('equal', role))} of {sum(t.role == role for t in found.tensors)} {role}s"
        for role in ROLES
    )
    lines = [f"{title}: {counts} equal the formulas; {_rest(result)}"]
    lines += [f"  DEVIATES     {t.role} {t.name}: {t.detail}" for t in found.of("deviates")]
    lines += [f"  not checked  {t.role} {t.name}: {t.detail}" for t in found.of("not-checked")]
    return "\n".join(lines) + "\n"


def _rest(result: GraphScales) -> str:
    assert result.found is not None
    found = result.found
    worst = max((t.deviation or 0.0 for t in found.of("equal", "activation")), default=0.0)
    return (
        f"{len(found.of('deviates'))} deviate, {len(found.of('not-checked'))} not checked; "
        f"activations within {worst:.1e}"
    )
