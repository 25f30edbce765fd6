"""Accepted results: one JSON file an environment and model, changed on request alone.

``<folder>/<environment>/<model>.json`` holds, for each task, backend and precision, what was measured
when somebody accepted it: the raw samples of every launch, sizes, memory, Dice per case, coverage,
the engine's hash, and the identity of where that was. Only an equal identity can be compared with.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import msgspec
from filelock import FileLock

from voxgate import datasets
from voxgate.errors import ArtifactError
from voxgate.records import file
from voxgate.records.case import CaseId, Precision
from voxgate.records.engine import Coverage
from voxgate.records.gpu import GpuFacts
from voxgate.records.measurement import Dice, Launch, Memory
from voxgate.records.run import CaseResult, RunRecord

SCHEMA_VERSION = 1

_SHA256 = re.compile("[0-9a-f]{64}")
_GREATEST = 2**63 - 1  # bytes and nanoseconds fit


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """What must be equal before two measurements of a case can be compared.

    ``record_schema`` is the harness's; ``shape`` is the input's (N, C, D, H, W). A GPU's results do
    not depend on the CPU beside it, nor a CPU's on a GPU: what does not matter is None.
    ``gpu_settings`` are its power cap and modes, which decide how fast it may be.
    """

    record_schema: int
    model: str
    task: str
    backend: str
    precision: Precision
    classes: int | None
    shape: tuple[int, ...]
    weights_sha256: str | None
    runtime: str | None
    cpu: str | None
    isa: tuple[str, ...]
    cores: int | None
    threads: int | None
    gpu: str | None
    driver: str | None
    cuda: str | None
    cuda_graph: bool
    gpu_settings: str | None = None

    @property
    def case(self) -> CaseId:
        """The four names."""
        return CaseId(
            model=self.model, task=self.task, backend=self.backend, precision=self.precision
        )

    @property
    def environment(self) -> str:
        """The folder's name: the GPU, or the CPU and the threads on it."""
        if self.gpu is not None:
            return _slug(self.gpu)
        return _slug(f"{self.cpu} {self.threads} threads")

    def differences(self, now: Identity) -> tuple[str, ...]:
        """What is not as it was, in words; of equal identities there is none."""
        return tuple(
            f"{field.name} was {_shown(before)}, is {_shown(after)}"
            for field in fields(self)
            if (before := getattr(self, field.name)) != (after := getattr(now, field.name))
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One accepted case."""

    identity: Identity
    accepted: str
    voxgate: str
    git_commit: str | None
    host: str
    packages: dict[str, str]
    engine_sha256: str
    engine_bytes: int
    build_s: float | None
    launches: tuple[Launch, ...]
    memory: Memory | None
    host_memory: Memory | None
    dice: Dice | None
    int8_coverage: Coverage | None
    calibration_sha256: str | None
    gpu: tuple[GpuFacts, ...]
    kernels_sha256: str | None = None
    source_sha256: str | None = None

    def has_kernels_of(self, row: CaseResult) -> bool:
        """Whether an engine executes the accepted one's kernels on its weights, whatever its bytes."""
        ours = (self.kernels_sha256, self.source_sha256)
        return None not in ours and ours == (row.kernels_sha256, row.source_sha256)


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """The file of one model in one environment."""

    schema_version: int
    model: str
    entries: tuple[Entry, ...]


def identify(row: CaseResult, run: RunRecord) -> Identity:
    """The identity of a row of a record."""
    host, on_gpu = run.environment, row.on_gpu
    return Identity(
        record_schema=run.schema_version,
        model=row.model,
        task=row.task,
        backend=row.backend,
        precision=row.precision,
        classes=row.classes,
        shape=(1, 1, *datasets.get(row.task).patch_size),
        weights_sha256=row.weights_sha256,
        runtime=host.backends.get(row.backend),
        cpu=None if on_gpu else host.cpu,
        isa=() if on_gpu else host.isa,
        cores=None if on_gpu else host.cores,
        threads=None if on_gpu else host.threads,
        gpu=host.gpu if on_gpu else None,
        driver=host.driver if on_gpu else None,
        cuda=host.cuda if on_gpu else None,
        cuda_graph=on_gpu and bool(run.config.get("cuda_graph")),
        gpu_settings=host.gpu_settings if on_gpu else None,
    )


def accept(row: CaseResult, run: RunRecord) -> Entry:
    """The entry that a measured row becomes.

    Raises:
        ArtifactError: the row is not of a case that was built and measured without doubt.
    """
    if row.status != "ok" or row.engine_sha256 is None or row.engine_bytes is None:
        msg = f"{row.case} is {row.status}; only what was measured can be accepted"
        raise ArtifactError(msg)
    return Entry(
        identity=identify(row, run),
        accepted=run.timing.started,
        voxgate=run.voxgate,
        git_commit=run.environment.git_commit,
        host=run.environment.host,
        packages=run.environment.packages,
        engine_sha256=row.engine_sha256,
        engine_bytes=row.engine_bytes,
        build_s=row.build_s,
        launches=row.launches,
        memory=row.memory_bytes,
        host_memory=row.host_memory_bytes,
        dice=row.dice,
        int8_coverage=row.int8_coverage,
        calibration_sha256=row.calibration.sha256 if row.calibration else None,
        gpu=row.gpu,
        kernels_sha256=row.kernels_sha256,
        source_sha256=row.source_sha256,
    )


def read(path: Path) -> Baseline:
    """A baseline from its file.

    Raises:
        ArtifactError: unreadable, of another schema, or nonsense; names the file and the key's path.
    """
    try:
        # Not msgspec's parser: it calls a NaN malformed, and does not say where.
        tree = json.loads(path.read_bytes())
        version = tree.get("schema_version") if isinstance(tree, dict) else None
        file.check_schema(version, SCHEMA_VERSION, path)
        _check_numbers(tree)
        found = msgspec.convert(tree, type=Baseline)
        _check(found, path.stem)
        msgspec.json.encode(found)  # half a surrogate pair can be read, and nowhere be written
    except (OSError, TypeError, ValueError, OverflowError, RecursionError) as error:
        msg = (
            f"{path} is no valid baseline: {error}; restore it from version control, or delete it and "
            "accept anew with --update-baselines"
        )
        raise ArtifactError(msg) from error
    return found


def read_environment_folder(folder: Path, environment: str) -> tuple[Entry, ...]:
    """Every entry of one environment; none where it has no folder.

    Raises:
        ArtifactError: one of its files is no valid baseline.
    """
    return tuple(
        entry for path in _finished(folder / environment, "*.json") for entry in read(path).entries
    )


def read_folder(folder: Path) -> tuple[Entry, ...]:
    """Every entry of every environment.

    Raises:
        ArtifactError: one of the files is no valid baseline.
    """
    return tuple(e for name in environments(folder) for e in read_environment_folder(folder, name))


def environments(folder: Path) -> tuple[str, ...]:
    """The environments that have baselines."""
    return tuple(sorted({path.parent.name for path in _finished(folder, "*/*.json")}))


def file_of(folder: Path, identity: Identity) -> Path:
    """The file that holds, or would hold, the entry of an identity."""
    return folder / identity.environment / f"{identity.model}.json"


def find(entries: Sequence[Entry], identity: Identity) -> Entry | None:
    """The entry in the same place, whether or not it is of equal identity."""
    return next((e for e in entries if _place(e.identity) == _place(identity)), None)


def nearest(entries: Sequence[Entry], identity: Identity) -> Entry | None:
    """Of the entries of the same case, from wherever, the one whose identity differs least."""
    same = [entry for entry in entries if entry.identity.case == identity.case]
    return min(same, key=lambda entry: len(entry.identity.differences(identity)), default=None)


def update(folder: Path, entries: Sequence[Entry], *, only_new: bool) -> tuple[Entry, ...]:
    """Write entries into their files, and return those that were written.

    Two runs at once wait for each other, and each file is whole at every moment. ``only_new`` leaves
    alone what is there.

    Raises:
        ArtifactError: a file that is there is damaged, what would be written is nonsense, or the
            folder cannot be written.
    """
    written: list[Entry] = []
    for path in sorted({file_of(folder, entry.identity) for entry in entries}):
        own = [entry for entry in entries if file_of(folder, entry.identity) == path]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_name(f".{path.name}.lock")):
                written += _merge(path, own, only_new=only_new)
        except OSError as error:
            msg = f"the baseline {path} cannot be written: {error}"
            raise ArtifactError(msg) from error
    return tuple(written)


