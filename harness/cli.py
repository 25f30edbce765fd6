"""The command line: parse, delegate, return a code. Errors are caught here, once."""

from __future__ import annotations

import argparse
import io
import logging
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from types import FrameType

from harness import __version__
from harness.commands import (
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
from harness.errors import EXIT_FAILED, EXIT_INTERRUPTED, HarnessError

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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = build_parser().parse_args(arguments)
    return guarded(lambda: COMMANDS[options.command].run(options))


def guarded(run: Callable[[], int]) -> int:
    """The exit code of a command: its own, or that of the error or signal that ended it."""
    logging.basicConfig(format="voxgate: %(levelname)s: %(message)s", level=logging.WARNING)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a table must not fail on a terminal's encoding
    try:
        code = run()
    except HarnessError as error:
        sys.stderr.write(f"voxgate: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("voxgate: interrupted; finished artifacts stay in the cache\n")
        return EXIT_INTERRUPTED
    except Exception:  # noqa: BLE001 - Python's own exit code 1 would mean a regression
        traceback.print_exc()
        sys.stderr.write(
            "voxgate: this is a bug in VoxGate; please report it with the lines above\n"
        )
        return EXIT_FAILED
    return code


def build_parser() -> argparse.ArgumentParser:
    """The parser with one subcommand a command module."""
    parser = argparse.ArgumentParser(
        prog="voxgate",
        description="Real INT8 post-training quantization of 3D segmentation networks, measured.",
        epilog="exit codes: 0 pass, 1 regression, 2 usage, 3 inconclusive, 4 a case failed or is unavailable, 130 interrupted",
    )
    parser.add_argument("--version", action="version", version=f"voxgate {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, module in COMMANDS.items():
        summary = (module.__doc__ or "").splitlines()[0]
        module.add_arguments(commands.add_parser(name, help=summary, description=module.__doc__))
    return parser


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End a terminated run like an interrupted one, so that its workers end with it."""
    del number, frame
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
