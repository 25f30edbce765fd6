"""Latency: INT8 is really faster, a simulation is not, and pytest-benchmark sees engine time.

Ratios compare the fastest samples, which a noisy neighbour disturbs least. The bounds are wider than
what quiet machines show, and still far apart from no speed-up at all; those for INT8 apply where the
CPU has int8 dot products.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.replay import CLOCK
from harness.types import CaseResult, Ratios, RunRecord

MIN_INT8_SPEEDUP = {
    "unet": 3.0, "transunet": 2.3, "unest-small": 2.1, "nnunet-small": 2.8, "swinunetr-24": 1.6,
    "segresnet-24": 3.0, "vista3d-16": 2.6, "vista3d-released": 2.6, "stunet-s": 2.5,
}  # fmt: skip
MIN_INT8_SPEEDUP_WITHOUT_DOT_PRODUCTS = 1.1
FAKE_TOLERANCE = 0.25
DOT_PRODUCTS = {"avx_vnni", "avx512_vnni", "amx_int8"}


@pytest.mark.benchmark(timer=CLOCK, group="engine latency")
def test_engine_latency(
    vg_result: CaseResult, vg_replay: Callable[[CaseResult], None], benchmark: Any
) -> None:
    vg_replay(vg_result)
    if benchmark.enabled:
        assert vg_result.latency_ms is not None
        assert benchmark.stats.stats.min * 1e3 == pytest.approx(vg_result.latency_ms.min)


@pytest.mark.vg_precisions("int8", "int8-fp16")
def test_int8_engine_is_faster(vg_ratios: Ratios, vg_record: RunRecord) -> None:
    wanted = MIN_INT8_SPEEDUP_WITHOUT_DOT_PRODUCTS
    if not DOT_PRODUCTS.isdisjoint(vg_record.environment.isa):
        wanted = MIN_INT8_SPEEDUP.get(vg_ratios.model, wanted)
    assert vg_ratios.latency_by_minima is not None
    assert vg_ratios.latency_by_minima >= wanted


@pytest.mark.vg_precisions("fake-int8")
def test_fake_engine_is_as_slow_as_fp32(vg_ratios: Ratios) -> None:
    assert vg_ratios.latency_by_minima == pytest.approx(1.0, abs=FAKE_TOLERANCE)
