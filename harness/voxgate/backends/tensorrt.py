"""TensorRT 8.5, 8.6 and 10.3 to 11.4, and TensorRT-RTX.

Where networks are strongly typed, precision stands in the graph alone and no flag is set: ``int8`` is
Q/DQ with fp32 between, ``int8-fp16`` the same graph in half precision, scales included. Before that,
flags say it, on the same float graph. `voxgate.backends.tensorrt_versions` tells which; a graph comes
here as its version takes it (`voxgate.stages.adapt`), and nothing is converted. ``fp32`` has
TF32 off and ``tf32`` is a precision of its own. Flag values are taken from the SDK's enums, because
11.0 renumbered them.

The module that holds the API is a parameter: ``tensorrt_rtx`` has the same one as ``tensorrt``.
Annotations name the API's classes, and the contract test reads them: every attribute that these
files touch must exist in every supported version.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxgate.backends import cuda_runtime
from voxgate.backends.base import BuildNotes
from voxgate.backends.tensorrt_cache import BuilderCache
from voxgate.backends.tensorrt_log import Words, make_log
from voxgate.backends.tensorrt_network import (
    add_profiles,
    configure,
    is_half_by_flag,
    network_flags,
    parse,
)
from voxgate.backends.tensorrt_session import TensorRtSession
from voxgate.backends.tensorrt_single import keep_single
from voxgate.backends.tensorrt_versions import Traits, traits
from voxgate.errors import BuildError, DeviceMemoryError, HarnessError, UnavailableError
from voxgate.machine import packages
from voxgate.records.runtime import EngineOptions, Probe

if TYPE_CHECKING:
    import tensorrt as trt

_CUDAS = (12, 13)


class TensorRt:
    """The backend of one module, ``tensorrt`` or ``tensorrt_rtx``."""

    def __init__(self, module: str, title: str, install: str) -> None:
        self._module = module
        self._title = title
        self._install = install
        self._logs: tuple[Any, Any] | None = None
        self._notes = BuildNotes()

    def probe(self) -> Probe:
        """Version and GPU; without either, what to install."""
        try:
            sdk = self._sdk()
            self._traits(sdk)
            reason = cuda_runtime.reason_for_none()
            if reason:
                msg = f"{self._title} needs a CUDA GPU: {reason}"
                return Probe(available=False, version=self._version(sdk), reason=msg)
            device = cuda_runtime.device()
        except UnavailableError as error:
            return Probe(available=False, reason=str(error))
        return Probe(
            available=True,
            version=self._version(sdk),
            device=device.name,
            accelerator=device.uuid,
        )

    def create_context(self, options: EngineOptions) -> bool:
        """CUDA's context."""
        del options
        return cuda_runtime.create_context()

    def build(self, source: str, options: EngineOptions) -> bytes:
        """Parse an ONNX file and build it to a plan.

        Raises:
            BuildError: the parser or the builder refused; with the nodes, or the log's last words.
            DeviceMemoryError: the builder ran out of memory.
        """
        self._notes = BuildNotes()
        return self._build(Path(source), options)

    def build_notes(self) -> BuildNotes:
        """The builder's warnings and what it timed."""
        return self._notes

    def load(self, engine: bytes, options: EngineOptions) -> TensorRtSession:
        """A plan, ready to run. Host code in plans stays forbidden, as the runtime has it.

        Raises:
            BuildError: a plan of another version or GPU, a truncated one, or no plan.
            DeviceMemoryError: the device has no room for it.
        """
        sdk, log = self._sdk(), self._log()
        words = Words(log)
        try:
            runtime: trt.Runtime = sdk.Runtime(log)
        except TypeError as error:
            msg = f"{self._title} has no runtime here: {words.last()}; does it see a GPU?"
            raise BuildError(msg) from error
        loaded: trt.ICudaEngine = runtime.deserialize_cuda_engine(engine)
        if loaded is None:
            msg = f"{self._title} {sdk.__version__} refused the plan ({len(engine)} bytes): {words.last()}"
            if words.out_of_memory():
                msg = f"{msg}; {cuda_runtime.free_memory()}"
                raise DeviceMemoryError(msg)
            msg = f"{msg}; build it again with this version on this GPU"
            raise BuildError(msg)
        return TensorRtSession(
            sdk, runtime, loaded, log=log, cuda_graph=options.cuda_graph, profiled=options.profiled
        )

    def _build(self, path: Path, options: EngineOptions) -> bytes:
        sdk, log = self._sdk(), self._log()
        words = Words(log)
        try:
            builder: trt.Builder = sdk.Builder(log)
        except TypeError as error:  # the bindings' answer to a builder that is null
            msg = f"{self._title} has no builder here: {words.last()}; does it see a GPU?"
            raise BuildError(msg) from error
        network: trt.INetworkDefinition = builder.create_network(network_flags(sdk))
        parse(sdk, self._title, network, log, path)
        config: trt.IBuilderConfig = builder.create_builder_config()
        version = self._traits(sdk)
        configure(sdk, config, options, version)
        if is_half_by_flag(options, version):
            keep_single(sdk, network, config, options.single_precision)
        add_profiles(builder, network, config, options)
        cache = BuilderCache(self._cache_folder(sdk, options), config)
        built = Words(log)  # what was said of the cache is no reason of the builder
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            self._refuse(built, options)
        self._notes = BuildNotes(
            warnings=(*cache.refused, *words.all()), timing_cache=cache.write()
        )
        return bytes(plan)

    def _refuse(self, words: Words, options: EngineOptions) -> None:
        """The builder gives no plan and no exception: the reason is in its log alone."""
        msg = f"{self._title} built no engine: {words.last()}"
        memory = words.out_of_memory()
        if not memory:
            raise BuildError(msg)
        limit = _mebibytes(options.workspace_bytes)
        more = "" if memory in msg else f"; before that: {memory}"
        msg = f"{msg}{more}; {cuda_runtime.free_memory()}, workspace limit {limit}"
        raise DeviceMemoryError(msg)

    def _cache_folder(self, sdk: Any, options: EngineOptions) -> Path | None:
        """Where kernel timings of this device, CUDA and TensorRT version are kept."""
        if not options.timing_cache_dir:
            return None
        try:
            cuda = cuda_runtime.runtime_version()
        except HarnessError:
            cuda = "none"
        device = cuda_runtime.device_name() or "cpu"
        name = f"{self._module}-{self._version(sdk)}-cuda{cuda}-{device}"
        safe = "".join(c if c.isalnum() or c in ".-" else "_" for c in name)
        return Path(options.timing_cache_dir) / safe

    def _sdk(self) -> Any:
        """The API's module.

        Raises:
            UnavailableError: it is not installed, or its libraries are not.
        """
        try:
            return importlib.import_module(self._module)
        except ModuleNotFoundError as error:
            msg = f"{self._title} cannot be imported ({error}); install it with '{self._install}'"
            raise UnavailableError(msg) from error
        except (ImportError, OSError, RuntimeError) as error:
            msg = (
                f"{self._title} is installed and its libraries cannot be loaded ({error}); "
                "install it again, or name their folder in LD_LIBRARY_PATH"
            )
            raise UnavailableError(msg) from error

    def _version(self, sdk: Any) -> str:
        """With the CUDA that it is made for, where one version has packages for two."""
        name = self._module.replace("_", "-")
        kinds = [f"cu{number}" for number in _CUDAS]
        there = packages.versions(
            [f"{name}-{kind}{part}" for kind in kinds for part in ("", "-bindings", "-libs")]
        )
        found = [kind for kind in kinds if any(kind in distribution for distribution in there)]
        return f"{sdk.__version__}+{found[0]}" if len(found) == 1 else str(sdk.__version__)

    def _traits(self, sdk: Any) -> Traits:
        return traits(str(sdk.__version__), self._module)

    def _log(self) -> Any:
        """The one logger of this process."""
        sdk = self._sdk()
        if self._logs is None or self._logs[0] is not sdk:
            self._logs = sdk, make_log(sdk)
        return self._logs[1]


def _mebibytes(count: int | None) -> str:
    return "none" if count is None else f"{count / 2**20:.0f} MiB"


BACKEND = TensorRt("tensorrt", "TensorRT", "pip install tensorrt-cu13 cuda-bindings")
