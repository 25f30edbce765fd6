"""Signatures as pybind11 writes them into documentation strings."""

from __future__ import annotations

import re
from dataclasses import dataclass

_OPENING, _CLOSING = "([{<", ")]}>"


@dataclass(frozen=True)
class Signature:
    """Names of the parameters without ``self``, and how many of them have no default."""

    names: tuple[str, ...]
    required: int

    def accepts(self, arguments: int, keywords: tuple[str, ...]) -> bool:
        """Whether a call with so many positional arguments and these keywords fits."""
        given = set(self.names[:arguments]) | set(keywords)
        missing = set(self.names[: self.required]) - given
        return arguments <= len(self.names) and set(keywords) <= set(self.names) and not missing


def signatures(documentation: str) -> list[Signature]:
    """Every overload that a documentation string lists."""
    found = []
    for line in documentation.splitlines():
        match = re.match(r"(?:\d+\. )?\w+\((.*)\) -> ", line)
        if match:
            found.append(_parse(match[1]))
    return found


def _parse(text: str) -> Signature:
    parameters = [p for p in _split(text) if p and p.split(":")[0].strip() != "self"]
    names = tuple(p.split(":")[0].split("=")[0].strip() for p in parameters)
    return Signature(names=names, required=sum("=" not in p for p in parameters))


def _split(text: str) -> list[str]:
    """Parameters between commas that are outside of all brackets."""
    parts, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += (character in _OPENING) - (character in _CLOSING)
        if character == "," and depth == 0:
            parts.append(text[start:position].strip())
            start = position + 1
    return [*parts, text[start:].strip()]
