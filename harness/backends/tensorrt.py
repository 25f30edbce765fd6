"""TensorRT 10.3 to 11.4 and TensorRT-RTX: one path, precision in the ONNX alone.

Networks are strongly typed: what the graph says is what is computed, on every version, and the
INT8 and FP16 builder flags that 11.0 removed are never set. ``int8`` is Q/DQ with fp32 between,
``int8-fp16`` the same graph converted to half precision, scales included; ``fp32`` has TF32 off and
``tf32`` is a precision of its own. Flag values are taken from the SDK's enums, because 11.0
renumbered them.

The module that holds the API is a parameter: ``tensorrt_rtx`` has the same one as ``tensorrt``.
Annotations name the API's classes, and the contract test reads them: every attribute that this
file touches must exist in every supported version.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from harness.backends import cuda
from harness.backends.base import import_sdk
from harness.backends.tensorrt_session import TensorRtSession
from harness.errors import BuildError, DeviceMemoryError, UnavailableError
from harness.files import replacing
from harness.quantizers.modelopt import write_float16
from harness.requests import EngineOptions, Probe

if TYPE_CHECKING:
    import tensorrt as trt

_HALF = {"fp16", "int8-fp16"}

# One iteration, the default, lets noise choose the kernels; trtexec takes eight.
_TIMING_ITERATIONS = 8

_OUT_OF_MEMORY = "memory"


class TensorRt:
    """The backend of one module, ``tensorrt`` or ``tensorrt_rtx``."""

    def __init__(self, module: str, title: str, install: str) -> None:
        self._module = module
        self._title = title
        self._install = install

    def probe(self) -> Probe:
        """Version and GPU; without either, what to install."""
        try:
            sdk = self._sdk()
            torch = import_sdk("torch", "PyTorch")
        except UnavailableError as error:
            return Probe(available=False, reason=str(error))
        if not torch.cuda.is_available():
            reason = f"{self._title} needs a CUDA GPU that PyTorch {torch.__version__} can use; there is none"
            return Probe(available=False, reason=reason)
        return cuda.probe_gpu(torch, str(sdk.__version__))

    def create_context(self, options: EngineOptions) -> bool:
        """CUDA's context, by PyTorch, which holds the buffers."""
        del options
        return cuda.create_context(import_sdk("torch", "PyTorch"))

    def build(self, source: str, options: EngineOptions) -> bytes:
        """Parse an ONNX file and build it to a plan.

        Raises:
            BuildError: the parser or the builder refused; with the nodes, or the log's last words.
            DeviceMemoryError: the builder ran out of memory.
        """
        log = self._log()
        with _as_precision(source, options) as path:
            return self._build(path, options, log)

    def load(self, engine: bytes, options: EngineOptions) -> TensorRtSession:
        """A plan, ready to run. Host code in plans stays forbidden, as the runtime has it.

        Raises:
            BuildError: a plan of another version or GPU, a truncated one, or no plan.
        """
        sdk, log = self._sdk(), self._log()
        try:
            runtime: trt.Runtime = sdk.Runtime(log)
        except TypeError as error:
            msg = f"{self._title} has no runtime here: {_last_words(log)}; does it see a GPU?"
            raise BuildError(msg) from error
        loaded: trt.ICudaEngine = runtime.deserialize_cuda_engine(engine)
        if loaded is None:
            msg = (
                f"{self._title} {sdk.__version__} refused the plan ({len(engine)} bytes): "
                f"{_last_words(log)}; build it again with this version on this GPU"
            )
            raise BuildError(msg)
        return TensorRtSession(
            sdk, runtime, loaded, cuda_graph=options.cuda_graph, profiled=options.profiled
        )

    def _build(self, path: Path, options: EngineOptions, log: Any) -> bytes:
        sdk = self._sdk()
        try:
            builder: trt.Builder = sdk.Builder(log)
        except TypeError as error:  # the bindings' answer to a builder that is null
            msg = f"{self._title} has no builder here: {_last_words(log)}; does it see a GPU?"
            raise BuildError(msg) from error
        network: trt.INetworkDefinition = builder.create_network(_network_flags(sdk))
        parser: trt.OnnxParser = sdk.OnnxParser(network, log)
        if not parser.parse_from_file(str(path)):
            msg = f"{self._title} cannot parse {path.name}: {_parser_errors(parser)}"
            raise BuildError(msg)
        if (network.num_inputs, network.num_outputs) != (1, 1):  # an empty file parses, too
            msg = f"{path.name} has {network.num_inputs} inputs and {network.num_outputs} outputs, not one of each"
            raise BuildError(msg)
        config: trt.IBuilderConfig = builder.create_builder_config()
        _configure(sdk, config, options)
        _add_profiles(builder, network, config, options)
        with _timing_cache(self._cache_file(sdk, options), config):
            plan = builder.build_serialized_network(network, config)
        if plan is None:
            self._refuse(log, options)
        return bytes(plan)

    def _refuse(self, log: Any, options: EngineOptions) -> None:
        """The builder gives no plan and no exception: the reason is in its log alone."""
        words = _last_words(log)
        msg = f"{self._title} built no engine: {words}"
        if _OUT_OF_MEMORY in words.lower():
            msg = f"{msg}; {cuda.free_memory()}, workspace limit {_mebibytes(options.workspace_bytes)}"
            raise DeviceMemoryError(msg)
        raise BuildError(msg)

    def _cache_file(self, sdk: Any, options: EngineOptions) -> Path | None:
        """Where kernel timings of this device, CUDA and TensorRT version are kept."""
        if not options.timing_cache_dir:
            return None
        torch = import_sdk("torch", "PyTorch")
        device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
        name = f"{self._module}-{sdk.__version__}-cuda{torch.version.cuda}-{device}"
        safe = "".join(c if c.isalnum() or c in ".-" else "_" for c in name)
        return Path(options.timing_cache_dir) / f"{safe}.cache"

    def _sdk(self) -> Any:
        """The API's module.

        Raises:
            UnavailableError: it is not installed, or its libraries are not.
        """
        try:
            return importlib.import_module(self._module)
        except (ImportError, OSError, RuntimeError) as error:  # libraries that do not load, too
            msg = f"{self._title} cannot be imported ({error}); install it with '{self._install}'"
            raise UnavailableError(msg) from error

    def _log(self) -> Any:
        """A logger that keeps warnings and worse: TensorRT gives reasons nowhere else."""
        sdk = self._sdk()

        class Log(sdk.ILogger):  # type: ignore[misc,name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.errors: list[str] = []

            def log(self, severity: Any, message: str) -> None:
                if severity in (sdk.ILogger.Severity.ERROR, sdk.ILogger.Severity.INTERNAL_ERROR):
                    self.errors.append(message.strip())

        return Log()


