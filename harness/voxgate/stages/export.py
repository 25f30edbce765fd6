"""PyTorch to ONNX, checked: the graph must compute what PyTorch computes."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from voxgate import models
from voxgate.backends.onnxruntime import run_file
from voxgate.errors import ExportError
from voxgate.models.network import load_network
from voxgate.quantization import norms, rewiring
from voxgate.quantization.macs import has_ops, read_graph
from voxgate.records.runtime import EngineOptions
from voxgate.stages import file_names
from voxgate.stages.requests import Exported, ExportRequest

if TYPE_CHECKING:
    import torch

OPSET = 21
MAX_RELATIVE_ERROR = 1e-4
# ONNX Runtime sums the million voxels of an instance or group norm in float32. Against PyTorch in
# float64 its logits are off by up to 2.0e-3 of the largest one (SegResNet), PyTorch's by 1e-6.
MAX_RELATIVE_ERROR_WITH_NORMS = 5e-3
_NORMS = frozenset({"InstanceNormalization", "GroupNormalization"})

# Protobuf's limit is 2 GiB; weights beyond this go to a file beside the graph.
_EXTERNAL_DATA_BYTES = 1_800_000_000


def export(request: ExportRequest) -> Exported:
    """Write ``model.onnx`` at batch 1 and a static patch size.

    Raises:
        ExportError: the exporter failed, or the outputs differ by more than rounding explains.
    """
    spec = models.get(request.model)
    module = load_network(spec, request.classes, Path(request.weights).read_bytes())
    patches = np.load(request.images, mmap_mode="r", allow_pickle=False)
    image = np.array(patches[:1], dtype=np.float32)  # a copy: PyTorch takes no read-only array
    path = Path(request.folder) / file_names.ONNX
    reference = _export(module, image, path)
    error = _relative_error(path, image, reference, request)
    allowed = MAX_RELATIVE_ERROR_WITH_NORMS if has_ops(path, _NORMS) else MAX_RELATIVE_ERROR
    if not error <= allowed:
        msg = (
            f"the ONNX graph of {spec.name} differs from PyTorch by {error:.2e} of the largest "
            f"logit, more than {allowed:.0e}; the exporter changed the network"
        )
        raise ExportError(msg)
    graph = read_graph(path)
    return Exported(graph=graph, onnx_bytes=_folder_bytes(path), max_relative_error=error)


def _export(module: torch.nn.Module, image: NDArray[np.float32], path: Path) -> NDArray[np.float32]:
    """Export, and return PyTorch's own logits for ``image``."""
    import torch

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    tensor = torch.from_numpy(image)
    with torch.inference_mode():
        reference: NDArray[np.float32] = module(tensor).numpy()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter's own internals
            program = torch.onnx.export(
                module, (tensor,), dynamo=True, opset_version=OPSET, verbose=False
            )
    except torch.onnx.errors.OnnxExporterError as error:
        msg = f"PyTorch could not export the network to ONNX: {error}"
        raise ExportError(msg) from error
    if program is None:
        msg = "PyTorch's exporter returned no program"
        raise ExportError(msg)
    size = sum(p.numel() * p.element_size() for p in module.parameters())
    program.save(path, external_data=size > _EXTERNAL_DATA_BYTES)
    _decompose_group_norms(path)
    return reference


def _decompose_group_norms(path: Path) -> None:
    """Write group norms by instance norms; a graph without them stays as the exporter wrote it."""
    if not has_ops(path, {norms.GROUP}):
        return
    wiring = rewiring.Wiring(rewiring.load(path))
    norms.decompose_groups(wiring)
    rewiring.save(wiring.finish(), path)


def _relative_error(
    path: Path, image: NDArray[np.float32], reference: NDArray[np.float32], request: ExportRequest
) -> float:
    """max|onnx - torch| / max|torch|, with ONNX Runtime computing the ONNX side."""
    options = EngineOptions(
        precision="fp32",
        threads=0,
        model=request.model,
        task=request.task,
        classes=request.classes,
    )
    output = run_file(path, image, options)
    if output.shape != reference.shape:
        msg = f"ONNX returns {output.shape}, PyTorch {reference.shape}"
        raise ExportError(msg)
    difference = output.astype(np.float32) - reference
    return float(np.abs(difference).max() / np.abs(reference).max())


def _folder_bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in path.parent.iterdir() if file.is_file())
