"""The options of a run: how each field of its configuration is named, read and written."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from voxgate.config import (
    DEFAULT_BACKENDS,
    DEFAULT_TASK,
    MODELS_HELP,
    RunConfig,
    gib_to_bytes,
    split_models,
    split_names,
    split_pythons,
)

_DEFAULTS = RunConfig()
_TYPED = "command line"
_NAMES = "selection (names separated by commas)"
_QUANTIZATION = "quantization"
_SURFACES = "surfaces"
_MEASURING = "measuring"
_GPU = "GPU runtimes"
_PLACES = "places"
_GATE = "gate"


def _as_it_is(value: object) -> object:
    return value


def _one(value: object) -> Sequence[str]:
    return (str(value),)


def _joined(names: Sequence[str]) -> Sequence[str]:
    return (",".join(names),)


def _pairs(pythons: Sequence[tuple[str, str]]) -> Sequence[str]:
    return [f"{backend}={path}" for backend, path in pythons]


def _gib(limit_bytes: int) -> Sequence[str]:
    return (str(limit_bytes / 2**30),)  # exact: a division by a power of two


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """An option that sets ``field``.

    ``parse`` makes a value of one word, ``read`` the field of what argparse found, ``write`` the words
    of the field again: one for each time that the option is written. A flag has no words.
    """

    field: str
    group: str
    help: str
    parse: Callable[[str], object] = str
    read: Callable[[Any], object] = _as_it_is
    write: Callable[[Any], Sequence[str]] = _one
    metavar: str | None = None
    flag: bool = False
    repeated: bool = False

    def keywords(self) -> dict[str, Any]:
        """For argparse and for pytest. None stands for what was not typed, whatever the default."""
        common = {"default": None, "help": self.help}
        if self.flag:
            return common | {"action": "store_true"}
        action = "append" if self.repeated else "store"
        return common | {"action": action, "type": self.parse, "metavar": self.metavar}

    @property
    def names(self) -> bool:
        """Whether it takes several names, which commas separate."""
        return self.write is _joined


# By the name that argparse gives the value; the option is --NAME, with hyphens.
RUN_OPTIONS = {
    "models": Option(
        field="models", group=_NAMES, help=MODELS_HELP, read=split_models, write=_joined
    ),
    "task": Option(field="task", group=_NAMES, help=f"default: {DEFAULT_TASK}"),
    "classes": Option(
        field="classes", group=_NAMES,
        help="task, or paper: its class counts, for size, latency and memory without Dice",
    ),
    "backend": Option(
        field="backends", group=_NAMES, help=f"default: {','.join(DEFAULT_BACKENDS)}",
        read=split_names, write=_joined,
    ),
    "precisions": Option(
        field="precisions", group=_NAMES, help="default: each backend's own; fake-* are simulated",
        read=split_names, write=_joined,
    ),
    "python": Option(
        field="pythons", group=_NAMES, metavar="BACKEND=PATH", repeated=True,
        help="the interpreter that has this backend's runtime; default: the one of VoxGate",
        read=split_pythons, write=_pairs,
    ),
    "quantizer": Option(
        field="quantizer", group=_QUANTIZATION, help="default: the backend's own"
    ),
    "calibration": Option(
        field="calibration_method", group=_QUANTIZATION, help="calibration method; default: the quantizer's"
    ),
    "calibration_patches": Option(
        field="calibration_patches", group=_QUANTIZATION, parse=int, metavar="N",
        help="how many patches to draw; default: the task's fixed ones, or one a volume",
    ),
    "calibration_seed": Option(
        field="calibration_seed", group=_QUANTIZATION, parse=int, metavar="S", help="which patches to draw"
    ),
    "calibration_data": Option(
        field="calibration_data", group=_QUANTIZATION, parse=Path, metavar="DIR",
        help="*.nii.gz, *.nii and *.npy of your own",
    ),
    "float_layers": Option(
        field="float_layers", group=_QUANTIZATION, read=split_names, write=_joined,
        help="layers of the one selected model that stay in float",
    ),
    "surface_metrics": Option(
        field="surface_metrics", group=_SURFACES, flag=True,
        help="NSD and HD95 of each case and class, too",
    ),
    "surface_tolerance": Option(
        field="surface_tolerance_mm", group=_SURFACES, parse=float,
        help=f"mm within which NSD takes a surface as met; default: {_DEFAULTS.surface_tolerance_mm:g}",
    ),
    "threads": Option(
        field="threads", group=_MEASURING, parse=int, help="default: every usable core"
    ),
    "launches": Option(field="launches", group=_MEASURING, parse=int, help="processes per case"),
    "warmups": Option(field="warmups", group=_MEASURING, parse=int, help="inferences before timing begins, per launch"),
    "min_samples": Option(
        field="min_samples", group=_MEASURING, parse=int, help="timed inferences per launch, at least"
    ),
    "max_samples": Option(
        field="max_samples", group=_MEASURING, parse=int, help="timed inferences per launch, at most"
    ),
    "seconds": Option(
        field="seconds_per_launch", group=_MEASURING, parse=float, help="seconds of timed inferences per launch"
    ),
    "time_limit": Option(
        field="time_limit_s", group=_MEASURING, parse=float, help="seconds that a worker may take"
    ),
    "memory_limit": Option(
        field="memory_limit_bytes", group=_MEASURING, parse=float, read=gib_to_bytes, write=_gib,
        help="GiB that a worker may hold; default: no limit",
    ),
    "workspace": Option(
        field="workspace_bytes", group=_GPU, parse=float, read=gib_to_bytes, write=_gib,
        help="GiB that the builder may use; default: its own",
    ),
    "cuda_graph": Option(
        field="cuda_graph", group=_GPU, flag=True, help="capture a launch and replay it"
    ),
    "cache_dir": Option(
        field="cache_dir", group=_PLACES, parse=Path,
        help="default: VOXGATE_CACHE, or voxgate in the user's cache",
    ),
    "checkpoint_dir": Option(
        field="checkpoint_dir", group=_PLACES, parse=Path, help="trained checkpoints of your own"
    ),
}  # fmt: skip

# What a gate compares with: no fields of a run's configuration.
GATE_OPTIONS = {
    "baselines": Option(
        field="baselines", group=_GATE, parse=Path, help="folder of accepted engines"
    ),
    "tolerance": Option(
        field="tolerance", group=_GATE, parse=float, help="share by which an engine may be slower"
    ),
    "dice_margin": Option(
        field="dice_margin", group=_GATE, parse=float, help="Dice that may be lost"
    ),
}
# What a file may set (`voxgate.config.file`).
FILE_OPTIONS = {**RUN_OPTIONS, **GATE_OPTIONS}

# What decides a quantized graph.
QUANTIZATION = tuple(name for name, o in RUN_OPTIONS.items() if o.group == _QUANTIZATION)
# How often and how long, and what a worker may use.
MEASURING = tuple(name for name, o in RUN_OPTIONS.items() if o.group in {_MEASURING, _GPU})
SURFACES = tuple(name for name, o in RUN_OPTIONS.items() if o.group == _SURFACES)
PLACES = tuple(name for name, o in RUN_OPTIONS.items() if o.group == _PLACES)


def flag_of(name: str) -> str:
    """The option as it is typed."""
    return f"--{name.replace('_', '-')}"


def given(options: argparse.Namespace) -> tuple[str, ...]:
    """The names of the run options that were typed."""
    return tuple(name for name in RUN_OPTIONS if getattr(options, name, None) is not None)


def config_of(
    options: argparse.Namespace,
    values: Mapping[str, Any] = MappingProxyType({}),
    places: Mapping[str, str] = MappingProxyType({}),
) -> RunConfig:
    """The configuration of the options that were typed, unchecked; then of those that a file sets.

    ``values`` are a file's, by the options' names, and ``places`` where they stand. Of them count those
    that the command takes. All others have their defaults.

    Raises:
        UsageError: an option has another form.
    """
    typed = {name: getattr(options, name) for name in given(options)}
    filed = {n: v for n, v in values.items() if n in RUN_OPTIONS and hasattr(options, n)}
    chosen = filed | typed
    fields: dict[str, Any] = {
        RUN_OPTIONS[name].field: RUN_OPTIONS[name].read(value) for name, value in chosen.items()
    }
    origins = {name: _TYPED if name in typed else places.get(name, "a file") for name in chosen}
    return RunConfig(
        **fields, record=getattr(options, "record", None), set_by=tuple(sorted(origins.items()))
    )


def limits_of(options: argparse.Namespace, values: Mapping[str, Any]) -> dict[str, Any]:
    """The gate's options that were typed, else as a file's ``values`` set them; no others."""
    typed = {name: getattr(options, name) for name in GATE_OPTIONS}
    chosen = {name: values.get(name) if word is None else word for name, word in typed.items()}
    return {GATE_OPTIONS[name].field: word for name, word in chosen.items() if word is not None}


def command_line(config: RunConfig) -> str:
    """The ``voxgate bench`` of a configuration: every option that differs from its default.

    The record's path is left out: a run that is repeated must not write over what it repeats.
    """
    words = ["voxgate", "bench"]
    for name, option in RUN_OPTIONS.items():
        value = getattr(config, option.field)
        if value == getattr(_DEFAULTS, option.field):
            continue
        words += [flag_of(name)] if option.flag else _written(flag_of(name), option.write(value))
    return shlex.join(words)


def _written(flag: str, values: Sequence[str]) -> list[str]:
    """The option before each value; joined to one that would be taken for an option itself."""
    return [
        word
        for value in values
        for word in ([f"{flag}={value}"] if value.startswith("-") else [flag, value])
    ]
