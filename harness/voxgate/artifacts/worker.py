"""The child process: one job, one answer, then gone.

Started by `voxgate.artifacts.launcher` in a process of its own, never imported by it. The request
comes in as one JSON line on standard input, the answer goes out as one JSON line on the file that
standard output was at the start; whatever libraries print goes to standard error instead. The
process ends when its parent does: the kernel signals it on Linux, and everywhere its standard input
closes.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import traceback
from typing import IO

import msgspec

from voxgate.artifacts.jobs import JOBS
from voxgate.artifacts.messages import Answer, Question
from voxgate.errors import HarnessError

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Read the question, do the job, write the answer."""
    answers = _claim_standard_output()
    line = sys.stdin.buffer.readline()
    _die_with_parent()
    answers.write(msgspec.json.encode(_answer(line)) + b"\n")
    answers.flush()
    os._exit(0)  # skip the SDKs' own clean-up, which can take long or crash


def _answer(line: bytes) -> Answer:
    try:
        question = msgspec.json.decode(line, type=Question)
        job = JOBS[question.job]
        request = msgspec.json.decode(question.request, type=job.request)
        result = job.function()(request)
        return Answer(result=msgspec.Raw(msgspec.json.encode(result)))
    except HarnessError as error:
        return Answer(error_type=type(error).__name__, error=str(error))
    except MemoryError as error:
        return Answer(error_type="WorkerMemoryError", error=f"out of memory: {error}")
    except Exception as error:  # noqa: BLE001 - the parent must learn of every failure
        traceback.print_exc()
        return Answer(error_type="HarnessError", error=f"{type(error).__name__}: {error}")


def _claim_standard_output() -> IO[bytes]:
    """Keep standard output for the answer and point file descriptor 1 at standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return answers


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_exit_at_end_of_input, daemon=True).start()


def _exit_at_end_of_input() -> None:
    # os.read, not sys.stdin: a thread that holds its lock makes the interpreter abort at exit.
    while os.read(0, 1):
        pass
    os._exit(1)
