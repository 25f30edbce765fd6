"""Calibration data is checked: it evaluates nothing, and it can calibrate."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
from voxgate import datasets, quantizers
from voxgate.datasets import Split
from voxgate.errors import HarnessError, QuantizationError, UsageError
from voxgate.records.calibration import PatchInfo
from voxgate.stages.calibrate import check_disjoint
from voxgate.stages.quantize import check_images


def _patch(name: str, case: str, sha256: str, image_sha256: str = "") -> PatchInfo:
    return PatchInfo(name=name, case=case, sha256=sha256, image_sha256=image_sha256)


EVALUATION = (
    _patch("c", "right", "02", "12"),
    _patch("d", "middle", "03", "13"),
)


# --- calibration and evaluation ------------------------------------------------------------------


def test_patch_without_a_common_case_or_hash_is_accepted() -> None:
    check_disjoint(_patch("c", "left", "00", "10"), EVALUATION)
    check_disjoint(_patch("a", "left", "00"), (_patch("b", "right", "01"),))


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        (_patch("a", "middle", "00", "10"), "a and evaluation patch d share the case middle;"),
        (
            _patch("a", "left", "02", "10"),
            "a and evaluation patch c share the voxels and labels 02",
        ),
        (_patch("a", "left", "00", "13"), "a and evaluation patch d share the voxels 13;"),
    ],
)
def test_what_a_patch_shares_is_named(patch: PatchInfo, words: str) -> None:
    with pytest.raises(HarnessError, match=words):
        check_disjoint(patch, EVALUATION)


@pytest.mark.parametrize("relabelled", [False, True])
def test_common_voxels_are_found_under_other_names(*, relabelled: bool) -> None:
    split: Split = "evaluation"
    (first, *_) = datasets.get("phantom-mini").patches(split)
    label = np.zeros_like(first.label) if relabelled else first.label
    renamed = datasets.Patch(name="x", case="x", image=first.image.copy(), label=label)
    with pytest.raises(HarnessError, match=f"x and evaluation patch {first.name} share the voxels"):
        check_disjoint(datasets.identify(renamed), [datasets.identify(first)])


@pytest.mark.parametrize("where", ["image", "label"])
def test_identity_of_a_patch_sees_every_voxel(where: str) -> None:
    image, label = np.zeros((1, 4, 4, 4), np.float32), np.zeros((4, 4, 4), np.uint8)
    before = datasets.identify(
        datasets.Patch(name="p", case="c", image=image.copy(), label=label.copy())
    )
    if where == "image":
        image[0, 3, 2, 1] = 1
    else:
        label[3, 2, 1] = 1
    after = datasets.identify(datasets.Patch(name="p", case="c", image=image, label=label))
    assert before.sha256 != after.sha256
    assert (before.image_sha256 != after.image_sha256) == (where == "image")
    assert (before.name, before.case) == ("p", "c")


@pytest.mark.parametrize("task", ["mni152", "phantom-mini"])
def test_tasks_keep_their_splits_apart(task: str) -> None:
    dataset = datasets.get(task)
    calibration, evaluation = (
        [datasets.identify(patch) for patch in dataset.patches(split)] for split in get_args(Split)
    )
    for patch in calibration:
        check_disjoint(patch, evaluation)
    hashes = [patch.image_sha256 for patch in (*calibration, *evaluation)]
    assert len(set(hashes)) == len(hashes)


# --- calibration images --------------------------------------------------------------------------


def _images() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    ramp = np.arange(4 * 4 * 4, dtype=np.float32).reshape(1, 1, 4, 4, 4)
    return np.concatenate([ramp, ramp + 1, ramp + 2])


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


def test_noise_is_named_with_its_correlation() -> None:
    images = np.concatenate([_images()] * 2)
    images[4] = np.random.default_rng(0).random((1, 4, 4, 4), dtype=np.float32)
    with pytest.raises(QuantizationError, match=r"patch 4 of images\.npy looks like noise: .* 0\."):
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
