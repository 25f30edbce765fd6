"""A build of an engine whose kernels are chosen by their times: nobody else may compute beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from voxgate.artifacts import jobs
from voxgate.artifacts.gpu_monitor import run_watched
from voxgate.artifacts.launcher import Limits, Watch, run_job
from voxgate.backends import timing_cache
from voxgate.machine.gpu_facts import disturbance
from voxgate.stages.requests import BuildRequest, Built

_ATTEMPTS = 2


def build_engine(
    request: BuildRequest,
    limits: Limits,
    python: str,
    accelerator: str,
    announce: Callable[[str], None],
) -> Built:
    """The first build that nobody on the accelerator disturbed, else the last one, which tells who did.

    Without an accelerator any build is as good. ``announce`` hears why there is another one. Only the
    timings of a clean build are kept for the next: those of a disturbed one, or of one that nobody
    watched, might choose kernels for ever.

    Raises:
        HarnessError: the build failed.
    """

    def build(watch: Watch | None = None) -> Built:
        return run_job(jobs.BUILD, request, limits, python, watch)

    def again(why: str) -> None:
        announce(f"building {request.options.model} for {request.backend} again: {why}")

    if accelerator:
        return _undisturbed(build, accelerator, again)
    built = build()
    timing_cache.keep(built.timing_cache)
    return replace(built, timing_cache=None)


def is_clean(built: Built) -> bool:
    """Whether an engine of an earlier run can be used again: the next build may be left alone."""
    return not built.disturbed


def disturbances(built: Built) -> tuple[str, ...]:
    """What a reader should know of how the engine came about."""
    unwatched = f"nobody could watch the GPU: {built.unwatched}"
    return (*built.disturbed, unwatched) if built.unwatched else built.disturbed


def _undisturbed(
    build: Callable[[Watch], Built],
    accelerator: str,
    again: Callable[[str], None],
    attempts: int = _ATTEMPTS,
) -> Built:
    built, watch = run_watched(build, accelerator)
    facts = watch.facts()
    others = disturbance(facts)
    if others or facts.trouble:
        timing_cache.drop(built.timing_cache)
    else:
        timing_cache.keep(built.timing_cache)
    if others and attempts > 1:
        again(others[0])
        return _undisturbed(build, accelerator, again, attempts - 1)
    return replace(built, timing_cache=None, disturbed=others, unwatched=facts.trouble)
