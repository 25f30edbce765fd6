"""A job, and the two messages about it between `voxgate.artifacts.launcher` and `voxgate.artifacts.worker`.

Each message is one line of JSON.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec


class Question(msgspec.Struct, frozen=True):
    """A job's name and its request."""

    job: str
    request: msgspec.Raw


class Answer(msgspec.Struct, frozen=True):
    """A result, or an error by the name of its class."""

    result: msgspec.Raw = msgspec.Raw(b"null")
    error_type: str | None = None
    error: str | None = None


Request = TypeVar("Request")
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class Job(Generic[Request, Result]):
    """A function that runs in a worker, and the records that go in and out."""

    name: str
    target: str
    request: type[Request]
    result: type[Result]

    def function(self) -> Callable[[Request], Result]:
        """Import the function; only workers call this."""
        module, _, attribute = self.target.partition(":")
        function: Callable[[Request], Result] = getattr(importlib.import_module(module), attribute)
        return function
