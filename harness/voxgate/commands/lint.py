"""Check the quantize and dequantize nodes of an ONNX graph against what runtimes take.

Prints the rule, the node and what to do for each finding. A fatal finding is one that a runtime
refuses, or builds into an engine that computes in float without saying so; others are warnings.
Bodies of If and Loop are not read.
"""

from __future__ import annotations

import argparse
import sys

import msgspec

from voxgate.artifacts import jobs
from voxgate.artifacts.launcher import Limits, run_job
from voxgate.errors import EXIT_FAILED, EXIT_PASS
from voxgate.quantization.lint import Linted
from voxgate.stages.requests import LintRequest

_LIMITS = Limits(seconds=600)  # for gigabytes on a slow disk


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The graph, and the format."""
    parser.add_argument("graph", metavar="GRAPH.onnx")
    parser.add_argument("--json", action="store_true", help="for programs")


def run(options: argparse.Namespace) -> int:
    """0 when no finding is fatal, 4 otherwise."""
    linted = run_job(jobs.LINT, LintRequest(onnx=options.graph), _LIMITS)
    if options.json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(linted), indent=1) + b"\n")
    else:
        sys.stdout.write(describe(linted, options.graph))
    return EXIT_FAILED if any(finding.fatal for finding in linted.findings) else EXIT_PASS


def describe(linted: Linted, graph: str) -> str:
    """A line a finding, and one that sums up."""
    if linted.quantize_nodes + linted.dequantize_nodes == 0:
        return f"{graph} has no Q/DQ nodes: it is a float graph, and there is nothing to check\n"
    lines = [f"{found.rule}  {found.node}  {found.message}" for found in linted.findings]
    fatal = sum(found.fatal for found in linted.findings)
    total = f"{len(lines)} findings, {fatal} fatal" if lines else "no findings"
    return "\n".join([*lines, f"{total}; {linted.quantize_nodes} quantize nodes"]) + "\n"
