"""What the graphs of a runtime's version must look like: one explicit table. Pure data.

TensorRT 8 parses opset 17 at most, makes plugins of some norms, and has half precision by a flag.
From 10.0 on networks are strongly typed: the graph itself says where half precision is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class GraphNeeds:
    """What one version takes.

    ``opset`` is the newest that it parses, None where every graph of ours is parsed. ``primitives``
    are norms to write as sums and quotients, ``half_by_graph`` is whether half precision is written
    into the graph, and ``rules`` are those of `harness.quantizers.placement` for its Q/DQ pairs, in
    order.
    """

    opset: int | None = None
    primitives: tuple[str, ...] = ()
    half_by_graph: bool = False
    rules: tuple[str, ...] = ()


# 8.6.0 on a GPU: Q in front of 3D max pooling and behind transposed convolutions is refused.
_RULES_8 = ("pools-in-float", "behind-pools-in-float", "deconvolutions-in-float")
_8_5 = GraphNeeds(
    opset=17,
    # Plugins by its parser, whose library needs more than TensorRT itself.
    primitives=("InstanceNormalization", "LayerNormalization"),
    rules=_RULES_8,
)
# Its parser has a native layer for instance norms, where it is asked for.
_8_6 = GraphNeeds(opset=17, primitives=("LayerNormalization",), rules=_RULES_8)
_STRONG = GraphNeeds(half_by_graph=True)

# The first version (major, minor) of each entry, ascending.
NEEDS: Mapping[str, tuple[tuple[tuple[int, int], GraphNeeds], ...]] = {
    "tensorrt": (((8, 5), _8_5), ((8, 6), _8_6), ((10, 0), _STRONG)),
    "tensorrt-rtx": (((1, 0), _STRONG),),
}


def needs_of(backend: str, version: str) -> GraphNeeds:
    """What a backend's version takes; nothing in particular for one without an entry.

    A version that cannot be read is taken for the newest.
    """
    entries = NEEDS.get(backend)
    if not entries:
        return GraphNeeds()
    found = re.match(r"(\d+)\.(\d+)", version)
    if found is None:
        return entries[-1][1]
    number = (int(found[1]), int(found[2]))
    fitting = [needs for first, needs in entries if first <= number]
    return fitting[-1] if fitting else entries[0][1]
