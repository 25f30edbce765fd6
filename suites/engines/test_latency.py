"""Latency: INT8 is really faster, a simulation is not, and pytest-benchmark sees engine time.

Ratios compare the fastest samples, which a noisy neighbour disturbs least. The bounds for INT8 are in
`voxgate.metrics.expectations`, by backend and model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from voxgate.metrics import expectations
from voxgate.metrics.replay import CLOCK
from voxgate.records.run import CaseResult, Ratios, RunRecord

FAKE_TOLERANCE = 0.25


@pytest.mark.benchmark(timer=CLOCK, group="engine latency")
def test_engine_latency(
    vg_result: CaseResult, vg_replay: Callable[[CaseResult], None], benchmark: Any
) -> None:
    vg_replay(vg_result)
    if benchmark.enabled:
        assert vg_result.latency_ms is not None
        assert benchmark.stats.stats.min * 1e3 == pytest.approx(vg_result.latency_ms.min)


@pytest.mark.vg_precisions("int8", "int8-fp16")
def test_int8_engine_is_faster(
    vg_result: CaseResult, vg_ratios: Ratios, vg_record: RunRecord
) -> None:
    wanted = expectations.least_faster(
        vg_result.backend,
        vg_result.model,
        vg_record.environment.isa,
        whole=expectations.is_whole(vg_result),
    )
    assert vg_ratios.latency_by_minima is not None
    assert vg_ratios.latency_by_minima >= wanted


@pytest.mark.vg_precisions("fake-int8")
def test_fake_engine_is_as_slow_as_fp32(vg_ratios: Ratios) -> None:
    assert vg_ratios.latency_by_minima == pytest.approx(1.0, abs=FAKE_TOLERANCE)
