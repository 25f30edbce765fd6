"""Accepted engines in the cache: kept by hash, given out whole, self-tests beside them."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from voxgate.errors import ArtifactError
from voxgate.files import sha256_bytes
from voxgate.records.verdicts import SelfTest
from voxgate.verdicts.accepted_engines import AcceptedEngines

from suites.support.accepted_entries import IDENTITY

CONTENT = b"an engine"
SHA256 = sha256_bytes(CONTENT)
MADE = SelfTest(engine_sha256=SHA256, launch_ratios=(1.0, 0.99), supported=0.01)


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    path = tmp_path / "engine.bin"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def engines(tmp_path: Path) -> AcceptedEngines:
    return AcceptedEngines(tmp_path / "cache")


def test_a_kept_engine_outlives_the_one_it_was_made_from(
    engines: AcceptedEngines, engine: Path
) -> None:
    engines.keep(SHA256, engine)
    engine.unlink()
    path = engines.path(SHA256)
    assert path is not None
    assert path.read_bytes() == CONTENT
    assert engines.fault(SHA256) == ""
    assert [each.name for each in path.parent.iterdir()] == [f"{SHA256}.bin"]


def test_a_file_system_without_links_gets_a_copy(
    engines: AcceptedEngines, engine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", no_link)
    engines.keep(SHA256, engine)
    path = engines.path(SHA256)
    assert path is not None
    assert path.stat().st_ino != engine.stat().st_ino
    assert path.read_bytes() == CONTENT


def test_another_engine_than_was_measured_is_not_kept(
    engines: AcceptedEngines, engine: Path
) -> None:
    engine.write_bytes(b"another")
    with pytest.raises(ArtifactError, match=f"is not the engine {SHA256[:12]} that was measured"):
        engines.keep(SHA256, engine)
    assert engines.path(SHA256) is None


def test_a_measured_engine_that_is_gone_is_named(engines: AcceptedEngines, engine: Path) -> None:
    engine.unlink()
    with pytest.raises(ArtifactError, match=r"engine\.bin"):
        engines.keep(SHA256, engine)


def test_a_damaged_engine_is_not_given_out_and_is_replaced(
    engines: AcceptedEngines, engine: Path
) -> None:
    engines.keep(SHA256, engine)
    path = engines.path(SHA256)
    assert path is not None
    path.unlink()
    path.write_bytes(b"damaged")
    assert engines.path(SHA256) is None
    assert str(path) in engines.fault(SHA256)
    engines.keep(SHA256, engine)
    assert engines.path(SHA256) == path


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, engine: Path) -> None:
    engines = AcceptedEngines(engine)  # a file
    with pytest.raises(ArtifactError, match=f"cannot be kept in {engine}"):
        engines.keep(SHA256, engine)
    with pytest.raises(ArtifactError, match=f"cannot be kept in {engine}"):
        engines.keep_self_test(IDENTITY, MADE)
    assert list(tmp_path.iterdir()) == [engine]


def test_a_self_test_is_of_one_engine_one_identity_and_one_host(
    engines: AcceptedEngines, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines.keep_self_test(IDENTITY, MADE)
    assert engines.self_test(IDENTITY, SHA256) == MADE
    assert engines.self_test(IDENTITY, "00" * 32) is None
    assert engines.self_test(replace(IDENTITY, threads=99), SHA256) is None
    monkeypatch.setattr("platform.node", lambda: "another host")
    assert engines.self_test(IDENTITY, SHA256) is None


@pytest.mark.parametrize(
    ("key", "value"),
    [("supported", -0.1), ("supported", None), ("launch_ratios", []), ("launch_ratios", "1")],
)
def test_a_damaged_self_test_is_made_again(
    engines: AcceptedEngines, tmp_path: Path, key: str, value: object
) -> None:
    engines.keep_self_test(IDENTITY, MADE)
    (path,) = (tmp_path / "cache").rglob("self-test-*.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    assert engines.self_test(IDENTITY, SHA256) is None
    path.write_bytes(b"\xff")
    assert engines.self_test(IDENTITY, SHA256) is None
