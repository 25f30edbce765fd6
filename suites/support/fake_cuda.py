# ruff: noqa: N802, N815 - the names are CUDA's own
"""A stand-in for NVIDIA's bindings: device memory is the host's, and a device's clock is counted.

Work that is enqueued is done at once, in order; events take the clock's time. ``fail`` makes a function
answer with an error; ``calls`` are the names of what was called.
"""

from __future__ import annotations

import ctypes
import itertools
import sys
from dataclasses import dataclass, field
from enum import IntEnum
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from voxgate.backends import cuda_runtime

MIB = 2**20
UUID = bytes(range(16))


class Code(IntEnum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35
    cudaErrorNoDevice = 100
    cudaErrorECCUncorrectable = 214
    cudaErrorLaunchFailure = 719
    cudaErrorStreamCaptureInvalidated = 901


@dataclass
class Graph:
    works: list[Any] = field(default_factory=list)


class FakeCuda:
    """One device; ``install`` puts it where the backend imports it from."""

    cudaStreamNonBlocking = 1
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)

    def __init__(self, *, total: int = 80 * 1024 * MIB, name: bytes = b"Fake H100") -> None:
        self.total, self.name = total, name
        self.clock_ns = 0
        self.calls: list[str] = []
        self.failing: dict[str, Code] = {}
        self.memory: dict[int, Any] = {}
        self.events: dict[int, int] = {}
        self.capturing: Graph | None = None
        self._handles = itertools.count(1000)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
        package, bindings, runtime = (
            ModuleType(name) for name in ("cuda", "cuda.bindings", "cuda.bindings.runtime")
        )
        for name in [name for name in dir(self) if name.startswith("cuda")]:
            setattr(runtime, name, self._watched(name))
        for module in (package, bindings, runtime):
            monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(sys.modules, "cuda.bindings.driver", None)
        cuda_runtime._runtime.cache_clear()
        return self

    def fail(self, function: str, code: Code) -> None:
        self.failing[function] = code

    def work(self, do: Any, duration_ns: int) -> None:
        """What an engine enqueues."""

        def run() -> None:
            do()
            self.clock_ns += duration_ns

        if self.capturing is not None:
            self.capturing.works.append(run)
        else:
            run()

    @property
    def used(self) -> int:
        return sum(ctypes.sizeof(block) for block in self.memory.values())

    def _watched(self, name: str) -> Any:
        found = getattr(self, name)
        if not callable(found) or name == "cudaGetErrorString":
            return found

        def call(*arguments: Any) -> tuple[Any, ...]:
            self.calls.append(name)
            if name in self.failing:
                return (self.failing[name], None, None)
            answer = found(*arguments)
            return (Code.cudaSuccess, *(answer if isinstance(answer, tuple) else (answer,)))

        return call

    def cudaGetErrorString(self, code: Code) -> tuple[Code, bytes]:
        return Code.cudaSuccess, f"words of {code.value}".encode()

    def cudaGetDeviceCount(self) -> int:
        return 1

    def cudaGetDeviceProperties(self, index: int) -> Any:
        assert index == 0
        return SimpleNamespace(
            name=self.name, uuid=SimpleNamespace(bytes=UUID), totalGlobalMem=self.total
        )

    def cudaSetDevice(self, index: int) -> tuple[()]:
        assert index == 0
        return ()

    def cudaRuntimeGetVersion(self) -> int:
        return 12090

    def cudaMemGetInfo(self) -> tuple[int, int]:
        return self.total - self.used, self.total

    def cudaMalloc(self, size: int) -> int:
        block = (ctypes.c_byte * size)()
        self.memory[ctypes.addressof(block)] = block
        return ctypes.addressof(block)

    def cudaMallocHost(self, size: int) -> int:
        return self.cudaMalloc(size)

    def cudaFree(self, address: int) -> tuple[()]:
        if address:
            del self.memory[address]
        return ()

    def cudaFreeHost(self, address: int) -> tuple[()]:
        return self.cudaFree(address)

    def cudaMemcpyAsync(
        self, target: int, source: int, size: int, kind: int, stream: int
    ) -> tuple[()]:
        assert kind in (1, 2)
        assert stream != 0
        assert self.capturing is None
        ctypes.memmove(target, source, size)
        return ()

    def cudaStreamCreateWithFlags(self, flags: int) -> int:
        assert flags == self.cudaStreamNonBlocking
        return next(self._handles)

    def cudaStreamSynchronize(self, stream: int) -> tuple[()]:
        del stream
        return ()

    def cudaStreamDestroy(self, stream: int) -> tuple[()]:
        del stream
        return ()

    def cudaStreamBeginCapture(self, stream: int, mode: int) -> tuple[()]:
        del stream, mode
        self.capturing = Graph()
        return ()

    def cudaStreamEndCapture(self, stream: int) -> Graph:
        del stream
        graph, self.capturing = self.capturing, None
        assert graph is not None
        return graph

    def cudaGraphInstantiate(self, graph: Graph, flags: int) -> Graph:
        assert flags == 0
        return Graph(list(graph.works))

    def cudaGraphDestroy(self, graph: Graph) -> tuple[()]:
        graph.works.clear()
        return ()

    def cudaGraphLaunch(self, graph: Graph, stream: int) -> tuple[()]:
        del stream
        for work in graph.works:
            work()
        return ()

    def cudaGraphExecDestroy(self, graph: Graph) -> tuple[()]:
        graph.works.clear()
        return ()

    def cudaEventCreate(self) -> int:
        return next(self._handles)

    def cudaEventRecord(self, event: int, stream: int) -> tuple[()]:
        del stream
        self.events[event] = self.clock_ns
        return ()

    def cudaEventSynchronize(self, event: int) -> tuple[()]:
        assert event in self.events
        return ()

    def cudaEventElapsedTime(self, start: int, end: int) -> float:
        return (self.events[end] - self.events[start]) / 1e6

    def cudaEventDestroy(self, event: int) -> tuple[()]:
        self.events.pop(event, None)
        return ()
