"""Records of the stage that writes a graph for one version of a runtime."""

from __future__ import annotations

from dataclasses import dataclass, field

from voxgate.records.engine import GraphNode
from voxgate.records.findings import Finding
from voxgate.records.runtime import EngineOptions, GraphNeeds


@dataclass(frozen=True, kw_only=True, slots=True)
class AdaptRequest:
    """Write ``model.onnx`` into ``folder``, from a float graph or one with Q/DQ pairs.

    ``nodes`` are those of the float graph that count; ``float_layers`` those among them that lose
    their pairs. ``ranges`` is the file of a `voxgate.stages.scale_requests.RangesRequest`, empty where no
    rule asks for one; ``images`` an .npy of (N, 1, D, H, W), of which the first checks what was
    written.
    """

    source: str
    quantized: bool
    needs: GraphNeeds
    nodes: tuple[GraphNode, ...]
    images: str
    folder: str
    options: EngineOptions
    ranges: str = ""
    float_layers: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Adapted:
    """A graph for one version of a runtime.

    ``touched`` holds the nodes that each rule moved pairs of. ``quantized_macs`` and ``float_nodes``
    are as in `voxgate.quantizers.base.Quantized`, after the rules. Both errors are of graphs without their
    pairs: ``max_relative_error`` against the source, ``half_error`` against the graph before it was
    converted to half precision. None where there was nothing to compare. ``single_precision`` are the
    nodes of norms written as primitives: their squares leave the range of half precision.
    """

    file: str
    touched: dict[str, tuple[str, ...]] = field(default_factory=dict)
    quantized_macs: float | None = None
    float_nodes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    max_relative_error: float | None = None
    half_error: float | None = None
    single_precision: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class SitesRequest:
    """List the nodes of a graph that read quantize-dequantize pairs."""

    onnx: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """A node that reads pairs; ``pattern`` is what stands around it, and ``weighted`` whether it is a layer."""

    name: str
    pattern: str
    weighted: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Sites:
    """Every site of a graph, in its order."""

    sites: tuple[Site, ...]
