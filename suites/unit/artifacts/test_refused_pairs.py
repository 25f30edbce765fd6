"""A builder that refuses pairs without a node: which ones is found by building with fewer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from voxgate.artifacts import jobs, refused_builds
from voxgate.artifacts.refused_pairs import find_refused
from voxgate.errors import BuildError, WorkerCrashError
from voxgate.records.runtime import EngineOptions
from voxgate.stages.adapt import adapt
from voxgate.stages.adapt_requests import AdaptRequest, Site, SitesRequest
from voxgate.stages.requests import BuildRequest, Built
from voxgate.stages.sites import list_sites

from suites.support import small_network

SITES = tuple(
    Site(name=f"n{index}", pattern="pool" if index % 8 == 3 else "conv", weighted=index % 8 != 3)
    for index in range(40)
)


def builder(*culprits: str) -> tuple[Callable[[frozenset[str]], bool], list[frozenset[str]]]:
    """Refuses a graph with a pair at one of these sites."""
    asked: list[frozenset[str]] = []

    def accepts(without: frozenset[str]) -> bool:
        asked.append(without)
        return set(culprits) <= without

    return accepts, asked


@pytest.mark.parametrize("index", [0, 1, 17, 38, 39])
def test_one_refused_site_is_found_alone(index: int) -> None:
    accepts, asked = builder(f"n{index}")
    found = find_refused(SITES, accepts, 24)
    assert [site.name for site in found.sites] == [f"n{index}"]
    assert found.complete
    assert found.builds == len(asked) <= 9


def test_all_of_a_pattern_cost_no_search_each() -> None:
    pools = [site.name for site in SITES if site.pattern == "pool"]
    accepts, _ = builder(*pools)
    found = find_refused(SITES, accepts, 24)
    assert [site.name for site in found.sites] == pools
    assert found.complete
    assert found.builds <= 9


def test_several_patterns_are_found_one_after_the_other() -> None:
    accepts, _ = builder("n3", "n5")
    found = find_refused(SITES, accepts, 24)
    assert {"n3", "n5"} <= {site.name for site in found.sites}
    assert found.complete


def test_a_graph_that_is_refused_without_pairs_too_is_not_searched() -> None:
    found = find_refused(SITES, lambda _: False, 24)
    assert (found.sites, found.builds, found.complete) == ((), 1, False)


def test_a_search_ends_when_its_builds_are_spent() -> None:
    accepts, _ = builder("n3", "n5", "n30")
    found = find_refused(SITES, accepts, 8)
    assert found.builds == 8
    assert not found.complete


def test_without_sites_nothing_is_built() -> None:
    assert find_refused((), lambda _: pytest.fail("it built"), 24).builds == 0


def test_sites_name_what_stands_around_a_pair(tmp_path: Path) -> None:
    path = small_network.write_onnx(tmp_path / "quantized.onnx", small_network.ALL_EDGES)
    found = {site.name: site for site in list_sites(SitesRequest(onnx=str(path))).sites}
    assert found["stem"].pattern == "input -> Q -> Conv -> Relu"
    assert found["pool"].pattern == "Relu -> Q -> MaxPool -> Concat"
    assert found["stem"].weighted
    assert not found["pool"].weighted


class _GivenArtifacts:
    """As much of a run's artifacts as a search asks for."""

    limits = None

    def __init__(self) -> None:
        self.said: list[str] = []

    def announce(self, words: str) -> None:
        self.said.append(words)


def run_here(refused: str) -> Callable[..., Any]:
    """Jobs in this process; the builder refuses a graph with a pair at one node."""

    def run(job: Any, request: Any, *_: object) -> Any:
        if job is jobs.SITES:
            return list_sites(request)
        if isinstance(request, AdaptRequest):
            return adapt(request)
        left = {site.name for site in list_sites(SitesRequest(onnx=request.source)).sites}
        if refused in left:
            msg = "the builder has no words"
            raise BuildError(msg)
        return Built(engine_bytes=1, engine_sha256="", build_s=0.0)

    return run


def asked(path: Path) -> BuildRequest:
    options = EngineOptions(precision="int8", threads=1, model="m", task="t", classes=3)
    return BuildRequest(backend="tensorrt", options=options, source=str(path), folder="")


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (
            "right",
            r"right \(Relu -> Q -> Conv -> Q\)\. Leave them in float with --float-layers right$",
        ),
        ("pool", r"pool \(Relu -> Q -> MaxPool -> Concat\)\. They are no layers of their own"),
    ],
)
def test_the_error_names_the_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, node: str, words: str
) -> None:
    path = small_network.write_onnx(tmp_path / "quantized.onnx", small_network.ALL_EDGES)
    monkeypatch.setattr(refused_builds, "run_job", run_here(node))
    artifacts: Any = _GivenArtifacts()
    error = refused_builds.explain(artifacts, asked(path), "python", BuildError("no words"))
    with pytest.raises(BuildError, match=words):
        raise error
    assert any("without the pairs of" in line for line in artifacts.said)


def test_an_error_that_pairs_do_not_explain_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = small_network.write_onnx(tmp_path / "quantized.onnx", small_network.ALL_EDGES)
    before = BuildError("out of words")

    def run(job: Any, request: Any, *_: object) -> Any:
        if job is jobs.BUILD:
            raise before
        return list_sites(request) if job is jobs.SITES else adapt(request)

    monkeypatch.setattr(refused_builds, "run_job", run)
    artifacts: Any = _GivenArtifacts()
    assert refused_builds.explain(artifacts, asked(path), "python", before) is before


def test_a_search_that_is_cut_short_keeps_the_builders_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = small_network.write_onnx(tmp_path / "quantized.onnx", small_network.ALL_EDGES)

    def run(job: Any, request: Any, *_: object) -> Any:
        if job is jobs.BUILD:
            msg = "the worker was killed"
            raise WorkerCrashError(msg)
        return list_sites(request) if job is jobs.SITES else adapt(request)

    monkeypatch.setattr(refused_builds, "run_job", run)
    artifacts: Any = _GivenArtifacts()
    error = refused_builds.explain(artifacts, asked(path), "python", BuildError("no words"))
    assert type(error) is BuildError
    assert str(error) == (
        "no words (the search for the pairs that are refused ended early: the worker was killed)"
    )


def test_no_build_begins_when_time_is_over() -> None:
    found = find_refused(SITES, lambda _: pytest.fail("it built"), 24, -1)
    assert (found.builds, found.complete) == (0, False)
