"""What a rebuild changes: five builds of one graph by a real TensorRT, on a GPU.

TensorRT makes other bytes with every build. What was measured of that (docs/results.md) lies far
within the gate's tolerances, and this holds it there: U-Net is built, accepted, and built anew four
times with the timing cache that the first build filled.

It needs a GPU and TensorRT: in this interpreter, in the one of ``--vg-python tensorrt=PATH``, or in the
one that VOXGATE_TENSORRT_PYTHON names.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from voxgate.artifacts.cache import Cache
from voxgate.artifacts.progress import Lines
from voxgate.config import RunConfig
from voxgate.records.run import CaseResult
from voxgate.records.verdicts import CaseVerdicts, Verdict
from voxgate.runs import bench
from voxgate.verdicts import gate as judge
from voxgate.verdicts import rules as gate
from voxgate.verdicts.accepted_engines import AcceptedEngines
from voxgate.verdicts.limits import GateConfig
from voxgate.verdicts.paired_launches import Pairing, engine_path

REBUILDS = 4
# Measured: 0.2 % of the size and 0.00001 of Dice.
MOST_OF_SIZE = 0.005
MOST_OF_DICE = 0.0005


@dataclass(frozen=True)
class Rebuild:
    """One build after the first: what was measured, how the gate judged it, and beside the first."""

    row: CaseResult
    verdicts: CaseVerdicts
    beside: Verdict


@dataclass(frozen=True)
class Builds:
    """The accepted build, and those after it."""

    first: CaseResult
    later: list[Rebuild]


@pytest.fixture(scope="module")
def builds(vg_config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Builds:
    if "PYTEST_XDIST_WORKER" in os.environ:
        pytest.skip("times say nothing beside other tests; run this file without -n")
    config = _config(vg_config)
    rules = GateConfig(baselines=tmp_path_factory.mktemp("baselines"), update="all").check()
    run = bench.bench(config, Lines())
    (first,) = run.cases
    if first.status == "unavailable":
        pytest.skip(f"no TensorRT that runs on a GPU here: {first.reason}")
    assert first.status == "ok", first.error or first.reason
    judge.accept_run(run, config, rules)
    later = [_rebuild(config, rules, first) for _ in range(REBUILDS)]
    return Builds(first=first, later=later)


def _config(vg_config: RunConfig) -> RunConfig:
    """U-Net in int8-fp16 under the interpreter that is named, if any is."""
    named = dict(vg_config.pythons)
    if python := os.environ.get("VOXGATE_TENSORRT_PYTHON"):
        named.setdefault("tensorrt", python)
    return replace(
        vg_config,
        models=("unet",),
        backends=("tensorrt",),
        precisions=("int8-fp16",),
        launches=1,
        pythons=tuple((backend, path) for backend, path in named.items() if backend == "tensorrt"),
    ).check()


def _rebuild(config: RunConfig, rules: GateConfig, first: CaseResult) -> Rebuild:
    """The engine built anew, judged against the first, and timed beside it whatever the gate did."""
    engine = engine_path(first, config.cache_root)
    shutil.rmtree(engine.parent)
    run = bench.bench(config, Lines())
    (row,) = run.cases
    assert row.status == "ok", row.error or row.reason
    (verdicts,) = judge.judge(run, config, rules, Lines()).cases
    return Rebuild(row, verdicts, _beside(config, first, engine))


def _beside(config: RunConfig, first: CaseResult, engine: Path) -> Verdict:
    assert first.engine_sha256 is not None
    accepted = AcceptedEngines(config.cache_root).path(first.engine_sha256)
    assert accepted is not None
    artifacts = bench.make_artifacts(config, Cache(config.cache_root), Lines().say)
    pairs = Pairing(artifacts, Lines()).until_decided(
        first.case, accepted, engine, gate.TOLERANCE, "beside the first build"
    )
    return gate.judge_paired(pairs)


@pytest.mark.real
def test_every_rebuild_passes_the_gate(builds: Builds) -> None:
    for rebuild in builds.later:
        assert rebuild.verdicts.outcome == "pass", rebuild.verdicts


@pytest.mark.real
def test_equal_kernels_are_screened_and_others_are_paired(builds: Builds) -> None:
    assert builds.first.kernels_sha256 is not None
    for rebuild in builds.later:
        same = rebuild.row.kernels_sha256 == builds.first.kernels_sha256
        assert rebuild.row.source_sha256 == builds.first.source_sha256
        assert bool(rebuild.verdicts.pairs) is not (same or rebuild.verdicts.same_engine)


@pytest.mark.real
def test_a_rebuild_has_nearly_the_size_and_the_dice(builds: Builds) -> None:
    first = builds.first
    assert first.engine_bytes is not None
    assert first.dice is not None
    for rebuild in builds.later:
        assert rebuild.row.engine_bytes == pytest.approx(first.engine_bytes, rel=MOST_OF_SIZE)
        assert rebuild.row.dice is not None
        assert rebuild.row.dice.mean == pytest.approx(first.dice.mean, abs=MOST_OF_DICE)


@pytest.mark.real
def test_a_rebuild_is_as_fast_by_the_rule_of_the_gate(builds: Builds) -> None:
    for rebuild in builds.later:
        assert rebuild.beside.outcome == "pass", rebuild.beside.words
