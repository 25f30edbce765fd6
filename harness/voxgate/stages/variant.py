"""One partly quantized network in one process: edited, built, run on labelled patches.

Its engine is built as that of any case; only the graph is another. Dice and the distance of the logits
from FP32's come from the same inferences.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voxgate import backends
from voxgate.backends import Session, timing_cache
from voxgate.errors import EngineOutputError
from voxgate.metrics import dice
from voxgate.quantization import editors
from voxgate.quantization.editor import Dissected
from voxgate.quantization.lint import refuse
from voxgate.quantizers.graph_needs import needs_of
from voxgate.records.runtime import EngineOptions
from voxgate.stages.adapt import adapt
from voxgate.stages.adapt_requests import AdaptRequest
from voxgate.stages.variant_requests import DissectRequest, Variant, VariantRequest


def dissect(request: DissectRequest) -> Dissected:
    """Which quantizer belongs to which layer.

    Raises:
        QuantizationError: the two graphs are not of one network.
    """
    return editors.load(request.graphs.format).dissect(request.graphs)


def measure_variant(request: VariantRequest) -> Variant:
    """Dice and noise of one variant; that of FP32 writes the logits the others are held against.

    Raises:
        BuildError: the backend does not take the edited graph.
        EngineOutputError: NaN, infinity or a wrong shape came out.
        QuantizationError: the two graphs are not of one network.
    """
    backend = backends.load(request.backend)
    probe = backend.probe()
    backends.require(request.backend, request.options.precision, probe)
    with tempfile.TemporaryDirectory(prefix="voxgate-variant-") as folder:
        started = time.perf_counter()
        graph, options = _adapted(
            request, _graph(request, Path(folder)), Path(folder), probe.version
        )
        edited = time.perf_counter()
        engine = backend.build(str(graph), options)
        timing_cache.drop(backend.build_notes().timing_cache)  # nobody watches this build
        session = backend.load(engine, request.options)
        built = time.perf_counter()
    try:
        return _run(session, request, edited - started, built - edited)
    finally:
        session.close()


def _graph(request: VariantRequest, folder: Path) -> Path:
    """The graph to build: a file that is there already, or an edited one in ``folder``."""
    graphs, edit = request.graphs, request.edit
    if backends.get(request.backend).sources[request.options.precision] == "onnx":
        return Path(graphs.onnx)
    if edit.onto == "quantized" and not edit.layers and not edit.between:
        return Path(graphs.quantized)
    return editors.load(graphs.format).write(graphs, edit, folder)


def _adapted(
    request: VariantRequest, graph: Path, folder: Path, version: str
) -> tuple[Path, EngineOptions]:
    """The graph as the runtime's version takes it, as that of any case, and how to build it.

    Raises:
        GraphLintError: it breaks a rule then.
        QuantizationError: this version's placement needs ranges, which nobody measured here.
    """
    kind = backends.get(request.backend).sources[request.options.precision]
    needs = needs_of(request.backend, version, kind, request.options.precision)
    if needs is None:
        return graph, request.options
    made = adapt(
        AdaptRequest(
            source=str(graph),
            quantized=kind == "quantized",
            needs=needs,
            nodes=request.graphs.nodes,
            images=request.images,
            folder=str(folder),
            options=request.options,
        )
    )
    refuse(str(graph), made.findings)
    return folder / made.file, replace(request.options, single_precision=made.single_precision)


def _run(session: Session, request: VariantRequest, edit_s: float, build_s: float) -> Variant:
    images = np.load(request.images, mmap_mode="r", allow_pickle=False)
    truth = np.load(request.labels, mmap_mode="r", allow_pickle=False)
    classes, shape = len(request.label_names), images.shape[2:]
    logits = _logits(request, classes, shape)
    signal = noise = inference_ns = 0.0
    per_case: dict[str, dict[str, float | None]] = {}
    for index in range(request.patches):
        output, elapsed_ns = session.infer(np.array(images[index : index + 1]))
        inference_ns += elapsed_ns
        labels = dice.to_labels(output, classes, shape)
        scores = dice.dice_scores(labels, truth[index], request.label_names)
        per_case[request.cases[index]] = scores
        if not request.reference:
            logits[index] = output[0]
        signal += _energy(logits[index])
        noise += _energy(output[0].astype(np.float64) - logits[index])
    return Variant(
        dice=dice.summarize(per_case, request.label_names), signal=signal, noise=noise,
        edit_s=edit_s, build_s=build_s, inference_s=inference_ns / 1e9,
    )  # fmt: skip


def _logits(request: VariantRequest, classes: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """FP32's logits: those of an earlier run to read, or an empty file to fill."""
    expected = (request.patches, classes, *shape)
    if not request.reference:
        return np.lib.format.open_memmap(
            request.logits, mode="w+", dtype=np.float32, shape=expected
        )
    logits: NDArray[np.float32] = np.load(request.reference, mmap_mode="r", allow_pickle=False)
    if len(logits) < request.patches or logits.shape[1:] != expected[1:]:
        msg = f"the logits of FP32 are {logits.shape}, expected {expected}"
        raise EngineOutputError(msg)
    return logits


def _energy(values: NDArray[np.floating]) -> float:
    """The sum of squares, in float64."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    return float(flat @ flat)
