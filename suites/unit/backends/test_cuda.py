"""Memory that runs out on a GPU: one error, with the sizes that NVML tells."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from voxgate.backends import cuda
from voxgate.errors import DeviceMemoryError

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
    monkeypatch.setattr(cuda, "open_device", lambda _: (device(140 * GIB, 139 * GIB), ""))
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
    monkeypatch.setattr(cuda, "open_device", lambda _: found)
    assert cuda.free_memory().startswith("free device memory is unknown: ")


def test_a_context_that_does_not_fit_is_that_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def zeros(*_: object, **__: object) -> None:
        msg = "CUDA out of memory. Tried to allocate 2.00 MiB"
        raise RuntimeError(msg)

    monkeypatch.setattr(cuda, "open_device", lambda _: (None, "no driver"))
    torch = SimpleNamespace(zeros=zeros, cuda=SimpleNamespace(is_available=lambda: True))
    with pytest.raises(DeviceMemoryError, match="Tried to allocate"):
        cuda.create_context(torch)


UUID = "12345678-1234-5678-1234-567812345678"


@pytest.mark.parametrize(
    ("properties", "wanted"),
    [
        ({"name": "NVIDIA H100", "uuid": UUID}, f"GPU-{UUID}"),
        ({"name": "NVIDIA H100 MIG 1g.10gb", "uuid": UUID}, f"MIG-{UUID}"),
        ({"name": "NVIDIA H100"}, "cuda"),
    ],
)
def test_the_accelerator_is_named_as_nvml_names_it(properties: dict[str, str], wanted: str) -> None:
    torch = SimpleNamespace(
        cuda=SimpleNamespace(get_device_properties=lambda _: SimpleNamespace(**properties))
    )
    assert cuda.accelerator(torch) == wanted


def test_free_memory_is_that_of_the_gpu_that_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def open_device(accelerator: str) -> tuple[SimpleNamespace, str]:
        asked.append(accelerator)
        return device(2 * GIB, GIB), ""

    monkeypatch.setattr(cuda, "open_device", open_device)
    monkeypatch.setattr(cuda, "accelerator", lambda _: "GPU-of-the-probe")
    assert cuda.free_memory() == "1024 of 2048 MiB free on the device"
    assert asked == ["GPU-of-the-probe"]
