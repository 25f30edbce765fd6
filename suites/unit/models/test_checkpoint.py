"""Seeded initial weights and low-rank checkpoints: the same bits everywhere, or a clear refusal."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from numpy.typing import NDArray
from safetensors.numpy import save_file
from voxgate import datasets, models
from voxgate.errors import ArtifactError
from voxgate.models import checkpoint
from voxgate.models.checkpoint import CheckpointInfo, Tensors
from voxgate.models.initialization import State, initial_state, uniform
from voxgate.models.network import load_network
from voxgate.models.spec import ModelSpec

PINNED_HASH = "f122c4582e54492ae7bf9c82855cbd77ba0fb7cfc01362bc67b110141b5388f1"
PINNED_VALUES = [0.2963935434818268, -0.3258834481239319, 0.14213231205940247]

SHIPPED = Path(__file__).parents[3] / "fixtures" / "checkpoints" / "unet-mni152.safetensors"


# --- initial weights -----------------------------------------------------------------------------


def test_initial_values_are_pinned() -> None:
    # Whatever changes these bits changes every checkpoint's weights.
    values = uniform("encoder.weight", (4, 3, 2), 0.5, 7)
    assert hashlib.sha256(values.astype("<f4").tobytes()).hexdigest() == PINNED_HASH
    assert values.ravel()[:3].tolist() == PINNED_VALUES


def test_values_depend_on_the_name_and_the_seed() -> None:
    first = uniform("a.weight", (50,), 1.0, 1)
    assert np.array_equal(first, uniform("a.weight", (50,), 1.0, 1))
    assert not np.isin(first, uniform("b.weight", (50,), 1.0, 1)).any()
    assert not np.isin(first, uniform("a.weight", (50,), 1.0, 2)).any()


def test_name_and_seed_cannot_be_mistaken_for_each_other() -> None:
    assert not np.array_equal(uniform("1:a", (9,), 1.0, 1), uniform("a", (9,), 1.0, 11))


@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3), (4, 3, 2), (0,), (2, 1, 3, 3, 3)])
def test_shape_and_type_are_as_asked(shape: tuple[int, ...]) -> None:
    values = uniform("a", shape, 1.0, 0)
    assert values.shape == shape
    assert values.dtype == np.float32


def test_shape_decides_how_many_values_are_drawn() -> None:
    assert np.array_equal(
        uniform("a", (6,), 1.0, 0)[:4].reshape(2, 2), uniform("a", (2, 2), 1.0, 0)
    )


@given(st.text(max_size=8), st.integers(0, 2**31), st.floats(2.0**-20, 2.0**20))
def test_values_stay_within_the_bound(name: str, seed: int, bound: float) -> None:
    values = uniform(name, (64,), bound, seed)
    assert float(np.abs(values).max()) <= float(np.float32(bound))


def test_values_fill_the_range_evenly() -> None:
    values = uniform("a", (100_000,), 2.0, 0).astype(np.float64)
    assert values.min() == pytest.approx(-2.0, abs=1e-3)
    assert values.max() == pytest.approx(2.0, abs=1e-3)
    assert values.mean() == pytest.approx(0.0, abs=0.02)
    assert values.var() == pytest.approx(4 / 3, rel=0.02)


class _Small(torch.nn.Module):
    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.conv = torch.nn.Conv3d(4, 8, 3, groups=2)
        self.norm = torch.nn.BatchNorm3d(8)
        self.up = torch.nn.ConvTranspose3d(8, 6, 2, stride=2)
        self.head = torch.nn.Linear(6, classes)


def test_norms_start_at_one_and_biases_at_zero() -> None:
    state = initial_state(_Small(), 0)
    assert set(state) == {
        "conv.weight", "conv.bias", "norm.weight", "norm.bias", "norm.running_mean",
        "norm.running_var", "up.weight", "up.bias", "head.weight", "head.bias",
    }  # fmt: skip
    for name in ("norm.weight", "norm.running_var"):
        assert state[name].tolist() == [1.0] * 8
    for name in ("conv.bias", "norm.bias", "norm.running_mean", "up.bias", "head.bias"):
        assert not state[name].any()


@pytest.mark.parametrize(
    ("name", "fan_in"),
    [
        ("conv.weight", 54),  # 4 channels / 2 groups, 27 taps
        ("up.weight", 8),  # 8 channels, and each output voxel is fed by 8 / 2^3 taps
        ("head.weight", 6),
    ],
)
def test_weights_are_uniform_by_their_fan_in(name: str, fan_in: int) -> None:
    values = initial_state(_Small(), 3)[name]
    bound = (6 / fan_in) ** 0.5
    assert np.array_equal(values, uniform(name, values.shape, bound, 3))


def test_initial_state_ignores_the_librarys_own_values() -> None:
    torch.manual_seed(1)
    first = _Small()
    torch.manual_seed(2)
    second = _Small()
    assert not torch.equal(first.conv.weight, second.conv.weight)
    one, two = initial_state(first, 5), initial_state(second, 5)
    assert all(np.array_equal(one[name], two[name]) for name in one)


# --- low-rank updates ----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(6, 5), (7, 3, 3, 3, 3), (1, 4), (4, 1)])
@pytest.mark.parametrize("rank", [1, 3, 16])
def test_update_equals_the_matrix_product(shape: tuple[int, ...], rank: int) -> None:
    generator = np.random.default_rng(0)
    base = generator.standard_normal(shape).astype(np.float32)
    columns = int(np.prod(shape[1:]))
    left = generator.standard_normal((shape[0], rank)).astype(np.float16)
    right = generator.standard_normal((rank, columns)).astype(np.float16)
    product = left.astype(np.float64) @ right.astype(np.float64)
    expected = (base.reshape(len(base), -1) + product).reshape(shape)
    found = checkpoint.add_low_rank(base, left, right)
    assert found.dtype == np.float32
    np.testing.assert_array_max_ulp(found, expected.astype(np.float32), maxulp=1)


def test_update_leaves_its_base_alone() -> None:
    base = np.ones((2, 2), np.float32)
    checkpoint.add_low_rank(base, np.ones((2, 1), np.float16), np.ones((1, 2), np.float16))
    assert base.tolist() == [[1, 1], [1, 1]]


def test_update_is_rounded_once() -> None:
    # In float32, 1 + 2^-24 rounds to 1 twice; in float64 the two halves add up before rounding.
    base = np.ones((1, 1), np.float32)
    left = np.full((1, 2), 2.0**-12, np.float16)
    right = np.full((2, 1), 2.0**-12, np.float16)
    assert checkpoint.add_low_rank(base, left, right).item() == 1 + 2.0**-23


@pytest.mark.parametrize(
    ("shape", "rank", "low_rank"),
    [
        ((64,), 1, False),
        ((8, 8), 2, True),  # 2 x 16 x 2 = 64
        ((8, 8), 3, False),
        ((32, 32, 3, 3, 3), 8, True),
        ((3, 32, 1, 1, 1), 2, False),
    ],
)
def test_low_rank_is_used_where_it_halves_the_weight(
    shape: tuple[int, ...], rank: int, *, low_rank: bool
) -> None:
    assert checkpoint.is_low_rank(shape, rank) is low_rank


def _base() -> State:
    return {"w": np.zeros((4, 2, 3), np.float32), "b": np.zeros(4, np.float32)}


def _stored() -> Tensors:
    return {
        "w.left": np.ones((4, 2), np.float16),
        "w.right": np.full((2, 6), 0.5, np.float16),
        "b.full": np.array([1, 2, 3, 4], np.float32),
    }


def test_tensors_expand_to_full_weights() -> None:
    state = checkpoint.expand_tensors(_base(), _stored())
    assert set(state) == {"w", "b"}
    assert state["w"].shape == (4, 2, 3)
    assert set(state["w"].ravel().tolist()) == {1.0}
    assert state["b"].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("missing", ["w.left", "w.right"])
def test_missing_factor_is_named(missing: str) -> None:
    stored = _stored()
    del stored[missing]
    with pytest.raises(ArtifactError, match="lacks tensor 'w'"):
        checkpoint.expand_tensors(_base(), stored)


def test_missing_full_tensor_is_named() -> None:
    stored = _stored()
    del stored["b.full"]
    with pytest.raises(ArtifactError, match="lacks tensor 'b'"):
        checkpoint.expand_tensors(_base(), stored)


@pytest.mark.parametrize("name", ["head.full", "w.full.full", "b.left", "b"])
def test_unknown_tensor_is_named(name: str) -> None:
    stored = {**_stored(), name: np.zeros(4, np.float32)}
    with pytest.raises(ArtifactError, match=f"the network does not: {name}"):
        checkpoint.expand_tensors(_base(), stored)


def test_weight_stored_in_both_ways_is_refused() -> None:
    stored = {**_stored(), "w.full": np.zeros((4, 2, 3), np.float32)}
    with pytest.raises(ArtifactError, match=r"w\.left, w\.right"):
        checkpoint.expand_tensors(_base(), stored)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("w.left", (3, 2)), ("w.left", (4, 3)), ("w.left", (8,)), ("w.left", (4, 2, 1)),
        ("w.right", (2, 5)), ("w.right", (3, 6)), ("w.right", (12,)), ("w.right", (2, 2, 3)),
        ("b.full", (5,)), ("b.full", (4, 1)), ("b.full", ()),
    ],
)  # fmt: skip
def test_misshapen_tensor_is_named(name: str, shape: tuple[int, ...]) -> None:
    stored = {**_stored(), name: np.zeros(shape, np.float16)}
    with pytest.raises(ArtifactError, match=f"checkpoint tensor '{name[0]}'"):
        checkpoint.expand_tensors(_base(), stored)


def test_state_hash_is_pinned_and_sees_everything() -> None:
    state: State = {"a": np.array([1.0, 2.0], np.float32), "b": np.zeros((1, 2), np.float32)}
    expected = hashlib.sha256(
        b"a:(2,)" + struct.pack("<2f", 1, 2) + b"b:(1, 2)" + struct.pack("<2f", 0, 0)
    ).hexdigest()
    assert checkpoint.state_sha256(state) == expected
    assert checkpoint.state_sha256(dict(reversed(state.items()))) == expected
    for other in (
        {**state, "b": np.zeros((2, 1), np.float32)},
        {**state, "b": np.full((1, 2), -0.0, np.float32)},
        {"a": state["a"], "c": state["b"]},
        {"a": state["a"]},
    ):
        assert checkpoint.state_sha256(other) != expected


# --- the file ------------------------------------------------------------------------------------


def _build(in_channels: int, classes: int) -> torch.nn.Module:
    assert in_channels == 1
    return torch.nn.Linear(6, classes)


SMALL = ModelSpec(
    name="small", title="Small", source="", build=_build, parameters=21, roi_multiple=1
)


def _small_tensors() -> Tensors:
    return {
        "weight.full": np.arange(18, dtype=np.float32).reshape(3, 6),
        "bias.full": np.array([1, 2, 3], np.float32),
    }


@pytest.fixture
def info() -> CheckpointInfo:
    state = {name.removesuffix(".full"): value for name, value in _small_tensors().items()}
    return CheckpointInfo(
        model="small",
        task="toy",
        classes=3,
        rank=2,
        seed=1,
        steps=10,
        sha256=checkpoint.state_sha256(
            {name: value.astype(np.float32) for name, value in state.items()}
        ),
    )


@pytest.fixture
def small(tmp_path: Path, info: CheckpointInfo) -> Path:
    """A checkpoint of a network with 21 parameters."""
    path = tmp_path / "small-toy.safetensors"
    checkpoint.save(path, info, _small_tensors())
    return path


def _refused(path: Path, match: str) -> None:
    """Both reading and expanding name the file."""
    with pytest.raises(ArtifactError, match=match) as caught:
        checkpoint.expand(path, SMALL, "toy", 3)
    assert str(path) in str(caught.value)


def test_written_checkpoint_reads_back(tmp_path: Path, info: CheckpointInfo) -> None:
    path = tmp_path / "new" / "c.safetensors"
    checkpoint.save(path, info, _stored())
    found, tensors = checkpoint.read(path)
    assert found == info
    assert set(tensors) == set(_stored())
    for name, value in _stored().items():
        assert tensors[name].dtype == value.dtype
        assert np.array_equal(tensors[name], value)
    assert [p.name for p in path.parent.iterdir()] == ["c.safetensors"]


def test_checkpoint_expands_to_its_hash(small: Path, info: CheckpointInfo) -> None:
    found, state = checkpoint.expand(small, SMALL, "toy", 3)
    assert found == info
    assert state["weight"][2].tolist() == [12, 13, 14, 15, 16, 17]
    assert checkpoint.state_sha256(state) == info.sha256


def test_absent_file_says_how_to_make_one(tmp_path: Path) -> None:
    _refused(tmp_path / "none.safetensors", "voxgate train")


@pytest.mark.parametrize("length", [0, 7, 8, 40, -1, -60])
def test_truncated_file_is_refused(small: Path, length: int) -> None:
    small.write_bytes(small.read_bytes()[:length])
    _refused(small, "not a VoxGate checkpoint, or is damaged")


def test_longer_file_is_refused(small: Path) -> None:
    small.write_bytes(small.read_bytes() + b"\0")
    _refused(small, "not a VoxGate checkpoint, or is damaged")


@pytest.mark.parametrize("position", [-1, -12, -13, -84])
def test_changed_bit_in_a_tensor_is_refused(small: Path, position: int) -> None:
    data = bytearray(small.read_bytes())
    data[position] ^= 1
    small.write_bytes(data)
    checkpoint.read(small)
    _refused(small, "the file is damaged")


def test_another_seed_changes_the_hash(tmp_path: Path, info: CheckpointInfo) -> None:
    tensors: Tensors = {
        "weight.left": np.ones((3, 1), np.float16),
        "weight.right": np.ones((1, 6), np.float16),
        "bias.full": np.zeros(3, np.float32),
    }
    state = checkpoint.expand_tensors(initial_state(_build(1, 3), 1), tensors)
    good = structs.replace(info, sha256=checkpoint.state_sha256(state))
    checkpoint.save(tmp_path / "good", good, tensors)
    checkpoint.expand(tmp_path / "good", SMALL, "toy", 3)
    checkpoint.save(tmp_path / "bad", structs.replace(good, seed=2), tensors)
    _refused(tmp_path / "bad", "the file is damaged")


def test_another_format_is_refused(small: Path, info: CheckpointInfo) -> None:
    checkpoint.save(small, structs.replace(info, format="voxgate-low-rank-2"), _small_tensors())
    _refused(small, "'voxgate-low-rank-2'; this version reads 'voxgate-low-rank-1'")


@pytest.mark.parametrize(
    ("task", "classes"), [("phantom", 3), ("toy", 4)], ids=["task", "class count"]
)
def test_checkpoint_of_something_else_is_refused(small: Path, task: str, classes: int) -> None:
    with pytest.raises(ArtifactError, match="is for") as caught:
        checkpoint.expand(small, SMALL, task, classes)
    assert str(small) in str(caught.value)


def test_checkpoint_of_another_model_is_refused(small: Path) -> None:
    with pytest.raises(ArtifactError, match="is for") as caught:
        checkpoint.expand(small, replace(SMALL, name="large"), "toy", 3)
    assert str(caught.value).endswith("('small', 'toy', 3), not ('large', 'toy', 3)")


def test_safetensors_without_our_header_is_refused(tmp_path: Path) -> None:
    save_file({"weight": np.zeros(3, np.float32)}, tmp_path / "other.safetensors")
    _refused(tmp_path / "other.safetensors", "not a VoxGate checkpoint, or is damaged")


@pytest.mark.parametrize("header", ["", "{", "[]", "7", "null", "{}", '{"model": "small"}'])
def test_header_of_another_kind_is_refused(tmp_path: Path, header: str) -> None:
    path = tmp_path / "c.safetensors"
    save_file(_small_tensors(), path, metadata={"voxgate": header})
    _refused(path, "not a VoxGate checkpoint, or is damaged")


@pytest.mark.parametrize("change", [{"surprise": 1}, {"sha256": 7}, {"sha256": None}])
def test_header_with_a_wrong_field_is_refused(
    tmp_path: Path, info: CheckpointInfo, change: dict[str, Any]
) -> None:
    path = tmp_path / "c.safetensors"
    header = json.dumps({**structs.asdict(info), **change})
    save_file(_small_tensors(), path, metadata={"voxgate": header})
    _refused(path, "not a VoxGate checkpoint, or is damaged")


class _Bomb:
    """Its pickle makes a folder when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.marker),)


