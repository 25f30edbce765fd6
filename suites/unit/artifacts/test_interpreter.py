"""Another Python as a worker: which ones are refused, with which words, and what it finds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import voxgate
from voxgate import backends
from voxgate.artifacts import interpreter, jobs
from voxgate.artifacts.interpreter import WORKER_MODULES, find, own
from voxgate.artifacts.launcher import Limits, run_job
from voxgate.artifacts.process_environment import worker_environment
from voxgate.errors import UnavailableError, UsageError
from voxgate.machine import packages
from voxgate.machine.nvml import Driver
from voxgate.stages.requests import ProbeRequest


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def bare_environment(folder: Path) -> str:
    """A Python without any package, through the link that makes it an environment."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return str(folder / "bin" / "python")


def test_our_own_is_found_with_its_packages() -> None:
    found = find(sys.executable, ["fake"])
    assert found == own()
    assert found.is_ours
    assert found.packages["numpy"]
    assert found.builds["openvino"].startswith(found.packages["openvino"] + " ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("echo hello", "is no Python: asked for its version it said 'hello"),
        ("echo broken >&2; exit 3", "exited with code 3: broken"),
        ("echo voxgate 3 9 1", r"is Python 3\.9\.1; VoxGate's workers need 3\.10 or newer"),
        ("echo voxgate 2 7 18", r"is Python 2\.7\.18"),
        ("echo voxgate 3 12 0", "does not tell its packages"),
    ],
)
def test_what_is_no_fitting_python_is_usage(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        find(script(tmp_path / "python3", text), ["fake"])


def test_a_path_without_a_python_is_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"there is no Python at {tmp_path}/nothing"):
        find(str(tmp_path / "nothing"), ["fake"])
    with pytest.raises(UsageError, match="is a folder; name the Python in it"):
        find(str(tmp_path), ["fake"])
    with pytest.raises(UsageError, match=r"there is no Python at .*no-such-python"):
        find("no-such-python", ["fake"])
    plain = tmp_path / "plain"
    plain.write_text("print()")
    with pytest.raises(UsageError, match="is not executable"):
        find(str(plain), ["fake"])
    plain.chmod(0o755)  # neither a script nor a program
    with pytest.raises(UsageError, match="does not run as a Python"):
        find(str(plain), ["fake"])


def test_missing_modules_are_named_with_what_installs_them(tmp_path: Path) -> None:
    python = bare_environment(tmp_path / "env")
    words = (
        f"{python} lacks msgspec, numpy, onnxruntime, onnx, which .*"
        f"'{python} -m pip install msgspec numpy onnxruntime onnx'"
    )
    with pytest.raises(UnavailableError, match=words):
        find(python, ["onnxruntime"])


@pytest.mark.parametrize(
    ("cuda", "package"),
    [("12.8", "tensorrt-cu12"), ("13.1", "tensorrt-cu13"), ("14.0", "tensorrt-cu13"), (None, "tensorrt-cu13")],
)  # fmt: skip
def test_the_package_of_the_drivers_cuda_is_advised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cuda: str | None, package: str
) -> None:
    monkeypatch.setattr(interpreter, "read_driver", lambda: Driver(cuda=cuda))
    python = bare_environment(tmp_path / "env")
    words = f"lacks msgspec, numpy, tensorrt, cuda.bindings, .*install msgspec numpy {package} cuda-bindings'"
    with pytest.raises(UnavailableError, match=words):
        find(python, ["tensorrt"])


def test_modules_of_the_working_directory_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = bare_environment(tmp_path / "env")
    (tmp_path / "numpy.py").write_text("")
    (tmp_path / "json.py").write_text("raise SystemExit('not json')")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnavailableError, match="lacks msgspec, numpy,"):
        find(python, ["fake"])


def test_another_python_gets_the_package_and_nothing_beside_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("PYTHONHOME", "/elsewhere")
    assert worker_environment(sys.executable) is None
    given = worker_environment("/other/python")
    assert given is not None
    assert "PYTHONHOME" not in given
    (entry,) = Path(given["PYTHONPATH"]).iterdir()
    assert entry.name == "voxgate"
    assert entry.resolve() == Path(voxgate.__file__).resolve().parent


def test_a_worker_of_another_python_runs_our_code(tmp_path: Path) -> None:
    python = script(tmp_path / "python3", f'exec "{sys.executable}" "$@"')
    assert find(python, ["fake"]).builds == own().builds
    probe = run_job(jobs.PROBE, ProbeRequest(backend="fake"), Limits(seconds=60), python)
    assert probe.available


def test_two_builds_of_one_version_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for number, files in enumerate(["a.so,sha256=1,10", "a.so,sha256=2,10", "a.so,sha256=1,10"]):
        folder = tmp_path / str(number) / "thing-1.0.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
        differing = f"../../bin/x{number},,\n__pycache__/y{number}.pyc,,\nthing-1.0.dist-info/R,,\n"
        (folder / "RECORD").write_text(f"{differing}{files}\n")
        with monkeypatch.context() as patched:
            patched.setattr(sys, "path", [str(folder.parent)])
            found.append(packages.builds(["thing", "missing"]))
    assert found[0] != found[1]
    assert found[0] == found[2]
    assert list(found[0]) == ["thing"]


@pytest.mark.parametrize(
    "module", ["stages.probe", "stages.build", "stages.profile", "stages.launch"]
)
def test_a_worker_needs_little(modules_after: Callable[[str], set[str]], module: str) -> None:
    standard = {*sys.stdlib_module_names, "voxgate"}
    before = modules_after("")
    loaded = modules_after(
        f"import voxgate.artifacts.worker, voxgate.{module}, voxgate.backends.fake"
    )
    assert loaded - before - standard <= {*WORKER_MODULES, "typing_extensions"}


def test_every_real_backend_says_what_it_imports() -> None:
    assert all(spec.modules for spec in backends.BACKENDS.values() if spec.name != "fake")


def test_the_script_answers_as_a_script() -> None:
    wanted = json.dumps({"modules": ["os", "no_such_module"], "packages": ["numpy", "nothing"]})
    done = subprocess.run(
        [sys.executable, "-c", Path(packages.__file__).read_text(), wanted],
        capture_output=True, text=True, check=True, env=dict(os.environ),
    )  # fmt: skip
    answer = json.loads(done.stdout)
    assert answer["missing"] == ["no_such_module"]
    assert list(answer["packages"]) == ["numpy"]
