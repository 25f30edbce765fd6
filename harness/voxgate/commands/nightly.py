"""Whether the main job of a GPU nightly can run on this machine, in one sentence."""

from __future__ import annotations

from dataclasses import dataclass

from voxgate import backends
from voxgate.artifacts.interpreter import find
from voxgate.errors import UnavailableError
from voxgate.machine import packages as installed
from voxgate.machine.cuda_packages import fitting
from voxgate.machine.nvml import Driver
from voxgate.records.runtime import Probe

BACKEND = "tensorrt"
# As people call the modules that its workers import.
_NAMES = {"tensorrt": "TensorRT", "cuda.bindings": "cuda-bindings"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Nightly:
    """The command, and what it lacks here in words; empty where it can run."""

    command: str
    lacking: str
    runs_on: str

    @property
    def sentence(self) -> str:
        """For people."""
        if self.lacking:
            return f"The GPU nightly, {self.command}, cannot run here: {self.lacking}."
        return f"The GPU nightly, {self.command}, can run here: {self.runs_on}."


def read_nightly(driver: Driver, probe: Probe, python: str | None) -> Nightly:
    """What a driver, TensorRT's answer and the interpreter that --python names for it say.

    Raises:
        UsageError: what is named is no Python, or one that is too old.
    """
    named = f" --python {BACKEND}={python}" if python else ""
    return Nightly(
        command=f'make bench ARGS="--backend {BACKEND} --models paper{named}"',
        lacking="" if probe.available else _lacking(driver, probe, python),
        runs_on=f"TensorRT {probe.version} on {probe.device}" if probe.available else "",
    )


def _lacking(driver: Driver, probe: Probe, python: str | None) -> str:
    # Behind a semicolon the reason advises a CPU backend, which is none for this.
    gpu = f"no GPU: {driver.reason.partition(';')[0]}" if driver.reason else ""
    packages = _other_lacks(python) if python else _own_lacks(driver)
    found = [words for words in (gpu, packages) if words]
    return "; ".join(found) or probe.reason.rstrip(".")


def _other_lacks(python: str) -> str:
    try:
        find(python, [BACKEND])
    except UnavailableError as error:
        return str(error)
    return ""


def _own_lacks(driver: Driver) -> str:
    modules = backends.get(BACKEND).modules
    lacking = installed.missing(list(modules))
    if not lacking:
        return ""
    names = " and ".join(_NAMES[module] for module in lacking)
    wanted = " ".join(fitting(modules[module], driver) for module in lacking)
    verb = "is" if len(lacking) == 1 else "are"
    other = f"name a Python that has them: --python {BACKEND}=PATH"
    return f"{names} {verb} missing (pip install {wanted}, or {other})"
