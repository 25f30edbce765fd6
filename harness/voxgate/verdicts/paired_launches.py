"""Paired launches of engine files on this host, and what such pairs can tell here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from voxgate.artifacts import jobs
from voxgate.artifacts.gpu_monitor import run_watched
from voxgate.artifacts.launcher import Watch, run_job
from voxgate.artifacts.progress import Reporter
from voxgate.artifacts.run_artifacts import Artifacts
from voxgate.machine.gpu_facts import contamination_of_one
from voxgate.records.case import CaseId
from voxgate.records.measurement import PairedLaunch
from voxgate.records.run import CaseResult
from voxgate.records.verdicts import SelfTest
from voxgate.stages import file_names
from voxgate.stages.requests import PairRequest
from voxgate.verdicts import rules
from voxgate.verdicts.accepted_engines import AcceptedEngines
from voxgate.verdicts.baseline import Identity

_WARMUPS = 3  # the third inference is steady
_MIN_PAIRS = 22  # three launches then have the 64 samples that a 90th percentile needs
_MAX_PAIRS = 400
_SECONDS = 6.0  # of a fast engine's many samples some are undisturbed
_ATTEMPTS = 3  # at a launch that something else on the GPU disturbs


def engine_path(row: CaseResult, cache_root: Path) -> Path:
    """Where the cache has the engine of a built row."""
    assert row.engine_key is not None
    return cache_root / "engine" / row.engine_key / file_names.ENGINE


class Pairing:
    """Makes paired launches; ``inference_s`` adds up what the engines computed in them."""

    def __init__(self, artifacts: Artifacts, reporter: Reporter) -> None:
        self._artifacts = artifacts
        self._reporter = reporter
        self._engines = AcceptedEngines(artifacts.config.cache_root)
        self.inference_s = 0.0

    def until_decided(
        self, case: CaseId, a: Path, b: Path, tolerance: float, how: str
    ) -> tuple[PairedLaunch, ...]:
        """Launches until one side of the tolerance leads, or no more are worth it.

        Raises:
            HarnessError: an engine was refused, or a worker lost.
        """
        pairs: list[PairedLaunch] = []
        while rules.needs_more_pairs(pairs, tolerance=tolerance):
            pairs.append(self._launch(case, a, b, len(pairs), how))
        return tuple(pairs)

    def self_test(
        self, identity: Identity, sha256: str, engine: Path, *, fresh: bool = False
    ) -> SelfTest:
        """What this host can tell with an engine: from the cache, or made now.

        Raises:
            HarnessError: the engine was refused, or a worker lost.
        """
        known = None if fresh else self._engines.self_test(identity, sha256)
        if known is not None:
            return known
        how = "beside itself, for what this host can tell"
        pairs: list[PairedLaunch] = []
        while len(pairs) < rules.SELF_TEST_LAUNCHES and not rules.disturbances(pairs):
            pairs.append(self._launch(identity.case, engine, engine, len(pairs), how))
        made = rules.self_test(sha256, pairs)
        if not made.disturbed:
            self._engines.keep_self_test(identity, made)
        return made

    def _launch(self, case: CaseId, a: Path, b: Path, number: int, how: str) -> PairedLaunch:
        """One process, and another one where something disturbed it; every second loads B first."""
        self._reporter.say(f"timing {case} {how}, launch {number + 1}")
        request = PairRequest(
            backend=case.backend,
            options=self._artifacts.options(case),
            engine_a=str(a),
            engine_b=str(b),
            b_first=number % 2 == 1,
            images=str(self._artifacts.patches().path(file_names.EVALUATION_IMAGES)),
            warmups=_WARMUPS,
            min_pairs=_MIN_PAIRS,
            max_pairs=_MAX_PAIRS,
            seconds=_SECONDS,
        )
        pair = self._watched(request)
        for _ in range(_ATTEMPTS - 1):
            if not pair.disturbed:
                break
            self._reporter.say(f"timing {case} {how} again: {pair.disturbed[0]}")
            pair = self._watched(request)
        return pair

    def _watched(self, request: PairRequest) -> PairedLaunch:
        artifacts = self._artifacts
        limits, python = artifacts.limits, artifacts.interpreter_for(request.backend).path

        def start(watch: Watch | None = None) -> PairedLaunch:
            return run_job(jobs.PAIR, request, limits, python, watch)

        accelerator = artifacts.probe(request.backend).accelerator
        if accelerator:
            pair, watch = run_watched(start, accelerator)
            disturbed = contamination_of_one(watch.facts(pair.phases))
            pair = replace(pair, disturbed=disturbed, phases=None)
        else:
            pair = start()
        self.inference_s += (sum(pair.a_ns) + sum(pair.b_ns)) / 1e9
        return pair
