"""Two interpreters on the fake backend: alternating launches, one-sided faults, what is recorded."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from voxgate.artifacts import interpreter, run_artifacts
from voxgate.artifacts.launcher import Limits
from voxgate.artifacts.progress import Silent
from voxgate.artifacts.run_artifacts import Artifacts
from voxgate.cli import main
from voxgate.config import RunConfig
from voxgate.records import file
from voxgate.records.case import CaseId
from voxgate.records.runtime import Probe
from voxgate.records.verdicts import CaseComparison, ComparisonRecord, Verdict
from voxgate.verdicts import interpreters
from voxgate.verdicts.interpreters import compare_interpreters

Faulty = Callable[[str], str]


@pytest.fixture(autouse=True)
def _one_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake's layers take the same time in every load."""
    monkeypatch.setattr(interpreters, "_PROFILES", 1)


@pytest.fixture
def faulty(tmp_path: Path) -> Faulty:
    """An interpreter of its own for a fault of the fake backend."""

    def make(fault: str) -> str:
        path = tmp_path / f"python-{fault.replace('=', '-') or 'sound'}"
        path.write_text(f'#!/bin/sh\nVOXGATE_FAKE_FAULT={fault} exec "{sys.executable}" "$@"\n')
        path.chmod(0o755)
        return str(path)

    return make


def compared(config: RunConfig, a: str, b: str, launches: int = 1) -> ComparisonRecord:
    config = replace(config, launches=launches, precisions=config.precisions or ("int8",))
    return compare_interpreters(config, (a, b), Silent())


def verdict(case: CaseComparison, metric: str) -> Verdict:
    return next(v for v in case.verdicts if v.metric == metric)


def test_the_same_interpreter_twice_passes(fake_config: RunConfig, tmp_path: Path) -> None:
    config = replace(fake_config, surface_metrics=True)
    result = compared(config, sys.executable, sys.executable, launches=5)
    assert result.outcome == "pass"
    surfaces = [side.cases[0].surfaces for side in (result.a, result.b)]
    assert surfaces[0] is not None
    assert surfaces[0] == surfaces[1]
    (case,) = result.cases
    assert (case.outcome, case.reason, case.unsaid) == ("pass", None, ())
    assert case.agreement == 1.0
    assert case.agreement_dice == {"organ-1": 1.0, "organ-2": 1.0, "organ-3": 1.0}
    assert {v.metric for v in case.verdicts} == {
        "latency", "size", "memory", "dice", "int8-coverage",
    }  # fmt: skip
    assert [change.sources for change in case.layers] == [("conv1",), ("conv2",)]
    assert all(change.before_ns == change.after_ns for change in case.layers)
    file.write(tmp_path / "c.json", result)
    assert file.read_any(tmp_path / "c.json") == result


def test_launches_alternate_and_engines_are_the_same_files(fake_config: RunConfig) -> None:
    config = replace(fake_config, precisions=("fp32", "int8"))
    result = compared(config, sys.executable, sys.executable, launches=2)
    orders = [[[x.order for x in row.launches] for row in side.cases] for side in (result.a, result.b)]  # fmt: skip
    assert orders == [[[0, 7], [2, 5]], [[1, 6], [3, 4]]]
    pairs = zip(result.a.cases, result.b.cases, strict=True)
    assert all(a.engine_sha256 == b.engine_sha256 for a, b in pairs)
    assert result.outcome == "inconclusive"  # of two launches nothing can be told


def test_a_slower_side_is_launched_more_often_and_convicted(
    fake_config: RunConfig, faulty: Faulty
) -> None:
    result = compared(fake_config, sys.executable, faulty("int8=slow"), launches=5)
    (case,) = result.cases
    assert (result.outcome, case.outcome) == ("regression", "regression")
    time = verdict(case, "latency")
    assert time.change == pytest.approx(0.2, abs=0.01)
    assert [len(side.cases[0].launches) for side in (result.a, result.b)] == [15, 15]
    assert sorted(
        x.order for side in (result.a, result.b) for x in side.cases[0].launches
    ) == list(range(30))  # fmt: skip
    assert [change.sources for change in case.layers] == [("conv2",), ("conv1",)]
    assert case.layers[0].after_ns == pytest.approx(1.2 * (case.layers[0].before_ns or 0))


def test_a_faster_side_is_no_regression(fake_config: RunConfig, faulty: Faulty) -> None:
    result = compared(fake_config, faulty("int8=slow"), sys.executable, launches=5)
    assert result.outcome == "pass"
    assert len(result.b.cases[0].launches) == 5


def test_worse_labels_are_a_regression_and_disagree(fake_config: RunConfig, faulty: Faulty) -> None:
    result = compared(fake_config, sys.executable, faulty("int8=worse"), launches=1)
    (case,) = result.cases
    assert result.outcome == "regression"
    assert verdict(case, "dice").outcome == "regression"
    assert case.agreement is not None
    assert 0.3 < case.agreement < 1
    assert case.agreement_dice is not None
    assert all(value is not None and value < 0.99 for value in case.agreement_dice.values())


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("int8=build", "failed: fake could not build the graph: node 'conv2'"),
        ("int8=nan", "failed: the engine returned 1 of"),
        ("int8=exit", "failed: the run worker exited with code 7"),
        ("fp32=missing", "unavailable: fake is missing; install it"),
    ],
)
def test_a_side_that_cannot_is_failed_without_a_verdict(
    fake_config: RunConfig, faulty: Faulty, fault: str, words: str
) -> None:
    result = compared(fake_config, faulty(fault), sys.executable)
    (case,) = result.cases
    kind = "unavailable" if "missing" in fault else "failed"
    assert (result.outcome, case.outcome, case.verdicts) == (kind, kind, ())
    assert (case.reason or "").startswith(f"A {words}")
    assert "B " not in (case.reason or "")
    assert case.agreement is None


