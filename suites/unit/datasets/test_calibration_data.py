"""What calibrates: drawn patches, a user's volumes, and everything that is refused, by name."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from voxgate import datasets
from voxgate.artifacts.cache import Cache
from voxgate.artifacts.launcher import Limits
from voxgate.artifacts.run_artifacts import Artifacts
from voxgate.cli import main
from voxgate.commands.options import make_config
from voxgate.commands.parser import build_parser
from voxgate.config import RunConfig
from voxgate.datasets import Dataset, Patch, mni152
from voxgate.datasets import volumes as volumes_module
from voxgate.datasets.base import Spacing
from voxgate.datasets.overlap import find_block
from voxgate.datasets.phantom import make_body
from voxgate.datasets.usable import LEAST_CORRELATION, neighbour_correlation, why_unusable
from voxgate.datasets.volumes import case_of, folder_patches, read_volume, volume_files
from voxgate.errors import ArtifactError, HarnessError, QuantizationError, UsageError
from voxgate.stages import calibrate as stage
from voxgate.stages import file_names
from voxgate.stages.calibrate import calibrate
from voxgate.stages.requests import Calibrated, CalibrateRequest

nibabel: Any = pytest.importorskip("nibabel", reason="nibabel is not installed")

pytest_plugins = ["pytester"]

MINI = datasets.get("phantom-mini")
BRAIN = datasets.get("mni152")
EVALUATION = MINI.patches("evaluation")
ISOTROPIC = (1.0, 1.0, 1.0)

Volume = NDArray[np.float32]
Ask = Callable[..., Calibrated]


def smooth(seed: int, *shape: int) -> Volume:
    """Waves of a random phase along each axis."""
    phases = np.random.default_rng(seed).uniform(0, 6, 3)
    grid = np.meshgrid(*(np.arange(n) / 5 for n in shape), indexing="ij")
    waves = sum(np.sin(axis + phase) for axis, phase in zip(grid, phases, strict=True))
    return np.asarray(waves, np.float32)


def write_nifti(path: Path, volume: NDArray[Any], affine: NDArray[Any] | None = None) -> None:
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4) if affine is None else affine), path)


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    """Three volumes, one of each kind of file."""
    folder = tmp_path / "patients"
    folder.mkdir()
    write_nifti(folder / "a.nii.gz", smooth(1, 40, 36, 50))
    np.save(folder / "b.npy", smooth(2, 33, 44, 32))
    write_nifti(folder / "c.nii", smooth(3, 32, 32, 32))
    (folder / "notes.txt").write_text("no volume")
    return folder


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Run the stage as a worker does."""
    np.save(tmp_path / "evaluation.npy", np.stack([patch.image for patch in EVALUATION]))
    out = tmp_path / "out"
    out.mkdir()

    def run(data: Path | str = "", patches: int = 0, seed: int = 0) -> Calibrated:
        return calibrate(
            CalibrateRequest(
                task=MINI.name,
                patches=patches,
                seed=seed,
                data=str(data),
                evaluation=tuple(datasets.identify(patch) for patch in EVALUATION),
                evaluation_images=str(tmp_path / "evaluation.npy"),
                folder=str(out),
            )
        )

    return run


def written(tmp_path: Path) -> Volume:
    images: Volume = np.load(tmp_path / "out" / file_names.CALIBRATION_IMAGES, allow_pickle=False)
    return images


# --- drawn patches -------------------------------------------------------------------------------


def test_the_fixed_patches_are_written_as_they_are(ask: Ask, tmp_path: Path) -> None:
    fixed = MINI.patches("calibration")
    assert ask().patches == tuple(datasets.identify(patch) for patch in fixed)
    assert np.array_equal(written(tmp_path), np.stack([patch.image for patch in fixed]))


@pytest.mark.parametrize("dataset", [MINI, BRAIN], ids=lambda d: str(d.name))
def test_draws_are_the_seeds_and_a_larger_count_begins_with_the_same(dataset: Dataset) -> None:
    few, many, other = (
        [patch.image_sha256 for patch in dataset.draw(count, seed)]
        for count, seed in ((2, 5), (4, 5), (4, 6))
    )
    assert many[:2] == few
    assert len(set(many)) == 4
    assert set(many).isdisjoint(other)


