"""The Python that builds and runs engines: ours, or another one with another runtime in it."""

from __future__ import annotations

import functools
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from voxgate import backends
from voxgate.artifacts.process_environment import worker_environment
from voxgate.errors import UnavailableError, UsageError
from voxgate.machine import packages as installed
from voxgate.machine.cuda_packages import fitting
from voxgate.machine.environment import PACKAGES
from voxgate.machine.nvml import read_driver

OLDEST = (3, 10)

# What a worker imports to probe, build and run, beside the backend's own modules.
WORKER_MODULES = {"msgspec": "msgspec", "numpy": "numpy"}

_TIMEOUT_S = 120  # of a cold disk
_SHOWN = 200
# Any Python answers the first. -c puts the working directory on the path, whose modules are not its own.
_VERSION_SCRIPT = "import sys; print('voxgate %d %d %d' % sys.version_info[:3])"
_RUN_SCRIPT = """
import sys
sys.path[:] = [folder for folder in sys.path if folder]
exec(compile(sys.argv.pop(1), "machine/packages.py", "exec"))
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interpreter:
    """A Python that can be a worker. ``builds`` tell apart two builds of one version."""

    path: str
    version: str
    packages: dict[str, str]
    builds: dict[str, str]

    @property
    def is_ours(self) -> bool:
        """Whether it is the one that runs VoxGate."""
        return self.path == sys.executable


class _Facts(msgspec.Struct, frozen=True):
    missing: list[str]
    packages: dict[str, str]
    builds: dict[str, str]


@functools.cache
def own() -> Interpreter:
    """The interpreter of this process."""
    names = _distributions()
    return Interpreter(
        path=sys.executable,
        version=platform.python_version(),
        packages=installed.versions(names),
        builds=installed.builds(names),
    )


def find(python: str, backend_names: Iterable[str]) -> Interpreter:
    """The interpreter at a path, or of a name on the PATH, with all that its workers import.

    Raises:
        UsageError: there is none, it is no Python, or one that is too old.
        UnavailableError: it lacks a module; names it, and how to install it.
    """
    path = _executable(python)
    version = _version(path)
    wanted = dict(WORKER_MODULES)
    for name in backend_names:
        wanted |= backends.get(name).modules
    facts = _facts(path, list(wanted))
    if facts.missing:
        driver = read_driver()
        needed = (fitting(wanted[module], driver) for module in facts.missing)
        distributions = " ".join(dict.fromkeys(needed))
        msg = (
            f"{path} lacks {', '.join(facts.missing)}, which VoxGate's workers import; "
            f"install with '{path} -m pip install {distributions}'"
        )
        raise UnavailableError(msg)
    return Interpreter(path=path, version=version, packages=facts.packages, builds=facts.builds)


def _executable(python: str) -> str:
    """The absolute path; links are kept, as that of an environment's Python is what makes it one."""
    named = python if os.sep in python else shutil.which(python) or python
    path = Path(named).expanduser().absolute()
    if path.is_dir():
        msg = f"{path} is a folder; name the Python in it, like {path / 'bin' / 'python'}"
        raise UsageError(msg)
    if not path.is_file():
        msg = f"there is no Python at {path}"
        raise UsageError(msg)
    if not os.access(path, os.X_OK):
        msg = f"{path} is not executable; name the Python of an environment"
        raise UsageError(msg)
    return str(path)


def _version(path: str) -> str:
    answer = _ask(path, _VERSION_SCRIPT)
    name, *numbers = answer.split() or [""]
    if name != "voxgate" or len(numbers) != 3:
        msg = f"{path} is no Python: asked for its version it said {answer[:_SHOWN]!r}"
        raise UsageError(msg)
    if tuple(int(number) for number in numbers) < OLDEST:
        oldest = ".".join(str(number) for number in OLDEST)
        msg = f"{path} is Python {'.'.join(numbers)}; VoxGate's workers need {oldest} or newer"
        raise UsageError(msg)
    return ".".join(numbers)


def _facts(path: str, modules: list[str]) -> _Facts:
    source = Path(installed.__file__).read_text(encoding="utf-8")
    wanted = json.dumps({"modules": modules, "packages": _distributions()})
    answer = _ask(path, _RUN_SCRIPT, source, wanted)
    try:
        return msgspec.json.decode(answer, type=_Facts)
    except ValueError as error:  # of msgspec's errors each is a ValueError
        msg = f"{path} does not tell its packages: {error}; it said {answer[:_SHOWN]!r}"
        raise UsageError(msg) from error


def _ask(path: str, script: str, *arguments: str) -> str:
    command = [path, "-c", script, *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False,
            stdin=subprocess.DEVNULL, timeout=_TIMEOUT_S, env=worker_environment(path),
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        msg = f"{path} does not run as a Python: {error}"
        raise UsageError(msg) from error
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip()[-_SHOWN:]
        msg = f"{path} does not run as a Python: it exited with code {done.returncode}: {words}"
        raise UsageError(msg)
    return done.stdout


@functools.cache
def _distributions() -> list[str]:
    """Every distribution that a record names or an engine depends on."""
    needed = (name for spec in backends.BACKENDS.values() for name in spec.packages)
    return list(dict.fromkeys((*PACKAGES, *needed)))
