"""One variant in one process: Dice and noise of the logits, on both formats and runtimes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voxgate.artifacts import jobs
from voxgate.artifacts.launcher import Limits, run_job
from voxgate.errors import EngineOutputError
from voxgate.quantization.editor import Edit, Graphs
from voxgate.records.runtime import EngineOptions
from voxgate.runs.ranking import decibels
from voxgate.stages.variant import measure_variant
from voxgate.stages.variant_requests import VariantRequest

from suites.support import small_network as small

for needed in ("openvino", "onnxruntime", "onnx"):
    pytest.importorskip(needed, reason=f"{needed} is not installed")


@pytest.fixture(params=["openvino", "onnxruntime"])
def request_(request: pytest.FixtureRequest, tmp_path: Path) -> VariantRequest:
    """FP32 on two patches; the label is what FP32 says."""
    plain = small.write_onnx(tmp_path / "model.onnx")
    is_ir = request.param == "openvino"
    if is_ir:
        quantized = small.write_ir(plain, tmp_path / "quantized.xml")
    else:
        quantized = small.write_onnx(tmp_path / "quantized.onnx", small.ALL_EDGES)
    images = np.concatenate([small.IMAGE, small.IMAGE[:, :, ::-1] * np.float32(0.5)])
    np.save(tmp_path / "images.npy", images)
    labels = [small.run_onnx(plain, image[None])[0].argmax(0) for image in images]
    np.save(tmp_path / "labels.npy", np.stack(labels).astype(np.uint8))
    return VariantRequest(
        backend=request.param,
        options=EngineOptions(precision="fp32", threads=1, model="m", task="t", classes=3),
        graphs=Graphs(
            format="openvino-ir" if is_ir else "onnx-qdq",
            onnx=str(plain), quantized=str(quantized), nodes=small.nodes(),
        ),
        edit=Edit(onto="float"),
        images=str(tmp_path / "images.npy"), labels=str(tmp_path / "labels.npy"),
        cases=("one", "two"), label_names=("background", "a", "b"), patches=2,
        logits=str(tmp_path / "logits.npy"),
    )  # fmt: skip


def variant(request: VariantRequest, edit: Edit, **changes: Any) -> VariantRequest:
    options = replace(request.options, precision="fake-int8")
    return replace(
        request, options=options, edit=edit, reference=request.logits, logits="", **changes
    )


def test_noise_is_that_of_the_logits_and_none_without_quantizers(request_: VariantRequest) -> None:
    fp32 = measure_variant(request_)
    logits = np.load(request_.logits, allow_pickle=False)
    assert logits.shape == (2, 3, 8, 8, 8)
    assert fp32.dice.mean == 1
    assert fp32.noise == 0
    assert fp32.signal == pytest.approx(float((logits.astype(float) ** 2).sum()))
    control = measure_variant(variant(request_, Edit(onto="float")))
    off = decibels(control.signal, control.noise)
    assert off is None or off > 100
    whole = measure_variant(variant(request_, Edit(onto="quantized")))
    every = Edit(onto="float", layers=small.LAYERS, between=True)
    edited = measure_variant(variant(request_, every))
    assert edited.noise == whole.noise > control.noise
    assert edited.dice == whole.dice
    alone = measure_variant(variant(request_, Edit(onto="float", layers=("head",))))
    assert control.noise < alone.noise < whole.noise
    half = measure_variant(variant(request_, Edit(onto="float", layers=("head",)), patches=1))
    assert half.signal < alone.signal
    assert set(half.dice.per_case) == {"one"}


def test_logits_of_another_network_are_refused(request_: VariantRequest, tmp_path: Path) -> None:
    np.save(tmp_path / "other.npy", np.zeros((2, 4, 8, 8, 8), np.float32))
    with pytest.raises(EngineOutputError, match=r"the logits of FP32 are \(2, 4, 8, 8, 8\)"):
        measure_variant(replace(request_, reference=str(tmp_path / "other.npy"), logits=""))


def test_a_worker_does_it_and_the_front_needs_no_sdk(request_: VariantRequest) -> None:
    found = run_job(jobs.VARIANT, request_, Limits(seconds=60))
    assert found.dice.mean == 1
    assert found.build_s > 0
    assert found.inference_s > 0
