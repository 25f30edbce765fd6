"""Where a run took place and under which conditions: facts, launches, the GPU."""

from __future__ import annotations

from collections.abc import Sequence

from voxgate.records.gpu import Span
from voxgate.records.measurement import HostLoad
from voxgate.records.run import CaseResult, Environment, RunRecord
from voxgate.records.sensitivity import SensitivityRecord
from voxgate.records.study import StudyRecord
from voxgate.report import formats
from voxgate.report.page import Block, Column, Facts, Fold, Table

_GIB = 2**30
_SHORT_COMMIT = 12


def environment_blocks(record: RunRecord | SensitivityRecord) -> tuple[Block, ...]:
    """The machine in the open; packages and settings folded."""
    facts = environment_facts(record.environment)
    packages = tuple(sorted(record.environment.packages.items()))
    return (
        Facts(pairs=(*facts, *_timing(record))),
        Fold(summary="Configuration", blocks=(Facts(pairs=configuration(record)),)),
        Fold(summary="Package versions", blocks=(Facts(pairs=packages),)),
    )


def environment_facts(environment: Environment) -> tuple[tuple[str, str], ...]:
    """What must be equal before two records can be compared, in words."""
    backends = (f"{name} {version}" for name, version in sorted(environment.backends.items()))
    return (
        ("CPU", environment.cpu),
        ("instruction sets", " ".join(environment.isa) or formats.DASH),
        ("cores, threads", f"{environment.cores}, {environment.threads}"),
        ("memory", formats.number(environment.memory_bytes / _GIB, ",.1f", " GiB")),
        ("GPU", environment.gpu or "none"),
        *((("GPU settings", environment.gpu_settings),) if environment.gpu_settings else ()),
        (
            "driver, CUDA",
            f"{environment.driver or formats.DASH}, {environment.cuda or formats.DASH}",
        ),
        ("runtimes", ", ".join(backends) or "none"),
        ("system", environment.system),
        ("Python", environment.python),
        ("host", environment.host),
        ("commit", environment.git_commit or "unknown"),
    )


def configuration(record: RunRecord | SensitivityRecord) -> tuple[tuple[str, str], ...]:
    """The settings that decided what was measured."""
    return tuple((name.replace("_", " "), _setting(v)) for name, v in record.config.items())


def subtitle(record: RunRecord | SensitivityRecord | StudyRecord) -> str:
    """When, on what, of which commit: one line."""
    environment = record.environment
    commit = environment.git_commit
    parts = (
        record.timing.started,
        environment.gpu or environment.cpu,
        formats.count(environment.threads, "thread"),
        f"commit {short_commit(commit)}" if commit else "commit unknown",
    )
    return " · ".join(parts)


def short_commit(commit: str) -> str:
    """The first digits of a commit, and whether files differed from it."""
    digits, plus, dirty = commit.partition("+")
    return f"{digits[:_SHORT_COMMIT]}{plus}{dirty}"


def launch_table(cases: Sequence[CaseResult]) -> Table | None:
    """One row a launch: how it went, and who else used the host."""
    launches = [(case, launch) for case in cases for launch in case.launches]
    if not launches:
        return None
    times = [formats.ns_to_ms(min(one.samples_ns)) for _, one in launches if one.samples_ns]
    ms = formats.milliseconds(times)
    rows = sorted(launches, key=lambda row: row[1].order)
    return Table(
        caption="Launches in the order they ran",
        columns=(
            Column(heading="case"),
            *(
                Column(heading=heading, numeric=True, note=note)
                for heading, note in (
                    ("order", ""), ("samples", ""), ("min ms", ""), ("max ms", ""), ("load s", ""),
                    ("CPU s", "processor time of the worker"),
                    ("steal", "share of all cores' time that the hypervisor gave to others"),
                    ("foreign", "share of all cores' time that other processes used"),
                )
            ),
        ),
        rows=tuple(
            (
                str(case.case),
                str(launch.order),
                str(len(launch.samples_ns)),
                ms(min(map(formats.ns_to_ms, launch.samples_ns), default=None)),
                ms(max(map(formats.ns_to_ms, launch.samples_ns), default=None)),
                formats.number(launch.load_s, ".2f"),
                formats.number(launch.cpu_s, ".1f"),
                *_load(launch.load),
            )
            for case, launch in rows
        ),
    )  # fmt: skip


def gpu_table(cases: Sequence[CaseResult]) -> Table | None:
    """One row a launch on a GPU: clocks, heat, power, throttling, who else was there."""
    rows = [
        (
            str(case.case),
            facts.name,
            _span(facts.sm_clock_mhz),
            _span(facts.temperature_c),
            _span(facts.power_w),
            _throttled(facts.throttled),
            str(len(facts.foreign)) if facts.foreign_visible else "not visible",
        )
        for case in cases
        for facts in case.gpu
    ]
    headings = ("SM clock MHz", "temperature °C", "power W")
    return (
        Table(
            caption="The GPU during the timed inferences; least, median, greatest",
            columns=(
                Column(heading="case"),
                Column(heading="GPU"),
                *(Column(heading=heading, numeric=True) for heading in headings),
                Column(heading="throttled"),
                Column(heading="other processes", numeric=True),
            ),
            rows=tuple(rows),
        )
        if rows
        else None
    )


def _timing(record: RunRecord | SensitivityRecord) -> tuple[tuple[str, str], ...]:
    timing = record.timing
    inside = timing.inference_s / timing.wall_s if timing.wall_s > 0 else 0.0
    return (
        ("run time", f"{timing.wall_s:,.1f} s, {formats.share(inside)} inside inference"),
        ("artifacts", f"{timing.artifacts_built} built, {timing.artifacts_reused} reused"),
    )


def _setting(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "default"
    return "none" if value is None else str(value)


def _load(load: HostLoad | None) -> tuple[str, str]:
    if load is None:
        return formats.DASH, formats.DASH
    return formats.share(load.steal), formats.share(load.foreign)


def _span(span: Span | None) -> str:
    if span is None:
        return formats.DASH
    return " / ".join(f"{value:,.0f}" for value in (span.min, span.median, span.max))


def _throttled(reasons: dict[str, float] | None) -> str:
    if reasons is None:
        return "not told"
    found = [f"{name} {formats.share(part)}" for name, part in reasons.items() if part > 0]
    return ", ".join(found) or "no"
