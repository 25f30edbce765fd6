"""The frozen records of a sensitivity analysis: what each layer loses when it is quantized.

Only the standard library and records are imported here. A Dice *lost* is FP32's minus the variant's.
Quantization can raise Dice on the patches at hand by as much as it lowers it on others, so what counts is
how far Dice moves: *regained* is how much nearer to FP32's it is than that of the fully quantized network.
SQNR is in decibels, of the logits against FP32's; None means that they do not differ, or that it was not
measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from voxgate.records.calibration import PatchInfo
from voxgate.records.case import Precision
from voxgate.records.run import Environment, RunRecord, Timing

BETWEEN = "between layers"  # the name of what belongs to no layer

Proxy = Literal["dice", "sqnr"]
BudgetOutcome = Literal["met", "found", "refuted", "unreachable"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Whole:
    """One network as a whole on the ranking patches, as a point that layers are compared with."""

    precision: Precision
    dice_mean: float
    dice_per_class: dict[str, float | None]
    sqnr_db: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerLoss:
    """One layer, or the quantizers between layers.

    ``macs_share`` is its share of the network's multiply-accumulates, ``quantizers`` how many are in
    front of it. The first four are of the network in which it alone is quantized, the last three of
    the one in which it alone is left in float. Where only the proxy was measured, Dice is None.
    """

    name: str
    op_type: str
    macs_share: float
    quantizers: int
    dice_lost: float | None = None
    dice_lost_per_class: dict[str, float]
    sqnr_db: float | None = None
    exact: bool = False
    dice_regained: float | None = None
    dice_regained_per_class: dict[str, float]
    sqnr_gained_db: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """Whether SQNR ranks layers as Dice does.

    ``spearman`` is the rank correlation of how far Dice moves with the noise of the logits over
    ``layers``, None where one of them does not vary. ``above_floor`` layers move Dice by more than
    ``floor``, a few voxels; ``rises`` of these for the better. ``words`` says what to make of it.
    """

    spearman: float | None
    layers: int
    floor: float
    above_floor: int
    rises: int
    words: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """A set of layers left in float, and how far the worst class's Dice then is from FP32's."""

    layers: tuple[str, ...]
    loss: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Confirmation:
    """Both INT8 engines on the evaluation patches, measured in turn with FP32.

    Losses are FP32's Dice minus the engine's, per class. Ratios are the engine with the layers in
    float over the one without: 1.2 is a fifth slower or larger. ``run`` has every figure;
    ``plain`` those of the engine without the list.
    """

    loss_before: dict[str, float]
    loss_after: dict[str, float]
    latency_ratio: float | None
    latency_ratio_by_minima: float | None
    size_ratio: float | None
    plain: RunRecord
    run: RunRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """The layers to leave in float for a Dice margin, found on the ranking patches.

    ``margin`` is what no class may lose more than; on the ranking patches none may move by more, either
    way. ``outcome``: *met* without any layer in float;
    *found* and confirmed on the evaluation patches; *refuted* there; *unreachable* even with every
    layer in float. ``proven``: no smaller set does it, as measured. ``command`` repeats the result.
    """

    margin: float
    outcome: BudgetOutcome
    layers: tuple[str, ...]
    proven: bool
    words: str
    command: str
    trials: tuple[Trial, ...]
    confirmation: Confirmation | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Costs:
    """Where the time of the variants went, in seconds over all workers; reused ones cost none.

    ``overhead_s`` is starting processes, importing runtimes and reading files.
    """

    variants: int
    reused: int
    edit_s: float
    build_s: float
    inference_s: float
    overhead_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class SensitivityRecord:
    """What one analysis measured. ``layers`` are ranked, the most sensitive first.

    ``wholes`` has FP32, the control (the edited float graph with nothing quantized) and the fully
    quantized network in each arithmetic. ``alone_in`` is the arithmetic in which one layer is
    quantized, ``rest_in`` that in which all others are. ``between`` are the quantizers that belong
    to no layer, ``quantizers_left`` how many no edit touches; ``in_float`` the layers that the quantizer left in float anyway.
    """

    kind: Literal["sensitivity"]
    schema_version: int
    voxgate: str
    environment: Environment
    config: dict[str, object]
    model: str
    task: str
    backend: str
    quantizer: str
    calibration_method: str
    proxy: Proxy
    alone_in: Precision
    rest_in: Precision
    patches: tuple[PatchInfo, ...]
    wholes: dict[str, Whole]
    layers: tuple[LayerLoss, ...]
    between: LayerLoss | None
    in_float: tuple[str, ...]
    quantizers: int
    quantizers_left: int
    agreement: Agreement
    budget: Budget | None
    costs: Costs
    timing: Timing
