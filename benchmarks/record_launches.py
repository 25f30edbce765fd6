r"""Record launches of one engine on this machine, for `benchmarks.gate_rules` to judge rules by.

Solo launches (one process, one engine) and paired ones (the same engine as A and as B in one process)
take turns. Whatever a rule finds between them is a false alarm. The state is the host's: quiet adds
nothing, noisy starts neighbours that disturb (`benchmarks.neighbour`), mixed draws one of the two for
each launch. Interrupted, the same command goes on where it stopped.

.venv/bin/python -m benchmarks.record_launches --case unet/mni152/openvino/int8 --launches 30 \
    --state quiet --host two-cores --output benchmarks/samples/unet-int8-two-cores-quiet.jsonl
"""

from __future__ import annotations

import argparse
import contextlib
import platform
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import msgspec
from voxgate import __version__
from voxgate.artifacts import jobs
from voxgate.artifacts.cache import Cache
from voxgate.artifacts.launcher import Limits, run_job
from voxgate.artifacts.progress import Reporter
from voxgate.cli import guarded
from voxgate.commands.inspect import parse_case
from voxgate.commands.options import add_run_options, reporting
from voxgate.config import RunConfig
from voxgate.config.options import PLACES
from voxgate.errors import EXIT_PASS, ArtifactError, UsageError
from voxgate.files import check_writable, sha256_bytes
from voxgate.machine.environment import read_environment, usable_cores
from voxgate.records.case import CaseId
from voxgate.records.runtime import Probe
from voxgate.runs import bench
from voxgate.runs.case_run import CaseRun
from voxgate.stages import file_names
from voxgate.stages.requests import PairRequest, RunRequest

from benchmarks import recording
from benchmarks.neighbour import neighbours
from benchmarks.recording import Header, Kind, RecordedLaunch, RecordingState, State

_KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What to record: ``launches`` of each kind."""

    case: CaseId
    launches: int
    state: RecordingState
    warmups: int
    samples: int
    pairs: int
    neighbours: int
    seed: int
    host: str


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every launch is in the file."""
    options = build_parser().parse_args(arguments)
    return guarded(lambda: run(options))


