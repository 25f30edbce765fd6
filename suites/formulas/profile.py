"""How many examples the formula suites draw: 200, or with VOXGATE_PROFILE=nightly 5,000.

Other suites ask for ``NIGHTLY`` where a push tests the small case of something slow.

The 200 are the same in every run, so that a push is not red by another's luck; the nightly draws new
ones, and what it finds becomes a test of its own.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings
from voxgate.errors import look_up

VARIABLE = "VOXGATE_PROFILE"
EXAMPLES_BY_PROFILE = {"default": 200, "nightly": 5000}
NIGHTLY = os.environ.get(VARIABLE) == "nightly"


def chosen() -> settings:
    """The settings that every property carries; a name that is no profile stops the collection."""
    profile = os.environ.get(VARIABLE, "default")
    return settings(
        max_examples=look_up(VARIABLE, profile, EXAMPLES_BY_PROFILE),
        derandomize=profile == "default",
        deadline=None,  # on a shared machine one example may take any time
        suppress_health_check=[HealthCheck.too_slow],
    )


examples = chosen()
