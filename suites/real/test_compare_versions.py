"""Two real releases of OpenVINO side by side, on the same graphs: what `voxgate compare` is for."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from pathlib import Path

import pytest
from voxgate.artifacts.progress import Lines
from voxgate.config import RunConfig
from voxgate.records import file
from voxgate.records.run import RunRecord
from voxgate.records.verdicts import ComparisonRecord
from voxgate.verdicts import interpreters
from voxgate.verdicts.interpreters import compare_interpreters

ROOT = Path(__file__).resolve().parents[2]
OTHER = "2025.4.1"

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def other_python() -> str:
    """The interpreter with the other release; the environment variable names one elsewhere."""
    python = Path(
        os.environ.get("VOXGATE_OTHER_PYTHON", ROOT / ".venv-openvino-2025" / "bin" / "python")
    )
    if not python.is_file():
        pytest.skip(
            f"no second OpenVINO at {python}; 'make test CI=true' installs it, or name an "
            "interpreter that has one with VOXGATE_OTHER_PYTHON"
        )
    return str(python)


@pytest.fixture(scope="module")
def compared(other_python: str) -> ComparisonRecord:
    """U-Net in INT8 by one launch a side: enough for all but the verdict on time."""
    config = RunConfig(
        models=("unet",), backends=("openvino",), precisions=("int8",), launches=1,
        warmups=1, min_samples=1, max_samples=2, seconds_per_launch=0.0,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(interpreters, "_PROFILES", 1)
        return compare_interpreters(config.check(), (other_python, sys.executable), Lines())


def test_each_side_is_its_own_release(compared: ComparisonRecord) -> None:
    here = importlib.metadata.version("openvino")
    for run, version in ((compared.a, OTHER), (compared.b, here)):
        assert run.environment.packages["openvino"] == version
        assert version.startswith(run.environment.backends["openvino"])
    assert compared.title_a.startswith("openvino 2025.4")
    assert compared.a.environment.backends != compared.b.environment.backends


def test_both_releases_build_from_the_same_graphs(compared: ComparisonRecord) -> None:
    for a, b in zip(compared.a.cases, compared.b.cases, strict=True):
        assert (a.status, b.status) == ("ok", "ok"), (a.error, b.error)
        assert a.weights_sha256 == b.weights_sha256
        assert a.calibration == b.calibration
        assert a.engine_key != b.engine_key


def test_no_release_is_larger_or_segments_worse(compared: ComparisonRecord) -> None:
    for case in compared.cases:
        found = {v.metric: v.outcome for v in case.verdicts}
        assert found["latency"] == "inconclusive"  # of one launch
        assert (found["size"], found["dice"], found["int8-coverage"]) == ("pass",) * 3


def test_both_releases_label_alike(compared: ComparisonRecord) -> None:
    for case in compared.cases:
        assert case.agreement is not None
        assert case.agreement > 0.999
        assert case.agreement_dice is not None
        assert set(case.agreement_dice) == {"grey", "white"}
        assert all(value is not None and value > 0.999 for value in case.agreement_dice.values())


def test_layers_meet_and_are_timed(compared: ComparisonRecord) -> None:
    for case in compared.cases:
        weighted = [change for change in case.layers if change.sources]
        assert len(weighted) == 23
        assert all(change.before and change.after for change in weighted)
        assert not any(change.arithmetic_changed for change in weighted)
        assert all(change.before_ns and change.after_ns for change in weighted)


def test_the_record_survives_its_file(compared: ComparisonRecord, tmp_path: Path) -> None:
    file.write(tmp_path / "c.json", compared)
    assert file.read_any(tmp_path / "c.json") == compared
    assert isinstance(compared.a, RunRecord)