def _merge(path: Path, entries: Sequence[Entry], *, only_new: bool) -> list[Entry]:
    present = list(read(path).entries) if path.exists() else []
    taken = {_place(entry.identity) for entry in present}
    fresh = [e for e in entries if not (only_new and _place(e.identity) in taken)]
    replaced = {_place(entry.identity) for entry in fresh}
    kept = [entry for entry in present if _place(entry.identity) not in replaced]
    both = sorted([*kept, *fresh], key=lambda entry: msgspec.json.encode(_place(entry.identity)))
    if fresh:
        model = fresh[0].identity.model
        whole = Baseline(schema_version=SCHEMA_VERSION, model=model, entries=tuple(both))
        _refuse_unreadable(path, whole)
        file.write(path, whole)
    return fresh


def _refuse_unreadable(path: Path, whole: Baseline) -> None:
    """What `read` would refuse is not written in the first place."""
    try:
        _check_numbers(msgspec.to_builtins(whole))
        _check(whole, path.stem)
    except ValueError as error:
        msg = f"the baseline {path} is left as it was: {error}; what was measured makes no sense"
        raise ArtifactError(msg) from error


def _finished(folder: Path, pattern: str) -> list[Path]:
    """The files of a pattern, but for those with a dot before the name: they are being written."""
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))


