"""The frozen records that stages pass to each other, and across the process boundary as JSON.

Only the standard library and a few of its own kind are imported here: every module may import this
one. Sizes are in bytes, times in the unit their name ends with, Dice and shares in
0..1, volumes as (D, H, W).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from harness.gpu_records import GpuFacts
from harness.provenance import Calibration
from harness.scores import DiceLedger, Presence, Surfaces

Precision = Literal[
    "fp32", "fake-int8", "int8", "fp16", "bf16", "tf32", "int8-fp16",
    "fake-int4", "fake-int4-int8", "fake-int4-int4", "fake-fp8",
]  # fmt: skip
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
# Those that promise integer arithmetic; they differ in what is between.
INT8_PRECISIONS: frozenset[Precision] = frozenset({"int8", "int8-fp16"})
# Those computed in float: what INT8 is an alternative to.
FLOAT_PRECISIONS: frozenset[Precision] = frozenset({"fp32", "tf32", "fp16", "bf16"})
HALF_PRECISIONS: frozenset[Precision] = frozenset({"fp16", "bf16"})
# Those computed in float with rounded values: their size and time are a float engine's.
SIMULATED_PRECISIONS: frozenset[Precision] = frozenset(
    {"fake-int8", "fake-int4", "fake-int4-int8", "fake-int4-int4", "fake-fp8"}
)
# No engine here computes in these, so nothing but their Dice says anything about them.
PROJECTED_PRECISIONS: frozenset[Precision] = SIMULATED_PRECISIONS - {"fake-int8"}

ClassSet = Literal["task", "paper"]
CLASS_SETS: tuple[ClassSet, ...] = get_args(ClassSet)

Status = Literal["ok", "failed", "unavailable", "inconclusive"]
SourceKind = Literal["spec", "weights", "onnx", "quantized"]
QuantizedFormat = Literal["onnx-qdq", "openvino-ir"]
Arithmetic = Literal["int8", "float", "unknown"]
_Float = float  # the type, where a field of that name hides it

MemoryScope = Literal["process-gpu", "device-gpu", "process-host"]


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class CaseId:
    """What is built and measured: one model on one task, by one backend, in one precision."""

    model: str
    task: str
    backend: str
    precision: Precision

    def __str__(self) -> str:
        return f"{self.model}/{self.task}/{self.backend}/{self.precision}"


# --- the network -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class GraphNode:
    """A weighted ONNX node (Conv, ConvTranspose, Gemm, MatMul) and its multiply-accumulates.

    ``aliases`` are the names of a bias addition right behind it: a runtime that fuses the two may
    report that one alone.
    """

    name: str
    op_type: str
    outputs: tuple[str, ...]
    macs: int
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class GraphFacts:
    """The denominator of int8 coverage, read from the float ONNX graph."""

    nodes: tuple[GraphNode, ...]
    parameters: int
    opset: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutedLayer:
    """One layer as the runtime executes it.

    ``sources`` are the names of graph nodes that it stands for; ``arithmetic`` is int8 only when
    the activations and the weights that the layer reads are both 8-bit integers.
    """

    name: str
    kind: str
    arithmetic: Arithmetic
    detail: str
    sources: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """Three parts of one whole; they add up to 1."""

    int8: _Float
    float: _Float
    unmapped: _Float


@dataclass(frozen=True, kw_only=True, slots=True)
class Coverage:
    """How much of the network an engine executes in int8, and which nodes it does not."""

    by_count: Share
    by_macs: Share
    float_nodes: tuple[str, ...] = ()
    unmapped_nodes: tuple[str, ...] = ()


# --- measurements ------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class HostLoad:
    """Who else used the cores during the timed inferences, as shares of all cores' time.

    ``steal`` is what the hypervisor gave to others, ``foreign`` what other processes here used.
    """

    steal: float
    foreign: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """The raw samples of one process, in the order they were taken.

    ``samples_ns`` are by the backend's own timer, of the inference alone; ``host_samples_ns`` are whole
    inferences as the host sees them, copies to and from a device included: on a CPU the same ones, on
    an accelerator a few of their own behind the others. ``load`` is None where the system does not
    tell. On an accelerator the samples are in flight: ``back_to_back_ns`` is what one took from the
    first to the last of them, ``enqueue_ns`` the median of what the host needs to enqueue one onto an
    idle device. ``graph_samples_ns`` are beside them with the launches replayed from a captured graph;
    where that failed, ``graph_error`` says why.
    """

    order: int
    load_s: float
    warmups_ns: tuple[int, ...]
    samples_ns: tuple[int, ...]
    cpu_s: float
    host_samples_ns: tuple[int, ...] = ()
    load: HostLoad | None = None
    back_to_back_ns: int | None = None
    enqueue_ns: int | None = None
    graph_samples_ns: tuple[int, ...] = ()
    graph_error: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """Bytes before the engine is loaded, at the highest point while it runs, and between."""

    baseline: int
    peak: int
    delta: int
    scope: MemoryScope


@dataclass(frozen=True, kw_only=True, slots=True)
class Dice:
    """Dice per foreground class and patch; None where it is in neither truth nor prediction.

    ``per_case``, ``presence`` and ``subjects`` are by patch name. ``subjects`` is the subject or region
    that a patch was cut from; records of before do not have it.
    """

    mean: float
    per_class: dict[str, float | None]
    per_case: dict[str, dict[str, float | None]]
    presence: dict[str, dict[str, Presence]] = field(default_factory=dict)
    subjects: dict[str, str] = field(default_factory=dict)


# --- what the record holds -----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Latency:
    """Milliseconds over all samples of all launches; percentiles without interpolation."""

    median: float
    p50: float
    p90: float
    p99: float
    min: float
    mean: float
    stdev: float
    n: int


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
class CaseResult:
    """One row of the record. Everything that was not reached is None.

    ``classes`` counts the network's outputs; Dice is None where they are not those of the task.
    ``kernels_sha256`` tells what an engine executes, ``source_sha256`` the graph it was built from.
    ``reason`` says why a case is unavailable or inconclusive. ``memory_bytes`` is the accelerator's
    where there is one (``on_gpu``), and ``host_memory_bytes`` then the host's; ``gpu`` has one entry a
    launch. ``cuda_graph_ms`` is the median with replayed launches, where it was measured beside.
    ``warnings`` say what a reader of the times should know, though they count; ``build_disturbed`` what
    happened on the GPU while kernels were chosen by their times.
    """

    model: str
    task: str
    backend: str
    precision: Precision
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

    @property
    def case(self) -> CaseId:
        """The four names that identify the row."""
        return CaseId(
            model=self.model, task=self.task, backend=self.backend, precision=self.precision
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Ratios:
    """One precision against FP32 of the same run; above 1 means smaller or faster.

    ``latency`` compares medians, ``latency_by_minima`` the fastest samples. The Dice deltas are
    this precision minus FP32. An INT8 engine is also held against the float engine of the run that
    has the least median: ``fastest_float`` is its precision, ``latency_over_fastest_float`` the
    ratio.
    """

    model: str
    task: str
    backend: str
    precision: Precision
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
    """What one run measured; see harness.record for the file."""

    schema_version: int
    voxgate: str
    environment: Environment
    config: dict[str, object]
    cases: tuple[CaseResult, ...]
    ratios: tuple[Ratios, ...]
    timing: Timing
    ledgers: tuple[DiceLedger, ...] = ()
