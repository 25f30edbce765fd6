"""The tasks: fixed patches, and nothing that evaluates was seen before, not even mirrored."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from voxgate import datasets
from voxgate.datasets import Split, Volume, mni152, phantom
from voxgate.datasets.augment import training_batch, training_batches
from voxgate.datasets.base import FloatVolume, LabelVolume
from voxgate.datasets.mni152 import Mni152
from voxgate.datasets.phantom import Phantom, make_body
from voxgate.errors import ArtifactError, UsageError

SHAPE = (197, 233, 189)

BRAIN = Mni152()
MINI = Phantom(name="phantom-mini", organs=3, size=32, evaluation_count=4)


def test_unknown_task_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="Did you mean 'mni152'") as caught:
        datasets.get("mni125")
    assert "mni152, phantom, phantom-mini" in str(caught.value)


@pytest.mark.parametrize("name", sorted(datasets.TASKS))
def test_the_subjects_of_evaluation_are_those_of_its_patches(name: str) -> None:
    task = datasets.get(name)
    found = {patch.name: patch.case for patch in task.patches("evaluation")}
    assert dict(task.evaluation_subjects) == found


# --- mni152 --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def template() -> tuple[FloatVolume, LabelVolume]:
    return mni152._template()


@pytest.mark.parametrize(("split", "count"), [("calibration", 4), ("evaluation", 8)])
def test_brain_patches_have_their_shapes(split: Split, count: int) -> None:
    patches = BRAIN.patches(split)
    assert len(patches) == count
    assert len({patch.name for patch in patches}) == count
    for patch in patches:
        assert patch.image.shape == (1, 96, 96, 96)
        assert patch.image.dtype == np.float32
        assert patch.label.shape == (96, 96, 96)
        assert patch.label.dtype == np.uint8
        assert patch.image.flags.c_contiguous
        assert patch.label.flags.c_contiguous
        assert 0 <= patch.image.min() < patch.image.max() <= 1
        assert set(np.unique(patch.label).tolist()) == {0, 1, 2}


def test_brain_patches_are_the_same_when_made_anew() -> None:
    before = [*BRAIN.patches("calibration"), *BRAIN.patches("evaluation")]
    mni152._template.cache_clear()
    after = [*BRAIN.patches("calibration"), *BRAIN.patches("evaluation")]
    for old, new in zip(before, after, strict=True):
        assert (old.name, old.case) == (new.name, new.case)
        assert np.array_equal(old.image, new.image)
        assert np.array_equal(old.label, new.label)


def test_brain_patches_do_not_share_memory_with_the_template(
    template: tuple[FloatVolume, LabelVolume],
) -> None:
    for split in ("calibration", "evaluation"):
        for patch in BRAIN.patches(split):
            assert not np.shares_memory(patch.image, template[0])
            assert not np.shares_memory(patch.label, template[1])


def test_calibration_and_evaluation_share_no_case() -> None:
    cases = [{patch.case for patch in BRAIN.patches(s)} for s in ("calibration", "evaluation")]
    assert not cases[0] & cases[1]


def test_template_is_its_own_mirror_image(template: tuple[FloatVolume, LabelVolume]) -> None:
    # The reason why a split by hemisphere alone would evaluate on what was trained on.
    for volume in template:
        assert volume.shape == SHAPE
        assert np.array_equal(volume, volume[::-1])


def test_tissue_is_brighter_than_background(template: tuple[FloatVolume, LabelVolume]) -> None:
    image, label = template
    background, grey, white = (float(image[label == i].mean()) for i in range(3))
    assert background < grey < white


def _numbered() -> tuple[FloatVolume, LabelVolume]:
    """A template in which each voxel holds its own number; 0 is left for padding."""
    numbers = np.arange(1, np.prod(SHAPE) + 1, dtype=np.float32).reshape(SHAPE)
    return numbers, (numbers % 251).astype(np.uint8)


def _positions(images: Iterator[NDArray[np.float32]]) -> NDArray[np.bool_]:
    """Where in the template the voxels of numbered images come from."""
    seen = np.zeros(1 + int(np.prod(SHAPE)), np.bool_)
    for image in images:
        seen[image.astype(np.int64).ravel()] = True
    return seen[1:].reshape(SHAPE)


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> NDArray[np.bool_]:
    """The voxels that evaluation reads; from here on every voxel holds its number."""
    numbered = _numbered()
    assert numbered[0].max() < 2**24  # each number is a float32
    monkeypatch.setattr(mni152, "_template", lambda: numbered)
    known = property(lambda patch: mni152._SHA256[patch.name])  # numbers are not the real voxels
    monkeypatch.setattr(datasets.Patch, "sha256", known)
    return _positions(patch.image for patch in BRAIN.patches("evaluation"))


def test_no_evaluation_voxel_was_trained_on_nor_its_mirror_image(
    evaluated: NDArray[np.bool_],
) -> None:
    trained = _positions(volume.image for volume in BRAIN.training_volumes())
    assert trained.sum() == 98 * 117 * 189
    assert evaluated.sum() == 96 * 116 * 162  # y runs from 117 to 232, z from 12 to 173
    assert not (trained & evaluated).any()
    assert not (trained & evaluated[::-1]).any()  # x -> 196 - x


def test_no_evaluation_voxel_calibrates_nor_its_mirror_image(
    evaluated: NDArray[np.bool_],
) -> None:
    calibrated = _positions(patch.image for patch in BRAIN.patches("calibration"))
    # y runs from 8 to 116; the first and the last 13 slices are in the boxes of two heights of four
    assert calibrated.sum() == 96 * (13 * 140 + 83 * 162 + 13 * 140)
    assert not (calibrated & evaluated).any()
    assert not (calibrated & evaluated[::-1]).any()


@pytest.mark.usefixtures("evaluated")
def test_labels_are_cut_where_the_images_are() -> None:
    for split in ("calibration", "evaluation"):
        for patch in BRAIN.patches(split):
            assert np.array_equal(patch.image[0].astype(np.int64) % 251, patch.label)
    (volume,) = BRAIN.training_volumes()
    assert np.array_equal(volume.image.astype(np.int64) % 251, volume.label)


def test_split_would_catch_a_hemisphere_split(evaluated: NDArray[np.bool_]) -> None:
    left = np.zeros(SHAPE, np.bool_)
    left[:98] = True
    assert not (left & evaluated).any()
    assert (left & evaluated[::-1]).any()


def test_boxes_of_the_split_do_not_meet() -> None:
    def box(corner: tuple[int, int, int]) -> tuple[range, ...]:
        return tuple(range(start, start + mni152._SIZE) for start in corner)

    def mirrored(ranges: tuple[range, ...]) -> tuple[range, ...]:
        return range(196 - ranges[0][-1], 196 - ranges[0][0] + 1), *ranges[1:]

    def meet(one: tuple[range, ...], other: tuple[range, ...]) -> bool:
        return all(set(a) & set(b) for a, b in zip(one, other, strict=True))

    training = (range(mni152._MIDLINE_X), range(mni152._SPLIT_Y), range(SHAPE[2]))
    seen = [training, *map(box, mni152._CALIBRATION_CORNERS)]
    held_out = list(map(box, mni152._EVALUATION_CORNERS))
    for one, other in itertools.product(seen, held_out):
        assert not meet(one, other)
        assert not meet(one, mirrored(other))
    for ranges in held_out:
        assert all(r[0] >= 0 and r[-1] < n for r, n in zip(ranges, SHAPE, strict=True))


@pytest.mark.parametrize("which", [0, 1], ids=["intensity", "label"])
def test_one_changed_voxel_of_the_template_is_refused(
    template: tuple[FloatVolume, LabelVolume], monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    image, label = template[0].copy(), template[1].copy()
    if which == 0:
        image[99, 117, 12] += 2.0**-20  # the first voxel of the first evaluation patch
    else:
        label[99, 117, 12] += 1
    monkeypatch.setattr(mni152, "_template", lambda: (image, label))
    BRAIN.patches("calibration")
    with pytest.raises(ArtifactError, match="patch right-front-y117-z012 of mni152 has SHA-256"):
        BRAIN.patches("evaluation")


def test_template_of_another_size_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Small:
        dataobj = np.zeros((10, 10, 10))

    mni152._template.cache_clear()
    monkeypatch.setattr("nilearn.datasets.load_mni152_template", lambda **_: Small())
    with pytest.raises(ArtifactError, match=r"\(10, 10, 10\) voxels, expected \(197, 233, 189\)"):
        mni152._template()


# --- phantoms ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "size", "organs", "count"), [("phantom", 96, 13, 12), ("phantom-mini", 32, 3, 8)]
)
def test_every_organ_is_in_every_patch(task: str, size: int, organs: int, count: int) -> None:
    dataset = datasets.get(task)
    patches = [*dataset.patches("calibration"), *dataset.patches("evaluation")]
    assert len(patches) == count
    assert len({patch.case for patch in patches}) == count
    for patch in patches:
        assert patch.image.shape == (1, size, size, size)
        assert patch.image.dtype == np.float32
        assert patch.label.shape == (size, size, size)
        assert patch.label.dtype == np.uint8
        assert np.isfinite(patch.image).all()
        assert np.unique(patch.label).tolist() == list(range(organs + 1))
    assert len(dataset.classes) == organs + 1
    assert dataset.patch_size == (size, size, size)


@pytest.mark.parametrize("organs", range(1, 14))
@pytest.mark.parametrize("seed", [0, 1])
def test_every_number_of_organs_fits_a_small_cube(organs: int, seed: int) -> None:
    image, label = make_body(organs, 16, seed)
    assert np.unique(label).tolist() == list(range(organs + 1))
    assert np.isfinite(image).all()


@pytest.mark.parametrize("organs", [-1, 0, 14])
def test_number_of_organs_is_limited(organs: int) -> None:
    with pytest.raises(ValueError, match=f"1 to 13 organs, not {organs}"):
        Phantom(name="x", organs=organs, size=32, evaluation_count=1)


def test_no_two_uses_share_a_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []

    def remember(organs: int, size: int, seed: int) -> tuple[FloatVolume, LabelVolume]:
        assert organs == 3
        seeds.append(seed)
        return np.zeros((size,) * 3, np.float32), np.zeros((size,) * 3, np.uint8)

    monkeypatch.setattr(phantom, "make_body", remember)
    names = [volume.name for volume in MINI.training_volumes()]
    names += [
        patch.case for split in ("calibration", "evaluation") for patch in MINI.patches(split)
    ]
    assert len(seeds) == 4 + 4 + 4
    assert len(set(seeds)) == len(set(names)) == 12


def test_seed_alone_decides_a_body() -> None:
    first, second = make_body(3, 16, 5), make_body(3, 16, 6)
    assert not np.array_equal(first[1], second[1])
    make_body.cache_clear()
    again = make_body(3, 16, 5)
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])


def test_intensity_follows_the_label() -> None:
    for patch in MINI.patches("evaluation"):
        means = [float(patch.image[0][patch.label == i].mean()) for i in range(4)]
        assert means == pytest.approx([0, 1 / 3, 2 / 3, 1], abs=0.05)
        correlation = np.corrcoef(patch.image.ravel(), patch.label.ravel())[0, 1]
        assert correlation > 0.9


# --- training patches ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def volumes() -> list[Volume]:
    return list(MINI.training_volumes())


def test_training_batch_depends_on_the_seed_and_the_step_alone(volumes: list[Volume]) -> None:
    def make(seed: int, step: int) -> tuple[FloatVolume, LabelVolume]:
        return training_batch(volumes, (16, 16, 16), 2, seed, step)

    first = make(1, 5)
    again = make(1, 5)
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    for other in (make(1, 6), make(2, 5), make(5, 1)):
        assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize("size", [(16, 16, 16), (32, 32, 32), (48, 48, 48), (8, 16, 24)])
def test_training_batch_has_its_shapes(volumes: list[Volume], size: tuple[int, int, int]) -> None:
    images, labels = training_batch(volumes, size, 3, 0, 0)
    assert images.shape == (3, 1, *size)
    assert images.dtype == np.float32
    assert labels.shape == (3, *size)
    assert labels.dtype == np.uint8
    assert np.isfinite(images).all()
    assert set(np.unique(labels).tolist()) <= {0, 1, 2, 3}


def test_patch_larger_than_the_volume_is_padded() -> None:
    # A volume of 20 x 40 x 28 in a patch of 32: both ends of an axis may lie beyond it.
    ones = np.ones((20, 40, 28), np.float32)
    volume = Volume(name="v", image=ones, label=ones.astype(np.uint8))
    sums = set()
    for step in range(20):
        images, labels = training_batch([volume], (32, 32, 32), 1, 0, step, vary_intensity=False)
        assert np.array_equal(images[:, 0], labels)
        sums.add(int(labels.sum()))
    assert 0 not in sums
    assert max(sums) <= 20 * 32 * 28
    assert len(sums) > 1


def test_image_and_label_are_moved_together() -> None:
    numbers = np.arange(16**3, dtype=np.float32).reshape((16,) * 3)
    volume = Volume(name="v", image=numbers, label=(numbers % 256).astype(np.uint8))
    for step in range(10):
        images, labels = training_batch([volume], (8, 8, 8), 2, 0, step, vary_intensity=False)
        assert np.array_equal(images[:, 0].astype(np.int64) % 256, labels)


def test_patches_are_turned_and_mirrored() -> None:
    numbers = np.arange(1, 8**3 + 1, dtype=np.float32).reshape((8,) * 3)
    volume = Volume(name="v", image=numbers, label=np.zeros((8,) * 3, np.uint8))
    steps: set[tuple[float, ...]] = set()
    for step in range(500):
        images, _ = training_batch([volume], (4, 4, 4), 1, 0, step, vary_intensity=False)
        patch = images[0, 0].astype(np.float64)
        inner = patch[1:3, 1:3, 1:3]
        if inner.all():  # away from the padding, neighbours differ by the strides
            ways = [float((inner.take(1, axis) - inner.take(0, axis))[0, 0]) for axis in range(3)]
            steps.add(tuple(ways))
    assert {tuple(sorted(map(abs, ways))) for ways in steps} == {(1.0, 8.0, 64.0)}
    assert len(steps) == 48  # 6 orders of the axes, each mirrored in 8 ways


def test_intensity_is_varied_only_when_asked(volumes: list[Volume]) -> None:
    plain, labels = training_batch(volumes, (16,) * 3, 2, 0, 3, vary_intensity=False)
    varied, same_labels = training_batch(volumes, (16,) * 3, 2, 0, 3)
    assert labels.shape == same_labels.shape
    assert not np.array_equal(plain[0], varied[0])
    assert np.array_equal(labels[0], same_labels[0])  # the first patch is drawn before its noise


def test_volumes_are_not_changed_by_augmentation() -> None:
    image, label = make_body(3, 16, 9)
    volume = Volume(name="v", image=image.copy(), label=label.copy())
    for step in range(5):
        training_batch([volume], (16, 16, 16), 2, 0, step)
    assert np.array_equal(volume.image, image)
    assert np.array_equal(volume.label, label)


@pytest.mark.parametrize("steps", [range(9), range(4, 7), range(3, 3)])
def test_batches_come_in_order_and_are_those_of_their_steps(
    volumes: list[Volume], steps: range
) -> None:
    size = (8, 8, 8)
    found = list(training_batches(volumes, size, 2, 11, steps))
    assert [step for step, _ in found] == list(steps)
    for step, (images, labels) in found:
        expected = training_batch(volumes, size, 2, 11, step)
        assert np.array_equal(images, expected[0])
        assert np.array_equal(labels, expected[1])


def test_batches_can_be_left_early(volumes: list[Volume]) -> None:
    batches = training_batches(volumes, (8, 8, 8), 1, 0, range(1_000_000))
    assert next(iter(batches))[0] == 0
    assert next(iter(batches))[0] == 1