def test_a_side_that_computes_in_float_failed_and_lost_its_int8_share(
    fake_config: RunConfig, faulty: Faulty
) -> None:
    (case,) = compared(fake_config, sys.executable, faulty("int8=float")).cases
    assert case.outcome == "regression"
    assert "B failed" in (case.reason or "")
    (only,) = case.verdicts
    assert (only.metric, only.outcome) == ("int8-coverage", "regression")
    assert {change.arithmetic_changed for change in case.layers} == {True}


def test_one_bad_case_leaves_the_others(fake_config: RunConfig, faulty: Faulty) -> None:
    config = replace(fake_config, precisions=("fp32", "int8"))
    result = compared(config, faulty("fp32=nan"), sys.executable)
    assert [case.outcome for case in result.cases] == ["failed", "inconclusive"]
    assert result.outcome == "failed"


def test_each_side_records_its_own_environment(
    fake_config: RunConfig, faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = faulty("")
    found = replace(interpreter.own(), path=other, version="3.13.1", packages={"openvino": "2"})
    monkeypatch.setattr(
        "voxgate.verdicts.interpreters.find",
        lambda path, _: found if path == other else interpreter.own(),
    )
    result = compared(fake_config, sys.executable, other)
    assert result.b.environment.packages == {"openvino": "2"}
    assert result.b.environment.python == "3.13.1"
    assert result.a.environment.packages == interpreter.own().packages
    assert result.a.config["graphs_made_by"] == result.b.config["graphs_made_by"]
    assert result.title_b == f"fake 1 ({other})"


def test_no_file_of_a_comparison_is_left(
    fake_config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    compared(fake_config, sys.executable, sys.executable)
    assert not list(folder.iterdir())


class Keys:
    """A cache that keeps what an engine's key is made of, and makes nothing."""

    def __init__(self) -> None:
        self.inputs: list[Any] = []

    def get_or_make(self, kind: str, inputs: Any, *rest: Any, reusable: Any = None) -> Any:
        del kind, rest, reusable
        self.inputs.append(inputs)
        return SimpleNamespace()


def keys(
    config: RunConfig, backend: str, builds: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> list[Any]:
    monkeypatch.setattr(run_artifacts, "source_of", lambda *_: ("graph.onnx", "digest"))
    cache: Any = Keys()
    config = replace(config, backends=(backend,))
    shared = Artifacts(config=config, cache=cache, limits=Limits(), announce=print)
    case = CaseId(model="unet", task=config.task, backend=backend, precision="fp32")
    for number, build in enumerate(builds):
        own = replace(interpreter.own(), path=f"/python{number}", builds={backend: build, "x": "1"})
        shared.under(own).engine(case)
    found: list[Any] = cache.inputs
    return found


def test_an_engine_belongs_to_the_versions_of_its_interpreter(
    fake_config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = keys(fake_config, "openvino", ("1 abc", "2 def"), monkeypatch)
    assert (one["packages"], two["packages"]) == ({"openvino": "1 abc"}, {"openvino": "2 def"})
    assert "gpu" not in one
    again, same = keys(fake_config, "openvino", ("1 abc", "1 abc"), monkeypatch)
    assert again == same


def test_a_plan_belongs_to_its_gpu_and_driver(
    fake_config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_artifacts, "gpu_identity", lambda _: ("H200", "570.1", "12.8"))
    probe = Probe(available=True, version="11.4.0.106")
    monkeypatch.setattr(Artifacts, "probe", lambda *_: probe)
    (found,) = keys(fake_config, "tensorrt", ("11.4",), monkeypatch)
    assert found["gpu"] == ("H200", "570.1", "12.8")
    assert found["runtime"] == "11.4.0.106"  # where no distribution tells it, this one does


FAKE = ["--models", "unet", "--backend", "fake", "--task", "phantom-mini", "--seconds", "0"]


def test_the_command_prints_writes_and_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], faulty: Faulty
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VOXGATE_CACHE", str(tmp_path / "cache"))
    pythons = ["--python-a", sys.executable, "--python-b", faulty("int8=slow")]
    assert main(["compare", *pythons, *FAKE, "--precisions", "int8"]) == 1
    printed = capsys.readouterr().out
    for words in (
        "REGRESSION unet/phantom-mini/fake/int8",
        "latency: regression; +20.0%: fastest samples of 15 alternating launches a side",
        "labels: all voxels alike",
        "layer: conv2/executed (u8xi8) 1.80 → 2.16 ms (+0.36 ms)",
        "REGRESSION: B is worse than A",
    ):
        assert words in printed
    (written,) = (tmp_path / "records").glob("*Z-compare.json")
    assert written.with_suffix(".html").is_file()
    assert f"record: {written.relative_to(tmp_path)}" in printed
    assert isinstance(file.read_any(written), ComparisonRecord)


def test_one_interpreter_is_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--python-a", sys.executable, *FAKE]) == 2
    assert "name both interpreters" in capsys.readouterr().err
    assert main(["compare", "--python-a", "/no/python", "--python-b", sys.executable, *FAKE]) == 2
    assert "there is no Python at /no/python" in capsys.readouterr().err
