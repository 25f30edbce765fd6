"""A TensorRT network from an ONNX file, and the builder's settings for a precision."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxgate.backends.tensorrt_versions import Traits
from voxgate.errors import BuildError
from voxgate.records.case import Precision
from voxgate.records.runtime import EngineOptions

if TYPE_CHECKING:
    import tensorrt as trt

# One iteration, the default, lets noise choose the kernels; trtexec takes eight.
_TIMING_ITERATIONS = 8

# Which flags make a precision where networks are weakly typed.
_FLAGS: dict[Precision, tuple[str, ...]] = {
    "fp16": ("FP16",),
    "int8": ("INT8",),
    "int8-fp16": ("INT8", "FP16"),
}

# Where kernels come from, and the libraries that they are in, without the number of the version.
_LIBRARIES = {"CUBLAS": "libcublas.so", "CUBLAS_LT": "libcublasLt.so", "CUDNN": "libcudnn.so"}
_CUDNN = 8


def network_flags(sdk: Any) -> int:
    """Strongly typed, where that is there; an explicit batch, where there is still another."""
    kind = sdk.NetworkDefinitionCreationFlag
    strong = getattr(sdk.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    if strong is not None:
        return 1 << int(strong)
    explicit = getattr(sdk.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)
    assert explicit is not None, kind
    return 1 << int(explicit)


def parse(sdk: Any, title: str, network: trt.INetworkDefinition, log: Any, path: Path) -> None:
    """Fill a network from a file.

    Raises:
        BuildError: the parser refused it, or it is no segmentation network.
    """
    parser: trt.OnnxParser = sdk.OnnxParser(network, log)
    flags = getattr(sdk, "OnnxParserFlag", None)
    native = getattr(flags, "NATIVE_INSTANCENORM", None)
    set_flag = getattr(parser, "set_flag", None)
    if set_flag is not None and native is not None:  # else a plugin normalizes, which wants cuDNN
        set_flag(native)
    if not parser.parse_from_file(str(path)):
        msg = f"{title} cannot parse {path.name}: {_parser_errors(parser)}"
        raise BuildError(msg)
    if (network.num_inputs, network.num_outputs) != (1, 1):  # an empty file parses, too
        msg = f"{path.name} has {network.num_inputs} inputs and {network.num_outputs} outputs, not one of each"
        raise BuildError(msg)


def configure(
    sdk: Any, config: trt.IBuilderConfig, options: EngineOptions, version: Traits
) -> None:
    """Precision, workspace, detail.

    TF32 is what float layers compute in wherever the precision is not plain fp32: it rounds to as many
    bits as half precision does.
    """
    # Without detail the inspector lists names alone, and no precision could be proven.
    config.profiling_verbosity = sdk.ProfilingVerbosity.DETAILED
    config.avg_timing_iterations = _TIMING_ITERATIONS
    if options.workspace_bytes is not None:
        config.set_memory_pool_limit(sdk.MemoryPoolType.WORKSPACE, options.workspace_bytes)
    if options.precision == "fp32":
        config.clear_flag(sdk.BuilderFlag.TF32)
    else:
        config.set_flag(sdk.BuilderFlag.TF32)
    if not version.strongly_typed:
        flags = {
            "INT8": getattr(sdk.BuilderFlag, "INT8", None),
            "FP16": getattr(sdk.BuilderFlag, "FP16", None),
        }
        for name in _FLAGS.get(options.precision, ()):
            config.set_flag(flags[name])
    if version.library_tactics:
        _leave_out_libraries(sdk, config, version)


def is_half_by_flag(options: EngineOptions, version: Traits) -> bool:
    """Whether the builder itself decides which layers compute in half precision."""
    return not version.strongly_typed and "FP16" in _FLAGS.get(options.precision, ())


def add_profiles(
    builder: trt.Builder,
    network: trt.INetworkDefinition,
    config: trt.IBuilderConfig,
    options: EngineOptions,
) -> None:
    """One optimization profile for each ROI of a graph with dynamic (N, C, D, H, W).

    Raises:
        BuildError: the graph is dynamic and no ROI was given.
    """
    image: trt.ITensor = network.get_input(0)
    shape = tuple(image.shape)
    if all(side >= 0 for side in shape):
        return
    if not options.rois:
        msg = f"input {image.name!r} has the dynamic shape {shape}; name the ROIs to build it for"
        raise BuildError(msg)
    for roi in options.rois:
        profile: trt.IOptimizationProfile = builder.create_optimization_profile()
        wanted = (1, max(shape[1], 1), *roi)
        profile.set_shape(image.name, wanted, wanted, wanted)
        config.add_optimization_profile(profile)


def _leave_out_libraries(sdk: Any, config: trt.IBuilderConfig, version: Traits) -> None:
    """Kernels of a library that is not installed: else the builder fails where it would try them."""
    sources: int = config.get_tactic_sources()
    for name, library in _LIBRARIES.items():
        source = getattr(sdk.TacticSource, name, None)
        number = _CUDNN if name == "CUDNN" else version.cuda
        if source is not None and not _loads(f"{library}.{number}"):
            sources &= ~(1 << int(source))
    config.set_tactic_sources(sources)


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _parser_errors(parser: trt.OnnxParser, most: int = 5) -> str:
    """Node, operation and message of what the parser refused."""
    total = parser.num_errors
    found = [_parser_error(parser.get_error(index)) for index in range(min(total, most))]
    rest = [f"and {total - most} more"] if total > most else []
    return "; ".join([*found, *rest]) or "it gave no reason"


def _parser_error(error: trt.ParserError) -> str:
    """Before version 10 only the number of the node is told; its name is in the log."""
    named = getattr(error, "node_name", None)
    name = named() if named else ""
    typed = getattr(error, "node_operator", None)
    operator = typed() if typed else ""
    if name or operator:
        return f"node {name or error.node()!r} ({operator}): {error.desc()}"
    number = error.node()
    return f"node number {number}: {error.desc()}" if number >= 0 else str(error.desc())
