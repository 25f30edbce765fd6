"""Int8 coverage: which nodes of the float graph an engine executes in int8. Pure.

The denominator comes from the source ONNX, never from the engine, so that a layer that the runtime
hides counts as unmapped instead of disappearing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from voxgate.records.engine import Coverage, ExecutedLayer, GraphFacts, GraphNode, Share

Fate = Literal["int8", "float", "unmapped"]


def measure_coverage(graph: GraphFacts, layers: Iterable[ExecutedLayer]) -> Coverage:
    """Shares of the graph's weighted nodes, by count and by multiply-accumulates.

    A node that several layers claim is int8 only if all of them are.
    """
    claims: dict[str, list[ExecutedLayer]] = {}
    for layer in layers:
        for source in layer.sources:
            claims.setdefault(source, []).append(layer)
    fates = [(node, _fate(node, claims)) for node in graph.nodes]
    return Coverage(
        by_count=_share([(1, fate) for _, fate in fates]),
        by_macs=_share([(node.macs, fate) for node, fate in fates]),
        float_nodes=tuple(node.name for node, fate in fates if fate == "float"),
        unmapped_nodes=tuple(node.name for node, fate in fates if fate == "unmapped"),
    )


def _fate(node: GraphNode, claims: dict[str, list[ExecutedLayer]]) -> Fate:
    found = [layer for name in (node.name, *node.outputs) for layer in claims.get(name, ())]
    found = found or [layer for name in node.aliases for layer in claims.get(name, ())]
    kinds = {layer.arithmetic for layer in found}
    if not kinds or "unknown" in kinds:
        return "unmapped"
    return "int8" if kinds == {"int8"} else "float"


def _share(weighted: list[tuple[int, Fate]]) -> Share:
    total = sum(weight for weight, _ in weighted)
    if total == 0:
        return Share(int8=0.0, float=0.0, unmapped=1.0)
    parts: dict[Fate, int] = {"int8": 0, "float": 0, "unmapped": 0}
    for weight, fate in weighted:
        parts[fate] += weight
    return Share(
        int8=parts["int8"] / total,
        float=parts["float"] / total,
        unmapped=parts["unmapped"] / total,
    )
