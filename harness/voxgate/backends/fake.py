"""A backend without arithmetic: deterministic engines, times and precisions for the tests.

Its engines are JSON. Its network labels each voxel by intensity, which segments phantoms well, and
its clock is a seeded sequence. VOXGATE_FAKE_FAULT makes one precision misbehave in the way that real
engines do; `FAULTS` lists how, for instance VOXGATE_FAKE_FAULT=int8=nan. Those of a build stay in
the engine's file, wherever it is loaded: ``slower`` by a tenth, ``larger`` twice, ``other`` as good,
``rebuilt`` the same kernels in other bytes.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

import numpy as np
from numpy.typing import NDArray

from voxgate.backends.base import HostTimed, Quiet, Tensor
from voxgate.errors import BuildError, unknown_name
from voxgate.files import sha256_bytes
from voxgate.records.case import Precision
from voxgate.records.engine import ExecutedLayer
from voxgate.records.runtime import EngineOptions, Probe

FAULT_VARIABLE = "VOXGATE_FAKE_FAULT"
FAULTS = (
    "nan", "shape", "crash", "exit", "hang", "memory", "float", "partly", "integer", "build", "missing",
    "worse", "slow", "slower", "other", "larger", "rebuilt",
)  # fmt: skip

_LATENCY_NS: dict[Precision, int] = {"fp32": 8_000_000, "fake-int8": 8_200_000, "int8": 2_000_000}
_ENGINE_BYTES: dict[Precision, int] = {"fp32": 40_000, "fake-int8": 40_400, "int8": 10_400}
_HEADER = ("precision", "model", "task", "classes")
# The nodes, and the share of the time that each takes.
_NODES = {"conv1": 0.1, "conv2": 0.9}
_SLOWDOWN = 1.2
# What a build-time fault leaves in the engine: how many times slower it is.
_SLOWDOWNS = {"slower": 1.10, "other": 1.0}
# A part of the header that changes nothing of what an engine does.
_BUILD = "build"


def fault(precision: Precision) -> str:
    """The misbehaviour that the environment asks for, or an empty string."""
    wanted, _, name = os.environ.get(FAULT_VARIABLE, "").partition("=")
    if wanted not in (precision, "all"):
        return ""
    if name not in FAULTS:
        raise unknown_name("fault", name, FAULTS)
    return name


class Fake(Quiet):
    """Always available, unless told otherwise."""

    def probe(self) -> Probe:
        """Available, but for the fault ``missing``."""
        if fault("fp32") == "missing":
            return Probe(
                available=False, reason="fake is missing; install it with 'pip install it'"
            )
        return Probe(available=True, version="1", device="none")

    def create_context(self, options: EngineOptions) -> bool:
        """No accelerator."""
        del options
        return False

    def build(self, source: str, options: EngineOptions) -> bytes:
        """A JSON engine, padded to the size that its precision would have."""
        del source
        if fault(options.precision) == "build":
            msg = "fake could not build the graph: node 'conv2' has no implementation"
            raise BuildError(msg)
        header = {name: getattr(options, name) for name in _HEADER}
        if (built := fault(options.precision)) in _SLOWDOWNS:
            header["slowdown"] = _SLOWDOWNS[built]
        if built == "rebuilt":
            header[_BUILD] = "another"
        size = _ENGINE_BYTES[options.precision] * (2 if built == "larger" else 1)
        return json.dumps(header).encode().ljust(size, b" ")

    def load(self, engine: bytes, options: EngineOptions) -> FakeSession:
        """Parse the JSON; refuse an engine of another precision or class count."""
        try:
            header = json.loads(engine)
        except ValueError as error:
            msg = f"not a fake engine ({len(engine)} bytes): {error}"
            raise BuildError(msg) from error
        if header.get("precision") != options.precision:
            msg = f"this is a {header.get('precision')} engine, not {options.precision}"
            raise BuildError(msg)
        if header.get("classes") != options.classes:
            msg = f"this engine has {header.get('classes')} classes, not {options.classes}"
            raise BuildError(msg)
        return FakeSession(engine, options, header.get("slowdown", 1.0))


class FakeSession(HostTimed):
    """Nearest-intensity labels and a clock of its own."""

    def __init__(self, engine: bytes, options: EngineOptions, slowdown: float = 1.0) -> None:
        self._slowdown = slowdown
        self._precision = options.precision
        self._fault = fault(options.precision)
        self._classes = options.classes
        kernels = {key: value for key, value in json.loads(engine).items() if key != _BUILD}
        self._kernels = sha256_bytes(json.dumps([kernels, len(engine)]).encode())
        seed = int(sha256_bytes(engine)[:8], 16)
        self._jitter = np.random.default_rng(seed)

    def infer(self, image: Tensor) -> tuple[NDArray[np.generic], int]:
        """One-hot logits of the label whose mean intensity is nearest."""
        self._misbehave()
        scaled = np.clip(np.rint(image[0, 0] * (self._classes - 1)), 0, self._classes - 1)
        if self._fault == "worse":
            scaled[: len(scaled) // 2] = 0
        logits = (scaled[None] == np.arange(self._classes)[:, None, None, None])[None]
        output: NDArray[np.generic] = logits.astype(np.float32)
        if self._fault == "nan":
            output[0, 0, 0, 0, 0] = np.nan
        if self._fault == "shape":
            output = output[:, :, 1:]
        scale = 1 + abs(float(self._jitter.standard_normal())) * 0.01
        return output, int(self._latency_ns() * scale)

    def _latency_ns(self) -> float:
        factor = _SLOWDOWN if self._fault == "slow" else self._slowdown
        return _LATENCY_NS[self._precision] * factor

    def _misbehave(self) -> None:
        if self._fault == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        if self._fault == "exit":
            sys.stderr.write("fake: gone without an answer\n")
            sys.stderr.flush()
            os._exit(7)
        if self._fault == "hang":
            time.sleep(3600)
        if self._fault == "memory":
            hoard = [np.ones(1 << 24) for _ in range(1 << 10)]
            del hoard

    def layers(self) -> tuple[ExecutedLayer, ...]:
        """Two convolutions, int8 where the precision says so and no fault says otherwise."""
        real = (self._precision == "int8" and self._fault != "float") or self._fault == "integer"
        floats = {"conv1"} if self._fault == "partly" else set()
        return tuple(
            ExecutedLayer(
                name=f"{name}/executed",
                kind="Convolution",
                arithmetic="int8" if real and name not in floats else "float",
                detail="u8xi8" if real and name not in floats else "f32xf32",
                sources=(name,),
            )
            for name in _NODES
        )

    def kernels_sha256(self) -> str:
        """All of the engine but what a build leaves in it that changes nothing."""
        return self._kernels

    def layer_times_ns(self) -> dict[str, int]:
        """A fixed share of an inference for each convolution."""
        return {
            f"{name}/executed": int(self._latency_ns() * share) for name, share in _NODES.items()
        }

    def device_memory_bytes(self) -> None:
        """No device."""

    def close(self) -> None:
        """Nothing to free."""


BACKEND = Fake()
