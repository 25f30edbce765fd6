"""NSD and HD95: MONAI against the definition on sets of voxels, and classes that are not there."""

from __future__ import annotations

import ast
import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import voxgate
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from voxgate import datasets
from voxgate.artifacts.progress import Silent
from voxgate.config import RunConfig
from voxgate.errors import ArtifactError, UsageError
from voxgate.metrics.presence import presence_of
from voxgate.records.dice import ClassSurface, SurfaceScore
from voxgate.runs import bench
from voxgate.stages.requests import SurfaceRequest
from voxgate.stages.surface import measure, summarize, surface_scores

CLASSES = ("background", "grey", "white")
ISOTROPIC = (1.0, 1.0, 1.0)

Labels = NDArray[np.uint8]
Spacing = tuple[float, float, float]


def scores(
    prediction: Labels, truth: Labels, spacing_mm: Spacing = ISOTROPIC, tolerance_mm: float = 1.0
) -> dict[str, SurfaceScore]:
    return surface_scores(
        prediction, truth, CLASSES, spacing_mm=spacing_mm, tolerance_mm=tolerance_mm
    )


def cube(shift: int = 0, size: int = 6, label: int = 1) -> Labels:
    volume = np.zeros((14, 14, 14), np.uint8)
    volume[3 + shift : 3 + shift + size, 3 : 3 + size, 3 : 3 + size] = label
    return volume


# --- solved by hand --------------------------------------------------------------------------------


def test_a_volume_against_itself_is_perfect() -> None:
    assert scores(cube(), cube())["grey"] == SurfaceScore(presence="present", nsd=1.0, hd95_mm=0.0)


def test_a_cube_shifted_by_one_voxel_is_within_a_tolerance_of_one_and_not_of_less() -> None:
    assert scores(cube(1), cube())["grey"] == SurfaceScore(presence="present", nsd=1.0, hd95_mm=1.0)
    # 6^3 - 4^3 = 152 surface voxels a cube: 36 in each of two faces across the shift, 20 around each
    # of four slices between. Five slices are in both, and of each these 20 coincide.
    strict = scores(cube(1), cube(), tolerance_mm=0.5)["grey"]
    assert strict.nsd == pytest.approx(5 * 20 / 152)


def test_distances_are_in_millimetres_along_their_axis() -> None:
    assert scores(cube(1), cube(), spacing_mm=(3.0, 1.0, 1.0))["grey"].hd95_mm == 3.0
    assert scores(cube(1), cube(), spacing_mm=(1.0, 3.0, 3.0))["grey"].hd95_mm == 1.0
    assert scores(cube(2), cube(), (0.5, 1.0, 1.0), tolerance_mm=1.0)["grey"].nsd == 1.0


def test_a_class_in_one_volume_alone_has_no_finite_distance_and_is_not_left_out() -> None:
    both = scores(cube(label=2), cube(label=1))
    assert both["grey"] == SurfaceScore(presence="missed", nsd=0.0, hd95_mm=None)
    assert both["white"] == SurfaceScore(presence="invented", nsd=0.0, hd95_mm=None)


def test_a_class_in_neither_has_no_score() -> None:
    absent = SurfaceScore(presence="absent", nsd=None, hd95_mm=None)
    assert scores(cube(), cube())["white"] == absent


def test_one_voxel_and_a_whole_volume_are_surfaces_too() -> None:
    one, full = np.zeros((3, 3, 3), np.uint8), np.ones((3, 3, 3), np.uint8)
    one[1, 1, 1] = 1
    assert scores(one, one)["grey"].nsd == 1.0
    assert scores(full, full)["grey"] == SurfaceScore(presence="present", nsd=1.0, hd95_mm=0.0)


# --- against the definition ------------------------------------------------------------------------


def surface(volume: Labels, label: int) -> list[tuple[int, ...]]:
    """Voxels of the label with one of six neighbours that is not, or that is outside."""
    inside = {tuple(place) for place in np.argwhere(volume == label).tolist()}
    steps = [(*(0,) * axis, sign, *(0,) * (2 - axis)) for axis in range(3) for sign in (-1, 1)]
    return [
        place
        for place in sorted(inside)
        if any(
            tuple(p + s for p, s in zip(place, step, strict=True)) not in inside for step in steps
        )
    ]


