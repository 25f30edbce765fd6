"""Which of NVML's GPUs is meant: by UUID, by what a runtime may see, and never by guessing."""

from __future__ import annotations

import os
from typing import Any

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_ORDER = "CUDA_DEVICE_ORDER"
_PREFIX = len("GPU-")


def find(nvml: Any, accelerator: str) -> tuple[Any | None, str]:
    """The handle of what a probe names, or None and why there is none.

    A UUID ("GPU-…", "MIG-…") is that device or nothing. Anything else means that the runtime does not
    tell: CUDA's first device then.
    """
    if accelerator.startswith(("GPU-", "MIG-")):
        handle = _by_uuid(nvml, accelerator)
        return handle, "" if handle is not None else f"NVML has no GPU {accelerator}"
    return _first(nvml)


def every(nvml: Any) -> list[Any]:
    """All GPUs in NVML's order, which is that of the bus."""
    count = nvml.nvmlDeviceGetCount()
    return [nvml.nvmlDeviceGetHandleByIndex(number) for number in range(count)]


def whole(nvml: Any, handle: Any) -> Any:
    """The GPU that a slice is of; of a whole one itself."""
    function = getattr(nvml, "nvmlDeviceGetDeviceHandleFromMigDeviceHandle", None)
    if function is None:
        return handle
    try:
        return function(handle)
    except nvml.NVMLError:
        return handle


def is_lost(nvml: Any, error: Any) -> bool:
    """Whether an error says that the GPU is gone until somebody resets it."""
    lost = (getattr(nvml, f"NVML_ERROR_{name}", None) for name in ("GPU_IS_LOST", "RESET_REQUIRED"))
    return getattr(error, "value", None) in {value for value in lost if value is not None}


def _first(nvml: Any) -> tuple[Any | None, str]:
    """CUDA's first device, by CUDA_VISIBLE_DEVICES or by its own order."""
    listed = os.environ.get(_VISIBLE)
    first = None if listed is None else listed.split(",")[0].strip()
    if first is not None and first.startswith(("GPU-", "MIG-")):
        handle = _by_uuid(nvml, first)
        return handle, "" if handle is not None else f"{_VISIBLE}={listed} names no GPU of NVML"
    if first is not None and not first.isdecimal():
        return None, f"{_VISIBLE}={listed} shows no GPU"
    handles = every(nvml)
    number = int(first or 0)
    if number >= len(handles):
        return None, f"there is no GPU {number}" + (f" ({_VISIBLE}={listed})" if listed else "")
    if os.environ.get(_ORDER) != "PCI_BUS_ID" and len(_names(nvml, handles)) > 1:
        # CUDA puts the fastest first, NVML the lowest slot.
        return None, (
            "there are several kinds of GPUs, and the runtime does not tell which one it uses; "
            f"name one by its UUID in {_VISIBLE}, or set {_ORDER}=PCI_BUS_ID"
        )
    return handles[number], ""


def _names(nvml: Any, handles: list[Any]) -> set[str]:
    return {str(nvml.nvmlDeviceGetName(handle)) for handle in handles}


def _by_uuid(nvml: Any, uuid: str) -> Any | None:
    """The GPU whose UUID begins so, as CUDA abbreviates them; a slice by its whole UUID.

    PyTorch names a slice by the same digits without saying that it is one.
    """
    if uuid.startswith("GPU-") and len(uuid) > _PREFIX:
        found = (h for h in every(nvml) if str(nvml.nvmlDeviceGetUUID(h)).startswith(uuid))
        if (handle := next(found, None)) is not None:
            return handle
    try:
        return nvml.nvmlDeviceGetHandleByUUID(f"MIG-{uuid[_PREFIX:]}")
    except nvml.NVMLError:
        return None
