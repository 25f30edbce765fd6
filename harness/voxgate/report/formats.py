"""Numbers as people read them. What was not measured is a dash; a minus is a minus sign."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from voxgate.records.verdicts import Unit, Verdict

DASH = "–"
MB = 1e6
MIB = 2**20
_NS_PER_MS = 1e6

Words = Callable[[float | None], str]


def number(value: float | None, how: str, unit: str = "") -> str:
    """A value by a format specification, and its unit."""
    return DASH if value is None else f"{value:{how}}{unit}".replace("-", "−")


def megabytes(value: float | None) -> str:
    """Bytes in units of 10⁶."""
    return number(None if value is None else value / MB, ",.2f")


def mebibytes(value: float | None) -> str:
    """Bytes in units of 2²⁰, without decimals."""
    return number(None if value is None else value / MIB, ",.0f")


def share(value: float | None) -> str:
    """A share of 1 in percent."""
    return number(None if value is None else 100 * value, ".1f", "\N{NO-BREAK SPACE}%")


def times(value: float | None) -> str:
    """A factor."""
    return number(value, ".2f", "×")


def dice(value: float | None) -> str:
    """Dice with the digits in which quantization shows."""
    return number(value, ".4f")


def difference(value: float | None) -> str:
    """A signed difference of Dice or of shares."""
    return number(value, "+.4f")


def milliseconds(values: Iterable[float | None]) -> Words:
    """How to write the times of one column: with two decimals if one is below 10 ms, else with one."""
    fast = any(value is not None and value < 10 for value in values)
    return lambda value: number(value, ",.2f" if fast else ",.1f")


def ns_to_ms(value: float) -> float:
    """Nanoseconds in milliseconds."""
    return value / _NS_PER_MS


def measured(value: float | None, unit: Unit) -> str:
    """A value of a verdict with its unit."""
    return _VALUES[unit](value)


def changed(verdict: Verdict, value: float | None) -> str:
    """A change or a tolerance in the terms of the verdict: relative for times and bytes."""
    if verdict.unit in {"ms", "bytes"}:
        return number(None if value is None else 100 * value, "+.1f", "\N{NO-BREAK SPACE}%")
    return difference(value)


def some(names: Iterable[str], most: int = 5) -> str:
    """The first names and how many more there are."""
    found = list(names)
    shown = ", ".join(found[:most])
    return shown if len(found) <= most else f"{shown} and {len(found) - most} more"


def count(number_: int, one: str, many: str = "") -> str:
    """A number with its noun."""
    return f"{number_:,} {one if number_ == 1 else many or one + 's'}"


_VALUES: dict[Unit, Words] = {
    "ms": lambda value: number(value, ",.2f", " ms"),
    "bytes": lambda value: number(None if value is None else value / MB, ",.2f", " MB"),
    "Dice": dice,
    "share": share,
    "": lambda value: number(value, ",.4g"),
}
