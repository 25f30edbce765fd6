"""What a backend says of itself, and what it needs to build and to load an engine."""

from __future__ import annotations

from dataclasses import dataclass, field

from voxgate.records.case import Precision


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """What a backend found. ``refused`` maps a precision to why this machine cannot run it.

    ``accelerator`` is the UUID of the GPU that runs the engines ("GPU-..."), or another word where
    the SDK does not tell it; empty on a CPU.
    """

    available: bool
    reason: str = ""
    version: str = ""
    device: str = ""
    accelerator: str = ""
    refused: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineOptions:
    """What a backend needs both to build and to load an engine; ``classes`` counts its outputs.

    The rest is for GPU runtimes: the builder's ``workspace_bytes``, the folder of its timing cache,
    an optimization profile for each of ``rois`` (D, H, W) where the graph is dynamic, and whether
    a ``cuda_graph`` is replayed. ``profiled`` loads an engine that times each layer; it runs slower.
    ``single_precision`` are nodes of the graph that must not compute in half precision where a flag,
    and not the graph, says what does (`voxgate.stages.adapt_requests.Adapted`).
    """

    precision: Precision
    threads: int
    model: str
    task: str
    classes: int
    workspace_bytes: int | None = None
    timing_cache_dir: str = ""
    rois: tuple[tuple[int, int, int], ...] = ()
    cuda_graph: bool = False
    profiled: bool = False
    single_precision: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class GraphNeeds:
    """What a version of a runtime takes.

    ``opset`` is the newest that it parses, ``primitives`` are norms to write as sums and quotients,
    ``half`` is whether half precision is to be written into the graph, and ``rules`` are those of
    `voxgate.quantizers.placement` for its Q/DQ pairs, in order.
    """

    opset: int
    primitives: tuple[str, ...] = ()
    half: bool = False
    rules: tuple[str, ...] = ()
