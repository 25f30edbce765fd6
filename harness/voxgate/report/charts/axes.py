"""Scales of charts: from values to positions, with ticks at 1, 2 and 5 times powers of ten.

Values that are not finite have no position: `finite` leaves them out, a scale refuses them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_LOG_FROM = 8.0  # a spread that a linear axis would squeeze into one corner
_FLAT = 1e-9  # a domain narrower than this share of its values is one value
_FARTHEST = 1e150  # beyond it a difference or a product may overflow


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """Maps the domain ``low``..``high`` to the positions ``start``..``stop``, which may fall."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The position of a value; beyond the domain it lies beyond the positions.

        Raises:
            ValueError: the value is not finite, or not positive on a logarithmic scale.
        """
        if not math.isfinite(value) or (self.log and value <= 0):
            msg = f"{value} has no place on a scale from {self.low:g} to {self.high:g}"
            raise ValueError(msg)
        low, high, at = (
            (math.log(v) for v in (self.low, self.high, value))
            if self.log
            else (self.low, self.high, value)
        )
        return self.start + (self.stop - self.start) * (at - low) / (high - low)

    def ticks(self, most: int = 6) -> tuple[float, ...]:
        """At most ``most`` rising round values inside the domain."""
        if self.log:
            return log_ticks(self.low, self.high, most)
        return linear_ticks(self.low, self.high, most)


def finite(values: Iterable[float | None]) -> list[float]:
    """Those that a scale can show."""
    return [v for v in values if v is not None and math.isfinite(v) and abs(v) <= _FARTHEST]


def linear(
    values: Iterable[float | None], start: float, stop: float, *, zero: bool = False
) -> Scale:
    """A linear scale over the values, widened to round ends; ``zero`` puts 0 on it.

    Without a finite value it is 0..1.
    """
    low, high = _domain([*finite(values), *([0.0] if zero else [])])
    step = tick_step(high - low, 5)
    return Scale(
        low=math.floor(low / step + _FLAT) * step,
        high=math.ceil(high / step - _FLAT) * step,
        start=start,
        stop=stop,
    )


def logarithmic(values: Iterable[float | None], start: float, stop: float) -> Scale:
    """A logarithmic scale over the positive values, with a margin of 5 % at each end."""
    positive = [v for v in finite(values) if v >= 1 / _FARTHEST] or [1.0, 10.0]
    low, high = min(positive), max(positive)
    margin = (high / low) ** 0.05 if high > low * (1 + _FLAT) else 1.5
    return Scale(low=low / margin, high=high * margin, start=start, stop=stop, log=True)


def fitting(values: Iterable[float | None], start: float, stop: float) -> Scale:
    """Logarithmic where all values are positive and spread widely, else linear."""
    found = finite(values)
    wide = bool(found) and min(found) > 0 and max(found) / min(found) > _LOG_FROM
    return logarithmic(found, start, stop) if wide else linear(found, start, stop)


def tick_step(span: float, most: int) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that divides ``span`` at most ``most`` times.

    Raises:
        ValueError: the span is not positive and finite.
    """
    if not (math.isfinite(span) and span > 0):
        msg = f"a span of {span} has no ticks"
        raise ValueError(msg)
    power = math.floor(math.log10(span / most))
    candidates = (_times_ten(digit, power + up) for up in (0, 1) for digit in (1, 2, 5))
    return next(step for step in candidates if span / step <= most * (1 + _FLAT))


def linear_ticks(low: float, high: float, most: int = 6) -> tuple[float, ...]:
    """The multiples of a round step between ``low`` and ``high``.

    Raises:
        ValueError: the domain is empty, reversed or not finite.
    """
    step = tick_step(high - low, max(most - 1, 1))
    first, last = math.ceil(low / step - _FLAT), math.floor(high / step + _FLAT)
    return tuple(min(max(number * step, low), high) for number in range(first, last + 1))


def log_ticks(low: float, high: float, most: int = 6) -> tuple[float, ...]:
    """1, 2 and 5 times powers of ten; powers alone where these are too many.

    A domain inside one such interval gets the ticks of a linear one.
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    fine = [_times_ten(digit, power) for power in powers for digit in (1, 2, 5)]
    inside = tuple(tick for tick in fine if low <= tick <= high)
    if len(inside) < 2:
        return linear_ticks(low, high, most)
    if len(inside) <= most:
        return inside
    tens = tuple(tick for tick in (_times_ten(1, p) for p in powers) if low <= tick <= high)
    return tens[:: max(1, math.ceil(len(tens) / most))]


def _domain(values: list[float]) -> tuple[float, float]:
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    if high - low > _FLAT * max(abs(low), abs(high)):
        return low, high
    around = abs(low) * 0.1 or 1.0
    return low - around, high + around


def _times_ten(digit: int, power: int) -> float:
    """``digit`` times ten to a power, as a literal of it would be read."""
    return float(f"{digit}e{power}")
