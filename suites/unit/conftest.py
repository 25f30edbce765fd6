"""Fixtures of the unit suites: a configuration of the fake backend that runs in a second."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from voxgate.config import RunConfig
from voxgate.verdicts import paired_launches

from suites.support.gate_site import Site, accepted_in, config_in


@pytest.fixture
def fake_config(tmp_path: Path) -> RunConfig:
    """Every precision of the fake backend on tiny phantoms, in two launches."""
    return replace(config_in(tmp_path), launches=2)


@pytest.fixture
def modules_after() -> Callable[[str], set[str]]:
    """The top-level modules that a fresh interpreter has loaded after running a script."""

    def modules(script: str) -> set[str]:
        script += (
            "\nimport sys; print(*{n.split('.')[0] for n, module in sys.modules.items() if module})"
        )
        command = [sys.executable, "-c", script]
        return set(
            subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        )

    return modules


@pytest.fixture(scope="session")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Site]:
    """By fault: every precision accepted without it, then measured with it; only to be copied."""

    @functools.cache
    def site_of(fault: str) -> Site:
        folder = tmp_path_factory.mktemp("site")
        return site_of("").copied(folder).measured(fault) if fault else accepted_in(folder)

    return site_of


@pytest.fixture
def site_of(
    sites: Callable[[str], Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Site]:
    """A copy by fault; paired launches stop at the fewest samples."""
    monkeypatch.setattr(paired_launches, "_SECONDS", 0.0)
    return lambda fault: sites(fault).copied(tmp_path)


@pytest.fixture
def site(site_of: Callable[[str], Site]) -> Site:
    """A copy of the one without a fault."""
    return site_of("")
