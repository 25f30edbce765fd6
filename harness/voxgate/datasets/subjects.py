"""Which subject an evaluation patch is of: as recorded, else by the task's own table."""

from __future__ import annotations

from voxgate.datasets import TASKS
from voxgate.records.measurement import Dice


def subjects_of(task: str, *scores: Dice | None) -> dict[str, str]:
    """Subjects by patch name; a patch that nobody knows is left out, never a subject of its own.

    Records and baselines of before do not name subjects, and their patches are the task's fixed ones.
    """
    known = dict(TASKS[task].evaluation_subjects) if task in TASKS else {}
    for dice in scores:
        known |= dice.subjects if dice else {}
    return known
