"""The reference of docs/reference.md, from the tables of the package.

Write it anew with ``python -m suites.support.reference`` after an option, a table or a record changed.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import typing
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from voxgate import backends, datasets, errors, models, plugin, quantizers
from voxgate.commands.parser import build_parser
from voxgate.config import RunConfig
from voxgate.config.options import FILE_OPTIONS, Option, flag_of
from voxgate.records import file
from voxgate.verdicts.baseline import Baseline
from voxgate.verdicts.limits import GateConfig

PLACE = Path(__file__).resolve().parents[2] / "docs" / "reference.md"

HEAD = """# Reference

Made from the package's own tables by `python -m suites.support.reference`; a test fails where it is out of date.
"""
# What an exit code means; a test holds them against the constants of `voxgate.errors`.
EXITS = {
    "EXIT_PASS": "every case was measured, and nothing is worse than before",
    "EXIT_REGRESSION": "a gate or a comparison found a regression, and nothing else went wrong",
    "EXIT_USAGE": "the request is wrong: an unknown name, a number out of range, a file that is not as it should be",
    "EXIT_INCONCLUSIVE": "every case was measured, but one of them does not tell whether it is worse",
    "EXIT_FAILED": "a case failed or is unavailable, or nothing was measured",
    "EXIT_INTERRUPTED": "interrupted; finished artifacts stay in the cache",
}


def reference() -> str:
    """The whole document."""
    parts = (HEAD, _commands(), _options(), _exits(), _tables(), _fixtures(), _records())
    return "\n".join(parts)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; a bar inside a cell is no border."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(
        f"| {' | '.join(c.replace('|', chr(92) + '|') for c in cells)} |\n" for cells in lines
    )


def code(words: object) -> str:
    return f"`{words}`"


def _commands() -> str:
    parser = build_parser()
    (chosen,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    rows = [(code(f"voxgate {a.dest}"), a.help or "") for a in chosen._choices_actions]
    return "## Commands\n\n" + table(("command", "what it does"), rows)


def _options() -> str:
    defaults = (RunConfig(), GateConfig())
    rows = [
        (
            code(flag_of(name)), code(f"--vg{flag_of(name)[1:]}"), _kind(option),
            _default(option, defaults), option.help,
        )
        for name, option in FILE_OPTIONS.items()
    ]  # fmt: skip
    words = (
        "## Options\n\nThe key in `voxgate.toml` is the option without the hyphens in front. Each command takes the "
        "options that it can use; `voxgate COMMAND --help` lists them.\n\n"
    )
    return words + table(("command line", "pytest", "value", "default", "what it sets"), rows)


def _default(option: Option, configs: Sequence[object]) -> str:
    """The default where it is a number or a path; others are said in the help, in words."""
    found = next(getattr(c, option.field) for c in configs if hasattr(c, option.field))
    if isinstance(found, bool) or found is None or not isinstance(found, int | float | Path):
        return ""
    return str(found) if found else ""


def _kind(option: Option) -> str:
    if option.flag:
        return "flag"
    kinds = ((int, "whole number"), (float, "number"), (Path, "path"))
    kind = next((words for parse, words in kinds if option.parse is parse), "text")
    if option.repeated:
        return f"{code(option.metavar)}, repeated"
    return "names with commas" if option.names else kind


def _exits() -> str:
    rows = [(str(getattr(errors, name)), words) for name, words in EXITS.items()]
    return "## Exit codes\n\n" + table(("code", "meaning"), rows)


def _tables() -> str:
    networks = [
        (code(s.name), s.title, f"{s.parameters:,}", f"{s.minimum_int8_macs:.0%}", s.source)
        for s in models.MODELS.values()
    ]
    runtimes = [
        (
            code(s.name),
            s.title,
            ", ".join(s.precisions),
            s.default_quantizer or "–",
            code(s.install),
        )
        for s in backends.BACKENDS.values()
    ]
    methods = [
        (code(s.name), s.title, s.format, ", ".join(s.methods))
        for s in quantizers.QUANTIZERS.values()
    ]
    tasks = [
        (code(t.name), first_sentence(type(t)), ", ".join(t.classes))
        for t in datasets.TASKS.values()
    ]
    certified = "int8 MACs for a certificate"
    return "\n".join(
        (
            "## Networks\n\n"
            + table(("name", "network", "parameters", certified, "source"), networks),
            "## Backends\n\n"
            + table(("name", "runtime", "precisions", "quantizer by default", "to install"), runtimes),
            "## Quantizers\n\n" + table(("name", "quantizer", "writes", "calibration"), methods),
            "## Tasks\n\n" + table(("name", "task", "classes"), tasks),
        )
    )  # fmt: skip


def _fixtures() -> str:
    named = sorted(name for name in vars(plugin) if name.startswith("vg_"))
    rows = []
    for name in named:
        function = inspect.unwrap(getattr(plugin, name).__wrapped__)
        rows.append((code(name), first_sentence(function)))
    rows.insert(0, (code("vg_case"), "The case that a test is about; it is run once for each."))
    return "## Fixtures of the pytest plugin\n\n" + table(("fixture", "what it is"), rows)


def first_sentence(thing: object) -> str:
    """The first paragraph of a docstring, in one line."""
    return " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split()).replace("``", "`")


def _records() -> str:
    words = (
        "## Records\n\nA record is JSON with a `schema_version` (here "
        f"{file.SCHEMA_VERSION}) and, but for a run, a `kind`. Keys may be added; a file of another version is "
        "refused. `null` is what was not reached or is not known.\n"
    )
    return "\n".join((words, *(_record(kind) for kind in _kinds())))


def _kinds() -> Iterator[type]:
    """Every record, and every part of one after the first that holds it."""
    pending: list[type] = [*file._TYPES.values(), Baseline]
    seen: set[type] = set()
    while pending:
        kind = pending.pop(0)
        if kind in seen:
            continue
        seen.add(kind)
        yield kind
        for hint in typing.get_type_hints(kind).values():
            pending += [part for part in _parts(hint) if dataclasses.is_dataclass(part)]


def _parts(hint: object) -> Iterator[type]:
    if isinstance(hint, type) and not typing.get_args(hint):
        yield hint
    for part in typing.get_args(hint):
        yield from _parts(part)


def _record(kind: type) -> str:
    hints = typing.get_type_hints(kind)
    rows = [(code(f.name), code(_shown(hints[f.name]))) for f in dataclasses.fields(kind)]
    return f"### {kind.__name__}\n\n{first_sentence(kind)}\n\n" + table(("key", "value"), rows)


def _shown(hint: Any) -> str:
    """A type as JSON has it."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return " | ".join(repr(part) for part in parts)
    if origin is tuple:
        inside = [_shown(part) for part in parts if part is not ...]
        return f"[{', '.join(inside)}{', …' if ... in parts else ''}]"
    if origin is dict:
        return f"{{{_shown(parts[0])}: {_shown(parts[1])}}}"
    if parts:
        return " | ".join(_shown(part) for part in parts)
    names = {type(None): "null", str: "text", int: "whole number", float: "number", bool: "true | false"}  # fmt: skip
    return names.get(hint, getattr(hint, "__name__", str(hint)))


if __name__ == "__main__":
    PLACE.write_text(reference(), encoding="utf-8")
