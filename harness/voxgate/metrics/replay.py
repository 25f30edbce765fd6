"""A clock that replays measured times, so that pytest-benchmark sees engine time.

The engines run in other processes, and their own timers measured them. pytest-benchmark times a
function with a timer; this timer stands still except while `play` runs, which moves it by exactly
the next measured sample. No overhead of processes or of Python is in the result.
"""

from __future__ import annotations

from collections.abc import Sequence


class ReplayClock:
    """Seconds since the last `load`."""

    __name__ = "ReplayClock"  # pytest-benchmark prints the name of its timer

    def __init__(self) -> None:
        self._now_ns = 0
        self._left: list[int] = []

    def __call__(self) -> float:
        """The replayed time in seconds."""
        return self._now_ns / 1e9

    def load(self, samples_ns: Sequence[int]) -> None:
        """Start anew with these samples."""
        self._now_ns = 0
        self._left = list(reversed(samples_ns))

    def play(self) -> None:
        """Advance by the next sample.

        Raises:
            IndexError: every sample was played.
        """
        self._now_ns += self._left.pop()


CLOCK = ReplayClock()
