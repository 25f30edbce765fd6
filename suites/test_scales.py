"""Every scale and zero point of the quantized graphs is what the formulas give for its range."""

from __future__ import annotations

import pytest

from harness import backends, pipeline
from harness.cache import Cache
from harness.checked_scales import check_graph
from harness.commands.scales import describe
from harness.config import RunConfig
from harness.report.progress import Silent
from harness.types import CaseId


@pytest.mark.vg_precisions("fake-int8", "int8", "int8-fp16")
def test_scales_are_those_of_the_formulas(vg_case: CaseId, vg_config: RunConfig) -> None:
    spec = backends.get(vg_case.backend)
    if spec.sources.get(vg_case.precision) != "quantized":
        pytest.skip(f"{vg_case.backend} builds {vg_case.precision} from no quantized graph")
    workshop = pipeline.make_workshop(vg_config, Cache(vg_config.cache_root), Silent().say)
    result = check_graph(workshop, vg_case.model, vg_case.backend)
    assert result.found is not None, result.error
    assert result.passed, describe(result)
