"""The tolerances of the gate, and where its baselines lie; checked before any work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from voxgate.errors import UsageError, unknown_name
from voxgate.verdicts.dice import DICE_MARGIN
from voxgate.verdicts.rules import TOLERANCE


@dataclass(frozen=True, kw_only=True, slots=True)
class GateConfig:
    """What a gate compares with, and by how much a case may be worse.

    ``tolerance`` is of latency, as a share; ``dice_margin`` in Dice. ``update`` accepts the run
    instead of judging it: all of it, or what has no baseline.
    """

    baselines: Path = Path("baselines")
    tolerance: float = TOLERANCE
    dice_margin: float = DICE_MARGIN
    update: Literal["", "all", "new"] = ""

    def check(self) -> GateConfig:
        """This configuration, if it makes sense.

        Raises:
            UsageError: names the option.
        """
        for name, most in (("tolerance", 1.0), ("dice_margin", 1.0)):
            value = getattr(self, name)
            if not 0 < value < most:
                msg = f"{name} is {value}; it must be above 0 and below {most:g}"
                raise UsageError(msg)
        if self.update not in {"", "all", "new"}:
            kind = "way to update baselines"
            raise unknown_name(kind, self.update, ("all", "new"))
        if self.baselines.exists() and not self.baselines.is_dir():
            msg = f"{self.baselines} is a file; name the folder of the baselines"
            raise UsageError(msg)
        return self
