"""What versions of TensorRT computed in int8, and what they refused: measured by the probes.

`suites.contract.probes` asks, and writes the answers into the file beside this one. A pattern that was
not asked of a version has no entry: nothing is derived from another version's answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

PATH = Path(__file__).with_name("tensorrt_patterns.json")

# By version, pattern and precision: the arithmetic of each node asked about, or why it was refused.
Answer = dict[str, str] | str
Patterns = Mapping[str, Mapping[str, Mapping[str, Answer]]]


def read_patterns(path: Path = PATH) -> Patterns:
    """The whole table."""
    return msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, dict[str, Answer]]])


def refused(patterns: Patterns, version: str) -> frozenset[str]:
    """The patterns that a version refuses in a precision or in all."""
    return frozenset(
        pattern
        for pattern, answers in patterns.get(version, {}).items()
        if any(isinstance(answer, str) for answer in answers.values())
    )


def in_float(patterns: Patterns, version: str, node: str = "c1") -> frozenset[str]:
    """The patterns whose node a version computes in float, quantized as it is."""
    return frozenset(
        pattern
        for pattern, answers in patterns.get(version, {}).items()
        for answer in answers.values()
        if not isinstance(answer, str) and answer.get(node) == "float"
    )
