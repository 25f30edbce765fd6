"""What a record keeps of calibration: which voxels set the scales, and where they come from.

Only the standard library is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchInfo:
    """A patch's identity: ``sha256`` is over image and label, ``image_sha256`` over the image alone.

    ``file`` and ``corner`` (in voxels of the adapted volume) are of patches of a user's volumes.
    """

    name: str
    case: str
    sha256: str
    image_sha256: str = ""
    file: str = ""
    corner: tuple[int, int, int] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """Which data set the scales: cases by name, patches by hash.

    ``source`` is the task, or the folder of a user's volumes without its path; ``seed`` chose the
    patches, and is None where they are the task's fixed ones.
    """

    method: str
    quantizer: str
    cases: tuple[str, ...]
    patches: tuple[PatchInfo, ...]
    sha256: str
    source: str = ""
    seed: int | None = None
