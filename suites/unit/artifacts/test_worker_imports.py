"""What a worker imports: little of other packages, and nothing that Python 3.10 lacks."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import voxgate
from voxgate import backends
from voxgate.artifacts import jobs
from voxgate.artifacts.interpreter import OLDEST, WORKER_MODULES, find
from voxgate.artifacts.launcher import Limits, run_job
from voxgate.records.runtime import EngineOptions
from voxgate.stages.requests import BuildRequest, ProbeRequest

PACKAGE = Path(voxgate.__file__).resolve().parent
JOBS = (jobs.PROBE, jobs.BUILD, jobs.RUN, jobs.PAIR, jobs.PROFILE)

# Parts of the standard library that came after the oldest Python of a worker.
NEWER = {
    "builtins": {"BaseExceptionGroup", "ExceptionGroup"},
    "contextlib": {"chdir"},
    "datetime": {"UTC"},
    "enum": {"EnumCheck", "FlagBoundary", "ReprEnum", "StrEnum", "member", "nonmember", "verify"},
    "hashlib": {"file_digest"},
    "inspect": {"getmembers_static", "markcoroutinefunction"},
    "itertools": {"batched"},
    "math": {"cbrt", "exp2", "fma", "sumprod"},
    "operator": {"call"},
    "os": {"process_cpu_count"},
    "pathlib": {"UnsupportedOperation"},
    "typing": {
        "LiteralString", "Never", "NotRequired", "ReadOnly", "Required", "Self", "TypeAliasType",
        "TypeVarTuple", "Unpack", "assert_never", "assert_type", "clear_overloads",
        "dataclass_transform", "get_overloads", "override", "reveal_type",
    },
}  # fmt: skip
NEWER_MODULES = {"tomllib", "wsgiref.types", "asyncio.taskgroups", "compression"}

# What the harness itself depends on, and what no worker may need unless its backend says so.
OURS = {
    "einops", "filelock", "jinja2", "lief", "markupsafe", "ml_dtypes", "modelopt", "monai", "nibabel",
    "nilearn", "nncf", "onnx", "onnx_graphsurgeon", "onnxruntime", "onnxscript", "onnxslim",
    "openvino", "psutil", "pynvml", "pytest", "rich", "safetensors", "torch",
}  # fmt: skip

REFUSING = """
import sys

class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {refused!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}} (refused)", name=name)

sys.meta_path.insert(0, Refusing())
"""


def files_of(modules: list[str]) -> dict[str, Path]:
    """Every module of the harness that these import, wherever in the file."""
    found: dict[str, Path] = {}
    pending = list(modules)
    while pending:
        name = pending.pop()
        path = PACKAGE.joinpath(*name.split(".")[1:])
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if name in found or not path.is_file():
            continue
        found[name] = path
        pending += [name for name in imported(path) if name.startswith("voxgate")]
    return found


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


CLOSURE = files_of(
    [
        "voxgate.artifacts.worker",
        "voxgate.machine.packages",
        *(job.target.partition(":")[0] for job in JOBS),
        *(backends.get(name).module for name in ("tensorrt", "tensorrt-rtx")),
    ]
)


def newer_parts(source: str) -> set[str]:
    """What a file uses that the oldest Python has not."""
    tree = ast.parse(source, feature_version=OLDEST)
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & NEWER_MODULES
        elif isinstance(node, ast.ImportFrom):
            names = {alias.name for alias in node.names}
            found |= {
                f"{node.module}.{name}" for name in names & NEWER.get(node.module or "", set())
            }
            found |= {node.module or ""} & NEWER_MODULES
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.attr in NEWER.get(node.value.id, set()):
                found.add(f"{node.value.id}.{node.attr}")
        elif isinstance(node, ast.Name) and node.id in NEWER["builtins"]:
            found.add(node.id)
    return found


def test_the_closure_holds_the_backend_and_its_job() -> None:
    assert {
        "voxgate.stages.launch",
        "voxgate.backends.cuda_runtime",
        "voxgate.artifacts.messages",
    } <= set(CLOSURE)
    assert "voxgate.artifacts.launcher" not in CLOSURE
    assert "voxgate.config" not in CLOSURE


@pytest.mark.parametrize("name", sorted(CLOSURE))
def test_the_oldest_python_has_all_of_it(name: str) -> None:
    assert not newer_parts(CLOSURE[name].read_text())


@pytest.mark.parametrize(
    "source",
    [
        "from typing import Self", "from datetime import UTC", "import tomllib",
        "import enum\nclass A(enum.StrEnum): pass", "raise ExceptionGroup('a', [])",
    ],
)  # fmt: skip
def test_what_is_newer_is_seen(source: str) -> None:
    assert newer_parts(source)


def test_newer_syntax_is_seen() -> None:
    with pytest.raises(SyntaxError):
        newer_parts("try:\n    pass\nexcept* ValueError:\n    pass")


@pytest.mark.parametrize("name", [name for name in backends.BACKENDS if name != "fake"])
def test_a_backend_needs_nothing_but_what_it_says(name: str) -> None:
    spec = backends.get(name)
    allowed = {module.partition(".")[0] for module in {**WORKER_MODULES, **spec.modules}}
    script = REFUSING.format(refused=sorted(OURS - allowed)) + (
        "import voxgate.artifacts.worker\n"
        f"for module in {sorted({job.target.partition(':')[0] for job in JOBS})}:\n"
        "    __import__(module)\n"
        f"from voxgate import backends\nprint(backends.load({name!r}).probe())\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "(refused)" not in done.stdout


@pytest.fixture(scope="session")
def python_310() -> str:
    """A Python 3.10 with what a worker needs; VOXGATE_PYTHON_310 names one."""
    named = os.environ.get("VOXGATE_PYTHON_310")
    ours = PACKAGE.parents[1] / ".venv-python-3.10" / "bin" / "python"
    python = named or (str(ours) if ours.exists() else shutil.which("python3.10"))
    if python is None:
        pytest.skip("there is no Python 3.10 here")
    script = f"import sys, {', '.join(WORKER_MODULES)}; print(sys.version_info[:2] == (3, 10))"
    done = subprocess.run([python, "-c", script], capture_output=True, text=True, check=False)
    if done.stdout.strip() != "True":
        pytest.skip(f"{python} is no Python 3.10 with {', '.join(WORKER_MODULES)}")
    return python


def test_a_worker_runs_on_python_310(python_310: str, tmp_path: Path) -> None:
    limits = Limits(seconds=60)
    python = find(python_310, ["fake"]).path
    assert run_job(jobs.PROBE, ProbeRequest(backend="fake"), limits, python).available
    options = EngineOptions(precision="int8", threads=1, model="unet", task="phantom-mini", classes=4)  # fmt: skip
    request = BuildRequest(
        backend="fake", options=options, source="", folder=str(tmp_path), lint=False
    )
    assert run_job(jobs.BUILD, request, limits, python).engine_bytes > 0
    probe = run_job(jobs.PROBE, ProbeRequest(backend="tensorrt"), limits, python)
    assert probe.available or "TensorRT" in probe.reason or "CUDA" in probe.reason


def test_every_job_imports_on_python_310(python_310: str) -> None:
    modules = sorted(name for name in CLOSURE if "quantizers" not in name)
    script = REFUSING.format(refused=sorted(OURS)) + f"for m in {modules}: __import__(m)"
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run(
        [python_310, "-c", script], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
