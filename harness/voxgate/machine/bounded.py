"""Calls that may never return, such as those of a driver that hangs, with an end to the waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def within(seconds: float, call: Callable[[], Result]) -> Result:
    """What ``call`` returns or raises, made in a thread that is given up when the time is over.

    Raises:
        TimeoutError: it did not return in time; the thread is left to itself.
    """
    results: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:  # noqa: BLE001 - raised again where the caller waits
            errors.append(error)

    thread = threading.Thread(target=run, name="bounded", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        msg = f"no answer within {seconds:g} s"
        raise TimeoutError(msg)
    return results[0]
