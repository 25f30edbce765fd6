"""What workers are asked of partly quantized networks, and what they answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.provenance import PatchInfo
from harness.requests import EngineOptions
from harness.types import Dice, GraphNode, QuantizedFormat

# The graph that is edited; parts of the other one are grafted onto it.
Onto = Literal["float", "quantized"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledRequest:
    """Write the calibration patches of a task, with their labels, into ``folder``."""

    task: str
    folder: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Labelled:
    """The patches that layers are ranked on, in file order."""

    patches: tuple[PatchInfo, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Graphs:
    """One network twice: its float ONNX and its quantized graph. ``nodes`` are the weighted ones."""

    format: QuantizedFormat
    onnx: str
    quantized: str
    nodes: tuple[GraphNode, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """The graph ``onto`` with ``layers`` of the other one grafted onto it.

    ``between`` also grafts every quantizer that is in front of no layer.
    """

    onto: Onto
    layers: tuple[str, ...] = ()
    between: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class DissectRequest:
    """Ask which quantizer belongs to which layer."""

    graphs: Graphs


@dataclass(frozen=True, kw_only=True, slots=True)
class Dissected:
    """Quantizers by layer: on its activations, its weights, and behind what only moves values.

    One in front of two layers counts for both. ``between`` are those that no layer reads, as on a
    residual addition; ``total`` are all, and ``left`` those that are neither, as behind the last
    layer: no edit touches them. A layer of
    ``rescaled`` has other weights than in the float graph, scaled together with its neighbours'.
    """

    layers: dict[str, int]
    between: int
    total: int
    left: int = 0
    rescaled: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class VariantRequest:
    """Edit, build and run one partly quantized network on the first ``patches`` of ``images``.

    ``reference`` is an .npy of FP32's logits, (N, C, D, H, W) float32; where it is empty the logits
    are written to ``logits`` instead. ``labels`` is (N, D, H, W) uint8.
    """

    backend: str
    options: EngineOptions
    graphs: Graphs
    edit: Edit
    images: str
    labels: str
    cases: tuple[str, ...]
    label_names: tuple[str, ...]
    patches: int
    reference: str = ""
    logits: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """Dice on the patches, and how far the logits are from FP32's.

    ``signal`` and ``noise`` are the sums of squares of FP32's logits and of the differences; noise is
    0 for FP32 itself. Seconds: editing the graph, building and loading the engine, all inferences.
    """

    dice: Dice
    signal: float
    noise: float
    edit_s: float
    build_s: float
    inference_s: float