def nearest(
    places: list[tuple[int, ...]], others: list[tuple[int, ...]], spacing_mm: Spacing
) -> list[float]:
    def far(a: tuple[int, ...], b: tuple[int, ...]) -> float:
        return math.dist(*([x * mm for x, mm in zip(p, spacing_mm, strict=True)] for p in (a, b)))

    return [min(far(place, other) for other in others) for place in places]


def percentile_95(values: list[float]) -> float:
    """Between the two nearest ranks, in proportion."""
    ranked, at = sorted(values), 0.95 * (len(values) - 1)
    low = math.floor(at)
    high = min(low + 1, len(values) - 1)
    return ranked[low] + (ranked[high] - ranked[low]) * (at - low)


def defined(
    prediction: Labels, truth: Labels, label: int, spacing_mm: Spacing, tolerance_mm: float
) -> SurfaceScore:
    ours, theirs = surface(prediction, label), surface(truth, label)
    if not (ours and theirs):
        where = "missed" if theirs else "invented" if ours else "absent"
        return SurfaceScore(presence=where, nsd=0.0 if ours or theirs else None, hd95_mm=None)  # type: ignore[arg-type]
    there, back = nearest(ours, theirs, spacing_mm), nearest(theirs, ours, spacing_mm)
    met = sum(mm <= tolerance_mm for mm in (*there, *back))
    return SurfaceScore(
        presence="present",
        nsd=met / (len(there) + len(back)),
        hd95_mm=max(percentile_95(there), percentile_95(back)),
    )


_volumes = arrays.arrays(np.uint8, (4, 3, 4), elements=st.integers(0, 2))
# Powers of two: their multiples are exact, so that no distance is within a rounding of a tolerance.
_spacings = st.tuples(*[st.sampled_from([0.5, 1.0, 2.0])] * 3)


@settings(deadline=None)  # the first example imports torch
@given(_volumes, _volumes, _spacings, st.sampled_from([0.0, 0.5, 1.0, 2.0]))
def test_monai_equals_the_definition_on_sets_of_voxels(
    prediction: Labels, truth: Labels, spacing_mm: Spacing, tolerance_mm: float
) -> None:
    found = scores(prediction, truth, spacing_mm, tolerance_mm)
    for label in (1, 2):
        ours = found[CLASSES[label]]
        theirs = defined(prediction, truth, label, spacing_mm, tolerance_mm)
        assert ours.presence == theirs.presence
        for one, other in ((ours.nsd, theirs.nsd), (ours.hd95_mm, theirs.hd95_mm)):
            assert (one is None) == (other is None)
            # torch.quantile finds the rank in float32, so between two ranks it is a little off.
            assert one is None or math.isclose(one, other or 0.0, rel_tol=1e-6, abs_tol=1e-5)


@given(_volumes, _volumes)
def test_presence_is_by_membership(prediction: Labels, truth: Labels) -> None:
    words = {(1, 1): "present", (0, 0): "absent", (1, 0): "missed", (0, 1): "invented"}
    for label, name in ((1, "grey"), (2, "white")):
        key = int(label in truth), int(label in prediction)
        assert presence_of(prediction, truth, CLASSES)[name] == words[key]


def test_nothing_is_lost_from_a_mean() -> None:
    kinds = [
        SurfaceScore(presence="present", nsd=1.0, hd95_mm=2.0),
        SurfaceScore(presence="present", nsd=0.5, hd95_mm=4.0),
        SurfaceScore(presence="missed", nsd=0.0, hd95_mm=None),
        SurfaceScore(presence="absent", nsd=None, hd95_mm=None),
    ]
    per_case = {f"case{i}": {"grey": kind} for i, kind in enumerate(kinds)}
    found = summarize(per_case, ("background", "grey"))
    assert found == {"grey": ClassSurface(nsd=0.5, hd95_mm=3.0, infinite=1)}
    only = {"case3": per_case["case3"]}
    nothing = {"grey": ClassSurface(nsd=None, hd95_mm=None, infinite=0)}
    assert summarize(only, ("background", "grey")) == nothing


# --- the job, the run ------------------------------------------------------------------------------


