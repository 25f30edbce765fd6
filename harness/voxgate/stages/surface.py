"""NSD and HD95 of predicted labels, from MONAI, per case and class.

Only workers run this, after the engine's own process has ended, so neither its memory nor its times
see it. MONAI answers an empty mask with a warning and NaN or infinity; such masks never reach it:
what a missed, an invented and an absent class mean is defined in voxgate.records.dice. A surface is made of
the voxels that touch another label or the edge of the volume, so the cut faces of a patch are part of
it, in the truth as in the prediction.

Sources: Nikolov et al., arXiv:1809.04430 (NSD); monai.metrics.compute_surface_dice, which counts
voxels, not areas, and monai.metrics.compute_hausdorff_distance.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from voxgate.datasets.base import Spacing
from voxgate.errors import ArtifactError
from voxgate.metrics.presence import presence_of
from voxgate.records.dice import ClassSurface, Presence, Surfaces, SurfaceScore
from voxgate.stages.requests import SurfaceRequest

_PERCENTILE = 95


def measure(request: SurfaceRequest) -> Surfaces:
    """Compare the surfaces of every evaluation patch.

    Raises:
        ArtifactError: predictions and labels differ in shape, or a spacing is no length.
    """
    prediction, truth = (
        np.load(path, mmap_mode="r", allow_pickle=False)
        for path in (request.predictions, request.labels)
    )
    _check(request, prediction.shape, truth.shape)
    per_case = {
        name: surface_scores(
            np.asarray(prediction[index]),
            np.asarray(truth[index]),
            request.label_names,
            spacing_mm=request.spacing_mm,
            tolerance_mm=request.tolerance_mm,
        )
        for index, name in enumerate(request.cases)
    }
    return Surfaces(
        tolerance_mm=request.tolerance_mm,
        spacing_mm=request.spacing_mm,
        per_class=summarize(per_case, request.label_names),
        per_case=per_case,
    )


def surface_scores(
    prediction: NDArray[np.integer],
    truth: NDArray[np.integer],
    classes: Sequence[str],
    *,
    spacing_mm: Spacing,
    tolerance_mm: float,
) -> dict[str, SurfaceScore]:
    """NSD and HD95 of each foreground class of two (D, H, W) label volumes."""
    where = presence_of(prediction, truth, classes)
    both = [i for i, name in enumerate(classes) if where.get(name) == "present"]
    measured = _by_monai(prediction, truth, both, spacing_mm, tolerance_mm) if both else {}
    return {name: _score(where[name], measured.get(i)) for i, name in enumerate(classes) if i > 0}


def summarize(
    per_case: Mapping[str, Mapping[str, SurfaceScore]], classes: Sequence[str]
) -> dict[str, ClassSurface]:
    """Means over the cases that are not absent; those without a finite distance are counted."""
    return {name: _class_of([scores[name] for scores in per_case.values()]) for name in classes[1:]}


def _class_of(scores: Sequence[SurfaceScore]) -> ClassSurface:
    nsd = [score.nsd for score in scores if score.nsd is not None]
    hd95_mm = [score.hd95_mm for score in scores if score.hd95_mm is not None]
    return ClassSurface(
        nsd=float(np.mean(nsd)) if nsd else None,
        hd95_mm=float(np.mean(hd95_mm)) if hd95_mm else None,
        infinite=len(nsd) - len(hd95_mm),
    )


def _score(presence: Presence, measured: tuple[float, float] | None) -> SurfaceScore:
    if measured is not None:
        return SurfaceScore(presence=presence, nsd=measured[0], hd95_mm=measured[1])
    return SurfaceScore(presence=presence, nsd=None if presence == "absent" else 0.0, hd95_mm=None)


def _by_monai(
    prediction: NDArray[np.integer],
    truth: NDArray[np.integer],
    labels: Sequence[int],
    spacing_mm: Spacing,
    tolerance_mm: float,
) -> dict[int, tuple[float, float]]:
    """NSD and HD95 in mm of the labels, each of which is in both volumes."""
    import torch
    from monai.metrics import compute_hausdorff_distance, compute_surface_dice

    ours, theirs = (
        torch.from_numpy(np.stack([volume == label for label in labels])[None])
        for volume in (prediction, truth)
    )
    shared = {"include_background": True, "spacing": list(spacing_mm)}  # none of them is background
    with warnings.catch_warnings():
        # MONAI 1.6 passes this deprecated argument to itself.
        warnings.filterwarnings("ignore", ".*always_return_as_numpy.*", FutureWarning)
        nsd = compute_surface_dice(ours, theirs, [tolerance_mm] * len(labels), **shared)
        hd95_mm = compute_hausdorff_distance(ours, theirs, percentile=_PERCENTILE, **shared)
    return {label: (float(nsd[0, i]), float(hd95_mm[0, i])) for i, label in enumerate(labels)}


def _check(request: SurfaceRequest, predicted: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if predicted != expected or len(expected) != 4 or expected[0] != len(request.cases):
        msg = (
            f"{request.predictions} has shape {predicted}, the labels {expected}, of "
            f"{len(request.cases)} cases; surfaces need (N, D, H, W) of both"
        )
        raise ArtifactError(msg)
    if not all(math.isfinite(mm) and mm > 0 for mm in request.spacing_mm):
        msg = f"a voxel of {request.spacing_mm} mm is none; correct the spacing of the dataset"
        raise ArtifactError(msg)