@pytest.mark.parametrize("dataset", [MINI, BRAIN], ids=lambda d: str(d.name))
def test_draws_share_nothing_with_the_fixed_evaluation(dataset: Dataset) -> None:
    evaluation = [datasets.identify(patch) for patch in dataset.patches("evaluation")]
    for patch in dataset.draw(6, 0):
        assert patch.image.shape == (1, *dataset.patch_size)
        assert patch.image.dtype == np.float32
        stage.check_disjoint(datasets.identify(patch), evaluation)
        stage.check_usable(patch)


def test_every_corner_of_the_brain_lies_in_the_left_back() -> None:
    corners = np.array(mni152._DRAWN_CORNERS)
    assert len(corners) == len(np.unique(corners, axis=0)) == BRAIN.most_draws
    assert corners.min() >= 0
    assert (corners[:, 0] + 96).max() == 98
    assert (corners[:, 1] + 96).max() == 117
    assert (corners[:, 2] + 96).max() == 189


def test_bodies_are_of_the_calibrations_seeds_and_none_is_kept() -> None:
    make_body.cache_clear()
    numbers = [
        int(patch.name.removeprefix("body-")) for patch in MINI.draw(MINI.most_draws // 20, 3)
    ]
    assert len(set(numbers)) == len(numbers)
    assert all(1_004 <= number < 2_000 for number in numbers)
    assert make_body.cache_info().currsize == 0


# --- a user's volumes ----------------------------------------------------------------------------


def test_each_volume_gives_one_patch_with_its_provenance(ask: Ask, volumes: Path) -> None:
    patches = ask(volumes).patches
    assert [(patch.case, patch.file) for patch in patches] == [
        ("a", "a.nii.gz"), ("b", "b.npy"), ("c", "c.nii"),
    ]  # fmt: skip
    assert patches[2].corner == (0, 0, 0)
    assert len({patch.image_sha256 for patch in patches}) == 3


def test_a_patch_is_the_voxels_at_its_corner(ask: Ask, volumes: Path, tmp_path: Path) -> None:
    (first, *_) = ask(volumes, patches=3, seed=4).patches
    assert first.corner is not None
    x, y, z = first.corner
    box = smooth(1, 40, 36, 50)[x : x + 32, y : y + 32, z : z + 32]
    assert np.array_equal(written(tmp_path)[0, 0], box)


def test_the_seed_chooses_corners_and_files(ask: Ask, volumes: Path) -> None:
    def names(count: int, seed: int) -> set[str]:
        return {patch.name for patch in ask(volumes, patches=count, seed=seed).patches}

    assert names(1, 1) < names(2, 1)
    assert names(2, 1) == names(2, 1)
    assert len({frozenset(names(1, seed)) for seed in range(6)}) > 3


def test_more_patches_than_volumes_are_spread_evenly(ask: Ask, volumes: Path) -> None:
    (volumes / "c.nii").unlink()
    files = [patch.file for patch in ask(volumes, patches=5).patches]
    assert sorted(map(files.count, set(files))) == [2, 3]
    assert len({patch.name for patch in ask(volumes, patches=5).patches}) == 5


def test_a_nifti_is_turned_to_ras(tmp_path: Path) -> None:
    volume = smooth(1, 8, 9, 10)
    affine = np.diag([-1.0, 1.0, 1.0, 1.0])
    write_nifti(tmp_path / "las.nii.gz", volume, affine)
    assert np.array_equal(read_volume(tmp_path / "las.nii.gz", ISOTROPIC), volume[::-1])


def test_another_voxel_size_is_resampled_where_the_task_has_one(tmp_path: Path) -> None:
    path = tmp_path / "thick.nii.gz"
    write_nifti(path, smooth(1, 10, 10, 10), np.diag([1.0, 1.02, 3.0, 1.0]))
    assert read_volume(path, None).shape == (10, 10, 10)
    assert read_volume(path, ISOTROPIC).shape == (10, 10, 30)


def test_integers_become_float32(tmp_path: Path) -> None:
    np.save(tmp_path / "int.npy", np.arange(8, dtype=np.int16).reshape(2, 2, 2))
    read = read_volume(tmp_path / "int.npy", None)
    assert read.dtype == np.float32
    assert read.ravel().tolist() == list(range(8))


def test_the_template_is_adapted_to_itself() -> None:
    image, _ = mni152._template()
    assert np.allclose(BRAIN.adapt(image), image, atol=0.01)
    assert np.allclose(BRAIN.adapt(image * np.float32(1000)), BRAIN.adapt(image), atol=1e-5)
    assert not BRAIN.adapt(np.zeros((2, 2, 2), np.float32)).any()


def test_the_suffix_is_no_part_of_the_case(tmp_path: Path) -> None:
    assert [case_of(tmp_path / name) for name in ("x.y.nii.gz", "x.nii", "x.npy")] == [
        "x.y", "x", "x",
    ]  # fmt: skip


# --- what is refused, by name --------------------------------------------------------------------


def spoil_file(folder: Path, kind: str) -> str:
    """Make the middle one of three files unreadable; returns what the error must say."""
    path = folder / "b.nii.gz"
    if kind == "truncated":
        write_nifti(path, smooth(2, 33, 44, 32))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == "bad gzip":
        path.write_bytes(b"\x1f\x8b no gzip")
    elif kind == "wrong header":
        (folder / "b.nii").write_bytes(bytes(400))
    else:
        assert kind == "pickled"
        np.save(folder / "b.npy", np.array([{}], dtype=object), allow_pickle=True)
        return r"b\.npy cannot be read as a volume: .* Python objects"
    return "cannot be read as a volume"


def spoil_voxels(folder: Path, kind: str) -> str:
    """Make the middle one of three volumes unusable; returns what the error must say."""
    whole = smooth(2, 33, 44, 32)
    holed = whole.copy()
    holed[3, 4, 5] = np.nan
    noise = np.random.default_rng(0).random(whole.shape, dtype=np.float32)
    made: dict[str, tuple[NDArray[Any], str]] = {
        "NaN": (holed, "has 1 voxels that are NaN or infinite"),
        "2-D": (whole[0], r"holds \(44, 32\), not a volume"),
        "4-D": (np.stack([whole] * 2, -1), r"holds \(33, 44, 32, 2\), not a volume"),
        "complex": (whole.astype(np.complex64), "holds values of type complex64"),
        "small": (whole[:31], r"\(31, 44, 32\) voxels, fewer than a patch of \(32, 32, 32\)"),
        "constant": (np.ones_like(whole), "gave 0 of 1 distinct patches"),
        "noise": (noise, "looks like noise: neighbouring voxels correlate by"),
    }
    voxels, words = made[kind]
    write_nifti(folder / "b.nii.gz", voxels)
    return words


def damaged(folder: Path, kind: str) -> str:
    (folder / "b.npy").unlink()
    unreadable = kind in {"truncated", "bad gzip", "wrong header", "pickled"}
    return spoil_file(folder, kind) if unreadable else spoil_voxels(folder, kind)


KINDS = (
    "truncated", "bad gzip", "wrong header", "pickled", "NaN", "2-D", "4-D", "complex", "small",
    "constant", "noise",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_volume_in_the_middle_is_named(ask: Ask, volumes: Path, kind: str) -> None:
    words = damaged(volumes, kind)
    with pytest.raises((ArtifactError, QuantizationError), match=words) as caught:
        ask(volumes)
    assert "b.n" in str(caught.value)
    assert str(volumes) not in str(caught.value)


def artifacts_of(tmp_path: Path, folder: Path, **changes: Any) -> Artifacts:
    config = RunConfig(
        models=("unet",), task=MINI.name, calibration_data=folder, cache_dir=tmp_path / "cache",
        **changes,
    ).check()  # fmt: skip
    return Artifacts(
        config=config, cache=Cache(config.cache_root), limits=Limits(), announce=lambda _: None
    )


def test_a_bad_volume_leaves_nothing_in_the_cache(volumes: Path, tmp_path: Path) -> None:
    damaged(volumes, "truncated")
    with pytest.raises(ArtifactError, match=r"b\.nii\.gz cannot be read"):
        artifacts_of(tmp_path, volumes).calibration()
    left = [p.name for p in (tmp_path / "cache" / "calibration").iterdir() if p.suffix != ".lock"]
    assert left == []


def test_the_artifact_is_the_folders_content_and_the_choice(volumes: Path, tmp_path: Path) -> None:
    def key(**changes: Any) -> tuple[str, str]:
        made = artifacts_of(tmp_path, volumes, **changes).calibration()
        return made.key, made.digest

    first = key()
    assert key() == first
    assert key(calibration_seed=1)[1] != first[1]
    evaluation = artifacts_of(tmp_path, volumes).patches().key
    np.save(volumes / "b.npy", smooth(9, 33, 44, 32))
    assert key()[1] != first[1]
    assert artifacts_of(tmp_path, volumes).patches().key == evaluation


def test_a_case_that_evaluates_is_named(ask: Ask, volumes: Path) -> None:
    np.save(volumes / f"{EVALUATION[1].case}.npy", smooth(8, 32, 32, 32))
    with pytest.raises(HarnessError, match=f"share the case {EVALUATION[1].case};"):
        ask(volumes)


@pytest.mark.parametrize("suffix", [".npy", ".nii.gz"])
def test_a_copy_of_an_evaluation_patch_is_found_under_any_name(
    ask: Ask, volumes: Path, suffix: str
) -> None:
    image = EVALUATION[2].image[0]
    path = volumes / f"copy{suffix}"
    np.save(path, image) if suffix == ".npy" else write_nifti(path, image)
    with pytest.raises(HarnessError, match=rf"copy\{suffix} holds the evaluation patch body-2002;"):
        ask(volumes)


def test_a_volume_around_an_evaluation_patch_is_found(ask: Ask, volumes: Path) -> None:
    volume = smooth(1, 64, 50, 40)
    volume[20:52, 10:42, 5:37] = EVALUATION[0].image[0]
    np.save(volumes / "whole.npy", volume)
    with pytest.raises(HarnessError, match=r"whole\.npy holds the evaluation patch body-2000;"):
        ask(volumes)


@given(
    sides=st.tuples(*[st.integers(1, 9)] * 3), extra=st.tuples(*[st.integers(0, 4)] * 3),
    seed=st.integers(0, 99), levels=st.integers(1, 4),
)  # fmt: skip
@settings(deadline=None, max_examples=60)
def test_a_block_is_found_where_it_is(
    sides: tuple[int, int, int], extra: tuple[int, int, int], seed: int, levels: int
) -> None:
    generator = np.random.default_rng(seed)
    shape = [side + more for side, more in zip(sides, extra, strict=True)]
    volume = generator.integers(levels, size=shape).astype(np.float32)
    corner = [int(generator.integers(more + 1)) for more in extra]
    box = tuple(slice(a, a + n) for a, n in zip(corner, sides, strict=True))
    found = find_block(volume, volume[box].copy())
    assert found is not None
    again = tuple(slice(a, a + n) for a, n in zip(found, sides, strict=True))
    assert np.array_equal(volume[again], volume[box])
    assert find_block(volume, volume[box] + levels) is None


# --- noise ---------------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**32 - 1), side=st.integers(16, 24), normal=st.booleans())
@settings(deadline=None, max_examples=60)
def test_white_noise_is_refused(seed: int, side: int, *, normal: bool) -> None:
    generator = np.random.default_rng(seed)
    draw = generator.standard_normal if normal else generator.random
    image = draw((1, side, side, side), dtype=np.float32)
    assert neighbour_correlation(image) < LEAST_CORRELATION / 2
    assert "looks like noise" in why_unusable(image)


@given(scale=st.floats(1e-3, 1e3), shift=st.floats(-1e3, 1e3))
@settings(deadline=None, max_examples=30)
def test_the_correlation_has_no_unit(scale: float, shift: float) -> None:
    image = smooth(1, 12, 12, 12).astype(np.float64)
    expected = neighbour_correlation(image)
    assert neighbour_correlation(image * scale + shift) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("task", ["mni152", "phantom-mini"])
def test_every_patch_of_the_tasks_passes_with_a_margin(task: str) -> None:
    dataset = datasets.get(task)
    patches = (*dataset.patches("calibration"), *dataset.patches("evaluation"), *dataset.draw(8, 1))
    assert min(neighbour_correlation(patch.image) for patch in patches) > 2 * LEAST_CORRELATION


def test_thick_slices_are_no_noise() -> None:
    slices = np.random.default_rng(0).random((12, 1, 1), dtype=np.float32) + smooth(1, 1, 16, 16)
    assert why_unusable(np.broadcast_to(slices, (12, 16, 16))) == ""


# --- memory --------------------------------------------------------------------------------------


def peak_bytes(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_number_of_volumes(ask: Ask, tmp_path: Path) -> None:
    folders = {}
    for count in (2, 12):
        folders[count] = tmp_path / str(count)
        folders[count].mkdir()
        for number in range(count):
            np.save(folders[count] / f"{number:02d}.npy", smooth(number, 64, 64, 64))
    volume_bytes = 4 * 64**3
    ask(folders[2])  # what is imported and kept at the first time
    few, many = (peak_bytes(lambda c=count: ask(folders[c])) for count in (2, 12))  # type: ignore[misc]
    assert many < few + volume_bytes
    assert many < 6 * volume_bytes


def test_memory_does_not_grow_with_the_number_of_draws(ask: Ask) -> None:
    ask(patches=2)
    few, many = (peak_bytes(lambda c=count: ask(patches=c)) for count in (2, 30))  # type: ignore[misc]
    assert many < few + 4 * 32**3


# --- the configuration ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"calibration_seed": 1}, "a calibration seed chooses among patches"),
        ({"calibration_patches": -1}, "calibration_patches is -1"),
        ({"calibration_patches": 997}, "phantom-mini has 996 patches to calibrate on, not 997"),
        ({"calibration_patches": 1, "calibration_seed": -1}, "calibration_seed is -1"),
        ({"calibration_data": Path("nowhere")}, "nowhere is not a folder"),
    ],
)
def test_a_choice_without_a_meaning_is_usage(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        RunConfig(models=("unet",), task=MINI.name, **changes).check()


@pytest.mark.parametrize("selection", [["--backend", "fake"], ["--precisions", "fp32"]])
def test_a_choice_that_nothing_uses_is_usage(
    selection: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "--models", "unet", *selection, "--calibration-patches", "2"]) == 2
    assert "no selected case is quantized" in capsys.readouterr().err


def test_the_options_of_the_command_line_reach_the_configuration(volumes: Path) -> None:
    options = build_parser().parse_args([
        "bench", "--models=unet", "--calibration-patches=3", "--calibration-seed=7",
        f"--calibration-data={volumes}",
    ])  # fmt: skip
    config = make_config(options)
    assert (config.calibration_patches, config.calibration_seed) == (3, 7)
    assert config.calibration_data == volumes
    assert config.facts()["calibration_patches"] == 3
    assert config.facts()["calibration_seed"] == 7


def test_pytest_takes_the_same_options(pytester: pytest.Pytester, volumes: Path) -> None:
    pytester.makepyfile(
        "def test_it(vg_config):\n"
        "    assert vg_config.calibration_patches == 3\n"
        "    assert vg_config.calibration_seed == 7\n"
        "    assert vg_config.calibration_source == 'patients'\n"
    )
    result = pytester.runpytest_subprocess(
        "-p", "voxgate.plugin", "--vg-models=unet", "--vg-calibration-patches=3",
        "--vg-calibration-seed=7", f"--vg-calibration-data={volumes}",
    )  # fmt: skip
    assert result.parseoutcomes() == {"passed": 1}


def test_a_folder_without_volumes_is_usage(tmp_path: Path) -> None:
    (tmp_path / "x.txt").touch()
    (tmp_path / "folder.nii").mkdir()
    with pytest.raises(UsageError, match=r"holds no volume: no file ends with \.nii\.gz"):
        volume_files(tmp_path)


def test_a_folder_that_cannot_be_listed_is_usage(
    volumes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(_: Path) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", denied)
    with pytest.raises(UsageError, match=r"patients cannot be listed: .*Permission denied"):
        volume_files(volumes)


def test_the_record_names_the_folder_without_its_path(volumes: Path) -> None:
    config = RunConfig(models=("unet",), task=MINI.name, calibration_data=volumes).check()
    assert config.facts()["calibration_source"] == "patients"
    assert config.drawn_by == 0
    fixed = RunConfig(models=("unet",), task=MINI.name)
    assert (fixed.facts()["calibration_source"], fixed.drawn_by) == (MINI.name, None)


def test_a_generator_that_ends_early_is_an_error(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    def one(*_: object) -> Iterator[Patch]:
        yield from MINI.patches("calibration")[:1]

    monkeypatch.setattr(stage, "_source", lambda *_: (2, one()))
    with pytest.raises(QuantizationError, match="gave 1 calibration patches, 2 were asked for"):
        ask(patches=2)


def test_one_volume_is_held_at_a_time(volumes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def noted(path: Path, spacing_mm: Spacing | None) -> Volume:
        read.append(path.name)
        return read_volume(path, spacing_mm)

    monkeypatch.setattr(volumes_module, "read_volume", noted)
    patches = folder_patches(volume_files(volumes), MINI, 3, 0, ())
    for number, _ in enumerate(patches, start=1):
        assert len(read) == number
