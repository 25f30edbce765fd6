"""What backends on CUDA share: the GPU that PyTorch uses, its context, and its memory's end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from voxgate.backends.base import accelerator_name
from voxgate.errors import DeviceMemoryError, HarnessError
from voxgate.machine.nvml import open_device
from voxgate.machine.sdk import import_sdk
from voxgate.records.runtime import Probe

_MIB = 2**20


def probe_gpu(torch: Any, version: str) -> Probe:
    """The answer of a backend that is here, on the GPU that engines would run on."""
    return Probe(
        available=True,
        version=version,
        device=torch.cuda.get_device_name(),
        accelerator=accelerator(torch),
    )


def accelerator(torch: Any) -> str:
    """The first device's UUID as NVML has it, or a slice's; "cuda" where PyTorch tells none."""
    properties = torch.cuda.get_device_properties(0)
    uuid = getattr(properties, "uuid", None)
    if uuid is None:
        return "cuda"
    return accelerator_name(str(getattr(properties, "name", "")), UUID(str(uuid)).bytes)


def create_context(torch: Any) -> bool:
    """CUDA's context and the allocator's smallest block; False where there is no CUDA."""
    if not torch.cuda.is_available():
        return False
    with memory_errors():
        torch.zeros(1, device="cuda")
        torch.cuda.synchronize()
    return True


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turn PyTorch's several ways to say that memory ran out into one, with the sizes.

    Raises:
        DeviceMemoryError: an allocation failed, be it of a tensor or of CUDA's context.
    """
    try:
        yield
    except RuntimeError as error:  # both of PyTorch's classes for it are
        if "out of memory" not in str(error):
            raise
        msg = f"{str(error).splitlines()[0]}; {free_memory()}"
        raise DeviceMemoryError(msg) from error


def free_memory() -> str:
    """The GPU's free memory in words, by NVML: without a context CUDA cannot be asked."""
    device, reason = open_device(_which())
    if device is None:
        return f"free device memory is unknown: {reason}"
    total, used = device.identity().memory_bytes, device.read(os.getpid()).device_bytes
    device.close()
    if total is None or used is None:
        return "free device memory is unknown: the driver does not tell"
    return f"{(total - used) / _MIB:.0f} of {total / _MIB:.0f} MiB free on the device"


def _which() -> str:
    """The GPU that PyTorch uses; what it found of its devices does not need their memory."""
    try:
        return accelerator(import_sdk("torch", "PyTorch"))
    except (HarnessError, RuntimeError, AssertionError):  # PyTorch's, for a build without CUDA
        return ""
