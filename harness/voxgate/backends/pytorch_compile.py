"""PyTorch, compiled: networks, precisions and devices of `voxgate.backends.pytorch`, by torch.compile.

An engine is the weights, as without it: each worker compiles when it loads them, with default options
and one inference of an empty patch, so the time of loading tells what compiling takes. What Inductor
and Triton write lies in the worker's temporary folder and ends with it; nothing is kept for the next.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from voxgate import datasets
from voxgate.backends.pytorch import PyTorch, PyTorchSession
from voxgate.errors import BuildError, DeviceMemoryError, HarnessError, UnavailableError
from voxgate.records.runtime import EngineOptions, Probe

# How Inductor and Triton say that the machine lacks something; anything else is the network's fault.
_MISSING = ("C++ compiler", "C compiler", "triton installation", "Python.h")
_SHOWN = 300


class CompiledPyTorch(PyTorch):
    """The same backend, whose sessions run compiled networks."""

    def probe(self) -> Probe:
        """As of PyTorch; and whether what compiles the kernels is there."""
        probe = super().probe()
        lacking = _lacking(on_gpu=bool(probe.accelerator)) if probe.available else ""
        return replace(probe, available=False, reason=lacking) if lacking else probe

    def load(self, engine: bytes, options: EngineOptions) -> PyTorchSession:
        """A compiled network; it compiled for patches of the task.

        Raises:
            UnavailableError: a compiler or its headers are not here.
            BuildError: the network does not compile.
            DeviceMemoryError: compiling, or the first inference, ran out of memory.
        """
        session = super().load(engine, options)
        _keep_files_in(Path(tempfile.gettempdir()))
        session.compile()
        patch = np.zeros((1, 1, *datasets.get(options.task).patch_size), np.float32)
        try:
            session.infer(patch)
        except DeviceMemoryError:
            raise
        except Exception as error:
            raise _refusal(error, options.model) from error
        return session


def _keep_files_in(folder: Path) -> None:
    """Whatever the user has set: kernels of an earlier run would make compiling look free."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "inductor")
    os.environ["TRITON_CACHE_DIR"] = str(folder / "triton")


def _lacking(*, on_gpu: bool) -> str:
    """What is not here of that which compiles kernels; empty where all seems to be."""
    if on_gpu and importlib.util.find_spec("triton") is None:
        return "torch.compile needs Triton on a GPU; install it with 'pip install triton'"
    variable, names = ("CC", ("gcc", "clang", "cc")) if on_gpu else ("CXX", ("g++",))
    chosen = os.environ.get(variable)
    if any(map(shutil.which, (chosen,) if chosen else names)):
        return ""
    found = (
        f"{variable} names {chosen}, which is none"
        if chosen
        else f"no {' or '.join(names)} is on the PATH"
    )
    language = "C" if on_gpu else "C++"
    return f"torch.compile needs a {language} compiler, and {found}; install one (Debian: 'apt-get install g++')"


def _refusal(error: Exception, model: str) -> HarnessError:
    words = " ".join(str(error).split())
    shown = words[:_SHOWN]
    if any(sign in words for sign in _MISSING):
        return UnavailableError(f"torch.compile lacks something on this machine: {shown}")
    return BuildError(f"torch.compile does not compile {model}: {type(error).__name__}: {shown}")


BACKEND = CompiledPyTorch()
