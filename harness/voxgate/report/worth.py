"""Whether INT8 is worth it beside the fastest float engine of the run: in a cell, and in sentences."""

from __future__ import annotations

from collections.abc import Iterable

from voxgate.metrics.ratios import doubt_of_worth
from voxgate.records.run import Ratios
from voxgate.report import formats

HEADING = "over float"
NOTE = "faster than the fastest float engine of this run, and which that is"


def is_told(ratios: Iterable[Ratios]) -> bool:
    """Whether a column of it says more than the one against FP32."""
    return any(row.fastest_float not in {None, "fp32"} for row in ratios)


def cell(ratios: Ratios | None, sign: str = "×") -> str:
    """The ratio and the precision that it is over."""
    if ratios is None or ratios.fastest_float is None:
        return formats.DASH
    found = formats.number(ratios.latency_over_fastest_float, ".2f", sign)
    return f"{found} {ratios.fastest_float}"


def doubts(ratios: Iterable[Ratios]) -> tuple[str, ...]:
    """One sentence for every INT8 engine that a float engine of its network is as fast as."""
    return tuple(
        f"{row.model}/{row.task}/{row.backend}/{row.precision} is {words}"
        for row in ratios
        if (words := doubt_of_worth(row))
    )
