"""What the graph of a case must look like for a runtime's version: its opset, its norms, its pairs.

TensorRT 8 parses opset 17 at most, makes plugins of some norms, and has half precision by a flag.
From 10 on networks are strongly typed: the graph itself says where half precision is.
"""

from __future__ import annotations

from dataclasses import replace

from voxgate.backends.tensorrt_versions import traits
from voxgate.quantizers.version_rules import rules_for
from voxgate.records.case import Precision, SourceKind
from voxgate.records.runtime import GraphNeeds

# The module of each runtime whose graphs depend on its version.
_MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
VERSIONED = frozenset(_MODULES)
_HALF = frozenset({"fp16", "int8-fp16"})
_NEWEST_OPSET = 21  # that of our own graphs


def needs_of(
    backend: str, version: str, kind: SourceKind, precision: Precision
) -> GraphNeeds | None:
    """What a version takes for a precision; None where it takes our graph as it is.

    Raises:
        UnavailableError: nothing is known of that version.
    """
    if backend not in _MODULES or kind not in {"onnx", "quantized"}:
        return None
    module = _MODULES[backend]
    row = traits(version, module)
    needs = GraphNeeds(
        opset=row.highest_opset,
        primitives=tuple(sorted(row.primitive_norms)),
        half=row.half_by_graph and precision in _HALF,
        rules=rules_for(module, version) if kind == "quantized" else (),
    )
    plain = replace(needs, opset=_NEWEST_OPSET) == GraphNeeds(opset=_NEWEST_OPSET)
    return None if plain and needs.opset >= _NEWEST_OPSET else needs
