"""Dice of an engine's segmentation against the labels, per case and class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from voxgate.errors import EngineOutputError
from voxgate.records.dice import Presence
from voxgate.records.measurement import Dice


def dice_scores(
    prediction: NDArray[np.integer], truth: NDArray[np.integer], classes: Sequence[str]
) -> dict[str, float | None]:
    """2|P n T| / (|P| + |T|) per foreground class of two label volumes of one shape.

    None where a class is in neither; 0 where it is in one alone. Labels must be below
    ``len(classes)``.
    """
    count = len(classes)
    joint = np.bincount(
        truth.astype(np.int64).ravel() * count + prediction.astype(np.int64).ravel(),
        minlength=count * count,
    ).reshape(count, count)
    overlap = joint.diagonal()
    total = joint.sum(0) + joint.sum(1)
    return {
        name: float(2 * overlap[i] / total[i]) if total[i] else None
        for i, name in enumerate(classes)
        if i > 0
    }


def summarize(
    per_case: dict[str, dict[str, float | None]],
    classes: Sequence[str],
    presence: Mapping[str, dict[str, Presence]] | None = None,
) -> Dice:
    """Means over the cases that have a class, then over the classes.

    Raises:
        EngineOutputError: no case has any foreground class, so there is nothing to average.
    """
    per_class: dict[str, float | None] = {}
    for name in classes[1:]:
        scores = [value for case in per_case.values() if (value := case[name]) is not None]
        per_class[name] = float(np.mean(scores)) if scores else None
    present = [value for value in per_class.values() if value is not None]
    if not present:
        msg = "no evaluation case holds a foreground class, neither in truth nor in prediction"
        raise EngineOutputError(msg)
    return Dice(
        mean=float(np.mean(present)),
        per_class=per_class,
        per_case=per_case,
        presence=dict(presence or {}),
    )


def check_logits(logits: NDArray[np.generic], classes: int, shape: tuple[int, ...]) -> None:
    """Refuse what are no (1, classes, D, H, W) logits.

    Raises:
        EngineOutputError: another shape, or a value that is not finite.
    """
    expected = (1, classes, *shape)
    if logits.shape != expected:
        msg = f"the engine returned shape {logits.shape}, expected {expected}"
        raise EngineOutputError(msg)
    if not np.isfinite(logits).all():
        bad = int(logits.size - np.isfinite(logits).sum())
        msg = f"the engine returned {bad} of {logits.size} values that are NaN or infinite"
        raise EngineOutputError(msg)


def to_labels(
    logits: NDArray[np.generic], classes: int, shape: tuple[int, ...]
) -> NDArray[np.integer]:
    """The most likely class of each voxel of (1, classes, D, H, W) logits.

    Raises:
        EngineOutputError: another shape, or a value that is not finite.
    """
    check_logits(logits, classes, shape)
    labels: NDArray[np.integer] = logits[0].argmax(0)
    return labels
