"""Fixtures of the unit suites: a configuration of the fake backend that runs in a second."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.config import RunConfig


@pytest.fixture
def fake_config(tmp_path: Path) -> RunConfig:
    """Every precision of the fake backend on tiny phantoms, in two launches."""
    return RunConfig(
        models=("unet",),
        task="phantom-mini",
        backends=("fake",),
        launches=2,
        min_samples=2,
        max_samples=3,
        seconds_per_launch=0.0,
        time_limit_s=60.0,
        cache_dir=tmp_path / "cache",
    ).check()


@pytest.fixture
def modules_after() -> Callable[[str], set[str]]:
    """The top-level modules that a fresh interpreter has loaded after running a script."""

    def modules(script: str) -> set[str]:
        script += "\nimport sys; print(*{name.split('.')[0] for name in sys.modules})"
        command = [sys.executable, "-c", script]
        return set(
            subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        )

    return modules
