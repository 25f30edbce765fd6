"""What a waiting person sees: a bar on a terminal, plain lines in a pipe."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Protocol, Self


class Reporter(Protocol):
    """Hears of the steps of a run."""

    def begin(self, steps: int) -> None:
        """A run of about that many steps starts."""

    def say(self, what: str) -> None:
        """This is what happens now."""

    def advance(self) -> None:
        """One step is done."""


class Silent:
    """Says nothing; for tests and libraries."""

    def begin(self, steps: int) -> None:
        """Nothing."""

    def say(self, what: str) -> None:
        """Nothing."""

    def advance(self) -> None:
        """Nothing."""


class Lines:
    """One line a message on standard error, with the seconds since the start."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def begin(self, steps: int) -> None:
        """The start of the clock."""

    def say(self, what: str) -> None:
        """A line at once, so that a log shows where a run hangs."""
        sys.stderr.write(f"[{time.monotonic() - self._start:6.1f} s] {what}\n")
        sys.stderr.flush()

    def advance(self) -> None:
        """Lines need no count."""


class Bar:
    """A progress bar with the current step, on standard error."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
        )

        self._progress = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task("starting", total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def begin(self, steps: int) -> None:
        """Set the length of the bar."""
        self._progress.update(self._task, total=steps, completed=0)

    def say(self, what: str) -> None:
        """Show the step beside the bar."""
        self._progress.update(self._task, description=what)

    def advance(self) -> None:
        """Move the bar by one."""
        self._progress.advance(self._task)
