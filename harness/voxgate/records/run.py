"""A run: its cases with certificates and ratios, where it took place, and how long."""

from __future__ import annotations

from dataclasses import dataclass

from voxgate.records.calibration import Calibration
from voxgate.records.case import OfCase, Precision, Status
from voxgate.records.dice import DiceLedger, Surfaces
from voxgate.records.engine import Coverage, ExecutedLayer
from voxgate.records.gpu import GpuFacts
from voxgate.records.measurement import Dice, Latency, Launch, Memory


@dataclass(frozen=True, kw_only=True, slots=True)
class Certificate:
    """Evidence that an INT8 engine is one. ``granted`` needs every finding to hold.

    The shares are None where the runtime does not tell what it executes, which is not 0.

    Ratios are against FP32 of the same run and None where that case is missing;
    ``speedup_over_float`` is against ``fastest_float``, the float engine with the least latency.
    ``quantized_macs`` is the share of multiply-accumulates with quantized operands in the graph that
    the engine was built from; None where its format does not tell.
    """

    granted: bool
    quantize_nodes: int
    int8_macs: float | None
    required_int8_macs: float
    unmapped_macs: float | None
    size_ratio: float | None
    speedup: float | None
    speedup_over_fake: float | None
    findings: tuple[str, ...]
    speedup_over_float: float | None = None
    fastest_float: Precision | None = None
    quantized_macs: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseResult(OfCase):
    """One row of the record. Everything that was not reached is None.

    ``classes`` counts the network's outputs; Dice is None where they are not those of the task.
    ``kernels_sha256`` tells what an engine executes, ``source_sha256`` the graph it was built from.
    ``reason`` says why a case is unavailable or inconclusive. ``memory_bytes`` is the accelerator's
    where there is one (``on_gpu``), and ``host_memory_bytes`` then the host's; ``gpu`` has one entry a
    launch. ``cuda_graph_ms`` is the median with replayed launches, where it was measured beside.
    ``warnings`` say what a reader of the times should know, though they count; ``build_disturbed`` what
    happened on the GPU while kernels were chosen by their times.
    """

    status: Status
    error_type: str | None = None
    error: str | None = None
    reason: str | None = None
    on_gpu: bool = False
    classes: int | None = None
    parameters: int | None = None
    weights_sha256: str | None = None
    onnx_bytes: int | None = None
    export_relative_error: float | None = None
    engine_bytes: int | None = None
    engine_sha256: str | None = None
    kernels_sha256: str | None = None
    source_sha256: str | None = None
    engine_key: str | None = None
    build_s: float | None = None
    build_cached: bool | None = None
    build_disturbed: tuple[str, ...] = ()
    build_warnings: tuple[str, ...] = ()
    latency_ms: Latency | None = None
    cuda_graph_ms: float | None = None
    samples_ns: tuple[tuple[int, ...], ...] = ()
    launches: tuple[Launch, ...] = ()
    memory_bytes: Memory | None = None
    host_memory_bytes: Memory | None = None
    gpu: tuple[GpuFacts, ...] = ()
    device_memory_bytes: int | None = None
    dice: Dice | None = None
    surfaces: Surfaces | None = None
    int8_coverage: Coverage | None = None
    layers: tuple[ExecutedLayer, ...] = ()
    calibration: Calibration | None = None
    certificate: Certificate | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Ratios(OfCase):
    """One precision against FP32 of the same run; above 1 means smaller or faster.

    ``latency`` compares medians, ``latency_by_minima`` the fastest samples. The Dice deltas are
    this precision minus FP32. An INT8 engine is also held against the float engine of the run that
    has the least median: ``fastest_float`` is its precision, ``latency_over_fastest_float`` the
    ratio.
    """

    size: float | None
    latency: float | None
    latency_by_minima: float | None
    dice_mean_delta: float | None
    dice_per_class_delta: dict[str, float]
    latency_over_fastest_float: float | None = None
    fastest_float: Precision | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """Where a record comes from: what must be equal before two records can be compared.

    ``gpu`` is the one that runs engines, ``gpu_settings`` its power cap and modes in words.
    """

    host: str
    system: str
    cpu: str
    isa: tuple[str, ...]
    cores: int
    threads: int
    memory_bytes: int
    gpu: str | None
    driver: str | None
    cuda: str | None
    python: str
    backends: dict[str, str]
    packages: dict[str, str]
    git_commit: str | None
    gpu_uuid: str | None = None
    gpu_settings: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """How long the whole run took, and how much of it engines spent computing."""

    started: str
    wall_s: float
    inference_s: float
    artifacts_built: int
    artifacts_reused: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """What one run measured; see voxgate.records.file for the file."""

    schema_version: int
    voxgate: str
    environment: Environment
    config: dict[str, object]
    cases: tuple[CaseResult, ...]
    ratios: tuple[Ratios, ...]
    timing: Timing
    ledgers: tuple[DiceLedger, ...] = ()
