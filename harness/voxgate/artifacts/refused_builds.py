"""A build that a runtime refused without a node: the same build with fewer pairs, until one is named."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from voxgate import backends
from voxgate.artifacts import jobs
from voxgate.artifacts.launcher import run_job
from voxgate.artifacts.refused_pairs import Refused, find_refused
from voxgate.backends import timing_cache
from voxgate.errors import BuildError, HarnessError
from voxgate.quantizers.graph_needs import VERSIONED
from voxgate.records.runtime import GraphNeeds
from voxgate.stages import file_names
from voxgate.stages.adapt_requests import AdaptRequest, Site, SitesRequest
from voxgate.stages.requests import BuildRequest

if TYPE_CHECKING:
    from voxgate.artifacts.run_artifacts import Artifacts

MOST_BUILDS = 24
MOST_SECONDS = 1800.0
_SHOWN = 6
_NEWEST_OPSET = 99  # nothing is lowered


def explain(
    artifacts: Artifacts, request: BuildRequest, python: str, error: BuildError
) -> BuildError:
    """The error with the nodes whose pairs the builder refuses; as it was where they are not why."""
    spec = backends.get(request.backend)
    if request.backend not in VERSIONED:
        return error
    if not spec.takes_pairs(request.options.precision, request.source):
        return error
    artifacts.announce(
        f"looking for what {request.backend} refuses in {request.options.model} "
        f"{request.options.precision}, by at most {MOST_BUILDS} builds with fewer pairs: {error}"
    )
    try:
        words = _words(_search(artifacts, request, python))
    except HarnessError as other:
        words = f" (the search for the pairs that are refused ended early: {other})"
    return BuildError(f"{error}{words}") if words else error


def _search(artifacts: Artifacts, request: BuildRequest, python: str) -> Refused:
    sites = run_job(jobs.SITES, SitesRequest(onnx=request.source), artifacts.limits).sites
    tried = _Trial(artifacts, request, python, len(sites))
    return find_refused(sites, tried.accepts, MOST_BUILDS, MOST_SECONDS)


class _Trial:
    """Builds a graph without the pairs of some nodes; nothing of it is kept."""

    def __init__(
        self, artifacts: Artifacts, request: BuildRequest, python: str, sites: int
    ) -> None:
        self._artifacts = artifacts
        self._sites = sites
        self._request = request
        self._python = python
        self._count = 0

    def accepts(self, without: frozenset[str]) -> bool:
        """Whether the builder makes an engine."""
        self._count += 1
        self._artifacts.announce(f"build {self._count}: without the pairs of {len(without)} nodes")
        with tempfile.TemporaryDirectory(prefix="voxgate-refused-") as folder:
            request = AdaptRequest(
                source=self._request.source,
                quantized=True,
                needs=GraphNeeds(opset=_NEWEST_OPSET),
                nodes=(),
                images="",
                folder=folder,
                options=self._request.options,
                float_layers=tuple(sorted(without)),
            )
            run_job(jobs.ADAPT, request, self._artifacts.limits)
            source = str(Path(folder) / file_names.ONNX)
            options = self._request.options
            if len(without) == self._sites:  # INT8 as a flag wants a calibrator where no pair is
                options = replace(options, precision="fp32")
            again = replace(
                self._request, source=source, folder=folder, lint=False, options=options
            )
            try:
                built = run_job(jobs.BUILD, again, self._artifacts.limits, self._python)
            except BuildError:
                return False
        timing_cache.drop(built.timing_cache)
        return True


def _words(found: Refused) -> str:
    """What to add to the builder's own words."""
    if not found.sites:
        return ""
    shown = "; ".join(f"{site.name} ({site.pattern})" for site in found.sites[:_SHOWN])
    rest = len(found.sites) - _SHOWN
    more = f"; and {rest} more like them" if rest > 0 else ""
    rest_words = "" if found.complete else "; these are not all, there were no builds left"
    return (
        f". The pairs of these nodes are what is refused, by {found.builds} builds with fewer "
        f"pairs: {shown}{more}{rest_words}. {_advice(found.sites)}"
    )


def _advice(sites: tuple[Site, ...]) -> str:
    layers = [site.name for site in sites if site.weighted]
    if not layers:
        return "They are no layers of their own: the table of placement rules lacks one for them"
    return f"Leave them in float with --float-layers {','.join(layers)}"
