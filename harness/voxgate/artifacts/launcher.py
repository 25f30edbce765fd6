"""The parent's side of a worker: start it, watch its time and memory, take its answer.

The parent never imports a backend's SDK; a crash, a hang or an out-of-memory kill ends the worker
and becomes an error of that one case.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import IO, TypeVar

import msgspec
import psutil

from voxgate.artifacts.messages import Answer, Job
from voxgate.artifacts.process_environment import worker_environment
from voxgate.errors import WorkerCrashError, WorkerMemoryError, WorkerTimeoutError, by_name

Request = TypeVar("Request")
Result = TypeVar("Result")

Watch = Callable[[int], AbstractContextManager[object]]

# Without the second line the working directory comes first, and a numpy.py there would be imported;
# Python 3.10 has no option for it.
_START = """
import sys
sys.path[:] = [folder for folder in sys.path if folder]
from voxgate.artifacts.worker import main
main()
"""
_POLL_S = 0.05
_LOG_TAIL_BYTES = 2_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What one worker may use. ``memory_bytes`` is resident memory; None means no limit."""

    seconds: float = 1800.0
    memory_bytes: int | None = None


def run_job(
    job: Job[Request, Result],
    request: Request,
    limits: Limits,
    python: str = sys.executable,
    watch: Watch | None = None,
) -> Result:
    """Run one job in a process of its own and wait for the answer.

    ``watch(pid)`` is entered once the process exists, and left when it has answered or was lost.

    Raises:
        WorkerTimeoutError, WorkerMemoryError, WorkerCrashError: the process was lost.
        HarnessError: whatever the job itself raised, by its class.
    """
    question = msgspec.json.encode({"job": job.name, "request": request})
    with _scratch() as folder, tempfile.TemporaryFile() as log, tempfile.TemporaryFile() as answers:
        process = _start(python, job.name, folder, log, answers)
        try:
            with watch(process.pid) if watch else contextlib.nullcontext():
                _ask(process, question)
                _wait(process, job.name, limits)
        finally:
            _kill(process)
        return _take(job, process.returncode, _content(answers), log)


def _scratch() -> tempfile.TemporaryDirectory[str]:
    """Where a worker and what it starts keep temporary files: they are gone even if it was killed."""
    return tempfile.TemporaryDirectory(prefix="voxgate-worker-", ignore_cleanup_errors=True)


def _start(
    python: str, name: str, folder: str, log: IO[bytes], answers: IO[bytes]
) -> subprocess.Popen[bytes]:
    """A fresh interpreter in a session of its own, so that Ctrl-C reaches the parent alone."""
    try:
        return subprocess.Popen(
            [python, "-c", _START],
            stdin=subprocess.PIPE,
            stdout=answers,
            stderr=log,
            start_new_session=True,
            env=(worker_environment(python) or dict(os.environ)) | {"TMPDIR": folder},
        )
    except OSError as error:
        msg = f"the {name} worker could not be started: {error}"
        raise WorkerCrashError(msg) from error


def _ask(process: subprocess.Popen[bytes], question: bytes) -> None:
    """Send the question and leave the pipe open: its end tells the worker that we are gone."""
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # the worker died at start; _take reports it
        process.stdin.write(question + b"\n")
        process.stdin.flush()


def _wait(process: subprocess.Popen[bytes], name: str, limits: Limits) -> None:
    end = time.monotonic() + limits.seconds
    watched = psutil.Process(process.pid)
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_POLL_S)
            return
        if time.monotonic() > end:
            msg = f"the {name} worker did not finish in {limits.seconds:g} s and was killed"
            raise WorkerTimeoutError(msg)
        used = _resident_bytes(watched)
        if limits.memory_bytes is not None and used > limits.memory_bytes:
            msg = (
                f"the {name} worker used {used / 2**20:.0f} MiB, more than its limit of "
                f"{limits.memory_bytes / 2**20:.0f} MiB, and was killed"
            )
            raise WorkerMemoryError(msg)


def _resident_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the worker and everything that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()


def _take(job: Job[Request, Result], code: int, answers: bytes, log: IO[bytes]) -> Result:
    if not answers.endswith(b"\n"):
        raise WorkerCrashError(_describe_death(job.name, code, _tail(log)))
    try:
        answer = msgspec.json.decode(answers, type=Answer)
        if answer.error_type is None:
            return msgspec.json.decode(answer.result, type=job.result)
    except ValueError as error:  # of msgspec's errors each is a ValueError
        msg = f"the {job.name} worker answered what is no answer: {error}"
        raise WorkerCrashError(msg) from error
    raise by_name(answer.error_type)(answer.error)


def _describe_death(name: str, code: int, log: bytes) -> str:
    tail = log.decode(errors="replace").strip()
    last = f"; its last words: {tail}" if tail else ""
    if code < 0:
        name_of_signal = _name_of_signal(-code)
        hint = " (the kernel does this when memory runs out)" if -code == signal.SIGKILL else ""
        return f"the {name} worker was killed by {name_of_signal}{hint}{last}"
    return f"the {name} worker exited with code {code} and no answer{last}"


def _name_of_signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # real-time signals have no names
        return f"signal {number}"


def _tail(log: IO[bytes]) -> bytes:
    """The end alone: a library may have written more than our memory holds."""
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - _LOG_TAIL_BYTES))
    return log.read()


def _content(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()
