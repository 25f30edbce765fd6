"""What workers are asked and what they answer: frozen records that cross the process as JSON."""

from __future__ import annotations

from dataclasses import dataclass

from voxgate.backends.timing_cache import FilledCache
from voxgate.records.calibration import PatchInfo
from voxgate.records.engine import ExecutedLayer, GraphFacts, GraphNode
from voxgate.records.gpu import GpuFacts, Phases
from voxgate.records.measurement import Dice, Launch, Memory
from voxgate.records.runtime import EngineOptions


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeRequest:
    """Ask whether a backend is here."""

    backend: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PrepareRequest:
    """Write the evaluation patches of a task, and an image to check exports on, into ``folder``."""

    task: str
    folder: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """The evaluation patches, in file order."""

    evaluation: tuple[PatchInfo, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrateRequest:
    """Write the images to calibrate on into ``folder``.

    ``patches`` 0 means the task's fixed ones or, with ``data``, the folder of a user's volumes, one a
    volume. ``evaluation`` and their ``evaluation_images``, an .npy of (N, 1, D, H, W), are what must
    not be among them.
    """

    task: str
    patches: int
    seed: int
    data: str
    evaluation: tuple[PatchInfo, ...]
    evaluation_images: str
    folder: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibrated:
    """The calibration patches, in file order."""

    patches: tuple[PatchInfo, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ExpandRequest:
    """Expand a low-rank checkpoint to full weights in ``folder``.

    ``trained_classes`` is what the checkpoint must be for, ``classes`` what the network gets. Without
    a checkpoint (an empty path) all weights are seeded.
    """

    model: str
    task: str
    trained_classes: int
    classes: int
    checkpoint: str
    folder: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Expanded:
    """Full float32 weights of a network."""

    parameters: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportRequest:
    """Export expanded weights to ONNX and check it against PyTorch on one calibration patch."""

    model: str
    task: str
    classes: int
    weights: str
    images: str
    folder: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """An ONNX graph; ``max_relative_error`` is max|onnx - torch| / max|torch|."""

    graph: GraphFacts
    onnx_bytes: int
    max_relative_error: float


@dataclass(frozen=True, kw_only=True, slots=True)
class QuantizeRequest:
    """Calibrate and quantize an ONNX graph on the images of an .npy file, (N, 1, D, H, W).

    ``float_layers`` are nodes of the graph that stay in float; ``scheme`` is what a simulation rounds
    to, and empty for every other quantizer.
    """

    quantizer: str
    method: str
    onnx: str
    images: str
    folder: str
    float_layers: tuple[GraphNode, ...] = ()
    scheme: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class LintRequest:
    """Check the Q/DQ nodes of an ONNX graph."""

    onnx: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildRequest:
    """Build one engine from ``source`` (a graph, weights, or nothing) into ``folder``.

    ``lint`` is false where a quantized graph was checked before, in a process that has onnx.
    """

    backend: str
    options: EngineOptions
    source: str
    folder: str
    lint: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Built:
    """An engine file and how long it took to build, without the SDK's import.

    ``warnings`` are the SDK's own words; ``timing_cache`` is for `voxgate.backends.timing_cache.keep` once the
    build is known to be clean. Where kernels are chosen by their times, ``disturbed`` says who else
    computed on the GPU meanwhile, ``unwatched`` why nobody knows.
    """

    engine_bytes: int
    engine_sha256: str
    build_s: float
    warnings: tuple[str, ...] = ()
    timing_cache: FilledCache | None = None
    disturbed: tuple[str, ...] = ()
    unwatched: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRequest:
    """One launch: load an engine, warm up, time it, and optionally evaluate and inspect it.

    ``images`` is an .npy of (N, 1, D, H, W) float32, ``labels`` of (N, D, H, W) uint8. Timing
    stops after ``max_samples``, or after ``seconds`` once ``min_samples`` are there; on an accelerator
    there is no ``max_samples``. ``graph`` is whether to time replayed launches beside. ``label_names``
    are the classes of the labels; only an engine with as many outputs can be evaluated.
    ``predictions`` is where to write the predicted labels as an .npy of (N, D, H, W) uint8; empty:
    nowhere.
    """

    backend: str
    options: EngineOptions
    engine: str
    images: str
    labels: str
    cases: tuple[str, ...]
    label_names: tuple[str, ...]
    warmups: int
    min_samples: int
    max_samples: int
    seconds: float
    evaluate: bool
    inspect: bool
    predictions: str = ""
    graph: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResult:
    """What one launch measured; Dice, layers and kernels only where the request asked for them.

    ``memory`` is the host's. ``phases`` are there on an accelerator alone; what the launcher's side
    saw of it meanwhile is in ``gpu`` and ``gpu_memory``, which the worker leaves empty.
    """

    launch: Launch
    memory: Memory
    device_memory_bytes: int | None
    inference_s: float
    dice: Dice | None
    layers: tuple[ExecutedLayer, ...] | None
    phases: Phases | None = None
    gpu: GpuFacts | None = None
    gpu_memory: Memory | None = None
    kernels_sha256: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SurfaceRequest:
    """Compare predicted surfaces with those of the labels, both .npy of (N, D, H, W) uint8.

    ``spacing_mm`` is the size of a voxel along (D, H, W).
    """

    predictions: str
    labels: str
    cases: tuple[str, ...]
    label_names: tuple[str, ...]
    spacing_mm: tuple[float, float, float]
    tolerance_mm: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ProfileRequest:
    """Load an engine that times its layers, and run it; ``images`` is as in `RunRequest`."""

    backend: str
    options: EngineOptions
    engine: str
    images: str
    inferences: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Profiled:
    """The median time of each executed layer by its name; None where the runtime does not tell."""

    times_ns: dict[str, int] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class PairRequest:
    """Load two engines of one case into one process and time them in turn, A B B A.

    Sampling stops after ``max_pairs``, or after ``seconds`` once ``min_pairs`` are taken; both counts
    are even. On an accelerator there is no ``max_pairs``. ``images`` is as in `RunRequest`.
    """

    backend: str
    options: EngineOptions
    engine_a: str
    engine_b: str
    b_first: bool
    images: str
    warmups: int
    min_pairs: int
    max_pairs: int
    seconds: float
