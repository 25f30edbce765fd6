"""Trained weights small enough for git: a seeded initialisation plus low-rank updates.

A checkpoint is one safetensors file. For a large weight W, seen as a matrix (first axis x rest), it
holds two float16 factors, ``<name>.left`` (rows x rank) and ``<name>.right`` (rank x columns), and
W = W0 + left @ right with W0 from `voxgate.models.initialization`. Everything else (norms, biases,
running statistics, small weights) is stored in full as ``<name>.full``. The product is accumulated
in float64 in a fixed order, so that every machine expands the same bits; the file carries their
SHA-256 and `expand` checks it. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from voxgate.errors import ArtifactError
from voxgate.files import replacing
from voxgate.models.initialization import State, float_tensors, initial_state

if TYPE_CHECKING:
    from voxgate.models.spec import ModelSpec

FORMAT = "voxgate-low-rank-1"

Tensors = dict[str, NDArray[np.generic]]


class CheckpointInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The header of a checkpoint; ``sha256`` is of the expanded weights (see `state_sha256`)."""

    model: str
    task: str
    classes: int
    rank: int
    seed: int
    steps: int
    sha256: str
    format: str = FORMAT


def is_low_rank(shape: tuple[int, ...], rank: int) -> bool:
    """Whether storing two factors saves at least half of a weight of that shape."""
    if len(shape) < 2:
        return False
    rows = shape[0]
    columns = int(np.prod(shape[1:]))
    return rank * (rows + columns) * 2 <= rows * columns


def add_low_rank(
    base: NDArray[np.float32], left: NDArray[np.generic], right: NDArray[np.generic]
) -> NDArray[np.float32]:
    """``base + left @ right`` in float64, one rank after the other, rounded once to float32.

    Elementwise operations in a fixed order: a BLAS product may differ in its last bit from CPU to
    CPU, and then the hash of the weights would too.
    """
    total = base.reshape(base.shape[0], -1).astype(np.float64)
    for column, row in zip(left.T.astype(np.float64), right.astype(np.float64), strict=True):
        total += column[:, None] * row[None, :]
    return total.astype(np.float32).reshape(base.shape)


def expand_tensors(base: State, stored: Tensors) -> State:
    """The full weights from a seeded initialisation and a checkpoint's tensors.

    Raises:
        ArtifactError: a tensor is missing, unknown or of another shape.
    """
    state: State = {}
    unused = set(stored)
    for name, value in base.items():
        if f"{name}.full" in stored:
            unused.discard(f"{name}.full")
            state[name] = stored[f"{name}.full"].astype(np.float32)
        elif f"{name}.left" in stored and f"{name}.right" in stored:
            left, right = stored[f"{name}.left"], stored[f"{name}.right"]
            unused -= {f"{name}.left", f"{name}.right"}
            columns = int(np.prod(value.shape[1:]))
            if left.ndim != 2 or right.shape != (left.shape[1], columns) or len(left) != len(value):
                msg = f"checkpoint tensor {name!r} does not fit a weight of shape {value.shape}"
                raise ArtifactError(msg)
            state[name] = add_low_rank(value, left, right)
        else:
            msg = f"checkpoint lacks tensor {name!r}"
            raise ArtifactError(msg)
        if state[name].shape != value.shape:
            msg = f"checkpoint tensor {name!r} has shape {state[name].shape}, not {value.shape}"
            raise ArtifactError(msg)
    if unused:
        msg = f"checkpoint has tensors that the network does not: {', '.join(sorted(unused))}"
        raise ArtifactError(msg)
    return state


def state_sha256(state: State) -> str:
    """SHA-256 over names, shapes and little-endian float32 bytes, in name order."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = np.ascontiguousarray(state[name], dtype="<f4")
        digest.update(f"{name}:{value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def save(path: Path, info: CheckpointInfo, tensors: Tensors) -> None:
    """Write a checkpoint atomically."""
    from safetensors.numpy import save_file

    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={"voxgate": msgspec.json.encode(info).decode()})


def read(path: Path) -> tuple[CheckpointInfo, Tensors]:
    """Header and tensors of a checkpoint file.

    Raises:
        ArtifactError: no such file, not safetensors, or not a VoxGate checkpoint.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        msg = f"no checkpoint at {path}; train one with 'voxgate train'"
        raise ArtifactError(msg)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors: Tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        info = msgspec.json.decode(metadata["voxgate"], type=CheckpointInfo)
    except (SafetensorError, KeyError, ValueError, TypeError, OSError) as error:
        msg = f"{path} is not a VoxGate checkpoint, or is damaged ({error}); restore it or retrain"
        raise ArtifactError(msg) from error
    if info.format != FORMAT:
        msg = f"{path} has checkpoint format {info.format!r}; this version reads {FORMAT!r}"
        raise ArtifactError(msg)
    return info, tensors


def expand(path: Path, spec: ModelSpec, task: str, classes: int) -> tuple[CheckpointInfo, State]:
    """The full float32 weights that a checkpoint stands for, checked against its hash.

    Raises:
        ArtifactError: the file is damaged, or is of another model, task or class count.
    """
    info, tensors = read(path)
    found = (info.model, info.task, info.classes)
    wanted = (spec.name, task, classes)
    if found != wanted:
        msg = f"{path} is for (model, task, classes) {found}, not {wanted}"
        raise ArtifactError(msg)
    state = expand_tensors(initial_state(spec.build(1, classes), info.seed), tensors)
    if (actual := state_sha256(state)) != info.sha256:
        msg = (
            f"{path} expands to weights with SHA-256 {actual[:12]}, its header says "
            f"{info.sha256[:12]}: the file is damaged; restore it or retrain"
        )
        raise ArtifactError(msg)
    return info, state


def with_classes(state: State, spec: ModelSpec, classes: int, seed: int) -> State:
    """Trained weights for the same network with another class count.

    A tensor whose shape does not depend on the count is taken as it is; any other is seeded, and
    segments nothing.
    """
    module = spec.build(1, classes)
    kept = {
        name: state[name]
        for name, tensor in float_tensors(module).items()
        if name in state and state[name].shape == tuple(tensor.shape)
    }
    return kept | initial_state(module, seed, without=kept)
