"""TensorRT's own words: the only place where it gives reasons.

It keeps the first logger that a process gives it, whatever logger later objects get. So there is one,
and who wants to know what was said of one thing remembers where that began.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from typing import Any

_MOST_WARNINGS = 20
_OUT_OF_MEMORY = re.compile(
    r"out ?of ?memory|GPU memory .*could not be allocated|insufficient (?:GPU|device) memory"
    r"|cudaErrorMemoryAllocation",
    re.IGNORECASE,
)


class Words:
    """What was said from now on."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self._start = len(log.lines)

    def errors(self) -> list[str]:
        """Errors, the oldest first."""
        return [text for severe, text in self._log.lines[self._start :] if severe]

    def last(self, most: int = 3) -> str:
        """The last errors, or else warnings: a driver that is missing is no more than that."""
        said = self.errors() or list(self.all())
        return "; ".join(said[-most:]) or "it gave no reason"

    def out_of_memory(self) -> str:
        """The first error that says that memory ran out; empty where none does."""
        return next((text for text in self.errors() if _OUT_OF_MEMORY.search(text)), "")

    def all(self) -> tuple[str, ...]:
        """Each warning once, with how often it came, and each error that stopped nothing."""
        counts = Counter(text for _, text in self._log.lines[self._start :])
        shown = [
            text if count == 1 else f"{text} ({count} times)"
            for text, count in list(counts.items())[:_MOST_WARNINGS]
        ]
        left = len(counts) - len(shown)
        return (*shown, f"and {left} more") if left > 0 else tuple(shown)


def make_log(sdk: Any) -> Any:
    """A logger that keeps warnings and worse, and shows them on standard error."""
    severity = sdk.ILogger.Severity
    names = {severity.INTERNAL_ERROR: "error", severity.ERROR: "error", severity.WARNING: "warning"}

    class Log(sdk.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.lines: list[tuple[bool, str]] = []

        def log(self, severity: Any, message: str) -> None:
            name = names.get(severity)
            if name is not None:
                text = message.strip()
                self.lines.append((name == "error", text))
                sys.stderr.write(f"{sdk.__name__} {name}: {text}\n")

    return Log()
