"""Memory that runs out on a GPU: one error, with the sizes that NVML tells."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from harness.backends import cuda
from harness.errors import DeviceMemoryError

GIB = 2**30


def device(total: int | None, used: int | None) -> SimpleNamespace:
    return SimpleNamespace(
        identity=lambda: SimpleNamespace(memory_bytes=total),
        read=lambda _: SimpleNamespace(device_bytes=used),
        close=lambda: None,
    )


def fail(words: str) -> None:
    raise RuntimeError(words)


def test_an_allocation_that_failed_names_the_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "open_device", lambda: (device(140 * GIB, 139 * GIB), ""))
    with pytest.raises(DeviceMemoryError) as caught, cuda.memory_errors():
        fail("CUDA error: out of memory\nSearch for cudaErrorMemoryAllocation")
    wanted = "CUDA error: out of memory; 1024 of 143360 MiB free on the device"
    assert str(caught.value) == wanted


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="illegal memory access"), cuda.memory_errors():
        fail("CUDA error: an illegal memory access was encountered")


@pytest.mark.parametrize(
    "found", [(None, "no driver"), (device(None, 1), ""), (device(1, None), "")]
)
def test_sizes_that_nobody_tells_are_unknown(
    monkeypatch: pytest.MonkeyPatch, found: tuple[object, str]
) -> None:
    monkeypatch.setattr(cuda, "open_device", lambda: found)
    assert cuda.free_memory().startswith("free device memory is unknown: ")


def test_a_context_that_does_not_fit_is_that_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def zeros(*_: object, **__: object) -> None:
        msg = "CUDA out of memory. Tried to allocate 2.00 MiB"
        raise RuntimeError(msg)

    monkeypatch.setattr(cuda, "open_device", lambda: (None, "no driver"))
    torch = SimpleNamespace(zeros=zeros, cuda=SimpleNamespace(is_available=lambda: True))
    with pytest.raises(DeviceMemoryError, match="Tried to allocate"):
        cuda.create_context(torch)
