"""What `voxgate doctor` says of GPUs and TensorRT; nothing of theirs is imported for it."""

from __future__ import annotations

import dataclasses
import importlib.util

from voxgate.machine.cuda_packages import fitting, too_old
from voxgate.machine.environment import versions
from voxgate.machine.nvml import Driver, Identity

_GIB = 2**30
_TENSORRT = ("tensorrt", "tensorrt-cu12", "tensorrt-cu13")
_PIDS = {
    True: "yes",
    False: "no: memory is read for the whole GPU, and foreign processes cannot be told",
    None: "unknown: nothing computes on a GPU now",
}
_PERSISTENCE = {True: "on", False: "off", None: "unknown"}


def gpu_facts(driver: Driver) -> dict[str, object]:
    """For programs."""
    return {
        "nvml": not driver.reason,
        "reason": driver.reason,
        "gpus": [dataclasses.asdict(gpu) for gpu in driver.gpus],
        "pids_visible": driver.pids_visible,
        "tensorrt": versions(_TENSORRT),
        "tensorrt_found": _tensorrt_is_there(),
        "tensorrt_advice": tensorrt_advice(driver),
    }


def gpu_lines(driver: Driver) -> list[str]:
    """For people, of a machine that has a driver."""
    lines = [f"NVIDIA driver {driver.version}, CUDA {driver.cuda}"]
    lines += [_line(gpu, first=gpu == driver.first) for gpu in driver.gpus]
    lines.append(f"NVML's process ids are those of this system: {_PIDS[driver.pids_visible]}")
    found = ", ".join(f"{name} {version}" for name, version in versions(_TENSORRT).items())
    if _tensorrt_is_there():
        lines.append(f"TensorRT: {found or 'found, of unknown version'}")
    return lines + [advice for advice in [tensorrt_advice(driver)] if advice]


def tensorrt_advice(driver: Driver) -> str:
    """What to install for TensorRT; empty where what is installed fits the driver."""
    if driver.reason:
        return "TensorRT needs an NVIDIA GPU"
    if too_old(driver):
        return f"TensorRT has no package for CUDA {driver.cuda}; update the driver"
    best = fitting(_TENSORRT[-1], driver)
    if not _tensorrt_is_there():
        return f"TensorRT is missing: pip install {best}"
    # A driver runs what was made for an older CUDA, and nothing that was made for a newer one.
    others = [name for name in versions(_TENSORRT) if "-cu" in name]
    if others and min(others) > best:
        return f"TensorRT is for a newer CUDA than the driver's {driver.cuda}: pip install {best}"
    return ""


def _tensorrt_is_there() -> bool:
    return importlib.util.find_spec("tensorrt") is not None


def _line(gpu: Identity, *, first: bool) -> str:
    size = "unknown memory" if gpu.memory_bytes is None else f"{gpu.memory_bytes / _GIB:.0f} GiB"
    used = ", the one that runs engines" if first else ""
    return f"{gpu.name}, {size}, persistence mode {_PERSISTENCE[gpu.persistence]}{used}"
