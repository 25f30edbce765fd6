"""Where a run takes place: processor, instruction sets, GPU, versions, commit."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from voxgate.errors import HarnessError
from voxgate.machine import packages
from voxgate.machine.gpu_facts import settings
from voxgate.machine.nvml import Driver, read_driver
from voxgate.records.run import Environment
from voxgate.records.runtime import Probe

# What decides how fast int8 and bf16 are on a CPU, as /proc/cpuinfo names it.
_ISA = (
    "avx2",
    "avx512f",
    "avx_vnni",
    "avx512_vnni",
    "avx512_bf16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
)

PACKAGES = (
    "torch", "onnx", "onnxruntime", "onnxscript", "openvino", "nncf", "nvidia-modelopt", "tensorrt",
    "cuda-bindings", "monai", "nilearn", "nibabel", "numpy", "pytest", "pytest-benchmark",
)  # fmt: skip


def read_environment(threads: int, probes: Mapping[str, Probe | HarnessError]) -> Environment:
    """Everything about this machine that a comparison must hold equal.

    ``probes`` are what backends said of themselves, by name. The GPU is that of the first that runs on
    one; of a machine where none does, the one that CUDA would use.
    """
    import psutil  # workers import this module, too, and need not have it

    found = {name: p for name, p in probes.items() if isinstance(p, Probe) and p.available}
    probe = next((p for p in found.values() if p.accelerator), None)
    nvidia = read_driver(probe.accelerator if probe else "")
    return Environment(
        host=platform.node(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu=cpu_model(),
        isa=isa_flags(),
        cores=usable_cores(),
        threads=threads,
        memory_bytes=psutil.virtual_memory().total,
        gpu=_gpu_name(nvidia, probe),
        gpu_uuid=nvidia.first.uuid if nvidia.first else None,
        gpu_settings=settings(nvidia.first) if nvidia.first else None,
        driver=nvidia.version,
        cuda=nvidia.cuda,
        python=platform.python_version(),
        backends={name: p.version for name, p in found.items()},
        packages=versions(PACKAGES),
        git_commit=_git_commit(),
    )


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def versions(distributions: Iterable[str]) -> dict[str, str]:
    """Installed versions by distribution name; what is missing is left out."""
    return packages.versions(list(distributions))


def gpu_identity(probe: Probe) -> tuple[str | None, ...]:
    """GPU, driver and CUDA version: what an engine of a GPU runtime is bound to."""
    nvidia = _driver_of(probe.accelerator)
    return (_gpu_name(nvidia, probe), nvidia.version, nvidia.cuda)


def _gpu_name(nvidia: Driver, probe: Probe | None) -> str | None:
    """As NVML has it or, where it does not tell, as the runtime does."""
    if nvidia.first is not None:
        return nvidia.first.name
    return probe.device if probe is not None and probe.accelerator else None


@functools.cache
def _driver_of(accelerator: str) -> Driver:
    return read_driver(accelerator)


@functools.cache
def cpu_model() -> str:
    """The processor's own name, or the architecture where it gives none."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


@functools.cache
def isa_flags() -> tuple[str, ...]:
    """Instruction sets that matter to quantized inference, in a fixed order."""
    present = set(_cpuinfo("flags").split())
    return tuple(flag for flag in _ISA if flag in present)


def _cpuinfo(field: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return ""


def _git_commit() -> str | None:
    """The commit of the harness's own checkout, with ``+dirty`` when files differ from it."""
    folder = Path(__file__).resolve().parents[3]
    if not (folder / ".git").exists():  # installed; a repository around it is somebody else's
        return None
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        dirty = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}+dirty" if dirty else commit


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
