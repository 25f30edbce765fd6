"""Which placement rules each version of a runtime wants, in the order to apply them."""

from __future__ import annotations

import re
from collections.abc import Mapping

# Those that put new pairs into the graph, with scales by the calibration.
NEED_RANGES = frozenset({"convolution-outputs", "linear-outputs"})

# Of 8.6.0, as its probes say (`voxgate.quantizers.tensorrt_patterns`): max pooling, interpolation and
# transposed convolutions of volumes have no integer kernels, and a Q that reaches them is refused; a
# convolution of volumes is integer only with an integer output. A barrier before interpolation comes
# behind the rule that gives convolutions their pairs, and before the one that would pass them on.
_EIGHT = (
    "pools-in-float",
    "shared-pairs",
    "barrier-before-pools",
    "barrier-behind-pools",
    "barrier-behind-resizes",
    "deconvolutions-in-float",
    "heads-in-float",
    "convolution-outputs",
    "barrier-before-resizes",
    "pass-behind-convolutions",
)

# By module, the first version (major, minor) that each entry is for, ascending.
RULES_BY_VERSION: Mapping[str, tuple[tuple[tuple[int, int], tuple[str, ...]], ...]] = {
    "tensorrt": (((8, 5), _EIGHT), ((8, 6), _EIGHT), ((10, 0), ())),
    "tensorrt_rtx": (((1, 0), ()),),
}


def rules_for(module: str, version: str) -> tuple[str, ...]:
    """The rules of a runtime's version; the newest entry's for a version that cannot be read."""
    entries = RULES_BY_VERSION[module]
    found = re.match(r"(\d+)\.(\d+)", version)
    if found is None:
        return entries[-1][1]
    number = (int(found[1]), int(found[2]))
    fitting = [rules for first, rules in entries if first <= number]
    return fitting[-1] if fitting else entries[0][1]
