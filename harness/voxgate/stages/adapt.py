"""Write a graph as one version of a runtime takes it, and check that it still computes the same."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from voxgate.backends.onnxruntime import run_file
from voxgate.errors import ArtifactError, ExportError
from voxgate.quantization import lowering, norms, rewiring
from voxgate.quantization.lint import lint_file
from voxgate.quantization.macs import has_ops
from voxgate.quantization.operands import quantized_share
from voxgate.quantizers import placement
from voxgate.quantizers.half import write_float16
from voxgate.quantizers.pairs import Placing, without_pairs
from voxgate.records.runtime import GraphNeeds
from voxgate.records.scales import Ranges
from voxgate.stages import file_names
from voxgate.stages.adapt_requests import Adapted, AdaptRequest

MAX_RELATIVE_ERROR = 1e-4
# As of the export: sums over a million voxels in float32.
MAX_RELATIVE_ERROR_WITH_NORMS = 5e-3
# Eleven bits of mantissa through dozens of layers; a wrong graph is off by the logits themselves.
MAX_HALF_ERROR = 0.02

_PLACED, _LOWERED, _PLAIN = "placed.onnx", "lowered.onnx", "plain.onnx"


def adapt(request: AdaptRequest) -> Adapted:
    """Move pairs, rewrite operators, convert to half precision; in this order.

    Raises:
        ArtifactError: the graph or the ranges cannot be read, or an operator cannot be rewritten.
        QuantizationError: a rule needs the range of a tensor that was not measured.
        ExportError: the rewritten graph computes something else.
        BuildError: the conversion to half precision failed.
        UnavailableError: what converts to half precision is not installed.
    """
    target = Path(request.folder) / file_names.ONNX
    with tempfile.TemporaryDirectory(prefix="adapting-", dir=request.folder) as scratch:
        placed, lowered = Path(scratch) / _PLACED, Path(scratch) / _LOWERED
        result = _place(request, placed)
        error = half_error = None
        changed, single = _lower(request.needs, placed, lowered)
        if changed or request.needs.rules:
            error = _check(request, lowered, Path(scratch))
        if request.needs.half:
            write_float16(lowered, target)
            half_error = _check_half(request, lowered, target, Path(scratch))
        else:
            rewiring.save(rewiring.load(lowered), target)
    findings = lint_file(target).findings if request.quantized else ()
    return replace(
        result,
        findings=findings,
        max_relative_error=error,
        half_error=half_error,
        single_precision=single,
    )


def _place(request: AdaptRequest, target: Path) -> Adapted:
    """The graph with its pairs where the rules want them."""
    wiring = rewiring.Wiring(rewiring.load(Path(request.source)))
    if not request.quantized:
        rewiring.save(wiring.model, target)
        return Adapted(file=file_names.ONNX)
    placing = Placing(wiring=wiring, ranges=_ranges(request.ranges))
    touched = placement.apply(placing, request.needs.rules)
    placing.free(request.float_layers)
    rewiring.save(wiring.finish(), target)
    share = quantized_share(target, request.nodes)
    return Adapted(
        file=file_names.ONNX,
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


def _lower(needs: GraphNeeds, source: Path, target: Path) -> tuple[bool, tuple[str, ...]]:
    """Write the graph in the runtime's opset.

    Whether anything had to change, and which nodes must compute in single precision from now on.
    """
    wiring = rewiring.Wiring(rewiring.load(source))
    if needs.opset >= wiring.opset and not needs.primitives:
        rewiring.save(wiring.model, target)
        return False, ()
    if norms.INSTANCE in needs.primitives:
        norms.leaky_as_maximum(wiring)
    single = norms.as_primitives(wiring, needs.primitives)
    model = lowering.lower(wiring, needs.opset)
    rewiring.save(model, target)
    there = {node.name for node in model.graph.node}  # a norm that no output depends on is dropped
    return True, tuple(name for name in single if name in there)


def _check(request: AdaptRequest, made: Path, scratch: Path) -> float:
    """Compare a graph with its source, without the pairs of both: where rounding hides nothing.

    Raises:
        ExportError: they differ, or the pairs make numbers that are not finite.
    """
    source = Path(request.source)
    error = _relative_error(*(_run_plain(request, path, scratch) for path in (source, made)))
    allowed = MAX_RELATIVE_ERROR_WITH_NORMS if has_ops(source, norms.NORMS) else MAX_RELATIVE_ERROR
    if not error <= allowed:
        msg = (
            f"{source} rewritten for opset {request.needs.opset} differs by {error:.2e} of "
            f"the largest logit, more than {allowed:.0e}; the rewriting changed the network"
        )
        raise ExportError(msg)
    _check_finite(request, made)
    return error


def _check_half(request: AdaptRequest, before: Path, after: Path, scratch: Path) -> float:
    """Compare a graph with that of half precision, without pairs, by the root mean square.

    Raises:
        ExportError: they differ by more than half precision explains, or the pairs make numbers that
            are not finite.
    """
    single, half = (_run_plain(request, path, scratch) for path in (before, after))
    exact = single.astype(np.float64)
    error = float(np.sqrt(np.mean((exact - half.astype(np.float64)) ** 2) / np.mean(exact**2)))
    if not error <= MAX_HALF_ERROR:
        msg = (
            f"{request.source} in half precision differs by {error:.2e} of its logits (root mean "
            f"square), more than {MAX_HALF_ERROR}; a value may leave the range of half precision"
        )
        raise ExportError(msg)
    _check_finite(request, after)
    return error


def _check_finite(request: AdaptRequest, path: Path) -> None:
    """Run a graph with its pairs."""
    if (
        request.quantized
        and not np.isfinite(run_file(path, _image(request), request.options)).all()
    ):
        msg = f"{request.source} with its pairs placed anew has logits that are not finite"
        raise ExportError(msg)


def _image(request: AdaptRequest) -> NDArray[np.float32]:
    patches = np.load(request.images, mmap_mode="r", allow_pickle=False)
    return np.array(patches[:1], dtype=np.float32)


def _run_plain(request: AdaptRequest, path: Path, scratch: Path) -> NDArray[np.generic]:
    """The output of a graph without its pairs."""
    plain = scratch / _PLAIN
    wiring = rewiring.Wiring(rewiring.load(path))
    without_pairs(wiring)
    rewiring.save(wiring.finish(), plain)
    return run_file(plain, _image(request), request.options)


def _relative_error(reference: NDArray[np.generic], output: NDArray[np.generic]) -> float:
    """max|difference| / max|reference|."""
    if output.shape != reference.shape:
        msg = f"the rewritten graph returns {output.shape}, the one before {reference.shape}"
        raise ExportError(msg)
    difference = output.astype(np.float32) - reference.astype(np.float32)
    return float(np.abs(difference).max() / np.abs(reference.astype(np.float32)).max())
