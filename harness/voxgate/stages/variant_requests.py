"""What workers are asked of partly quantized networks, and what they answer."""

from __future__ import annotations

from dataclasses import dataclass

from voxgate.quantization.editor import Edit, Graphs
from voxgate.records.calibration import PatchInfo
from voxgate.records.measurement import Dice
from voxgate.records.runtime import EngineOptions


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
class DissectRequest:
    """Ask which quantizer belongs to which layer."""

    graphs: Graphs


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
