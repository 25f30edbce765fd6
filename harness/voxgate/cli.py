"""The command line: parse, delegate, return a code. Errors are caught here, once.

An error that nobody catches ends Python with 1, which is a regression here. So what may fail, the
imports of the commands too, comes after `guarded` stands.
"""

from __future__ import annotations

import logging
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from types import FrameType

from voxgate.errors import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_PASS,
    EXIT_USAGE,
    HarnessError,
    UnavailableError,
)
from voxgate.machine import streams

# Their text is all of their result; others have an exit code that says it, or leave a record.
_ONLY_PRINT = frozenset({"doctor", "inspect", "models", "report", "trend"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    return guarded(lambda: _command(arguments))


def _command(arguments: Sequence[str] | None) -> int:
    try:
        from voxgate.commands.parser import COMMANDS, build_parser
    except ImportError as error:
        msg = f"VoxGate cannot start: {error}; install it anew, with what it needs"
        raise UnavailableError(msg) from error
    try:
        options = build_parser().parse_args(arguments)
    except SystemExit as stop:  # argparse has said what it had to
        return EXIT_USAGE if stop.code else EXIT_PASS
    code = COMMANDS[options.command].run(options)
    lost = options.command in _ONLY_PRINT and streams.lost(sys.stdout) is not None
    return EXIT_FAILED if lost and code == EXIT_PASS else code


def guarded(run: Callable[[], int]) -> int:
    """The exit code of a command: its own, or that of the error or signal that ended it."""
    try:
        with streams.tolerant():
            code = _code_of(run)
            if error := streams.lost(sys.stdout):
                _say(f"standard output could not be written: {error}")
            return code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BaseException:  # noqa: BLE001 - a fault in telling of a fault is no regression either
        return EXIT_FAILED


def _code_of(run: Callable[[], int]) -> int:
    logging.basicConfig(format="voxgate: %(levelname)s: %(message)s", level=logging.WARNING)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup's wish
            signal.signal(number, _interrupt)
    try:
        return run()
    except HarnessError as error:
        _say(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        _say("interrupted; finished artifacts stay in the cache")
        return EXIT_INTERRUPTED
    except BaseException:  # noqa: BLE001 - a library's sys.exit is no result of ours
        traceback.print_exc()
        _say("this is a bug in VoxGate; please report it with the lines above")
        return EXIT_FAILED


def _say(words: str) -> None:
    sys.stderr.write(f"voxgate: {words}\n")


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End a terminated run like an interrupted one, so that its workers end with it."""
    del number, frame
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
