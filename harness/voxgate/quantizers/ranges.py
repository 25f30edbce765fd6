"""The least and the greatest value of every float tensor of an ONNX graph, patch by patch.

Each tensor gets a ReduceMin and a ReduceMax behind it, so that numbers alone leave the session and
one inference a patch is enough. ONNX Runtime computes them, whatever runtime calibrated.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from voxgate.backends.onnxruntime import sdk as onnxruntime_sdk
from voxgate.errors import ArtifactError, QuantizationError
from voxgate.quantizers.images import image_at
from voxgate.records.scales import Ranges

if TYPE_CHECKING:
    import onnx

_LEAST, _GREATEST = "voxgate/least/", "voxgate/greatest/"
_FILE = "measured.onnx"
_OLDEST_OPSET = 13  # of ReduceMin as it is used here


def measure(path: Path, images: NDArray[np.float32], threads: int) -> Ranges:
    """The ranges of the graph's input and of what its nodes compute, on (N, 1, D, H, W) images.

    Raises:
        ArtifactError, QuantizationError, UnavailableError: as `extremes`.
    """
    return collect(*extremes(path, images, threads))


def extremes(
    path: Path, images: NDArray[np.float32], threads: int, only: Sequence[str] = ()
) -> tuple[tuple[str, ...], list[NDArray[np.float32]]]:
    """Names of tensors, and for each image of (N, 1, D, H, W) their (names, 2) least and greatest values.

    One image is in memory at a time, also of a mapped file. ``only`` these tensors; by default all.

    Raises:
        ArtifactError: the graph cannot be read, or its opset is too old.
        QuantizationError: ONNX Runtime refused the graph, or an inference.
        UnavailableError: ONNX Runtime is not installed.
    """
    model = _load(path)
    names = add_reductions(model, only)
    with tempfile.TemporaryDirectory(prefix="voxgate-ranges-") as folder:
        return names, _run(_saved(model, Path(folder)), names, images, threads)


def collect(names: tuple[str, ...], rows: list[NDArray[np.float32]]) -> Ranges:
    """Ranges from what each patch gave: (names, 2) of least and greatest value."""
    stacked = np.stack(rows, axis=1)  # (names, patches, 2)
    finite: list[bool] = [bool(np.isfinite(ranges).all()) for ranges in stacked]
    return Ranges(
        by_tensor={
            name: tuple((float(low), float(high)) for low, high in stacked[index])
            for index, name in enumerate(names)
            if finite[index]
        },
        not_finite=tuple(name for name, good in zip(names, finite, strict=True) if not good),
    )


def add_reductions(model: onnx.ModelProto, only: Sequence[str] = ()) -> tuple[str, ...]:
    """Put both reductions behind every float tensor, or these, as the only outputs; the tensors' names.

    Raises:
        ArtifactError: the graph's opset is older than the reductions.
    """
    import onnx

    opset = max((e.version for e in model.opset_import if e.domain in {"", "ai.onnx"}), default=1)
    if opset < _OLDEST_OPSET:
        msg = f"the float graph has opset {opset}; measuring ranges needs {_OLDEST_OPSET} or newer"
        raise ArtifactError(msg)
    graph = model.graph
    names = tuple(only) or _float_tensors(model)
    wanted, nodes = set(names), []
    inputs = [value.name for value in graph.input if value.name in wanted]
    nodes += [node for name in inputs for node in _reductions(name)]
    for node in graph.node:
        # Right behind their tensor, so that a session can free it early.
        nodes.append(node)
        nodes += [new for name in node.output if name in wanted for new in _reductions(name)]
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:], graph.output[:]
    graph.node.extend(kept)
    graph.output.extend(
        onnx.helper.make_tensor_value_info(mark + name, onnx.TensorProto.FLOAT, ())
        for name in names
        for mark in (_LEAST, _GREATEST)
    )
    return names


def _reductions(name: str) -> list[onnx.NodeProto]:
    import onnx

    return [
        onnx.helper.make_node(kind, [name], [mark + name], name=mark + name, keepdims=0)
        for kind, mark in (("ReduceMin", _LEAST), ("ReduceMax", _GREATEST))
    ]


def _float_tensors(model: onnx.ModelProto) -> tuple[str, ...]:
    """The input and every computed tensor that shape inference knows to be float32 and not empty."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(model).graph
    constants = {tensor.name for tensor in graph.initializer}
    computed = {name for node in graph.node if node.op_type != "Constant" for name in node.output}
    values = {value.name: value for value in (*graph.input, *graph.value_info, *graph.output)}
    return tuple(
        name
        for name, value in values.items()
        if name not in constants
        and (name in computed or any(name == given.name for given in graph.input))
        and value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
        and all(
            d.dim_value != 0 or d.HasField("dim_param") for d in value.type.tensor_type.shape.dim
        )
    )


def _load(path: Path) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        return onnx.load(path, format="protobuf")
    except (OSError, DecodeError, onnx.checker.ValidationError) as error:
        msg = f"{path} is no ONNX file that can be read: {error}"
        raise ArtifactError(msg) from error


def _saved(model: onnx.ModelProto, folder: Path) -> Path:
    import onnx

    onnx.save(model, folder / _FILE, save_as_external_data=True)  # of any size
    return folder / _FILE


def _run(
    path: Path, names: tuple[str, ...], images: NDArray[np.float32], threads: int
) -> list[NDArray[np.float32]]:
    """For each image an array of (names, 2)."""
    session = _session(path, threads)
    given = session.get_inputs()[0].name
    outputs = [mark + name for name in names for mark in (_LEAST, _GREATEST)]
    try:
        return [
            np.asarray(session.run(outputs, {given: image_at(images, index)})).reshape(-1, 2)
            for index in range(len(images))
        ]
    except Exception as error:
        msg = f"ONNX Runtime could not run the float graph to measure its ranges: {error}"
        raise QuantizationError(msg) from error


def _session(path: Path, threads: int) -> Any:
    ort = onnxruntime_sdk()
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    # By default each tensor stays until the end, since its reductions come last: U-Net then takes
    # 1.7 GB instead of 0.6.
    settings.execution_order = ort.ExecutionOrder.PRIORITY_BASED
    settings.enable_cpu_mem_arena = False
    settings.enable_mem_pattern = False
    try:
        return ort.InferenceSession(path, settings, ["CPUExecutionProvider"])
    except Exception as error:
        msg = f"ONNX Runtime refused the float graph with reductions: {error}"
        raise QuantizationError(msg) from error
