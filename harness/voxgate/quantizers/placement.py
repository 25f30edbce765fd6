"""Where a runtime wants its Q/DQ pairs: a quantizer's graph, changed by the rules of that runtime.

A quantizer places pairs as the runtime's newest version likes them, or as its own authors think. What
a version really has was measured (`voxgate.quantizers.tensorrt_patterns`); the rules follow it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from voxgate.errors import look_up
from voxgate.quantization import rewiring
from voxgate.quantizers import placement_barriers as barriers
from voxgate.quantizers import placement_rules as rules
from voxgate.quantizers.pairs import Placing

RULES: dict[str, rules.Rule] = {
    "pools-in-float": rules.pools_in_float,
    "behind-pools-in-float": rules.behind_pools_in_float,
    "barrier-before-pools": barriers.barrier_before_pools,
    "barrier-before-resizes": barriers.barrier_before_resizes,
    "barrier-behind-pools": barriers.barrier_behind_pools,
    "barrier-behind-resizes": barriers.barrier_behind_resizes,
    "pass-behind-convolutions": barriers.pass_behind_convolutions,
    "pool-before-activation": rules.pool_before_activation,
    "pools-as-planes": rules.pools_as_planes,
    "deconvolutions-in-float": rules.deconvolutions_in_float,
    "deconvolution-weights-in-float": rules.deconvolution_weights_in_float,
    "heads-in-float": rules.heads_in_float,
    "linear-in-float": rules.linear_in_float,
    "shared-pairs": rules.shared_pairs,
    "convolution-outputs": rules.convolution_outputs,
    "linear-outputs": rules.linear_outputs,
}


def place(
    source: Path, target: Path, names: Sequence[str], ranges: Mapping[str, float]
) -> dict[str, tuple[str, ...]]:
    """Write a graph whose pairs lie where these rules want them; the nodes that each one touched.

    Args:
        source: a Q/DQ graph.
        target: the file to write.
        names: of `RULES`, in the order to apply them.
        ranges: the greatest magnitude of each tensor of the float graph, by name.

    Raises:
        UsageError: there is no rule of that name.
        QuantizationError: a rule needs the range of a tensor that has none.
        ArtifactError: the file is no ONNX graph, or a shape is not known.
    """
    wiring = rewiring.Wiring(rewiring.load(source))
    touched = apply(Placing(wiring=wiring, ranges=ranges), names)
    rewiring.save(wiring.finish(), target)
    return touched


def apply(placing: Placing, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Apply rules to a graph in memory; the nodes that each one touched.

    Raises:
        UsageError: there is no rule of that name.
        QuantizationError: a rule needs the range of a tensor that has none.
    """
    chosen = [(name, look_up("placement rule", name, RULES)) for name in names]
    return {name: rule(placing) for name, rule in chosen}
