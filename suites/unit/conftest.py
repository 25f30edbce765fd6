"""Fixtures of the unit suites: a configuration of the fake backend that runs in a second."""

from __future__ import annotations

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
