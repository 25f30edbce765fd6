"""Every error that VoxGate raises on purpose.

HarnessError                     exit 4   a case failed, or nothing was measured
├── UsageError                   exit 2   the request itself is wrong
├── UnavailableError             exit 4   something is not installed or not on this machine
├── ArtifactError                exit 4   a file is damaged, foreign or unsafe
├── ExportError                  exit 4   PyTorch to ONNX failed or changed the outputs
├── QuantizationError            exit 4   a quantizer refused or produced nothing
├── GraphLintError               exit 4   a quantized graph breaks what runtimes demand of Q/DQ nodes
├── BuildError                   exit 4   a backend could not turn a graph into an engine
├── DeviceMemoryError            exit 4   a GPU's memory did not suffice
├── DeviceError                  exit 4   a GPU or its driver failed, or the GPU was lost
├── EngineOutputError            exit 4   an engine returned NaN or the wrong shape
├── NotInt8Error                 exit 4   an INT8 engine computes in float
├── UnexpectedInt8Error          exit 4   an FP32 or fake-quantized engine computes in int8
└── WorkerError                  exit 4   a worker process was lost
    ├── WorkerTimeoutError                it ran past its time limit
    ├── WorkerMemoryError                 it ran past its memory limit
    └── WorkerCrashError                  it died: a signal, or an exit without an answer

The exit codes 1 (regression) and 3 (inconclusive) belong to results, not to errors.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import ClassVar, TypeVar

Entry = TypeVar("Entry")

EXIT_PASS = 0
EXIT_REGRESSION = 1
EXIT_USAGE = 2
EXIT_INCONCLUSIVE = 3
EXIT_FAILED = 4
EXIT_INTERRUPTED = 130


class HarnessError(Exception):
    """Base of the tree: what happened, to which file or layer, and what to do."""

    exit_code: ClassVar[int] = EXIT_FAILED


class UsageError(HarnessError):
    """The command line or the pytest options ask for something that does not exist."""

    exit_code: ClassVar[int] = EXIT_USAGE


class UnavailableError(HarnessError):
    """An SDK, a device or an instruction set is missing; the message says what to install."""


class ArtifactError(HarnessError):
    """A file is damaged, belongs to something else, or leaves its folder."""


class ExportError(HarnessError):
    """The ONNX graph could not be made, or does not compute what PyTorch computes."""


class QuantizationError(HarnessError):
    """Calibration or quantization failed."""


class GraphLintError(HarnessError):
    """A quantized graph that a runtime would refuse, or run in float without saying so."""


class BuildError(HarnessError):
    """A backend did not produce an engine, or did not accept one."""


class DeviceMemoryError(HarnessError):
    """A GPU ran out of memory while an engine was built, loaded or run."""


class DeviceError(HarnessError):
    """A GPU or its driver failed; other cases may run on it still."""


class EngineOutputError(HarnessError):
    """An engine ran and returned something that is no segmentation."""


class NotInt8Error(HarnessError):
    """An engine that claims INT8 computes in float."""


class UnexpectedInt8Error(HarnessError):
    """A reference or a simulation computes in int8."""


class WorkerError(HarnessError):
    """A worker process ended without an answer."""


class WorkerTimeoutError(WorkerError):
    """A worker ran past its time limit and was killed."""


class WorkerMemoryError(WorkerError):
    """A worker ran past its memory limit and was killed."""


class WorkerCrashError(WorkerError):
    """A worker was killed by a signal or exited without an answer."""


def unknown_name(
    kind: str, name: str, choices: Iterable[str], sets: Iterable[str] = ()
) -> UsageError:
    """The error for a name that is in no table: lists what is, and guesses what was meant.

    ``sets`` are names that stand for several of the choices.
    """
    known, together = sorted(choices), sorted(sets)
    close = difflib.get_close_matches(name, [*known, *together], n=1)
    guess = f" Did you mean {close[0]!r}?" if close else ""
    listed = "; sets of them: ".join(", ".join(names) for names in (known, together) if names)
    msg = f"unknown {kind} {name!r}.{guess} Choose from: {listed}."
    return UsageError(msg)


def look_up(kind: str, name: str, table: Mapping[str, Entry]) -> Entry:
    """The entry of that name.

    Raises:
        UsageError: no such entry; the message lists them.
    """
    if name not in table:
        raise unknown_name(kind, name, table)
    return table[name]


def by_name(name: str) -> type[HarnessError]:
    """The class of that name, for errors that crossed a process boundary as text."""
    pending: list[type[HarnessError]] = [HarnessError]
    while pending:
        cls = pending.pop()
        if cls.__name__ == name:
            return cls
        pending.extend(cls.__subclasses__())
    return HarnessError
