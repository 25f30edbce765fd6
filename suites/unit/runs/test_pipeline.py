"""The whole line with the fake backend: what is recorded, and what one bad case does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from voxgate.artifacts import launcher
from voxgate.artifacts.progress import Silent
from voxgate.config import RunConfig
from voxgate.errors import EXIT_FAILED, EXIT_PASS
from voxgate.records import file
from voxgate.records.run import CaseResult, RunRecord
from voxgate.runs import bench as pipeline


def bench(config: RunConfig) -> RunRecord:
    return pipeline.bench(config, Silent())


def rows(result: RunRecord) -> dict[str, CaseResult]:
    return {row.precision: row for row in result.cases}


def test_every_case_is_measured(fake_config: RunConfig) -> None:
    result = bench(fake_config)
    assert [row.precision for row in result.cases] == ["fp32", "fake-int8", "int8"]
    assert {row.status for row in result.cases} == {"ok"}
    assert pipeline.exit_code(result) == EXIT_PASS
    int8 = rows(result)["int8"]
    assert int8.latency_ms is not None
    assert int8.latency_ms.n == 4
    assert int8.certificate is not None
    assert int8.certificate.granted
    kernels = {row.kernels_sha256 for row in result.cases}
    assert None not in kernels
    assert len(kernels) == 3
    assert len({row.source_sha256 for row in result.cases}) == 1  # the fake has one network
    for row in result.cases:
        assert row.dice is not None
        assert row.dice.subjects == {name: name for name in row.dice.per_case}
    (ledger,) = result.ledgers
    assert {step.overall.subjects for step in ledger.steps} == {4}


def test_the_record_survives_its_file(fake_config: RunConfig, tmp_path: Path) -> None:
    result = bench(fake_config)
    file.write(tmp_path / "record.json", result)
    assert file.read(tmp_path / "record.json") == result


def test_launches_are_interleaved_and_reversed(fake_config: RunConfig) -> None:
    found = rows(bench(fake_config))
    orders = {name: [launch.order for launch in row.launches] for name, row in found.items()}
    assert orders == {"fp32": [0, 5], "fake-int8": [1, 4], "int8": [2, 3]}


def test_a_second_run_builds_nothing_and_measures_anew(fake_config: RunConfig) -> None:
    first, second = bench(fake_config), bench(fake_config)
    assert (first.timing.artifacts_built, first.timing.artifacts_reused) == (4, 0)
    assert (second.timing.artifacts_built, second.timing.artifacts_reused) == (0, 4)
    assert all(row.build_cached for row in second.cases)
    assert all(row.samples_ns for row in second.cases)
    for launch in (launch for row in second.cases for launch in row.launches):
        assert len(launch.host_samples_ns) == len(launch.samples_ns)
        assert all(host_ns > 0 for host_ns in launch.host_samples_ns)


def test_a_damaged_engine_is_built_again(fake_config: RunConfig) -> None:
    bench(fake_config)
    for engine in fake_config.cache_root.glob("engine/*/engine.bin"):
        engine.write_bytes(b"damaged")
    again = bench(fake_config)
    assert pipeline.exit_code(again) == EXIT_PASS
    assert again.timing.artifacts_built == 3


@pytest.mark.parametrize(
    ("fault", "error_type", "words"),
    [
        ("nan", "EngineOutputError", "NaN"),
        ("shape", "EngineOutputError", "expected (1, 4, 32, 32, 32)"),
        ("crash", "WorkerCrashError", "SIGKILL"),
        ("build", "BuildError", "conv2"),
        ("float", "NotInt8Error", "conv1, conv2"),
    ],
)
def test_one_failed_case_leaves_the_others(
    fake_config: RunConfig,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    error_type: str,
    words: str,
) -> None:
    monkeypatch.setenv("VOXGATE_FAKE_FAULT", f"int8={fault}")
    result = bench(fake_config)
    found = rows(result)
    assert found["int8"].status == "failed"
    assert found["int8"].error_type == error_type
    assert words in (found["int8"].error or "")
    assert found["fp32"].status == found["fake-int8"].status == "ok"
    assert pipeline.exit_code(result) == EXIT_FAILED


def test_a_partly_int8_engine_is_measured_without_a_certificate(
    fake_config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOXGATE_FAKE_FAULT", "int8=partly")
    result = bench(fake_config)
    int8 = rows(result)["int8"]
    assert (int8.status, int8.error) == ("ok", None)
    assert int8.certificate is not None
    assert not int8.certificate.granted
    assert int8.certificate.findings[1] == (
        "NO: 90.0% of multiply-accumulates execute in int8, 95% required; in float: conv1"
    )
    assert "int8" in {ratios.precision for ratios in result.ratios}
    assert pipeline.exit_code(result) == EXIT_PASS


def test_a_hang_fails_the_case(fake_config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXGATE_FAKE_FAULT", "int8=hang")
    found = rows(bench(replace(fake_config, time_limit_s=1.5)))
    assert found["int8"].error_type == "WorkerTimeoutError"
    assert found["fp32"].status == "ok"


def test_running_out_of_memory_fails_the_case(
    fake_config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOXGATE_FAKE_FAULT", "int8=memory")
    found = rows(bench(replace(fake_config, memory_limit_bytes=512 * 2**20)))
    assert found["int8"].error_type == "WorkerMemoryError"
    assert found["fp32"].status == "ok"


@pytest.mark.parametrize("precision", ["fp32", "fake-int8"])
def test_a_reference_that_computes_in_int8_is_failed(
    fake_config: RunConfig, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    monkeypatch.setenv("VOXGATE_FAKE_FAULT", f"{precision}=integer")
    result = bench(fake_config)
    found = rows(result)
    assert found[precision].error_type == "UnexpectedInt8Error"
    assert "100.0%" in (found[precision].error or "")
    assert pipeline.exit_code(result) == EXIT_FAILED


def test_a_crash_in_a_later_launch_leaves_no_certificate(
    fake_config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    launches = 0

    def crash_in_the_second(job: Any, request: Any, *rest: Any) -> Any:
        nonlocal launches
        if job.name == "run" and request.options.precision == "int8":
            launches += 1
            monkeypatch.setenv("VOXGATE_FAKE_FAULT", "int8=crash" if launches == 2 else "")
        return launcher.run_job(job, request, *rest)

    monkeypatch.setattr(pipeline, "run_job", crash_in_the_second)
    row = rows(bench(fake_config))["int8"]
    assert (row.status, row.error_type) == ("failed", "WorkerCrashError")
    assert row.latency_ms is not None
    assert row.certificate is None


@pytest.mark.parametrize(("fault", "words"), [("nan", "NaN"), ("shape", "returned shape")])
def test_a_wrong_output_of_a_later_launch_fails_the_case(
    fake_config: RunConfig, monkeypatch: pytest.MonkeyPatch, fault: str, words: str
) -> None:
    def wrong_unless_evaluating(job: Any, request: Any, *rest: Any) -> Any:
        later = job.name == "run" and not request.evaluate
        monkeypatch.setenv("VOXGATE_FAKE_FAULT", f"int8={fault}" if later else "")
        return launcher.run_job(job, request, *rest)

    monkeypatch.setattr(pipeline, "run_job", wrong_unless_evaluating)
    row = rows(bench(fake_config))["int8"]
    assert (row.status, row.error_type) == ("failed", "EngineOutputError")
    assert words in (row.error or "")


def test_a_probe_that_breaks_is_failed_and_not_unavailable(fake_config: RunConfig) -> None:
    broken = replace(fake_config, precisions=("fp32", "bf16"), memory_limit_bytes=1)
    result = bench(broken)
    assert [row.error_type for row in result.cases] == ["WorkerMemoryError"] * 2
    assert pipeline.exit_code(result) == EXIT_FAILED


def test_a_missing_backend_is_unavailable_and_no_pass(
    fake_config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOXGATE_FAKE_FAULT", "fp32=missing")
    result = bench(fake_config)
    assert {row.status for row in result.cases} == {"unavailable"}
    assert "pip install" in (result.cases[0].reason or "")
    assert pipeline.exit_code(result) == EXIT_FAILED


def test_a_precision_that_a_backend_lacks_is_unavailable(fake_config: RunConfig) -> None:
    result = bench(replace(fake_config, precisions=("fp32", "bf16")))
    assert [row.status for row in result.cases] == ["ok", "unavailable"]
    assert pipeline.exit_code(result) == EXIT_FAILED


def test_an_unavailable_case_says_why_even_for_a_real_backend(fake_config: RunConfig) -> None:
    config = replace(fake_config, backends=("onnxruntime",), precisions=("int8",))
    (row,) = bench(config).cases
    assert row.status == "unavailable"
    assert "openvino" in (row.reason or "")


def test_a_missing_checkpoint_fails_by_name(fake_config: RunConfig) -> None:
    (row,) = bench(replace(fake_config, backends=("pytorch",))).cases
    assert row.status == "failed"
    assert "unet-phantom-mini.safetensors" in (row.error or "")
    assert "voxgate train" in (row.error or "")


def test_an_empty_record_is_no_pass(fake_config: RunConfig) -> None:
    empty = replace(bench(replace(fake_config, precisions=("fp32",))), cases=())
    assert pipeline.exit_code(empty) == EXIT_FAILED


def test_worse_segmentation_shows_in_the_ratios(
    fake_config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOXGATE_FAKE_FAULT", "int8=worse")
    ratios = {r.precision: r for r in bench(fake_config).ratios}
    assert ratios["int8"].dice_mean_delta is not None
    assert ratios["int8"].dice_mean_delta < -0.1
    assert ratios["fake-int8"].dice_mean_delta == 0.0
