"""Say in one sentence what runs on this machine, and in another whether a GPU nightly can.

Then come the machine and a table; with --all also why the rest does not run here.
"""

from __future__ import annotations

import argparse
import json
import sys

from voxgate import backends
from voxgate.artifacts import jobs
from voxgate.artifacts.interpreter import find, own
from voxgate.artifacts.launcher import Limits, run_job
from voxgate.commands.gpus import gpu_facts, gpu_lines
from voxgate.commands.nightly import BACKEND as NIGHTLY
from voxgate.commands.nightly import Nightly, read_nightly
from voxgate.commands.options import add_run_options, unchecked_config
from voxgate.errors import EXIT_FAILED, EXIT_PASS, HarnessError, UnavailableError, UsageError
from voxgate.machine.environment import read_environment, usable_cores
from voxgate.machine.nvml import Driver, read_driver
from voxgate.records.case import INT8_PRECISIONS
from voxgate.records.run import Environment
from voxgate.records.runtime import Probe
from voxgate.stages.requests import ProbeRequest

_LIMITS = Limits(seconds=120)
_INT8_ISA = ("avx512_vnni", "avx_vnni", "amx_int8")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The format, how much, and other interpreters."""
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--all", action="store_true", help="also why the rest does not run here")
    add_run_options(parser, ["python"])


def run(options: argparse.Namespace) -> int:
    """0 when some real backend runs INT8 here, 4 otherwise."""
    pythons = {backends.get(name).name: path for name, path in unchecked_config(options).pythons}
    probes = {name: _probe(name, pythons.get(name)) for name in backends.BACKENDS if name != "fake"}
    accelerator = next((p.accelerator for p in probes.values() if p.accelerator), "")
    environment, driver = read_environment(usable_cores(), probes), read_driver(accelerator)
    nightly = read_nightly(driver, probes[NIGHTLY], pythons.get(NIGHTLY))
    summary = summarize(driver, probes)
    if options.json:
        first = {"summary": summary, "nightly": _nightly_facts(nightly)}
        facts = first | _as_json(environment, probes) | gpu_facts(driver)
        sys.stdout.write(json.dumps(facts, indent=1) + "\n")
    else:
        _print([summary, nightly.sentence, *_machine(environment, driver)], probes)
        _print_missing(probes, everything=options.all)
    return EXIT_PASS if _with_int8(probes) else EXIT_FAILED


def summarize(driver: Driver, probes: dict[str, Probe]) -> str:
    """What runs INT8 here, and on which GPU if there is one."""
    titles = [backends.get(name).title for name in _with_int8(probes)]
    where = f"works here with {' and '.join(titles)}" if titles else "works here with no backend"
    return f"INT8 {where}; GPU: {_gpus(driver)}."


def _gpus(driver: Driver) -> str:
    if driver.first is None:
        return "none"
    others = len(driver.gpus) - 1
    return f"{driver.first.name} and {others} more" if others > 0 else driver.first.name


def _with_int8(probes: dict[str, Probe]) -> list[str]:
    return [
        name
        for name, probe in probes.items()
        if any(runs_here(name, precision, probe) for precision in INT8_PRECISIONS)
    ]


def runs_here(name: str, precision: str, probe: Probe) -> bool:
    """Whether a backend has a precision and this machine does not refuse it."""
    has = precision in backends.get(name).sources
    return has and probe.available and precision not in probe.refused


def isa_advice(isa: tuple[str, ...]) -> str:
    """What this CPU's instruction sets mean for INT8."""
    fast = [flag for flag in isa if flag in _INT8_ISA]
    if fast:
        return f"INT8 is fast here: {', '.join(fast)}"
    return "this CPU has neither VNNI nor AMX: INT8 runs, but do not expect the usual speed-up"


def _probe(name: str, python: str | None) -> Probe:
    try:
        interpreter = own() if python is None else find(python, [name])
        return run_job(jobs.PROBE, ProbeRequest(backend=name), _LIMITS, interpreter.path)
    except UnavailableError as error:
        return Probe(available=False, reason=str(error))
    except UsageError:
        raise
    except HarnessError as error:
        return Probe(available=False, reason=f"could not be probed: {error}")


def _as_json(environment: Environment, probes: dict[str, Probe]) -> dict[str, object]:
    return {
        "cpu": environment.cpu,
        "cores": environment.cores,
        "isa": list(environment.isa),
        "isa_advice": isa_advice(environment.isa),
        "memory_bytes": environment.memory_bytes,
        "gpu": environment.gpu,
        "driver": environment.driver,
        "cuda": environment.cuda,
        "python": environment.python,
        "packages": environment.packages,
        "backends": {
            name: {
                "available": probe.available,
                "version": probe.version,
                "device": probe.device,
                "reason": probe.reason,
                "precisions": [
                    precision
                    for precision in backends.get(name).precisions
                    if runs_here(name, precision, probe)
                ],
                "refused": dict(backends.get(name).reasons) | probe.refused,
            }
            for name, probe in probes.items()
        },
    }


def _nightly_facts(nightly: Nightly) -> dict[str, object]:
    return {
        "runs_here": not nightly.lacking,
        "command": nightly.command,
        "lacking": nightly.lacking,
    }


def _machine(environment: Environment, driver: Driver) -> list[str]:
    cores = "1 core" if environment.cores == 1 else f"{environment.cores} cores"
    memory = f"{environment.memory_bytes / 2**30:.0f} GiB"
    lines = [f"{environment.cpu}, {cores}, {memory}; {isa_advice(environment.isa)}"]
    return lines if driver.reason else [*lines, *gpu_lines(driver)]


def _print(lines: list[str], probes: dict[str, Probe]) -> None:
    from rich.table import Table

    from voxgate.report.simulated import name_of
    from voxgate.report.terminal import make_console

    console = make_console()
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
    table = Table("backend", "version", "device", "runs here")
    for name, probe in probes.items():
        runs = [p for p in backends.get(name).precisions if runs_here(name, p, probe)]
        shown = ", ".join(map(name_of, runs)) or "nothing"
        table.add_row(name, probe.version or "–", probe.device or "–", shown)
    console.print(table)


def _print_missing(probes: dict[str, Probe], *, everything: bool) -> None:
    from voxgate.report.terminal import make_console

    console = make_console()
    if not everything:
        console.print("Why the rest does not run here: voxgate doctor --all", highlight=False)
        return
    for name, probe in probes.items():
        for what, why in _missing(name, probe):
            console.print(f"not here: {name} {what}: {why}", highlight=False, soft_wrap=True)


def _missing(name: str, probe: Probe) -> list[tuple[str, str]]:
    """What a backend cannot do on this machine, and why."""
    if not probe.available:
        return [("at all", probe.reason)]
    alike: dict[str, list[str]] = {}
    for precision, why in (dict(backends.get(name).reasons) | probe.refused).items():
        alike.setdefault(why, []).append(precision)
    return [(", ".join(precisions), why) for why, precisions in alike.items()]