def _place(identity: Identity) -> Identity:
    """The identity without what an update replaces: versions and weights."""
    return replace(
        identity, record_schema=0, weights_sha256=None, runtime=None, driver=None, cuda=None, isa=(),
        gpu_settings=None,
    )  # fmt: skip


def _check(found: Baseline, file_name: str) -> None:
    if found.model != file_name:
        msg = f"$.model is {found.model}, in the file of {file_name}"
        raise ValueError(msg)
    places: set[Identity] = set()
    for index, entry in enumerate(found.entries):
        where = f"$.entries[{index}]"
        for name, wrong in _faults(entry, found.model).items():
            if wrong:
                msg = f"{where}.{name}"
                raise ValueError(msg)
        if _place(entry.identity) in places:
            msg = f"{where}.identity is a second entry of {entry.identity.case}"
            raise ValueError(msg)
        places.add(_place(entry.identity))


def _faults(entry: Entry, model: str) -> dict[str, bool]:
    """What may be wrong with an entry of the right types; the keys say it."""
    launches = {
        f"launches[{i}].samples_ns must hold samples above 0": not launch.samples_ns
        or min(launch.samples_ns) <= 0
        for i, launch in enumerate(entry.launches)
    }
    hashes = {
        "engine_sha256": entry.engine_sha256,
        "kernels_sha256": entry.kernels_sha256,
        "source_sha256": entry.source_sha256,
        "identity.weights_sha256": entry.identity.weights_sha256,
        "calibration_sha256": entry.calibration_sha256,
    }
    return {
        "launches is empty": not entry.launches,
        f"identity.model is {entry.identity.model}, in a file of {model}": (
            entry.identity.model != model
        ),
        "engine_bytes is 0": entry.engine_bytes == 0,
        **{f"{name} is no SHA-256 in hex": _no_hash(value) for name, value in hashes.items()},
        **launches,
        **{
            f"{name} is {value}, above 1": value > 1
            for part in ("dice", "int8_coverage")
            for name, value in _numbers(msgspec.to_builtins(getattr(entry, part)), part)
        },
    }


def _no_hash(value: str | None) -> bool:
    return value is not None and not _SHA256.fullmatch(value)


def _check_numbers(tree: object) -> None:
    for place, value in _numbers(tree, "$"):
        if not 0 <= value <= _GREATEST:
            msg = f"{place} is {value}; it must be finite, not negative, and below 2**63"
            raise ValueError(msg)


def _numbers(tree: object, place: str) -> Iterator[tuple[str, float]]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _numbers(value, f"{place}.{key}")
    elif isinstance(tree, list | tuple):
        for index, value in enumerate(tree):
            yield from _numbers(value, f"{place}[{index}]")
    elif isinstance(tree, int | float) and not isinstance(tree, bool):
        yield place, tree


def _shown(value: object) -> str:
    """A value of an identity, in short: of a hash the beginning."""
    return value[:12] if isinstance(value, str) and _SHA256.fullmatch(value) else str(value)


def _slug(name: str) -> str:
    """Letters, digits and hyphens, as a folder's name: without marks and the word processor."""
    plain = re.sub(r"\((r|tm)\)|\bprocessor\b|\bcpu\b", " ", name.lower())
    return re.sub("[^a-z0-9]+", "-", plain).strip("-") or "unknown"
