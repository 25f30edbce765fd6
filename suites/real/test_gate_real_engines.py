"""The gate on real engines: what did not change passes, what really became slower is found.

The slower engine is U-Net with its three largest layers left in float, as a quantizer that could not
place them would leave them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from voxgate.artifacts.progress import Lines
from voxgate.config import RunConfig
from voxgate.records.run import RunRecord
from voxgate.records.verdicts import CaseVerdicts, Verdict
from voxgate.runs import bench
from voxgate.verdicts import gate, paired_launches
from voxgate.verdicts.limits import GateConfig

# 78 % of the multiply-accumulates. One layer of 2.4 % cost 10 % of the time with AVX512-VNNI and
# nothing that could be measured with AVX2 alone, where INT8 is only 1.6 times as fast as FP32.
FLOAT_LAYERS = ("node_Conv_130", "node_Conv_131", "node_Conv_115")


@dataclass(frozen=True)
class Accepted:
    """U-Net's INT8 engine, measured and accepted."""

    config: RunConfig
    rules: GateConfig
    run: RunRecord

    def judge(self, config: RunConfig, run: RunRecord) -> CaseVerdicts:
        (case,) = gate.judge(run, config, self.rules, Lines()).cases
        return case


@pytest.fixture(scope="module", autouse=True)
def _fewer_pairs() -> Iterator[None]:
    """Such a slowdown needs fewer samples than a gate takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paired_launches, "_MIN_PAIRS", 6)
        patch.setattr(paired_launches, "_SECONDS", 0.0)
        yield


@pytest.fixture(scope="module")
def accepted(vg_config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Accepted:
    if "openvino" not in vg_config.backends or "unet" not in vg_config.models:
        pytest.skip("needs U-Net on OpenVINO among --vg-models and --vg-backend")
    config = replace(
        vg_config, models=("unet",), backends=("openvino",), precisions=("int8",), launches=2
    ).check()
    folder: Path = tmp_path_factory.mktemp("baselines")
    run = bench.bench(config, Lines())
    if run.cases[0].status == "unavailable":
        pytest.skip(str(run.cases[0].reason))
    gate.accept_run(run, config, GateConfig(baselines=folder, update="all").check())
    return Accepted(config=config, rules=GateConfig(baselines=folder).check(), run=run)


def by_metric(case: CaseVerdicts) -> dict[str, Verdict]:
    return {verdict.metric: verdict for verdict in case.verdicts}


@pytest.mark.real
def test_the_accepted_engine_passes_without_further_launches(accepted: Accepted) -> None:
    case = accepted.judge(accepted.config, bench.bench(accepted.config, Lines()))
    assert case.outcome == "pass", case
    assert case.same_engine
    assert not case.pairs


@pytest.mark.real
def test_a_really_slower_engine_is_a_confirmed_regression(accepted: Accepted) -> None:
    slower = replace(accepted.config, float_layers=FLOAT_LAYERS).check()
    case = accepted.judge(slower, bench.bench(slower, Lines()))
    found = by_metric(case)
    assert found["latency"].outcome == "regression", found["latency"].words
    assert case.pairs
    assert case.confirmation
    assert found["int8-coverage"].outcome == "regression"
    assert FLOAT_LAYERS[0] in found["int8-coverage"].words
    assert found["dice"].outcome == "pass"
