"""Which Q/DQ pairs a builder refuses, where it does not say: a search by building with fewer. Pure."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from voxgate.stages.adapt_requests import Site

# Takes the names of sites without their pairs; whether the builder accepts what is left.
Accepts = Callable[[frozenset[str]], bool]


class _SpentError(Exception):
    """There are no builds left; never leaves this file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """Sites whose pairs are refused: without them the graph builds if ``complete``.

    None at all where the graph is refused without any pairs, too: then they are not the reason.
    """

    sites: tuple[Site, ...]
    builds: int
    complete: bool


def find_refused(
    sites: Sequence[Site], accepts: Accepts, most: int, seconds: float = math.inf
) -> Refused:
    """The sites that must go, by at most so many builds, none of them begun after so many seconds.

    The graph with all pairs is known to be refused. A refused pair is found by halving: the shortest
    prefix of the sites that is refused ends with one. Unless it is the only one, the others of its
    pattern go with it.
    """
    search = _Search(sites, accepts, most, time.monotonic() + seconds)
    try:
        complete = search.run()
    except _SpentError:
        complete = False
    return Refused(sites=tuple(search.found), builds=search.builds, complete=complete)


class _Search:
    def __init__(self, sites: Sequence[Site], accepts: Accepts, most: int, end: float) -> None:
        self._end = end
        self._sites = tuple(sites)
        self._accepts = accepts
        self._most = most
        self.builds = 0
        self.found: list[Site] = []

    def run(self) -> bool:
        """Whether the graph builds without what was found."""
        if not self._sites or not self._ask(self._sites):
            return False
        while True:
            first = self._shortest()
            alike = [
                site
                for site in self._sites
                if site.pattern == first.pattern and site not in self.found
            ]
            if len(alike) > 1 and self._ask([*self.found, first]):
                self.found.append(first)
                return True
            self.found += alike
            if self._ask(self.found):
                return True

    def _shortest(self) -> Site:
        """The last site of the shortest refused prefix, without what was found."""
        rest = [site for site in self._sites if site not in self.found]
        accepted, refused = 0, len(rest)  # lengths of prefixes
        while refused - accepted > 1:
            middle = (accepted + refused) // 2
            if self._ask([*self.found, *rest[middle:]]):
                accepted = middle
            else:
                refused = middle
        return rest[refused - 1]

    def _ask(self, without: Sequence[Site]) -> bool:
        if self.builds >= self._most or time.monotonic() > self._end:
            raise _SpentError
        self.builds += 1
        return self._accepts(frozenset(site.name for site in without))
