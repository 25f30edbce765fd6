"""Records of many nights, for the tests of trends: one case each, with values as told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from voxgate.records.calibration import Calibration
from voxgate.records.case import Precision
from voxgate.records.engine import Coverage, Share
from voxgate.records.measurement import Dice, Latency, Memory
from voxgate.records.run import CaseResult, Environment, RunRecord, Timing

ENVIRONMENT = Environment(
    host="ci-1", system="Linux 6", cpu="a CPU", isa=("avx512_vnni",), cores=8, threads=8,
    memory_bytes=2**34, gpu=None, driver=None, cuda=None, python="3.11.2",
    backends={"openvino": "2026.1"}, packages={"numpy": "2.3"}, git_commit="a" * 40,
)  # fmt: skip
START = datetime(2026, 1, 1, 3, 30, tzinfo=UTC)


def case(
    latency_ms: float = 100.0,
    *,
    model: str = "unet",
    precision: Precision = "int8",
    engine_bytes: int = 6_000_000,
    dice: float = 0.95,
    memory_mib: float = 200.0,
    engine: str = "e1",
) -> CaseResult:
    """A measured case; the fastest sample of each of its three launches is ``latency_ms``."""
    fastest = round(latency_ms * 1e6)
    return CaseResult(
        model=model, task="mni152", backend="openvino", precision=precision, status="ok",
        engine_bytes=engine_bytes, engine_sha256=engine, weights_sha256="w1",
        latency_ms=Latency(
            median=latency_ms * 1.04, p50=latency_ms * 1.03, p90=latency_ms * 1.1,
            p99=latency_ms * 1.2, min=latency_ms, mean=latency_ms * 1.04, stdev=1.0, n=9,
        ),
        samples_ns=((fastest, 2 * fastest),) * 3,
        memory_bytes=Memory(
            baseline=0, peak=round(memory_mib * 2**20), delta=round(memory_mib * 2**20),
            scope="process-host",
        ),
        dice=Dice(mean=dice, per_class={"grey": dice - 0.01, "white": dice + 0.01}, per_case={}),
        int8_coverage=Coverage(
            by_count=Share(int8=0.9, float=0.1, unmapped=0.0),
            by_macs=Share(int8=0.97, float=0.03, unmapped=0.0),
        ),
        calibration=Calibration(
            method="min-max", quantizer="nncf", cases=(), patches=(), sha256="c1"
        ),
    )  # fmt: skip


def failed(result: CaseResult, why: str = "node 'conv2' has no implementation") -> CaseResult:
    """The same case when its build failed."""
    return CaseResult(
        model=result.model, task=result.task, backend=result.backend, precision=result.precision,
        status="failed", error_type="BuildError", error=why,
    )  # fmt: skip


def night(number: int, *cases: CaseResult, environment: Environment = ENVIRONMENT) -> RunRecord:
    """The run of a night, counted from the first one."""
    return RunRecord(
        schema_version=1,
        voxgate="0.1",
        environment=environment,
        config={"task": "mni152", "classes": "task"},
        cases=cases,
        ratios=(),
        timing=Timing(
            started=(START + timedelta(days=number)).isoformat(timespec="seconds"),
            wall_s=1.0, inference_s=0.5, artifacts_built=0, artifacts_reused=0,
        ),
    )  # fmt: skip


def upgraded(version: str, commit: str = "b" * 40) -> Environment:
    """The machine with another version of the runtime, at another commit."""
    return replace(ENVIRONMENT, backends={"openvino": version}, git_commit=commit)
