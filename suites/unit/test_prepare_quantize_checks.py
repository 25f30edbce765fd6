"""Calibration data is checked: it evaluates nothing, and it can calibrate."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness import datasets, quantizers
from harness.datasets import Split
from harness.errors import HarnessError, QuantizationError, UsageError
from harness.requests import Prepared
from harness.stages.prepare import _identify, check_disjoint
from harness.stages.quantize import check_images
from harness.types import PatchInfo


def _patch(name: str, case: str, sha256: str) -> PatchInfo:
    return PatchInfo(name=name, case=case, sha256=sha256)


# --- calibration and evaluation ------------------------------------------------------------------


def test_splits_without_a_common_case_or_patch_are_accepted() -> None:
    check_disjoint(
        Prepared(
            calibration=(_patch("a", "left", "00"), _patch("b", "left", "01")),
            evaluation=(_patch("a", "right", "02"), _patch("c", "right", "03")),
        )
    )


def test_common_case_is_named() -> None:
    prepared = Prepared(
        calibration=(_patch("a", "left", "00"), _patch("b", "middle", "01")),
        evaluation=(_patch("c", "right", "02"), _patch("d", "middle", "03")),
    )
    with pytest.raises(HarnessError, match="share the case middle;"):
        check_disjoint(prepared)


def test_common_patch_is_named_even_under_another_name() -> None:
    prepared = Prepared(
        calibration=(_patch("a", "left", "00"), _patch("b", "left", "ff")),
        evaluation=(_patch("c", "right", "ff"),),
    )
    with pytest.raises(HarnessError, match="share the sha256 ff;"):
        check_disjoint(prepared)


def test_common_voxels_are_found_under_other_names() -> None:
    split: Split = "calibration"
    (first, *_) = datasets.get("phantom-mini").patches(split)
    renamed = datasets.Patch(name="x", case="x", image=first.image.copy(), label=first.label)
    prepared = Prepared(calibration=_identify([first]), evaluation=_identify([renamed]))
    with pytest.raises(HarnessError, match="share the sha256"):
        check_disjoint(prepared)


@pytest.mark.parametrize("where", ["image", "label"])
def test_identity_of_a_patch_sees_every_voxel(where: str) -> None:
    image, label = np.zeros((1, 4, 4, 4), np.float32), np.zeros((4, 4, 4), np.uint8)
    before = _identify([datasets.Patch(name="p", case="c", image=image.copy(), label=label.copy())])
    if where == "image":
        image[0, 3, 2, 1] = 1
    else:
        label[3, 2, 1] = 1
    after = _identify([datasets.Patch(name="p", case="c", image=image, label=label)])
    assert before[0].sha256 != after[0].sha256
    assert (before[0].name, before[0].case) == ("p", "c")


@pytest.mark.parametrize("task", ["mni152", "phantom-mini"])
def test_tasks_keep_their_splits_apart(task: str) -> None:
    dataset = datasets.get(task)
    prepared = Prepared(
        calibration=_identify(dataset.patches("calibration")),
        evaluation=_identify(dataset.patches("evaluation")),
    )
    check_disjoint(prepared)
    hashes = [patch.sha256 for patch in (*prepared.calibration, *prepared.evaluation)]
    assert len(set(hashes)) == len(hashes)


# --- calibration images --------------------------------------------------------------------------


def _images() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(0).random((3, 1, 4, 4, 4), dtype=np.float32)


def test_usable_images_are_accepted() -> None:
    check_images(_images(), "images.npy")
    check_images(_images()[:1], "images.npy")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_value_that_is_not_finite_names_its_patch(bad: float) -> None:
    images = _images()
    images[1, 0, 2, 3, 0] = bad
    with pytest.raises(QuantizationError, match=r"patch 1 of images\.npy .* not finite"):
        check_images(images, "images.npy")


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_constant_patch_is_named(value: float) -> None:
    images = _images()
    images[2] = value
    with pytest.raises(QuantizationError, match=r"patch 2 of images\.npy is constant"):
        check_images(images, "images.npy")


@pytest.mark.parametrize(
    "shape",
    [
        (0, 1, 4, 4, 4), (3, 4, 4, 4), (4, 4, 4), (), (3, 1, 4, 4, 4, 1), (3, 2, 4, 4, 4),
        (3, 0, 4, 4, 4), (3, 1, 0, 4, 4),
    ],
)  # fmt: skip
def test_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).random(shape)
    with pytest.raises(QuantizationError, match="not \\(N, 1, D, H, W\\)") as caught:
        check_images(np.asarray(images), "images.npy")
    assert str(shape) in str(caught.value)


# --- calibration methods -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quantizer", "default"),
    [("nncf", "min-max"), ("nncf-default", "min-max"), ("modelopt", "max")],
)
def test_empty_method_means_the_default(quantizer: str, default: str) -> None:
    assert quantizers.get(quantizer).check_method("") == default


@pytest.mark.parametrize(
    ("quantizer", "method"),
    [
        ("nncf", "min-max"), ("nncf", "max"), ("nncf", "percentile"), ("nncf-default", "min-max"),
        ("modelopt", "max"), ("modelopt", "entropy"),
    ],
)  # fmt: skip
def test_known_method_is_kept(quantizer: str, method: str) -> None:
    assert quantizers.get(quantizer).check_method(method) == method


@pytest.mark.parametrize("method", ["percentile", "mse", "minmax", "Max", " "])
def test_method_that_modelopt_would_replace_by_another_is_refused(method: str) -> None:
    with pytest.raises(UsageError, match="calibration method of modelopt") as caught:
        quantizers.get("modelopt").check_method(method)
    assert "Choose from: entropy, max." in str(caught.value)


@pytest.mark.parametrize("method", ["entropy", "mse", "quantile", "Max", " "])
def test_method_that_nncf_does_not_have_is_refused(method: str) -> None:
    with pytest.raises(UsageError, match=r"Choose from: max, min-max, percentile\."):
        quantizers.get("nncf").check_method(method)


def test_nncf_as_it_comes_has_its_default_alone() -> None:
    with pytest.raises(UsageError, match=r"Choose from: min-max\."):
        quantizers.get("nncf-default").check_method("max")


def test_unknown_quantizer_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"Choose from: modelopt, nncf, nncf-default\."):
        quantizers.get("trt")
