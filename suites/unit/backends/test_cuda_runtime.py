"""CUDA's bindings: what a device is called, and each error as what it is."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from voxgate.backends import cuda_runtime
from voxgate.errors import DeviceError, DeviceMemoryError, HarnessError, UnavailableError

from suites.support.fake_cuda import MIB, Code, FakeCuda


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    return FakeCuda().install(monkeypatch)


@pytest.mark.usefixtures("cuda")
def test_a_device_is_named_as_nvml_names_it() -> None:
    found = cuda_runtime.device()
    assert (found.name, found.total_bytes) == ("Fake H100", 81920 * MIB)
    assert found.uuid == "GPU-00010203-0405-0607-0809-0a0b0c0d0e0f"
    assert cuda_runtime.runtime_version() == "12.9"
    assert cuda_runtime.reason_for_none() == ""
    assert cuda_runtime.device_name() == "Fake H100"


def test_a_slice_of_a_device_has_another_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeCuda(name=b"NVIDIA A100-SXM4-40GB MIG 1g.5gb").install(monkeypatch)
    assert cuda_runtime.device().uuid.startswith("MIG-00010203-")


def test_the_context_is_made_and_nothing_else(cuda: FakeCuda) -> None:
    assert cuda_runtime.create_context()
    assert cuda.used == 0
    cuda.fail("cudaGetDeviceCount", Code.cudaErrorInsufficientDriver)
    assert not cuda_runtime.create_context()
    assert "(cudaErrorInsufficientDriver) in cudaGetDeviceCount" in cuda_runtime.reason_for_none()


def test_memory_that_runs_out_is_told_with_the_sizes(cuda: FakeCuda) -> None:
    buffer = cuda_runtime.DeviceBuffer(8 * MIB)
    cuda.fail("cudaMalloc", Code.cudaErrorMemoryAllocation)
    with pytest.raises(DeviceMemoryError, match=r"cudaMalloc; 81912 of 81920 MiB free"):
        cuda_runtime.DeviceBuffer(16 * MIB)
    cuda.fail("cudaMemGetInfo", Code.cudaErrorMemoryAllocation)  # not even a context fits
    with pytest.raises(DeviceMemoryError, match="free device memory is unknown"):
        cuda_runtime.DeviceBuffer(16 * MIB)
    buffer.close()
    assert cuda.used == 0


def test_a_lost_device_is_said_to_be(cuda: FakeCuda) -> None:
    stream = cuda_runtime.Stream()
    cuda.fail("cudaStreamSynchronize", Code.cudaErrorECCUncorrectable)
    with pytest.raises(DeviceError, match=r"cudaErrorECCUncorrectable.*the GPU is lost"):
        stream.synchronize()
    cuda.fail("cudaStreamSynchronize", Code.cudaErrorStreamCaptureInvalidated)
    with pytest.raises(DeviceError) as caught:
        stream.synchronize()
    assert "lost" not in str(caught.value)


def test_what_goes_in_comes_out(cuda: FakeCuda) -> None:
    stream, device = cuda_runtime.Stream(), cuda_runtime.DeviceBuffer(24)
    source, target = (cuda_runtime.PinnedBuffer((2, 3), "float32") for _ in range(2))
    source.array[...] = np.arange(6).reshape(2, 3)
    stream.copy_in(device, source)
    stream.copy_out(target, device)
    np.testing.assert_array_equal(target.array, source.array)
    for buffer in (device, source, target):
        buffer.close()
    assert cuda.used == 0


def test_events_are_freed(cuda: FakeCuda) -> None:
    stream = cuda_runtime.Stream()
    before = stream.mark()
    cuda.clock_ns += 2_500_000
    after = stream.mark()
    assert after.since_ns(before) == 2_500_000
    del before, after
    assert not cuda.events


def test_a_capture_that_fails_ends(cuda: FakeCuda) -> None:
    stream = cuda_runtime.Stream()

    def refuse() -> None:
        msg = "no"
        raise HarnessError(msg)

    with pytest.raises(HarnessError, match="no"):
        stream.capture(refuse)
    assert cuda.capturing is None


def test_without_the_bindings_it_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda_runtime._runtime.cache_clear()
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    with pytest.raises(UnavailableError, match="pip install cuda-bindings"):
        cuda_runtime.reason_for_none()
    assert cuda_runtime.device_name() == ""
    assert "free device memory is unknown" in cuda_runtime.free_memory()


def test_a_real_device_answers() -> None:
    """Only where there is one."""
    runtime: Any = pytest.importorskip("cuda.bindings.runtime")
    cuda_runtime._runtime.cache_clear()
    if reason := cuda_runtime.reason_for_none():
        pytest.skip(reason)
    assert runtime is not None
    assert cuda_runtime.device().uuid.startswith(("GPU-", "MIG-"))
    stream = cuda_runtime.Stream()
    assert stream.mark().since_ns(stream.mark()) <= 0
