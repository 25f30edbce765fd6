"""What is wrong with the Q/DQ nodes of a graph: the record that the check leaves. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A rule that the Q/DQ nodes of a graph break at one node.

    ``message`` says what was found, what is required and what to do. ``fatal`` is whether a runtime
    refuses it, or runs it in float without a word.
    """

    rule: str
    node: str
    message: str
    fatal: bool