def request(folder: Path, prediction: Labels, truth: Labels) -> SurfaceRequest:
    np.save(folder / "a.npy", prediction)
    np.save(folder / "b.npy", truth)
    return SurfaceRequest(
        predictions=str(folder / "a.npy"), labels=str(folder / "b.npy"), cases=("one", "two"),
        label_names=CLASSES, spacing_mm=(2.0, 1.0, 1.0), tolerance_mm=1.0,
    )  # fmt: skip


def test_the_job_measures_each_case(tmp_path: Path) -> None:
    truth = np.stack([cube(), cube()])
    found = measure(request(tmp_path, np.stack([cube(), cube(1)]), truth))
    assert found.per_case["one"]["grey"].hd95_mm == 0.0
    assert found.per_case["two"]["grey"].hd95_mm == 2.0
    assert found.per_class["grey"].hd95_mm == 1.0
    assert (found.spacing_mm, found.tolerance_mm) == ((2.0, 1.0, 1.0), 1.0)


def test_other_shapes_are_refused(tmp_path: Path) -> None:
    truth = np.stack([cube(), cube()])
    for prediction in (truth[:1], truth[:, :4], truth[0]):
        with pytest.raises(ArtifactError, match=r"a\.npy has shape .*surfaces need"):
            measure(request(tmp_path, prediction, truth))


@pytest.mark.parametrize("spacing", list(itertools.product([1.0], [0.0, -1.0, math.nan], [1.0])))
def test_a_spacing_that_is_no_length_is_refused(tmp_path: Path, spacing: Spacing) -> None:
    truth = np.stack([cube(), cube()])
    with pytest.raises(ArtifactError, match="correct the spacing"):
        measure(replace(request(tmp_path, truth, truth), spacing_mm=spacing))


def test_a_run_measures_surfaces_when_asked_and_once_for_equal_predictions(
    fake_config: RunConfig,
) -> None:
    wanted = replace(fake_config, launches=1, precisions=("fp32", "int8"))
    config = replace(wanted, surface_metrics=True).check()
    first = bench.bench(config, Silent())
    again = bench.bench(config, Silent())
    for result in (first, again):
        assert {row.status for row in result.cases} == {"ok"}
        found = [row.surfaces for row in result.cases]
        assert found[0] is not None
        assert found[0] == found[1]  # the fake engines agree voxel by voxel
        assert set(found[0].per_class) == {"organ-1", "organ-2", "organ-3"}
        assert all(0.5 < (each.nsd or 0) <= 1 for each in found[0].per_class.values())
    assert len(list(config.cache_root.glob("surfaces/*/manifest.json"))) == 1
    assert again.timing.artifacts_built == 0


def test_a_run_has_none_unless_asked_and_always_tells_where_classes_are(
    fake_config: RunConfig,
) -> None:
    result = bench.bench(replace(fake_config, launches=1, precisions=("fp32",)), Silent())
    assert result.cases[0].surfaces is None
    dice = result.cases[0].dice
    assert dice is not None
    assert set(dice.presence) == set(dice.per_case)
    assert {p for case in dice.presence.values() for p in case.values()} == {"present"}


def test_predictions_that_cannot_be_compared_fail_the_case(
    fake_config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(datasets.get("phantom-mini")), "spacing_mm", (0.0, 1.0, 1.0))
    config = replace(fake_config, launches=1, precisions=("fp32",), surface_metrics=True)
    result = bench.bench(config, Silent())
    assert {(row.status, row.error_type) for row in result.cases} == {("failed", "ArtifactError")}


def test_surfaces_need_the_classes_of_the_task() -> None:
    with pytest.raises(UsageError, match="surface metrics need labels"):
        RunConfig(surface_metrics=True, classes="paper").check()


@pytest.mark.parametrize("tolerance", [-1.0, math.nan, math.inf])
def test_a_tolerance_that_is_none_is_refused(tolerance: float) -> None:
    with pytest.raises(UsageError, match="surface_tolerance_mm is"):
        RunConfig(surface_tolerance_mm=tolerance).check()


def test_metrics_of_monai_are_imported_in_one_file_and_late(
    modules_after: Callable[[str], set[str]],
) -> None:
    package = Path(voxgate.__file__).parent
    using = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("monai.metrics")
    ]
    assert using == ["stages/surface.py"]
    assert not {"torch", "monai"} & modules_after(
        "import voxgate.runs.surfaces, voxgate.stages.surface"
    )
