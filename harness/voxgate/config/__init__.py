"""One frozen configuration, made by the command line or by pytest, checked before any work."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from voxgate import backends, datasets, models, quantizers
from voxgate.backends import BackendSpec
from voxgate.datasets.volumes import volume_files
from voxgate.errors import UsageError, unknown_name
from voxgate.files import default_root
from voxgate.machine.environment import usable_cores
from voxgate.records.case import CLASS_SETS, PRECISIONS, CaseId, ClassSet, Precision

DEFAULT_MODELS = models.MODEL_SETS["default"]
MODELS_HELP = "models or sets of models, by commas; sets: " + ", ".join(models.MODEL_SETS)
DEFAULT_TASK = "mni152"
DEFAULT_BACKENDS = ("openvino",)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """What to run and how. Times in seconds, sizes in bytes.

    ``precisions`` empty means each backend's own; ``quantizer`` and ``calibration_method`` empty
    mean the backend's and the quantizer's default; ``float_layers``, of a single model, are not
    quantized; ``threads`` 0 means every usable core. ``pythons`` are backends with the path of the
    interpreter that builds and runs their engines, where it is not ours.
    ``calibration_patches`` 0 means the task's fixed ones or, with ``calibration_data``, a folder of
    volumes, one a volume; ``calibration_seed`` chooses the patches where there is a choice.
    ``workspace_bytes`` limits a GPU runtime's builder; ``cuda_graph`` replays its launches.
    ``classes`` says whose class count the networks are built with: the task's, or for size, latency
    and memory alone the paper's, which no label fits.
    ``surface_metrics`` adds NSD, within ``surface_tolerance_mm``, and HD95 to Dice. They are not on by
    default: where nothing is cached they take 6 to 11 s a case of 8 patches on two cores, which would
    add minutes to a run of eight networks in three precisions.
    ``set_by`` are the options that somebody set, each with where: "command line", or a file's table.
    """

    models: tuple[str, ...] = DEFAULT_MODELS
    task: str = DEFAULT_TASK
    classes: ClassSet = "task"
    backends: tuple[str, ...] = DEFAULT_BACKENDS
    precisions: tuple[Precision, ...] = ()
    quantizer: str = ""
    calibration_method: str = ""
    calibration_patches: int = 0
    calibration_seed: int = 0
    calibration_data: Path | None = None
    float_layers: tuple[str, ...] = ()
    pythons: tuple[tuple[str, str], ...] = ()
    threads: int = 0
    launches: int = 3
    warmups: int = 2
    min_samples: int = 4
    max_samples: int = 50
    seconds_per_launch: float = 2.0
    time_limit_s: float = 1800.0
    memory_limit_bytes: int | None = None
    workspace_bytes: int | None = None
    cuda_graph: bool = False
    cache_dir: Path | None = None
    checkpoint_dir: Path | None = None
    record: Path | None = None
    surface_metrics: bool = False
    surface_tolerance_mm: float = 1.0
    set_by: tuple[tuple[str, str], ...] = field(default=(), compare=False)

    @property
    def cache_root(self) -> Path:
        """Where artifacts are kept."""
        return self.cache_dir or default_root()

    @property
    def thread_count(self) -> int:
        """The number of threads that engines use."""
        return self.threads or usable_cores()

    @property
    def calibration_source(self) -> str:
        """The task, or the name of the folder of volumes, without its path."""
        return self.task if self.calibration_data is None else self.calibration_data.resolve().name

    @property
    def drawn_by(self) -> int | None:
        """The seed that chose the calibration patches; None where they are the fixed ones."""
        fixed = self.calibration_patches == 0 and self.calibration_data is None
        return None if fixed else self.calibration_seed

    def class_count(self, model: str) -> int:
        """How many classes the network of that model has.

        Raises:
            UsageError: the paper's count is asked for, and the paper did not measure the model.
        """
        if self.classes == "task":
            return len(datasets.get(self.task).classes)
        count = models.get(model).paper_classes
        if count is None:
            msg = (
                f"the paper has no class count for {model}; leave it out of the models, "
                "or choose the classes of the task"
            )
            raise UsageError(msg)
        return count

    def cases(self) -> tuple[CaseId, ...]:
        """Every case of the selection, models first, then backends, then precisions."""
        return tuple(
            CaseId(model=model, task=self.task, backend=backend, precision=precision)
            for model in self.models
            for backend in self.backends
            for precision in self.precisions or backends.get(backend).default_precisions
        )

    def facts(self) -> dict[str, object]:
        """The settings that decide what was measured; paths are left out."""
        return {
            "models": list(self.models),
            "task": self.task,
            "classes": self.classes,
            "backends": list(self.backends),
            "precisions": list(self.precisions),
            "quantizer": self.quantizer or "default",
            "calibration_method": self.calibration_method or "default",
            "calibration_patches": self.calibration_patches or "default",
            "calibration_seed": self.drawn_by,
            "calibration_source": self.calibration_source,
            "float_layers": list(self.float_layers),
            "threads": self.thread_count,
            "launches": self.launches,
            "warmups": self.warmups,
            "min_samples": self.min_samples,
            "max_samples": self.max_samples,
            "seconds_per_launch": self.seconds_per_launch,
            "workspace_bytes": self.workspace_bytes,
            "cuda_graph": self.cuda_graph,
            "surface_tolerance_mm": self.surface_tolerance_mm if self.surface_metrics else None,
        }

    def origins(self) -> dict[str, object]:
        """For a record: where each setting came from. It decides nothing, and is in no key."""
        return {"set_by": {name.replace("_", "-"): place for name, place in self.set_by}}

    def check(self) -> RunConfig:
        """This configuration, if every name and number in it makes sense.

        Raises:
            UsageError: names the option and the choices.
        """
        dataset = datasets.get(self.task)
        for model in self.models:
            models.get(model).check_roi(dataset.patch_size)
        self._check_classes()
        for backend in self.backends:
            self._check_quantizer(backends.get(backend))
        for precision in self.precisions:
            if precision not in PRECISIONS:
                raise unknown_name("precision", precision, PRECISIONS)
        self._check_method()
        self._check_selection()
        self._check_pythons()
        self._check_numbers()
        self._check_calibration()
        return self

    def _check_classes(self) -> None:
        if self.classes not in CLASS_SETS:
            kind = "class set"
            raise unknown_name(kind, self.classes, CLASS_SETS)
        for model in self.models:
            self.class_count(model)
        if self.surface_metrics and self.classes != "task":
            msg = (
                f"surface metrics need labels, which the {self.classes}'s class counts do not fit; "
                "leave them out, or choose the classes of the task"
            )
            raise UsageError(msg)

    def _check_quantizer(self, spec: BackendSpec) -> None:
        name = self.quantizer or spec.default_quantizer
        if name is None or not spec.formats:
            return
        quantizer = quantizers.get(name)
        quantizer.check_method(self.calibration_method)
        if quantizer.format not in spec.formats:
            fitting = [q.name for q in quantizers.QUANTIZERS.values() if q.format in spec.formats]
            msg = (
                f"{spec.title} cannot read what {quantizer.title} writes ({quantizer.format}); "
                f"use --quantizer {' or '.join(fitting)}"
            )
            raise UsageError(msg)

    def _check_method(self) -> None:
        """Refuse a method that no quantizer has, even where no case would use it."""
        if self.quantizer:
            quantizers.get(self.quantizer).check_method(self.calibration_method)
        known = {m for spec in quantizers.QUANTIZERS.values() for m in spec.methods}
        if self.calibration_method and self.calibration_method not in known:
            kind = "calibration method"
            raise unknown_name(kind, self.calibration_method, known)

    def _quantizes(self) -> bool:
        """Whether a selected case is built from a quantized graph."""
        sources = {backends.get(c.backend).sources.get(c.precision) for c in self.cases()}
        return "quantized" in sources

    def _check_calibration(self) -> None:
        if self.drawn_by is not None and not self._quantizes():
            msg = "no selected case is quantized, so there is nothing to calibrate"
            raise UsageError(msg)
        if self.calibration_data is not None:
            volume_files(self.calibration_data)
        elif self.calibration_patches > (most := datasets.get(self.task).most_draws):
            msg = f"{self.task} has {most} patches to calibrate on, not {self.calibration_patches}"
            raise UsageError(msg)
        if self.calibration_seed and self.drawn_by is None:
            msg = (
                "a calibration seed chooses among patches, and the fixed ones leave no choice; "
                "name how many to draw (calibration patches), or a folder of volumes"
            )
            raise UsageError(msg)

    def _check_selection(self) -> None:
        for option in ("models", "backends", "precisions", "float_layers"):
            names: Sequence[str] = getattr(self, option)
            twice = [name for name, count in Counter(names).items() if count > 1]
            if twice:
                msg = f"the {option} name {' and '.join(twice)} twice: {', '.join(names)}"
                raise UsageError(msg)
        if self.float_layers and len(self.models) != 1:
            msg = "layers are left in float by name, so select the one model that they belong to"
            raise UsageError(msg)
        if self.float_layers and not self._quantizes():
            msg = "no selected case is quantized, so there are no layers to leave in float"
            raise UsageError(msg)
        if not self.models or not self.backends:
            msg = "nothing is selected: name at least one model and one backend"
            raise UsageError(msg)

    def _check_pythons(self) -> None:
        named = [name for name, _ in self.pythons]
        for name in named:
            if backends.get(name).name not in self.backends:
                msg = (
                    f"an interpreter is named for {name}, which is not among the selected backends"
                )
                raise UsageError(msg)
        if len(set(named)) != len(named):
            msg = f"the interpreters name one backend twice: {', '.join(named)}"
            raise UsageError(msg)

    def _check_numbers(self) -> None:
        at_least = {
            "threads": 0, "launches": 1, "warmups": 1, "min_samples": 1, "max_samples": 1,
            "seconds_per_launch": 0, "time_limit_s": 1, "calibration_patches": 0,
            "calibration_seed": 0, "surface_tolerance_mm": 0,
        }  # fmt: skip
        for name, lowest in at_least.items():
            value = getattr(self, name)
            if not lowest <= value < float("inf"):
                msg = f"{name} is {value}; it must be finite and at least {lowest}"
                raise UsageError(msg)
        for name in ("memory_limit_bytes", "workspace_bytes"):
            limit = getattr(self, name)
            if limit is not None and limit <= 0:
                msg = f"{name} is {limit}; it must be positive"
                raise UsageError(msg)


def split_names(text: str) -> tuple[str, ...]:
    """The names of a comma-separated option, without blanks."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def split_models(text: str) -> tuple[str, ...]:
    """The models of a comma-separated option: a set, like ``paper``, stands for its networks.

    A network of two of the names is taken once; a name that is written twice stays, to be refused.

    Raises:
        UsageError: no such model or set; the message lists both.
    """
    names = split_names(text)
    found = tuple(model for name in names for model in models.names_of(name))
    return found if len(set(names)) < len(names) else tuple(dict.fromkeys(found))


def split_pythons(entries: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Backend and interpreter of each ``BACKEND=PATH``.

    Raises:
        UsageError: an entry has another form.
    """
    pairs = []
    for entry in entries:
        backend, equals, path = (part.strip() for part in entry.partition("="))
        if not (backend and equals and path):
            msg = f"{entry!r} names no interpreter of a backend; write BACKEND=PATH, like tensorrt=/opt/py310/bin/python"
            raise UsageError(msg)
        pairs.append((backend, path))
    return tuple(pairs)


def gib_to_bytes(gib: float | None) -> int | None:
    """The bytes of a limit that was given in GiB.

    Raises:
        UsageError: it is not a finite number.
    """
    if gib is None:
        return None
    if not math.isfinite(gib):
        msg = f"a memory limit is {gib}; it must be a finite number of GiB"
        raise UsageError(msg)
    return int(gib * 2**30)


def default_record_path(now: datetime | None = None, kind: str = "") -> Path:
    """records/<UTC time>.json in the working directory, for other kinds <UTC time>-<kind>.json."""
    stamp = (now or datetime.now(UTC)).astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    return Path("records") / f"{stamp}{f'-{kind}' if kind else ''}.json"