def test_pickle_is_refused_and_not_executed(tmp_path: Path) -> None:
    marker, path = tmp_path / "executed", tmp_path / "c.safetensors"
    path.write_bytes(pickle.dumps(_Bomb(marker)))
    _refused(path, "not a VoxGate checkpoint, or is damaged")
    assert not marker.exists()
    pickle.loads(path.read_bytes())  # noqa: S301 - shows that the marker would have been made
    assert marker.is_dir()


def test_torch_file_is_refused_and_not_executed(tmp_path: Path) -> None:
    marker, path = tmp_path / "executed", tmp_path / "c.safetensors"
    torch.save({"state": _Bomb(marker)}, path)
    _refused(path, "not a VoxGate checkpoint, or is damaged")
    assert not marker.exists()


# --- network and weights -------------------------------------------------------------------------


def _weights(path: Path, tensors: dict[str, NDArray[np.float32]]) -> bytes:
    save_file(tensors, path)
    return path.read_bytes()


def test_network_takes_the_weights(tmp_path: Path) -> None:
    state = {"weight": np.full((3, 6), 2, np.float32), "bias": np.ones(3, np.float32)}
    network = load_network(SMALL, 3, _weights(tmp_path / "w", state))
    assert not network.training
    with torch.no_grad():
        assert network(torch.ones(6)).tolist() == [13, 13, 13]


