"""`voxgate scales`: what it prints, its exit codes, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from voxgate import cli
from voxgate.artifacts.messages import Job
from voxgate.commands.scales import describe
from voxgate.config import RunConfig
from voxgate.errors import EXIT_FAILED, EXIT_PASS, EXIT_USAGE, QuantizationError, UsageError
from voxgate.records.scales import CheckedScales, Outcome, TensorVerdict
from voxgate.runs import scales
from voxgate.runs.scales import GraphScales, exit_code, quantizing_backends


def result(*outcomes: Outcome) -> GraphScales:
    tensors = tuple(
        TensorVerdict(name=f"t{i}", role="activation", outcome=outcome, scales=1, detail=f"why {i}")
        for i, outcome in enumerate(outcomes)
    )
    return GraphScales(
        model="unet", quantizer="nncf", method="min-max", found=CheckedScales(tensors=tensors)
    )


FAILED = GraphScales(model="unet", quantizer="nncf", method="min-max", error="no checkpoint")


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ((result("equal"),), EXIT_PASS),
        ((result("equal", "not-checked"),), EXIT_PASS),
        ((result("equal", "deviates"),), EXIT_FAILED),
        ((result("not-checked"),), EXIT_FAILED),
        ((result(),), EXIT_FAILED),
        ((), EXIT_FAILED),
        ((result("equal"), FAILED), EXIT_FAILED),
    ],
)
def test_nothing_checked_is_no_pass(results: tuple[GraphScales, ...], code: int) -> None:
    assert exit_code(results) == code


def test_what_deviates_and_what_was_not_checked_is_listed() -> None:
    text = describe(result("equal", "deviates", "not-checked"))
    assert "1 of 3 activations equal" in text
    assert "0 of 0 weights" in text
    assert "DEVIATES     activation t1: why 1" in text
    assert "not checked  activation t2: why 2" in text
    assert "t0" not in text
    assert "FAILED: no checkpoint" in describe(FAILED)


def test_one_backend_a_quantizer_is_chosen() -> None:
    config = RunConfig(backends=("openvino", "onnxruntime", "pytorch"))
    assert quantizing_backends(config) == ("openvino", "onnxruntime")
    assert quantizing_backends(replace(config, quantizer="modelopt")) == ("openvino",)
    with pytest.raises(UsageError, match="no quantized graph"):
        quantizing_backends(replace(config, backends=("pytorch", "fake")))


def test_the_fake_backend_has_no_scales(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["scales", "unet", "--backend", "fake", "--cache-dir", str(tmp_path)]
    assert cli.main(command) == EXIT_USAGE
    assert "--backend" in capsys.readouterr().err
    assert cli.main(["scales", "no-such-network"]) == EXIT_USAGE


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_failing_stage_is_reported_for_its_model(
    flags: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(job: Job[object, object], *_: object) -> object:
        msg = f"{job.name} broke"
        raise QuantizationError(msg)

    monkeypatch.setattr("voxgate.artifacts.run_artifacts.run_job", fail)
    monkeypatch.setattr(scales, "run_job", fail)
    command = ["scales", "unet", "--cache-dir", str(tmp_path), *flags]
    assert cli.main(command) == EXIT_FAILED
    assert "broke" in capsys.readouterr().out
