"""Every scale and zero point of the quantized graphs is what the formulas give for its range."""

from __future__ import annotations

import pytest
from voxgate import backends
from voxgate.artifacts.cache import Cache
from voxgate.artifacts.progress import Silent
from voxgate.commands.scales import describe
from voxgate.config import RunConfig
from voxgate.records.case import CaseId
from voxgate.runs import bench
from voxgate.runs.scales import check_graph


@pytest.mark.vg_precisions("fake-int8", "int8", "int8-fp16")
def test_scales_are_those_of_the_formulas(vg_case: CaseId, vg_config: RunConfig) -> None:
    spec = backends.get(vg_case.backend)
    if spec.sources.get(vg_case.precision) != "quantized":
        pytest.skip(f"{vg_case.backend} builds {vg_case.precision} from no quantized graph")
    artifacts = bench.make_artifacts(vg_config, Cache(vg_config.cache_root), Silent().say)
    result = check_graph(artifacts, vg_case.model, vg_case.backend)
    assert result.found is not None, result.error
    assert result.passed, describe(result)