def _network_flags(sdk: Any) -> int:
    """Strongly typed; explicit batch is all there is from 10.0 on."""
    flag = getattr(sdk.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _configure(sdk: Any, config: trt.IBuilderConfig, options: EngineOptions) -> None:
    # Without detail the inspector lists names alone, and no precision could be proven.
    config.profiling_verbosity = sdk.ProfilingVerbosity.DETAILED
    config.avg_timing_iterations = _TIMING_ITERATIONS
    if options.workspace_bytes is not None:
        config.set_memory_pool_limit(sdk.MemoryPoolType.WORKSPACE, options.workspace_bytes)
    if options.precision == "tf32":
        config.set_flag(sdk.BuilderFlag.TF32)
    else:
        config.clear_flag(sdk.BuilderFlag.TF32)


def _add_profiles(
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


def _parser_errors(parser: trt.OnnxParser, most: int = 5) -> str:
    """Node, operation and message of what the parser refused."""
    total = parser.num_errors
    found = [_parser_error(parser.get_error(index)) for index in range(min(total, most))]
    rest = [f"and {total - most} more"] if total > most else []
    return "; ".join([*found, *rest]) or "it gave no reason"


def _parser_error(error: trt.ParserError) -> str:
    name, operator = error.node_name(), error.node_operator()
    where = f"node {name or error.node()!r} ({operator}): " if operator or name else ""
    return f"{where}{error.desc()}"


@contextmanager
def _timing_cache(path: Path | None, config: trt.IBuilderConfig) -> Iterator[None]:
    """Kernel timings from earlier builds, so that noise does not choose other kernels each time."""
    if path is None:
        yield
        return
    stored = path.read_bytes() if path.is_file() else b""
    cache: trt.ITimingCache = config.create_timing_cache(stored)
    config.set_timing_cache(cache, ignore_mismatch=False)
    yield
    filled: trt.ITimingCache = config.get_timing_cache()
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(bytes(filled.serialize()))


@contextmanager
def _as_precision(source: str, options: EngineOptions) -> Iterator[Path]:
    """The graph in the precision that the engine shall have."""
    if options.precision not in _HALF:
        yield Path(source)
        return
    with TemporaryDirectory() as folder:
        target = Path(folder) / Path(source).name
        write_float16(Path(source), target)
        yield target


def _last_words(log: Any, most: int = 3) -> str:
    errors: list[str] = log.errors
    return "; ".join(errors[-most:]) or "it gave no reason"


def _mebibytes(count: int | None) -> str:
    return "none" if count is None else f"{count / 2**20:.0f} MiB"


BACKEND = TensorRt(
    "tensorrt", "TensorRT", "pip install tensorrt-cu13 (or tensorrt-cu12, as the driver's CUDA is)"
)
