"""The layers of one engine beside those of another: what executes otherwise, or takes longer. Pure.

Two runtimes, or two versions of one, name and fuse layers each in its own way. They meet by the
graph nodes that they stand for: layers that share one are one row, whatever they are called.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from voxgate.records.engine import ExecutedLayer
from voxgate.records.verdicts import LayerChange

Times = Mapping[str, int] | None
Key = tuple[Literal["a", "b"], int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """The weighted layers of an engine, and the time of every layer where the runtime tells it."""

    layers: Sequence[ExecutedLayer]
    times_ns: Times = None


def layer_changes(a: Side, b: Side) -> tuple[LayerChange, ...]:
    """Every weighted layer, those that changed most first, and the sum of all others at the end."""
    groups = join(a.layers, b.layers)
    changes = [_change(a, b, *group) for group in groups]
    changes.sort(key=_gravity)
    return (*changes, *_others(a, b))


def join(
    a: Sequence[ExecutedLayer], b: Sequence[ExecutedLayer]
) -> list[tuple[list[ExecutedLayer], list[ExecutedLayer]]]:
    """Groups of layers that stand for the same nodes, in A's order, then what B has alone."""
    groups = _connected(len(a), len(b), _links(a, b))
    return [
        (
            [a[i] for side, i in group if side == "a"],
            [b[i] for side, i in group if side == "b"],
        )
        for group in groups
    ]


def _links(a: Sequence[ExecutedLayer], b: Sequence[ExecutedLayer]) -> list[tuple[int, int]]:
    """The pairs that share nodes, but for those that both share twice as much with others.

    A runtime numbers the nodes that it adds itself, and one number may mean different nodes in two
    versions of it: such a match is a single name beside the several of the right one.
    """
    holders: dict[str, list[int]] = {}
    for j, layer in enumerate(b):
        for source in set(layer.sources):
            holders.setdefault(source, []).append(j)
    shared: dict[tuple[int, int], int] = {}
    for i, layer in enumerate(a):
        for source in set(layer.sources):
            for j in holders.get(source, ()):
                shared[i, j] = shared.get((i, j), 0) + 1
    best_a: dict[int, int] = {}
    best_b: dict[int, int] = {}
    for (i, j), count in shared.items():
        best_a[i] = max(best_a.get(i, 0), count)
        best_b[j] = max(best_b.get(j, 0), count)
    return [pair for pair, n in shared.items() if 2 * n > min(best_a[pair[0]], best_b[pair[1]])]


def _connected(a: int, b: int, links: Iterable[tuple[int, int]]) -> list[list[Key]]:
    """The groups of a graph of two sides, each sorted, in the order of their first member."""
    keys: list[Key] = [("a", i) for i in range(a)] + [("b", j) for j in range(b)]
    group_of: dict[Key, list[Key]] = {key: [key] for key in keys}
    for i, j in links:
        one, other = group_of["a", i], group_of["b", j]
        if one is not other:
            one.extend(other)
            for key in other:
                group_of[key] = one
    groups = {id(group): group for group in (group_of[key] for key in keys)}
    return [sorted(group) for group in groups.values()]


def _change(
    a: Side, b: Side, before: list[ExecutedLayer], after: list[ExecutedLayer]
) -> LayerChange:
    named = [[name for layer in group for name in layer.sources] for group in (before, after)]
    either = dict.fromkeys(named[0] or named[1])
    both = [name for name in either if name in named[1]]
    return LayerChange(
        sources=tuple(both or either),
        before=_describe(before),
        after=_describe(after),
        before_ns=_sum_ns(before, a.times_ns),
        after_ns=_sum_ns(after, b.times_ns),
        arithmetic_changed=bool(before and after) and _arithmetic(before) != _arithmetic(after),
    )


def _describe(layers: list[ExecutedLayer]) -> str:
    """Names with what they execute; empty where the other side stands alone."""
    return " + ".join(f"{layer.name} ({layer.detail.strip()})" for layer in layers)


def _arithmetic(layers: list[ExecutedLayer]) -> set[str]:
    return {layer.arithmetic for layer in layers}


def _sum_ns(layers: list[ExecutedLayer], times_ns: Times) -> int | None:
    if times_ns is None or not layers or any(layer.name not in times_ns for layer in layers):
        return None
    return sum(times_ns[name] for name in dict.fromkeys(layer.name for layer in layers))


def _gravity(change: LayerChange) -> tuple[bool, bool, int]:
    """Another arithmetic first, then layers of one side alone, then the time that was won or lost."""
    alone = not (change.before and change.after)
    known = change.before_ns is not None and change.after_ns is not None
    moved = abs((change.after_ns or 0) - (change.before_ns or 0)) if known else 0
    return (not change.arithmetic_changed, not alone, -moved)


def _others(a: Side, b: Side) -> tuple[LayerChange, ...]:
    """What is executed beside the weighted layers: pooling, norms, and layouts that are reordered."""
    if a.times_ns is None or b.times_ns is None:
        return ()
    counts, sums = [], []
    for side in (a, b):
        assert side.times_ns is not None
        weighted = {layer.name for layer in side.layers}
        rest = [elapsed for name, elapsed in side.times_ns.items() if name not in weighted]
        counts.append(len(rest))
        sums.append(sum(rest))
    if not any(counts):
        return ()
    before, after = (f"all {count} other layers" for count in counts)
    return (
        LayerChange(
            sources=(), before=before, after=after, before_ns=sums[0], after_ns=sums[1],
            arithmetic_changed=False,
        ),
    )  # fmt: skip
