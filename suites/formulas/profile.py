"""How many examples the formula suites draw: 200, or with VOXGATE_PROFILE=nightly 5,000."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

from harness.errors import look_up

VARIABLE = "VOXGATE_PROFILE"
EXAMPLES_BY_PROFILE = {"default": 200, "nightly": 5000}


def chosen() -> settings:
    """The settings that every property carries; a name that is no profile stops the collection."""
    return settings(
        max_examples=look_up(VARIABLE, os.environ.get(VARIABLE, "default"), EXAMPLES_BY_PROFILE),
        deadline=None,  # on a shared machine one example may take any time
        suppress_health_check=[HealthCheck.too_slow],
    )


examples = chosen()
