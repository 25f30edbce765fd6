"""A record for the tests of the ledger's views: two networks, an organ missed, one invented, one absent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from voxgate.metrics.dice import summarize
from voxgate.records.dice import ClassSurface, Presence, Surfaces, SurfaceScore
from voxgate.records.run import CaseResult, RunRecord

from suites.support.report_records import NETWORKS, PRECISIONS, eight_networks, run_of

CLASSES = ("rest", "grey", "white", "cyst", "air")
PATCHES = ("patch-0", "patch-1", "patch-2", "patch-3")
SUBJECTS = {patch: patch for patch in PATCHES}
MODELS = ("unet", "nnunet-small")


def with_ledger(*, surfaces: bool = True, precisions: Sequence[str] = PRECISIONS) -> RunRecord:
    """INT8 misses the cyst of patch-1 and invents one in patch-2; air is nowhere."""
    rows = [
        _scored(row, surfaces=surfaces)
        for row in eight_networks().cases
        if row.model in MODELS and row.precision in precisions
    ]
    return run_of(rows)


def _scored(row: CaseResult, *, surfaces: bool) -> CaseResult:
    index = PRECISIONS.index(row.precision)
    _, _, grey, white, _ = NETWORKS[row.model][index]
    per_case: dict[str, dict[str, float | None]] = {
        patch: {
            "grey": grey - 0.004 * i,
            "white": white + 0.002 * i * index,
            "cyst": None,
            "air": None,
        }
        for i, patch in enumerate(PATCHES)
    }
    presence: dict[str, dict[str, Presence]] = {
        patch: {"grey": "present", "white": "present", "cyst": "absent", "air": "absent"}
        for patch in PATCHES
    }
    real = row.precision == "int8"
    per_case["patch-1"]["cyst"] = 0.0 if real else 0.8
    presence["patch-1"]["cyst"] = "missed" if real else "present"
    if real:
        per_case["patch-2"]["cyst"] = 0.0
        presence["patch-2"]["cyst"] = "invented"
    dice = replace(summarize(per_case, CLASSES, presence), subjects=SUBJECTS)
    return replace(row, dice=dice, surfaces=_surfaces(per_case, presence) if surfaces else None)


def _surfaces(
    per_case: dict[str, dict[str, float | None]], presence: dict[str, dict[str, Presence]]
) -> Surfaces:
    scores = {
        patch: {
            name: SurfaceScore(
                presence=presence[patch][name],
                nsd=value and min(value + 0.02, 1.0),
                hd95_mm=1.25 if presence[patch][name] == "present" else None,
            )
            for name, value in values.items()
        }
        for patch, values in per_case.items()
    }
    return Surfaces(
        tolerance_mm=1.0, spacing_mm=(1.0, 1.0, 1.0), per_case=scores,
        per_class={name: _class_of([each[name] for each in scores.values()]) for name in CLASSES[1:]},
    )  # fmt: skip


def _class_of(scores: Sequence[SurfaceScore]) -> ClassSurface:
    nsd = [score.nsd for score in scores if score.nsd is not None]
    finite = [score.hd95_mm for score in scores if score.hd95_mm is not None]
    return ClassSurface(
        nsd=sum(nsd) / len(nsd) if nsd else None,
        hd95_mm=1.25 if finite else None,
        infinite=len(nsd) - len(finite),
    )
