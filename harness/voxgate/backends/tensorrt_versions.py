"""What tells one TensorRT from another: one row for each range of versions.

Weakly typed networks take their precision from builder flags, strongly typed ones from the graph.
10.x has both, 11.0 removed the flags. Nothing between 8.6 and 10.3 was tried.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from voxgate.errors import UnavailableError

_RTX = "tensorrt_rtx"


@dataclass(frozen=True, kw_only=True, slots=True)
class Traits:
    """What a version has.

    ``strongly_typed``: precision stands in the graph, half precision included; else INT8 and FP16 are
    flags of the builder, and every graph is given in float. ``highest_opset`` is of its parser.
    ``primitive_norms`` are operations that its parser makes plugins of, or does not know: they are
    written as means, products and sums. ``library_tactics``: cuBLAS and cuDNN are used for kernels
    unless they are excluded; ``cuda`` is then the CUDA that its libraries are made for.
    """

    strongly_typed: bool
    highest_opset: int
    primitive_norms: frozenset[str] = frozenset()
    library_tactics: bool = False
    cuda: int | None = None

    @property
    def half_by_graph(self) -> bool:
        """Whether fp16 is a graph in half precision; else it is a flag."""
        return self.strongly_typed


_NORMS = frozenset({"InstanceNormalization", "GroupNormalization", "LayerNormalization"})


def _weak(cuda: int) -> Traits:
    return Traits(
        strongly_typed=False,
        highest_opset=17,
        primitive_norms=_NORMS,
        library_tactics=True,
        cuda=cuda,
    )


# The oldest version of each row, newest first.
_ROWS: tuple[tuple[tuple[int, int], Traits | None], ...] = (
    ((10, 3), Traits(strongly_typed=True, highest_opset=21)),
    ((8, 7), None),
    ((8, 6), _weak(12)),
    ((8, 5), _weak(11)),
)
_RTX_TRAITS = Traits(strongly_typed=True, highest_opset=21)


def traits(version: str, module: str = "tensorrt") -> Traits:
    """What a version of TensorRT, or of the sibling with that module, has.

    Raises:
        UnavailableError: nothing is known of such a version.
    """
    if module == _RTX:
        return _RTX_TRAITS
    numbers = tuple(map(int, re.findall(r"\d+", version)[:2]))
    for oldest, row in _ROWS:
        if numbers >= oldest and row is not None:
            return row
        if numbers >= oldest:
            break
    msg = f"TensorRT {version} is none that VoxGate knows: it takes 8.5, 8.6, and 10.3 or newer"
    raise UnavailableError(msg)
