"""The extras of pyproject.toml install what backends need, and advice to install can be pasted."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from voxgate import backends

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {
    name: [Requirement(line) for line in lines]
    for name, lines in PROJECT["optional-dependencies"].items()
}


def names(extra: str) -> set[str]:
    return {requirement.name for requirement in EXTRAS[extra]}


@pytest.mark.parametrize("name", ["tensorrt", "tensorrt-rtx"])
def test_an_extra_has_what_the_workers_of_its_backend_import(name: str) -> None:
    spec = backends.get(name)
    assert names(name) & set(spec.packages)
    assert set(spec.modules.values()) - set(spec.packages) <= names(name)


@pytest.mark.parametrize("extra", ["cuda", "tensorrt", "tensorrt-cu12", "tensorrt-rtx"])
def test_the_bindings_are_of_the_cuda_of_the_rest(extra: str) -> None:
    (bindings,) = (r for r in EXTRAS[extra] if r.name == "cuda-bindings")
    found = re.findall(r"-cu(\d+)", " ".join(names(extra))) or ["13"]
    for major in ("12", "13", "14"):
        assert bindings.specifier.contains(f"{major}.9") == (major in found)


def test_what_replaces_a_core_package_is_in_no_extra() -> None:
    assert "onnxruntime" in {Requirement(line).name for line in PROJECT["dependencies"]}
    assert not any("onnxruntime-gpu" in names(extra) for extra in EXTRAS)


@pytest.mark.parametrize("spec", backends.BACKENDS.values(), ids=lambda spec: spec.name)
def test_advice_to_install_can_be_pasted(spec: backends.BackendSpec) -> None:
    if spec.name == "fake":
        return
    pip, install, *wanted = shlex.split(spec.install)
    assert (pip, install) == ("pip", "install")
    assert [Requirement(word).name for word in wanted]


@pytest.mark.skipif(not shutil.which("make"), reason="no make here")
@pytest.mark.parametrize(
    ("extras", "installed"),
    [("", ".[dev]"), ("tensorrt", ".[dev,tensorrt]"), ("tensorrt,cuda", ".[dev,tensorrt,cuda]")],
)
def test_make_installs_the_extras(extras: str, installed: str, tmp_path: Path) -> None:
    command = ["make", "--dry-run", "bench", f"EXTRAS={extras}", f"VENV={tmp_path}/venv"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert f'--editable "{installed}"' in done.stdout
