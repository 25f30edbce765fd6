"""The two messages between `voxgate.artifacts.launcher` and `voxgate.artifacts.worker`, each one line of JSON."""

from __future__ import annotations

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
