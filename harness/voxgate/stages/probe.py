"""Ask a backend whether it is here."""

from __future__ import annotations

from voxgate import backends
from voxgate.records.runtime import Probe
from voxgate.stages.requests import ProbeRequest


def probe(request: ProbeRequest) -> Probe:
    """What the backend found on this machine."""
    return backends.load(request.backend).probe()
