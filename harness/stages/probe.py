"""Ask a backend whether it is here."""

from __future__ import annotations

from harness import backends
from harness.requests import Probe, ProbeRequest


def probe(request: ProbeRequest) -> Probe:
    """What the backend found on this machine."""
    return backends.load(request.backend).probe()
