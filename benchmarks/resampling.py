"""Comparisons drawn from recorded launches: an engine against itself, or against itself slowed down.

Launches are drawn with replacement, whole, within one stratum (host, engine, state): noise sits between
launches, and shuffled samples would hide it. The two sides of a comparison share no launch.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from voxgate.verdicts import alternating
from voxgate.verdicts.rules import MOST_PAIRED_LAUNCHES, SELF_TEST_LAUNCHES

from benchmarks.recording import Kind, RecordedLaunch, Recording, State

Section = Literal["quiet", "noisy", "mixed"]
SECTIONS: tuple[Section, ...] = get_args(Section)
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STORED_LAUNCHES = 5  # a side, for every rule that compares with stored samples
_MOST_ALTERNATING = alternating.LAUNCHES + alternating.MORE_LAUNCHES
_FEWEST = 4  # launches of a kind; with fewer there are no two disjoint sides of two load orders


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """What is done to B: every sample times ``factor``, a random share of them times ``tail_factor``."""

    name: str
    factor: float = 1.0
    tail_share: float = 0.0
    tail_factor: float = 1.0

    def apply(self, samples: Floats, generator: np.random.Generator) -> Floats:
        """The samples of an engine that is slower by this effect."""
        slowed = samples * self.factor
        if self.tail_share:
            slowed[generator.random(samples.shape) < self.tail_share] *= self.tail_factor
        return slowed


AA = Effect(name="A/A")
EFFECTS = (
    AA,
    Effect(name="+3 %", factor=1.03),
    Effect(name="+5 %", factor=1.05),
    Effect(name="+10 %", factor=1.1),
    Effect(name="+20 %", factor=1.2),
    Effect(name="tail", tail_share=0.15, tail_factor=1.3),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pool:
    """The launches of one stratum in one state, in ns, as they were recorded.

    ``solo`` is (launch, sample), ``pairs`` (launch, side, sample), ``b_first`` (launch). ``foreign``
    are the shares of the cores that other processes took, of the launches where they were read.
    """

    solo: Floats
    pairs: Floats
    b_first: NDArray[np.bool_]
    foreign: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Stratum:
    """One engine on one host. ``pools`` lacks the states of which there are too few launches."""

    host: str
    case: str
    engine_sha256: str
    recordings: tuple[str, ...]
    pools: Mapping[State, Pool]
    left_out: tuple[str, ...]

    def sections(self) -> tuple[Section, ...]:
        """The states that can be drawn; mixed needs both."""
        own = tuple(section for section in SECTIONS if section in self.pools)
        return (*own, "mixed") if len(own) == len(get_args(State)) else own

    def launches(self, section: Section, kinds: frozenset[Kind]) -> int:
        """How many recorded launches of these kinds a section draws from."""
        pools = [self.pools[state] for state in self.states(section)]
        return sum(
            len(pool.solo) * ("solo" in kinds) + len(pool.pairs) * ("pair" in kinds)
            for pool in pools
        )

    def states(self, section: Section) -> tuple[State, ...]:
        """Those whose launches a section draws from."""
        return get_args(State) if section == "mixed" else (section,)


@dataclass(frozen=True, kw_only=True)  # without slots, to keep what it computes
class Draws:
    """Many comparisons at once, samples in ns, the comparison being the first axis.

    ``stored`` and ``alternating`` are (comparison, side, launch, sample): mixed is drawn for a side,
    that is an hour, in the former, and for each launch in the latter. ``first``, the ``fresh`` launches
    after a red, and ``self_test`` are paired ones, (comparison, launch, side, sample). Side 1 is B.
    """

    stored: Floats
    alternating: Floats
    first: Floats
    fresh: Floats
    self_test: Floats

    def slowed(self, effect: Effect, generator: np.random.Generator) -> Draws:
        """The same comparisons with a slower B; the self-test is of the accepted engine."""
        slowed = {
            "stored": self.stored.copy(),
            "alternating": self.alternating.copy(),
            "first": self.first.copy(),
            "fresh": self.fresh.copy(),
        }
        for name, samples in slowed.items():
            b = samples[:, 1] if name in {"stored", "alternating"} else samples[:, :, 1]
            b[...] = effect.apply(b, generator)
        return replace(self, **slowed)

    @functools.cached_property
    def series(self) -> tuple[Series, Series]:
        """The first launches and the fresh ones."""
        return Series.of(self.first), Series.of(self.fresh)


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """B over A of paired launches, (comparison, launch): of minima, and of 90th percentiles.

    ``samples`` is how many each side of a launch has.
    """

    minima: Floats
    tails: Floats
    samples: int

    @classmethod
    def of(cls, launches: Floats) -> Series:
        """From (comparison, launch, side, sample)."""
        samples = launches.shape[3]
        index = math.ceil(0.9 * samples) - 1
        minima, tails = launches.min(axis=3), np.partition(launches, index, axis=3)[..., index]
        return cls(
            minima=minima[:, :, 1] / minima[:, :, 0],
            tails=tails[:, :, 1] / tails[:, :, 0],
            samples=samples,
        )


def stratify(recordings: Iterable[Recording]) -> tuple[Stratum, ...]:
    """The recordings by host and engine, in a fixed order."""
    groups: dict[tuple[str, str, str], list[Recording]] = {}
    for recording in sorted(recordings, key=lambda r: r.name):
        header = recording.header
        key = (_host(recording), header.case, header.engine_sha256)
        groups.setdefault(key, []).append(recording)
    return tuple(_stratum(*key, groups[key]) for key in sorted(groups))


def _host(recording: Recording) -> str:
    env = recording.header.environment
    device = f", {env.gpu}" if env.gpu else ""
    return f"{env.host}: {env.cpu}, {env.threads} threads{device}"


def _stratum(host: str, case: str, engine_sha256: str, recordings: list[Recording]) -> Stratum:
    launches = [launch for recording in recordings for launch in recording.launches]
    pools, left_out = {}, []
    for state in get_args(State):
        mine = [launch for launch in launches if launch.state == state]
        if _enough(mine):
            pools[state] = _pool(mine, launches)
        else:
            left_out.append(f"{state} ({len(mine)} launches)")
    return Stratum(
        host=host,
        case=case,
        engine_sha256=engine_sha256,
        recordings=tuple(recording.name for recording in recordings),
        pools=pools,
        left_out=tuple(left_out),
    )


def _enough(launches: list[RecordedLaunch]) -> bool:
    solo = sum(launch.kind == "solo" for launch in launches)
    orders = [launch.b_first for launch in launches if launch.kind == "pair"]
    return min(solo, 2 * orders.count(False), 2 * orders.count(True)) >= _FEWEST


def _pool(mine: list[RecordedLaunch], everyone: list[RecordedLaunch]) -> Pool:
    """As arrays, cut to what each launch of the stratum has."""
    samples = min(len(launch.a_ns) for launch in everyone if launch.kind == "solo")
    pairs = min(len(launch.a_ns) for launch in everyone if launch.kind == "pair")
    paired = [launch for launch in mine if launch.kind == "pair"]
    return Pool(
        solo=np.array([launch.a_ns[:samples] for launch in mine if launch.kind == "solo"], float),
        pairs=np.array([(launch.a_ns[:pairs], launch.b_ns[:pairs]) for launch in paired], float),
        b_first=np.array([launch.b_first for launch in paired]),
        foreign=tuple(launch.load.foreign for launch in mine if launch.load is not None),
    )


def draw(
    stratum: Stratum, section: Section, trials: int, generator: np.random.Generator
) -> Draws:  # fmt: skip
    """That many comparisons of the engine with itself.

    Raises:
        KeyError: the stratum has no launches in that state.
    """
    drawn = [_draw(stratum.pools[state], trials, generator) for state in stratum.states(section)]
    if len(drawn) == 1:
        return drawn[0]
    first, second = drawn

    def either(a: Floats, b: Floats, *, axes: int) -> Floats:
        """Of a or b, at random for each index of the first axes."""
        shape = (*a.shape[:axes], *(1 for _ in a.shape[axes:]))
        return np.where(generator.integers(0, 2, shape) == 0, a, b)

    return Draws(
        stored=either(first.stored, second.stored, axes=2),
        alternating=either(first.alternating, second.alternating, axes=3),
        first=either(first.first, second.first, axes=2),
        fresh=either(first.fresh, second.fresh, axes=2),
        self_test=either(first.self_test, second.self_test, axes=2),
    )


def _draw(pool: Pool, trials: int, generator: np.random.Generator) -> Draws:
    sides = _halves(len(pool.solo), trials, generator)
    stored = [_pick(side, STORED_LAUNCHES, generator) for side in sides]
    first, fresh, self_test = (
        _draw_pairs(pool, (trials, count), generator)
        for count in (MOST_PAIRED_LAUNCHES, MOST_PAIRED_LAUNCHES, SELF_TEST_LAUNCHES)
    )
    return Draws(
        stored=pool.solo[np.stack(stored, axis=1)],
        alternating=pool.solo[_draw_alternating(len(pool.solo), trials, generator)],
        first=pool.pairs[first],
        fresh=pool.pairs[fresh],
        self_test=pool.pairs[self_test],
    )


def _draw_pairs(pool: Pool, shape: tuple[int, int], generator: np.random.Generator) -> Ints:
    """Indices of paired launches with the load order swapped each launch, as in a gate."""
    drawn = np.empty(shape, int)
    for b_first in (False, True):
        members, columns = np.flatnonzero(pool.b_first == b_first), drawn[:, int(b_first) :: 2]
        columns[...] = generator.choice(members, columns.shape)
    return drawn


def _draw_alternating(count: int, trials: int, generator: np.random.Generator) -> Ints:
    """Indices of launches, (comparison, side, launch): A and B were recorded one after the other.

    A host that becomes slower within minutes does so for both. Which of two neighbours is A is drawn
    for each couple anew, as in A B B A: drawn once for a couple, the few that were recorded would make
    a side slower that is not.
    """
    couples, launches = (count - 1) // 2, (trials, _MOST_ALTERNATING)
    start = generator.integers(0, count - 2 * couples + 1, (trials, 1))
    chosen = generator.integers(0, couples, launches)
    second = generator.integers(0, 2, launches)
    return np.stack([start + 2 * chosen + second, start + 2 * chosen + 1 - second], axis=1)


def _halves(count: int, trials: int, generator: np.random.Generator) -> tuple[Ints, Ints]:
    """Indices below ``count``, shuffled anew for each comparison and split into two."""
    shuffled = np.argsort(generator.random((trials, count)), axis=1)
    return shuffled[:, : count // 2], shuffled[:, count // 2 :]


def _pick(members: Ints, count: int, generator: np.random.Generator) -> Ints:
    """That many members of each row, with replacement."""
    chosen = generator.integers(0, members.shape[1], (len(members), count))
    return np.take_along_axis(members, chosen, axis=1)
