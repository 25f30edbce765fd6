"""What is promised of engines runs where VoxGate is installed, too: as ``voxgate.engines``, without this repository."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENGINES = ROOT / "suites" / "engines"


def test_the_wheel_holds_the_suites() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert wheel["targets"]["wheel"]["force-include"]["suites/engines"] == "voxgate/engines"


@pytest.mark.parametrize("path", sorted(ENGINES.glob("*.py")), ids=lambda path: path.name)
def test_a_suite_imports_nothing_that_is_not_installed(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    named = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    named |= {a.name for node in nodes if isinstance(node, ast.Import) for a in node.names}
    roots = {(name or "").partition(".")[0] for name in named}
    assert roots <= {"voxgate", "pytest", *sys.stdlib_module_names}


def test_the_suites_run_by_their_installed_name(tmp_path: Path) -> None:
    without = shutil.ignore_patterns("__pycache__")
    site = tmp_path / "site"
    shutil.copytree(ROOT / "harness" / "voxgate", site / "voxgate", ignore=without)
    shutil.copytree(ENGINES, site / "voxgate" / "engines", ignore=without)
    shutil.copytree(ROOT / "fixtures" / "checkpoints", site / "voxgate" / "_checkpoints")
    user = tmp_path / "user"
    user.mkdir()
    command = [
        sys.executable, "-m", "pytest", "-p", "voxgate.plugin", "--pyargs", "voxgate.engines",
        "--vg-models", "unet", "--vg-backend", "fake", "--vg-task", "phantom-mini",
        "--vg-launches", "1", "--vg-cache-dir", str(tmp_path / "cache"),
        "-k", "not faster and not slow",  # no ratio of times is asserted beside other tests
    ]  # fmt: skip
    result = subprocess.run(
        command, cwd=user, capture_output=True, text=True, check=False, timeout=300,
        env=os.environ | {"PYTHONPATH": str(site)},
    )  # fmt: skip
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-1000:]
    assert " passed" in result.stdout
