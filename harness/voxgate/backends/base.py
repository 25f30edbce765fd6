"""What every runtime must offer. A backend's SDK is imported in its own file alone, when used."""

from __future__ import annotations

import statistics
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from voxgate.backends.timing_cache import FilledCache
from voxgate.errors import EngineOutputError
from voxgate.records.case import Precision, QuantizedFormat, SourceKind
from voxgate.records.engine import ExecutedLayer, GraphFacts
from voxgate.records.runtime import EngineOptions, Probe

Tensor = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class BackendSpec:
    """What can be said of a backend without importing its SDK.

    ``sources`` names, for each precision the backend has, what an engine is built from.
    ``packages`` are the distributions whose change changes an engine; ``gpu_bound`` is whether another
    GPU or driver does, too. ``modules`` are what a worker
    imports, and the distributions they come from. ``reasons`` explains
    precisions that the runtime lacks altogether. ``graph`` is for a backend that builds from no
    ONNX and says itself what its network consists of.
    """

    name: str
    title: str
    module: str
    sources: Mapping[Precision, SourceKind]
    default_precisions: tuple[Precision, ...]
    default_quantizer: str | None
    formats: tuple[QuantizedFormat, ...]
    packages: tuple[str, ...]
    install: str
    reasons: Mapping[Precision, str]
    modules: Mapping[str, str] = field(default_factory=dict)
    gpu_bound: bool = False
    graph: GraphFacts | None = None

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """The precisions that this backend knows how to build."""
        return tuple(self.sources)

    def takes_pairs(self, precision: Precision, source: str) -> bool:
        """Whether the source is a Q/DQ graph; OpenVINO's IR has FakeQuantize nodes and other rules."""
        return self.sources[precision] == "quantized" and source.endswith(".onnx")


def accelerator_name(device: str, uuid: bytes) -> str:
    """A GPU's UUID as NVML writes it; a slice of one, which CUDA names so, has another beginning."""
    kind = "MIG" if " MIG " in device else "GPU"
    return f"{kind}-{UUID(bytes=uuid)}"


class LayerTimes:
    """Gathers the times of layers over several inferences."""

    def __init__(self) -> None:
        self._times_ns: dict[str, list[int]] = {}

    def add(self, inference: Iterable[tuple[str, int]]) -> None:
        """One inference: name and time of its layers; a name that comes twice is one layer."""
        sums: dict[str, int] = {}
        for name, elapsed_ns in inference:
            sums[name] = sums.get(name, 0) + elapsed_ns
        for name, elapsed_ns in sums.items():
            self._times_ns.setdefault(name, []).append(elapsed_ns)

    def medians(self) -> dict[str, int]:
        """The median of each layer."""
        return {name: statistics.median_low(times) for name, times in self._times_ns.items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Burst:
    """Inferences of one image right behind each other, by the backend's own timer, without copies.

    ``span_ns`` is from the start of the first to the end of the last. ``enqueue_ns`` is what the host
    needs to enqueue one inference for an accelerator that waits for it; None where the host computes.
    """

    samples_ns: tuple[int, ...]
    span_ns: int
    enqueue_ns: int | None = None


class Session(Protocol):
    """A loaded engine, ready to run in this process."""

    def infer(self, image: Tensor) -> tuple[NDArray[np.generic], int]:
        """Logits for one image, and the time of that inference in ns by the backend's own timer.

        ``image`` is (1, 1, D, H, W) float32; the logits are (1, classes, D, H, W).
        """

    def sample(self, image: Tensor, count: int) -> Burst:
        """``count`` inferences of one image that is copied in before the first; nothing is fetched.

        On an accelerator they are in flight, as `voxgate.backends.in_flight` has it: the device never
        waits for the host between two of them, unless the host is the slower one.
        """

    def replay(self, image: Tensor, count: int) -> Burst | None:
        """As `sample`, by replaying a captured graph of the launches; None where there is no such thing."""

    def output(self) -> NDArray[np.generic]:
        """The logits of the last inference, whichever way it ran."""

    def layers(self) -> tuple[ExecutedLayer, ...] | None:
        """The executed precision of each layer; None where the runtime does not tell."""

    def kernels_sha256(self) -> str | None:
        """Which kernels run, on what, in which order: equal engines have equal ones, in other bytes.

        None where the runtime does not tell, or makes equal bytes of one graph anyway.
        """

    def layer_times_ns(self) -> dict[str, int] | None:
        """Median time of each layer, by the name that `layers` gives it, over all inferences.

        None where the runtime does not tell, or the engine was not loaded with ``profiled``.
        """

    def device_memory_bytes(self) -> int | None:
        """Bytes that the engine holds on an accelerator; None on a CPU."""

    def close(self) -> None:
        """Free the engine."""


class HostTimed(ABC):
    """What a session has whose `infer` computes on the host: nothing is copied, nothing in flight."""

    _logits: NDArray[np.generic] | None = None

    @abstractmethod
    def infer(self, image: Tensor) -> tuple[NDArray[np.generic], int]:
        """As `Session.infer`."""

    def sample(self, image: Tensor, count: int) -> Burst:
        """One inference after the other."""
        samples_ns = []
        for _ in range(count):
            self._logits, elapsed_ns = self.infer(image)
            samples_ns.append(elapsed_ns)
        return Burst(samples_ns=tuple(samples_ns), span_ns=sum(samples_ns))

    def kernels_sha256(self) -> str | None:
        """A runtime of the host compiles at load, so that its file is the graph's."""
        return None

    def replay(self, image: Tensor, count: int) -> Burst | None:
        """No launches to capture."""
        del image, count
        return None

    def output(self) -> NDArray[np.generic]:
        """The logits of the last sample.

        Raises:
            EngineOutputError: there was no sample.
        """
        if self._logits is None:
            msg = "there is no output yet: nothing was sampled"
            raise EngineOutputError(msg)
        return self._logits


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildNotes:
    """What a build leaves beside the engine: the SDK's warnings, and what it timed."""

    warnings: tuple[str, ...] = ()
    timing_cache: FilledCache | None = None


class Quiet:
    """What a backend has whose builds leave nothing but the engine."""

    def build_notes(self) -> BuildNotes:
        """None."""
        return BuildNotes()


class Backend(Protocol):
    """A runtime. ``build`` and ``load`` are separate: engines are bytes in between."""

    def probe(self) -> Probe:
        """Whether the SDK and a device are here, and which precisions this machine refuses."""

    def create_context(self, options: EngineOptions) -> bool:
        """Make the accelerator's context, as small as it can be; False on a CPU, and nothing done.

        What it holds is the baseline of an engine's memory.
        """

    def build(self, source: str, options: EngineOptions) -> bytes:
        """A serialized engine from the graph or weights file at ``source``.

        Raises:
            BuildError: the SDK did not accept the graph.
        """

    def build_notes(self) -> BuildNotes:
        """What the last build left beside the engine."""

    def load(self, engine: bytes, options: EngineOptions) -> Session:
        """An engine from its bytes.

        Raises:
            BuildError: the bytes are not an engine of this runtime and version.
        """