def build_parser() -> argparse.ArgumentParser:
    """What to record, how often, and where to."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.record_launches",
        allow_abbrev=False,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--case", required=True, help="model/task/backend/precision")
    parser.add_argument("--launches", type=int, default=30, help="of each kind; default: 30")
    parser.add_argument("--state", choices=get_args(RecordingState), default="quiet")
    parser.add_argument("--output", type=Path, required=True, help="the recording, .jsonl[.gz]")
    parser.add_argument(
        "--host",
        default="",
        help="a label for this host; default: a hash of its name, which is not kept",
    )
    parser.add_argument("--threads", type=int, default=0, help="default: every usable core")
    parser.add_argument("--warmups", type=int, default=5, help="of each engine; default: 5")
    parser.add_argument("--samples", type=int, default=30, help="of a solo launch; default: 30")
    parser.add_argument(
        "--pairs",
        type=int,
        default=22,
        help="of a paired one, even; default: 22, the gate's fewest",
    )
    parser.add_argument(
        "--neighbours", type=int, default=0, help="default: one for each thread of the engine"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the neighbours, and of mixed")
    parser.add_argument("--time-limit", type=float, default=1800.0, help="seconds of one launch")
    add_run_options(parser, PLACES)
    return parser


def run(options: argparse.Namespace) -> int:
    """Build the engine, then record what the file lacks."""
    config = _config(options)
    plan = _plan(options, config)
    check_writable(options.output, "--output")
    with reporting() as reporter:
        record(plan, config, options.output, reporter)
    sys.stdout.write(f"recording: {options.output}\n")
    return EXIT_PASS


def _config(options: argparse.Namespace) -> RunConfig:
    case = parse_case(options.case)
    return RunConfig(
        models=(case.model,),
        task=case.task,
        backends=(case.backend,),
        precisions=(case.precision,),
        threads=options.threads,
        launches=options.launches,
        warmups=options.warmups,
        min_samples=options.samples,
        max_samples=options.samples,
        seconds_per_launch=0.0,
        time_limit_s=options.time_limit,
        cache_dir=options.cache_dir,
        checkpoint_dir=options.checkpoint_dir,
    ).check()


def _plan(options: argparse.Namespace, config: RunConfig) -> Plan:
    if options.pairs < 2 or options.pairs % 2:
        msg = f"--pairs is {options.pairs}; the order is A B B A, so it must be even and at least 2"
        raise UsageError(msg)
    if options.neighbours < 0 or options.seed < 0:
        msg = "--neighbours and --seed must not be negative"
        raise UsageError(msg)
    return Plan(
        case=config.cases()[0],
        launches=options.launches,
        state=options.state,
        warmups=options.warmups,
        samples=options.samples,
        pairs=options.pairs,
        neighbours=options.neighbours or min(config.thread_count, usable_cores()),
        seed=options.seed,
        host=options.host or f"host-{sha256_bytes(platform.node().encode())[:8]}",
    )


def record(plan: Plan, config: RunConfig, path: Path, reporter: Reporter) -> None:
    """Append to ``path`` every launch of the plan that it lacks.

    Raises:
        HarnessError: the case cannot be built or run, or the file is of another plan.
    """
    artifacts = bench.make_artifacts(config, Cache(config.cache_root), reporter.say)
    reporter.begin(plan.launches * len(_KINDS))
    case_run = CaseRun(plan.case, artifacts)
    probe = bench.probe_backends(artifacts, reporter)[plan.case.backend]
    bench.build(case_run, probe)
    if case_run.error is not None:
        raise case_run.error
    assert case_run.engine is not None
    assert isinstance(probe, Probe)
    header = _header(plan, config, case_run.engine.result.engine_sha256, probe)
    done = _resume(path, header)
    request = bench.run_request(
        plan.case, case_run.engine.path(file_names.ENGINE), artifacts, first=False
    )
    for number in range(plan.launches * len(_KINDS)):
        if number >= done:
            kind, state = _KINDS[number % len(_KINDS)], state_of(plan, number)
            reporter.say(f"{kind} launch {number // 2 + 1} of {plan.launches}, {state}")
            recording.append(path, _launch(number, plan, request, artifacts.limits))
        reporter.advance()


def state_of(plan: Plan, number: int) -> State:
    """Of the launch of that number; the same in a run that goes on as in one that starts."""
    if plan.state != "mixed":
        return plan.state
    return random.Random(f"{plan.seed}/{number}").choice(get_args(State))  # noqa: S311 - no secret


def _header(plan: Plan, config: RunConfig, engine_sha256: str, probe: Probe) -> Header:
    return Header(
        voxgate=__version__,
        case=str(plan.case),
        engine_sha256=engine_sha256,
        state=plan.state,
        warmups=plan.warmups,
        samples=plan.samples,
        pairs=plan.pairs,
        neighbours=plan.neighbours,
        seed=plan.seed,
        environment=replace(
            read_environment(config.thread_count, {plan.case.backend: probe}),
            host=plan.host,
            system=f"{platform.system()} {platform.machine()}",
        ),
    )


def _resume(path: Path, header: Header) -> int:
    """How many launches the file has; one that is not there, or empty, gets its header.

    Raises:
        ArtifactError: it is the recording of something else.
    """
    if not path.exists() or not path.read_bytes():
        recording.append(path, header)
        return 0
    found = recording.read(path)
    differing = _differing(found.header, header)
    if differing:
        msg = f"{path} was recorded with another {', '.join(differing)}; name another file with --output"
        raise ArtifactError(msg)
    if [launch.number for launch in found.launches] != list(range(len(found.launches))):
        msg = f"{path} lacks launches in between; record anew into another file"
        raise ArtifactError(msg)
    recording.cut_torn_line(path)
    return len(found.launches)


def _differing(found: Header, wanted: Header) -> list[str]:
    """The names of what must be equal and is not."""
    names = [name for name in Header.__struct_fields__ if name != "environment"]
    differing = [name for name in names if getattr(found, name) != getattr(wanted, name)]
    # A commit, and a few bytes of memory, make no other host of it.
    here = replace(
        wanted.environment,
        git_commit=found.environment.git_commit,
        memory_bytes=found.environment.memory_bytes,
    )
    return [*differing, *(["environment"] if here != found.environment else [])]


def _launch(number: int, plan: Plan, request: RunRequest, limits: Limits) -> RecordedLaunch:
    """One launch, disturbed if that is its state."""
    kind, state = _KINDS[number % len(_KINDS)], state_of(plan, number)
    disturbing = neighbours(plan.neighbours, plan.seed * 1_000_000 + number)
    at_s = int(time.time())
    with disturbing if state == "noisy" else contextlib.nullcontext():
        measured = (
            _solo(request, limits) if kind == "solo" else _pair(number, plan, request, limits)
        )
    return msgspec.structs.replace(measured, number=number, state=state, at_s=at_s)


def _solo(request: RunRequest, limits: Limits) -> RecordedLaunch:
    launch = run_job(jobs.RUN, request, limits).launch
    return RecordedLaunch(
        kind="solo", a_ns=launch.samples_ns, warmups_ns=launch.warmups_ns, load=launch.load
    )


def _pair(number: int, plan: Plan, request: RunRequest, limits: Limits) -> RecordedLaunch:
    """The engine against itself; every second pair loads B first."""
    b_first = number // len(_KINDS) % 2 == 1
    paired = run_job(
        jobs.PAIR,
        PairRequest(
            backend=request.backend,
            options=request.options,
            engine_a=request.engine,
            engine_b=request.engine,
            b_first=b_first,
            images=request.images,
            warmups=plan.warmups,
            min_pairs=plan.pairs,
            max_pairs=plan.pairs,
            seconds=0.0,
        ),
        limits,
    )
    return RecordedLaunch(kind="pair", a_ns=paired.a_ns, b_ns=paired.b_ns, b_first=b_first)


if __name__ == "__main__":
    sys.exit(main())