@pytest.mark.parametrize("names", [("weight",), ("weight", "bias", "extra")])
def test_network_refuses_other_names(tmp_path: Path, names: tuple[str, ...]) -> None:
    shapes = {"weight": (3, 6), "bias": (3,), "extra": (1,)}
    state = {name: np.zeros(shapes[name], np.float32) for name in names}
    with pytest.raises(KeyError, match="tensor names differ"):
        load_network(SMALL, 3, _weights(tmp_path / "w", state))


def test_network_refuses_damaged_weights() -> None:
    with pytest.raises(ValueError, match="damaged safetensors"):
        load_network(SMALL, 3, b"not safetensors")


# --- what is shipped -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped() -> tuple[CheckpointInfo, State]:
    """Expanded once: this imports MONAI."""
    return checkpoint.expand(SHIPPED, models.get("unet"), "mni152", 3)


def test_shipped_checkpoint_expands_to_its_hash(shipped: tuple[CheckpointInfo, State]) -> None:
    info, state = shipped
    assert checkpoint.state_sha256(state) == info.sha256
    assert (info.model, info.task, info.classes) == ("unet", "mni152", 3)
    assert len(datasets.get("mni152").classes) == 3
    assert all(np.isfinite(value).all() for value in state.values())


def test_shipped_checkpoint_is_small_enough_for_git(
    shipped: tuple[CheckpointInfo, State],
) -> None:
    full = sum(value.nbytes for value in shipped[1].values())
    assert SHIPPED.stat().st_size < 5 * 2**20 < full


@pytest.mark.parametrize(("task", "classes"), [("phantom", 3), ("mni152", 14), ("phantom", 14)])
def test_shipped_checkpoint_is_refused_for_another_task(task: str, classes: int) -> None:
    with pytest.raises(ArtifactError, match="is for") as caught:
        checkpoint.expand(SHIPPED, models.get("unet"), task, classes)
    assert str(SHIPPED) in str(caught.value)


def test_shipped_weights_fit_the_network(
    shipped: tuple[CheckpointInfo, State], tmp_path: Path
) -> None:
    network = load_network(models.get("unet"), 3, _weights(tmp_path / "w", shipped[1]))
    loaded = network.state_dict()
    assert all(np.array_equal(loaded[name].numpy(), value) for name, value in shipped[1].items())
