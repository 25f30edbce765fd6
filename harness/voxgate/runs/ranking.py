"""Pure: how alike two rankings are, how far logits are off, and which layers to leave in float."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from voxgate.records.sensitivity import Agreement, Trial

# A change of Dice that a few voxels of a patch make.
FLOOR = 1e-5

_ALIKE = 0.8
_CLEAR = 2.0  # standard errors of a rank correlation without any relation


def decibels(signal: float, noise: float) -> float | None:
    """SQNR: 10 log10(signal / noise) of two sums of squares; None where there is no noise.

    Raises:
        ValueError: a sum is negative or not finite, or there is noise and no signal.
    """
    if not (math.isfinite(signal) and math.isfinite(noise) and signal >= 0 and noise >= 0):
        msg = f"sums of squares are finite and not negative, unlike {signal} and {noise}"
        raise ValueError(msg)
    if noise == 0:
        return None
    if signal == 0:
        msg = "the reference is 0 everywhere, so there is nothing to compare the noise with"
        raise ValueError(msg)
    return 10 * (math.log10(signal) - math.log10(noise))


def differences(
    before: Mapping[str, float | None], after: Mapping[str, float | None]
) -> dict[str, float]:
    """Before minus after of each class that both have."""
    pairs = {name: (value, after.get(name)) for name, value in before.items()}
    return {n: a - b for n, (a, b) in pairs.items() if a is not None and b is not None}


def ranks(values: Sequence[float]) -> list[float]:
    """The rank of each value from 1 up; equal ones share the mean of their ranks."""
    order = sorted(range(len(values)), key=values.__getitem__)
    found, start = [0.0] * len(values), 0
    while start < len(order):
        end = start
        while end < len(order) and values[order[end]] == values[order[start]]:
            end += 1
        for place in order[start:end]:
            found[place] = (start + 1 + end) / 2
        start = end
    return found


def spearman(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Rank correlation with ties, -1..1; None where a ranking has one rank alone.

    Pearson's correlation of the ranks (Spearman, Am. J. Psychol. 15, 1904).

    Raises:
        ValueError: the lengths differ, or a value is NaN.
    """
    if len(a) != len(b) or any(math.isnan(value) for value in (*a, *b)):
        msg = f"rankings of {len(a)} and {len(b)} values without NaN are needed"
        raise ValueError(msg)
    if len(set(a)) < 2 or len(set(b)) < 2:
        return None
    middle = (len(a) + 1) / 2
    first, second = ([rank - middle for rank in ranks(values)] for values in (a, b))
    product = math.fsum(x * y for x, y in zip(first, second, strict=True))
    squares = math.fsum(x * x for x in first) * math.fsum(y * y for y in second)
    return max(-1.0, min(1.0, product / math.sqrt(squares)))


def agreement(losses: Sequence[float], noises: Sequence[float]) -> Agreement:
    """What SQNR says of Dice: ``losses`` of Dice and ``noises`` of the logits, a layer each.

    Dice that rises is as far from FP32's as Dice that falls: the size of a change counts.
    """
    found = spearman([abs(loss) for loss in losses], noises)
    above = [loss for loss in losses if abs(loss) > FLOOR]
    rises = sum(loss < 0 for loss in above)
    return Agreement(
        spearman=found,
        layers=len(losses),
        floor=FLOOR,
        above_floor=len(above),
        rises=rises,
        words=_agreement_words(found, len(losses), len(above), rises),
    )


def _agreement_words(found: float | None, layers: int, above: int, rises: int) -> str:
    if found is None:
        return f"No rank correlation: the Dice or the SQNR of {layers} layers does not differ"
    words = f"Rank correlation of SQNR with the change of Dice: {found:+.2f} over {layers} layers"
    if not above:
        return (
            f"{words}, which means nothing: no layer alone moves Dice by more than {FLOOR:.5f}, a few "
            "voxels. Rank by SQNR"
        )
    words += f"; {above} of them alone move Dice by more than {FLOOR:.5f}"
    if rises:
        words += f", {rises} for the better, which is chance: the size counts, not the sign"
    if found < (clear := _CLEAR / math.sqrt(layers - 1)):
        why = "That is no clear relation" if clear < 1 else "Too few layers to tell"
        return f"{words}. {why}: rank by Dice where it moves"
    return f"{words}. SQNR ranks much as Dice does" if found > _ALIKE else words


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """The set that a search ended with; None where even all layers do not meet the margin."""

    layers: tuple[str, ...] | None
    proven: bool
    trials: tuple[Trial, ...]


def search(
    order: Sequence[str],
    alone: Mapping[str, float],
    loss_of: Callable[[tuple[str, ...]], float],
    margin: float,
) -> Found:
    """A small set of layers to leave in float, so that ``loss_of(set)`` is at most ``margin``.

    ``order`` has the layers that help most first; ``alone`` the losses that are known with one layer
    in float. The shortest sufficient start of the order is found by bisection, then every member is
    tried without, the least helpful first. Sets of none, and of one and two where ``alone`` has all
    layers, are proven smallest by what was measured; of larger ones, none without any one member does.
    """
    search_ = _Search(loss_of, margin)
    if search_.meets(()):
        return search_.ended((), proven=True)
    search_.trials += [Trial(layers=(name,), loss=loss) for name, loss in alone.items()]
    every_single = set(alone) >= set(order)
    singles = [name for name in order if alone.get(name, math.inf) <= margin]
    if singles:
        return search_.ended((singles[0],), proven=True)
    if not order or not search_.meets(tuple(order)):
        return search_.ended(None, proven=False)
    kept = search_.without_idle(search_.shortest_start(order))
    return search_.ended(kept, proven=len(kept) <= (2 if every_single else 0))


class _Search:
    """Asks for each set once, and remembers every answer."""

    def __init__(self, loss_of: Callable[[tuple[str, ...]], float], margin: float) -> None:
        self._loss_of = loss_of
        self._margin = margin
        self._known: dict[frozenset[str], bool] = {}
        self.trials: list[Trial] = []

    def meets(self, layers: tuple[str, ...]) -> bool:
        key = frozenset(layers)
        if key not in self._known:
            loss = self._loss_of(layers)
            self.trials.append(Trial(layers=layers, loss=loss))
            self._known[key] = loss <= self._margin
        return self._known[key]

    def shortest_start(self, order: Sequence[str]) -> tuple[str, ...]:
        """By bisection: a start that suffices while the one shorter by one does not."""
        fails, suffices = 0, len(order)
        while suffices - fails > 1:
            middle = (fails + suffices) // 2
            if self.meets(tuple(order[:middle])):
                suffices = middle
            else:
                fails = middle
        return tuple(order[:suffices])

    def without_idle(self, layers: tuple[str, ...]) -> tuple[str, ...]:
        """The set without members that it does not need, tried from the last to the first.

        Until no one of them can be dropped: dropping one may free another.
        """
        kept = layers
        for name in reversed(layers):
            rest = tuple(other for other in kept if other != name)
            if self.meets(rest):
                return self.without_idle(rest)
        return kept

    def ended(self, layers: tuple[str, ...] | None, *, proven: bool) -> Found:
        return Found(layers=layers, proven=proven, trials=tuple(self.trials))
