"""Write a graph as one version of a runtime takes it, and check that it still computes the same."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness import layout, lowering, norms, rewiring
from harness.adapting import Adapted, AdaptRequest
from harness.backends.onnxruntime import run_file
from harness.errors import ArtifactError, ExportError
from harness.graph import has_ops
from harness.operands import quantized_share
from harness.qdq import lint_file
from harness.quantizers import placement
from harness.quantizers.modelopt import write_float16
from harness.quantizers.pairs import Placing, without_pairs
from harness.requests import EngineOptions
from harness.scales.records import Ranges

MAX_RELATIVE_ERROR = 1e-4
# As of the export: sums over a million voxels in float32.
MAX_RELATIVE_ERROR_WITH_NORMS = 5e-3
# Eleven bits of mantissa through dozens of layers; a wrong graph is off by the logits themselves.
MAX_HALF_ERROR = 0.1

_PLACED, _LOWERED = "placed.onnx", "lowered.onnx"


def adapt(request: AdaptRequest) -> Adapted:
    """Move pairs, rewrite operators, convert to half precision; in this order.

    Raises:
        ArtifactError: the graph or the ranges cannot be read, or an operator cannot be rewritten.
        QuantizationError: a rule needs the range of a tensor that was not measured.
        ExportError: the rewritten graph computes something else.
        BuildError: the conversion to half precision failed.
        UnavailableError: what converts to half precision is not installed.
    """
    target = Path(request.folder) / layout.ONNX
    with tempfile.TemporaryDirectory(prefix="adapting-", dir=request.folder) as scratch:
        placed, lowered = Path(scratch) / _PLACED, Path(scratch) / _LOWERED
        result = _place(request, placed)
        error = _lower(request, placed, lowered)
        half_error = None
        if request.needs.half:
            write_float16(lowered, target)
            half_error = _check_half(request, lowered, target)
        else:
            rewiring.save(rewiring.load(lowered), target)
    findings = lint_file(target).findings if request.quantized else ()
    return replace(result, findings=findings, max_relative_error=error, half_error=half_error)


def _place(request: AdaptRequest, target: Path) -> Adapted:
    """The graph with its pairs where the rules want them."""
    wiring = rewiring.Wiring(rewiring.load(Path(request.source)))
    if not request.quantized:
        rewiring.save(wiring.model, target)
        return Adapted(file=layout.ONNX)
    placing = Placing(wiring=wiring, ranges=_ranges(request.ranges))
    touched = placement.apply(placing, request.needs.rules)
    placing.free(request.float_layers)
    rewiring.save(wiring.finish(), target)
    share = quantized_share(target, request.nodes)
    return Adapted(
        file=layout.ONNX,
        touched=touched,
        quantized_macs=share.macs,
        float_nodes=share.float_nodes,
    )


def _ranges(path: str) -> dict[str, float]:
    """The greatest magnitude of each tensor over all patches."""
    if not path:
        return {}
    try:
        found = msgspec.json.decode(Path(path).read_bytes(), type=Ranges)
    except (OSError, ValueError) as error:
        msg = f"the ranges in {path} cannot be read: {error}"
        raise ArtifactError(msg) from error
    return {
        name: max(abs(end) for patch in patches for end in patch)
        for name, patches in found.by_tensor.items()
    }


def _lower(request: AdaptRequest, source: Path, target: Path) -> float | None:
    """The graph in the runtime's opset; how far it is from the one before, None where nothing changed."""
    needs = request.needs
    wiring = rewiring.Wiring(rewiring.load(source))
    if needs.opset >= wiring.opset and not needs.primitives:
        rewiring.save(wiring.model, target)
        return None
    if norms.INSTANCE in needs.primitives:
        norms.leaky_as_maximum(wiring)
    norms.as_primitives(wiring, needs.primitives)
    rewiring.save(lowering.lower(wiring, needs.opset), target)
    return _check(request, source, target)


def _check(request: AdaptRequest, before: Path, after: Path) -> float:
    """Compare two graphs without their pairs, where rounding hides nothing; and run the pairs.

    Raises:
        ExportError: they differ, or the one with pairs gives no finite numbers.
    """
    image = _image(request)
    outputs = [_without_pairs(path, image, request.options) for path in (before, after)]
    error = _relative_error(*outputs)
    allowed = MAX_RELATIVE_ERROR_WITH_NORMS if has_ops(before, norms.NORMS) else MAX_RELATIVE_ERROR
    if not error <= allowed:
        msg = (
            f"{request.source} rewritten for opset {request.needs.opset} differs by {error:.2e} of "
            f"the largest logit, more than {allowed:.0e}; the rewriting changed the network"
        )
        raise ExportError(msg)
    if request.quantized and not np.isfinite(run_file(after, image, request.options)).all():
        msg = f"{request.source} with its pairs placed anew has logits that are not finite"
        raise ExportError(msg)
    return error


def _check_half(request: AdaptRequest, before: Path, after: Path) -> float:
    """Compare a graph with that of half precision, by the root mean square over all logits.

    Raises:
        ExportError: they differ by more than half precision explains.
    """
    image = _image(request)
    single, half = (run_file(path, image, request.options) for path in (before, after))
    difference = single.astype(np.float64) - half.astype(np.float64)
    error = float(np.sqrt(np.mean(difference**2) / np.mean(single.astype(np.float64) ** 2)))
    if not error <= MAX_HALF_ERROR:
        msg = (
            f"{request.source} in half precision differs by {error:.2e} of its logits (root mean "
            f"square), more than {MAX_HALF_ERROR}; a value may leave the range of half precision"
        )
        raise ExportError(msg)
    return error


def _image(request: AdaptRequest) -> NDArray[np.float32]:
    patches = np.load(request.images, mmap_mode="r", allow_pickle=False)
    return np.array(patches[:1], dtype=np.float32)


def _without_pairs(
    path: Path, image: NDArray[np.float32], options: EngineOptions
) -> NDArray[np.generic]:
    plain = path.with_name(f"plain-{path.name}")
    wiring = rewiring.Wiring(rewiring.load(path))
    without_pairs(wiring)
    rewiring.save(wiring.finish(), plain)
    return run_file(plain, image, options)


def _relative_error(reference: NDArray[np.generic], output: NDArray[np.generic]) -> float:
    """max|difference| / max|reference|."""
    if output.shape != reference.shape:
        msg = f"the rewritten graph returns {output.shape}, the one before {reference.shape}"
        raise ExportError(msg)
    difference = output.astype(np.float32) - reference.astype(np.float32)
    return float(np.abs(difference).max() / np.abs(reference.astype(np.float32)).max())
