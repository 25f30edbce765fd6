"""An interpreter for each backend: how it is named, and that every job of its engines runs there."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from voxgate.artifacts.cache import Cache
from voxgate.artifacts.launcher import Limits
from voxgate.artifacts.progress import Silent
from voxgate.artifacts.run_artifacts import Artifacts
from voxgate.cli import main
from voxgate.config import RunConfig, split_pythons
from voxgate.errors import UsageError
from voxgate.records.case import CaseId
from voxgate.records.measurement import PairedLaunch
from voxgate.records.runtime import Probe
from voxgate.runs import bench
from voxgate.verdicts import paired_launches

Script = Callable[[str], str]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """A Python of its own that runs a line of shell first."""

    def make(line: str) -> str:
        path = tmp_path / "python3"
        path.write_text(f'#!/bin/sh\n{line}\nexec "{sys.executable}" "$@"\n')
        path.chmod(0o755)
        return str(path)

    return make


def test_pairs_are_split() -> None:
    assert split_pythons(["tensorrt=/a=b/python", " fake = python3.10 "]) == (
        ("tensorrt", "/a=b/python"),
        ("fake", "python3.10"),
    )


@pytest.mark.parametrize("entry", ["/usr/bin/python3", "tensorrt=", "=/usr/bin/python3", ""])
def test_another_form_is_usage(entry: str) -> None:
    with pytest.raises(UsageError, match="write BACKEND=PATH"):
        split_pythons([entry])


@pytest.mark.parametrize(
    ("pythons", "words"),
    [
        ((("fkae", "/p"),), "unknown backend 'fkae'"),
        ((("tensorrt", "/p"),), "tensorrt, which is not among the selected backends"),
        ((("fake", "/p"), ("fake", "/q")), "name one backend twice"),
    ],
)
def test_a_backend_that_does_not_fit_is_usage(
    fake_config: RunConfig, pythons: tuple[tuple[str, str], ...], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        replace(fake_config, pythons=pythons).check()


def test_engines_are_built_and_run_there_and_the_record_says_so(
    fake_config: RunConfig, script: Script
) -> None:
    python = script("export VOXGATE_FAKE_FAULT=int8=slow")
    config = replace(fake_config, precisions=("int8",), pythons=(("fake", python),)).check()
    record = bench.bench(config, Silent())
    (row,) = record.cases
    assert row.latency_ms is not None
    assert row.latency_ms.median > 2.3  # 2 ms without the fault
    interpreters: Any = record.config["interpreters"]
    assert interpreters["fake"]["python"] == sys.version.partition(" ")[0]
    assert interpreters["fake"]["packages"]["numpy"]


def test_without_one_the_record_says_nothing(fake_config: RunConfig) -> None:
    record = bench.bench(replace(fake_config, precisions=("fp32",), launches=1), Silent())
    assert "interpreters" not in record.config


def test_one_that_lacks_modules_makes_the_backends_cases_unavailable(
    fake_config: RunConfig, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = script('case "$*" in *json*) echo \'{"missing": ["msgspec"], "packages": {}, "builds": {}}\'; exit;; esac')  # fmt: skip
    monkeypatch.setattr(bench, "measure", lambda *_: 0.0)
    record = bench.bench(replace(fake_config, pythons=(("fake", python),)), Silent())
    assert {row.status for row in record.cases} == {"unavailable"}
    assert all(f"{python} lacks msgspec" in (row.reason or "") for row in record.cases)


def test_one_that_is_no_python_is_usage(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    options = ["--backend", "fake", "--models", "unet", "--task", "phantom-mini"]
    options += ["--cache-dir", str(tmp_path), "--record", str(tmp_path / "r.json")]
    assert main(["bench", *options, "--python", f"fake={tmp_path}/nothing"]) == 2
    assert f"there is no Python at {tmp_path}/nothing" in capsys.readouterr().err
    assert main(["compare", *options, "--python", "fake=x", "--python-a", "a", "--python-b", "b"]) == 2  # fmt: skip
    assert "--python-a and --python-b, not --python" in capsys.readouterr().err


def test_compare_takes_the_backends_name_before_its_interpreters(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    options = ["compare", "--backend", "fake", "--models", "unet", "--task", "phantom-mini"]
    options += ["--record", str(tmp_path / "r.json")]
    assert main([*options, "--python-a", f"fake={tmp_path}/a", "--python-b", f"{tmp_path}/b"]) == 2
    assert f"there is no Python at {tmp_path}/a" in capsys.readouterr().err
    assert main([*options, "--python-a", "openvino=/a", "--python-b", "/b"]) == 2
    assert "select that backend alone" in capsys.readouterr().err


def test_pairs_run_there(
    fake_config: RunConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[str] = []

    def run_job(job: Any, request: Any, limits: Any, python: str, watch: Any) -> Any:
        del request, limits
        asked.append(f"{job.name} {python}")
        assert watch is None  # there is no GPU to watch
        return PairedLaunch(b_first=False, a_ns=(1,), b_ns=(1,))

    monkeypatch.setattr(paired_launches, "run_job", run_job)
    monkeypatch.setattr(Artifacts, "probe", lambda *_: Probe(available=True))
    other: Any = SimpleNamespace(path="/other/python")
    artifacts = Artifacts(
        config=fake_config, cache=Cache(tmp_path), limits=Limits(), announce=print,
        interpreters={"fake": other},
    )  # fmt: skip
    monkeypatch.setattr(
        Artifacts, "patches", lambda _: SimpleNamespace(path=lambda name: tmp_path / name)
    )
    case = CaseId(model="unet", task=fake_config.task, backend="fake", precision="int8")
    found = paired_launches.Pairing(artifacts, Silent())._launch(case, tmp_path, tmp_path, 0, "")
    assert found.a_ns == (1,)
    assert asked == ["pair /other/python"]


def test_a_backend_is_probed_once(fake_config: RunConfig, script: Script, tmp_path: Path) -> None:
    python = script(f"echo >> {tmp_path}/starts")
    config = replace(fake_config, pythons=(("fake", python),))
    artifacts = bench.make_artifacts(config, Cache(tmp_path), lambda _: None)
    before = len((tmp_path / "starts").read_text())
    probes = bench.probe_backends(artifacts, Silent())
    assert artifacts.probe("fake") is probes["fake"]
    assert isinstance(probes["fake"], Probe)
    assert len((tmp_path / "starts").read_text()) == before + 1
