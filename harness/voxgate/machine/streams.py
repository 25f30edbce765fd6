"""Standard output and error that may be closed, full or a closed pipe, and end no run by it.

What they do not take is lost and remembered. Only the standard library is imported here, as this has
to stand before anything that may fail.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Sink(io.BufferedIOBase):
    """The bytes of a stream, written as far as it takes them. ``error`` is why it took no more."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.name = str(getattr(stream, "name", ""))
        self.error: Exception | None = None

    def write(self, data: ReadableBuffer) -> int:
        count = memoryview(data).nbytes
        if self._stream is not None and self.error is None:
            with self._losing(self._stream):
                self._stream.buffer.write(data)
        return count

    def flush(self) -> None:
        if self._stream is not None and self.error is None:
            with self._losing(self._stream):
                self._stream.flush()

    @contextlib.contextmanager
    def _losing(self, stream: TextIO) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:  # ValueError: it was closed
            self.error = error
            _divert(stream)

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return self._stream.fileno()


@contextlib.contextmanager
def tolerant() -> Iterator[None]:
    """Within it, writing to ``sys.stdout`` and ``sys.stderr`` raises nothing."""
    _occupy_standard_descriptors()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_tolerant(stream) for stream in before)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def lost(stream: TextIO) -> Exception | None:
    """Why some of what was written is lost; None where all arrived, or its reader had read enough."""
    stream.flush()
    error = getattr(stream.buffer, "error", None)
    return (
        error if isinstance(error, Exception) and not isinstance(error, BrokenPipeError) else None
    )


def _tolerant(stream: TextIO | None) -> TextIO:
    encoding = stream.encoding if stream is not None else "utf-8"
    buffering = bool(getattr(stream, "line_buffering", False))
    # A table must not fail on the letters that an output lacks either.
    return io.TextIOWrapper(
        _Sink(stream), encoding=encoding, errors="replace", line_buffering=buffering, write_through=True
    )  # fmt: skip


def _occupy_standard_descriptors() -> None:
    """Open those that are closed, or the next file would be standard error to every library."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one


def _divert(stream: TextIO) -> None:
    """Let what is still in the stream's buffer go nowhere, when Python flushes it at its exit."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
