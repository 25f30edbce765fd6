"""The table of commands, and the parser that they make."""

from __future__ import annotations

import argparse

from voxgate import __version__
from voxgate.commands import (
    bench,
    calibrate_study,
    compare,
    doctor,
    gate,
    inspect,
    lint,
    list_models,
    report,
    scales,
    sensitivity,
    train,
    trend,
)

COMMANDS = {
    "bench": bench,
    "calibrate-study": calibrate_study,
    "compare": compare,
    "doctor": doctor,
    "gate": gate,
    "inspect": inspect,
    "lint": lint,
    "models": list_models,
    "report": report,
    "sensitivity": sensitivity,
    "scales": scales,
    "train": train,
    "trend": trend,
}


def build_parser() -> argparse.ArgumentParser:
    """The parser with one subcommand a command module."""
    parser = argparse.ArgumentParser(
        prog="voxgate",
        allow_abbrev=False,  # a new option must not give a stored command line another meaning
        description="Real INT8 post-training quantization of 3D segmentation networks, measured.",
        epilog="exit codes: 0 pass, 1 regression, 2 usage, 3 inconclusive, 4 a case failed or is unavailable, 130 interrupted",
    )
    parser.add_argument("--version", action="version", version=f"voxgate {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, module in COMMANDS.items():
        summary = (module.__doc__ or "").splitlines()[0]
        module.add_arguments(
            commands.add_parser(name, help=summary, description=module.__doc__, allow_abbrev=False)
        )
    return parser
