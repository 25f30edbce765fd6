"""The table of architectures: each network is what its line says, and computes what it should."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from voxgate import datasets, models
from voxgate.config import DEFAULT_TASK
from voxgate.errors import UsageError
from voxgate.models import checkpoint
from voxgate.models.initialization import float_tensors, initial_state

NAMES = sorted(models.MODELS)
CHECKPOINTS = sorted((Path(__file__).parents[3] / "fixtures" / "checkpoints").iterdir())

Size = tuple[int, int, int]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@functools.cache
def shapes_of(name: str, classes: int = 3) -> torch.nn.Module:
    """The network without memory for its weights: it computes shapes alone."""
    # MONAI's SwinUNETR reads the values of one linspace while it is built.
    with torch.device("meta"), mock.patch("torch.linspace", partial(torch.linspace, device="cpu")):
        return models.get(name).build(1, classes).eval()


def parameters_of(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def fill(network: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Give every tensor values far from zero, norms and biases too."""
    generator = torch.Generator().manual_seed(seed)
    state = {name: torch.from_numpy(value) for name, value in initial_state(network, seed).items()}
    for name, value in state.items():
        if value.ndim == 1 or name.endswith("bias_table"):
            state[name] = value + 0.5 * torch.rand(value.shape, generator=generator)
    network.load_state_dict(state, strict=False)
    return network.eval()


def assert_same(found: torch.Tensor, expected: torch.Tensor) -> None:
    assert found.shape == expected.shape
    assert expected.std() > 0.01
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-5


# --- the table -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_built_network_has_the_parameters_that_its_spec_names(name: str) -> None:
    assert parameters_of(shapes_of(name)) == models.get(name).parameters


@pytest.mark.parametrize("name", [n for n in NAMES if models.get(n).paper_parameters])
def test_network_has_the_size_of_the_papers(name: str) -> None:
    spec = models.get(name)
    assert spec.paper_classes is not None
    found = parameters_of(shapes_of(name, spec.paper_classes))
    assert found == pytest.approx(spec.paper_parameters, rel=0.03)


@pytest.mark.parametrize(
    ("scale", "millions"), [("s", 14.60), ("b", 58.26), ("l", 440.30), ("h", 1457.33)]
)
def test_stunet_has_its_published_sizes(scale: str, millions: float) -> None:
    found = parameters_of(shapes_of(f"stunet-{scale}", 105))
    assert found / 1e6 == pytest.approx(millions, rel=0.01)


def test_looking_a_model_up_imports_no_library(modules_after: Callable[[str], set[str]]) -> None:
    script = "import voxgate.models; voxgate.models.get('swinunetr').check_roi((96, 96, 96))"
    assert not {"torch", "monai"} & modules_after(script)


@pytest.mark.parametrize("path", CHECKPOINTS, ids=lambda path: path.stem)
def test_shipped_checkpoint_has_the_tensors_of_its_network(path: Path) -> None:
    info, stored = checkpoint.read(path)
    assert path.name == f"{info.model}-{info.task}.safetensors"
    assert info.classes == len(datasets.get(info.task).classes)
    full = {name.removesuffix(".full") for name in stored if name.endswith(".full")}
    factors = {name.removesuffix(".left") for name in stored if name.endswith(".left")}
    wanted = {name: tuple(t.shape) for name, t in float_tensors(shapes_of(info.model)).items()}
    assert full | factors == set(wanted)
    assert {name: stored[f"{name}.full"].shape for name in full} == {n: wanted[n] for n in full}
    for name in factors:
        assert stored[f"{name}.left"].shape == (wanted[name][0], info.rank)
        assert stored[f"{name}.right"].shape == (info.rank, np.prod(wanted[name][1:]))


@pytest.mark.parametrize("name", sorted({n for names in models.MODEL_SETS.values() for n in names}))
def test_each_model_of_a_set_is_trained(name: str) -> None:
    assert f"{name}-{DEFAULT_TASK}" in {path.stem for path in CHECKPOINTS}


# --- input sizes ---------------------------------------------------------------------------------


def smallest(spec: models.ModelSpec) -> Size:
    """The smallest size that the spec accepts."""
    m = spec.roi_multiple
    return spec.roi or (2 * m if spec.instance_norm else m, m, m)


@pytest.mark.parametrize("name", NAMES)
def test_network_takes_the_smallest_size_that_its_spec_accepts(name: str) -> None:
    size = smallest(models.get(name))
    models.get(name).check_roi(size)
    logits = shapes_of(name)(torch.empty(1, 1, *size, device="meta"))
    assert logits.shape == (1, 3, *size)


@pytest.mark.parametrize("name", NAMES)
def test_every_task_is_refused_or_fits(name: str) -> None:
    for task in datasets.TASKS.values():
        try:
            models.get(name).check_roi(task.patch_size)
        except UsageError:
            continue
        logits = shapes_of(name)(torch.empty(1, 1, *task.patch_size, device="meta"))
        assert logits.shape == (1, 3, *task.patch_size)


@pytest.mark.parametrize("name", [n for n in NAMES if models.get(n).roi is None])
@pytest.mark.parametrize("axis", range(3))
def test_size_that_cannot_be_halved_names_the_multiple(name: str, axis: int) -> None:
    spec = models.get(name)
    for side in (0, -spec.roi_multiple, spec.roi_multiple // 2, 5 * spec.roi_multiple // 2):
        size = [4 * spec.roi_multiple] * 3
        size[axis] = side
        with pytest.raises(UsageError) as caught:
            spec.check_roi((size[0], size[1], size[2]))
        assert str(caught.value) == (
            f"{name} cannot take {size[0]}x{size[1]}x{size[2]}: "
            f"each side must be a multiple of {spec.roi_multiple}"
        )


@pytest.mark.parametrize("name", [n for n in NAMES if models.get(n).instance_norm])
def test_one_voxel_at_the_lowest_resolution_is_refused_and_would_fail(name: str) -> None:
    spec = models.get(name)
    side = spec.roi_multiple
    with pytest.raises(UsageError, match=rf"one side must be at least {2 * side}$"):
        spec.check_roi((side, side, side))
    with pytest.raises(ValueError, match="more than 1 spatial element"):
        shapes_of(name)(torch.empty(1, 1, side, side, side, device="meta"))


@pytest.mark.parametrize("name", ["transunet", "unest", "unest-small"])
@pytest.mark.parametrize("size", [(32, 32, 32), (192, 96, 96), (192, 192, 192)])
def test_network_with_learned_positions_takes_one_size(name: str, size: Size) -> None:
    with pytest.raises(UsageError) as caught:
        models.get(name).check_roi(size)
    asked = "x".join(map(str, size))
    assert str(caught.value) == (
        f"{name} cannot take {asked}: its positions are learned for 96x96x96 alone"
    )
    with pytest.raises(RuntimeError):
        shapes_of(name)(torch.empty(1, 1, *size, device="meta"))


# --- the same as the originals -------------------------------------------------------------------


def test_swinunetr_computes_what_monais_does() -> None:
    from monai.networks.nets.swin_unetr import SwinUNETR

    ours = fill(models.get("swinunetr-24").build(1, 3))
    original = SwinUNETR(in_channels=1, out_channels=3, feature_size=24).eval()
    original.load_state_dict(ours.state_dict())
    # Windows of 7³ at the two finest stages, of 7x7x4 and 4x6x2 at the others.
    image = torch.randn(1, 1, 64, 96, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert_same(ours(image), original(image))


axes = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(0, 3), st.integers(0, 3))


@settings(deadline=None)  # the first example imports MONAI
@given(st.tuples(axes, axes, axes))
def test_tokens_attend_to_those_on_the_same_sides(
    drawn: tuple[tuple[int, int, int, int], ...],
) -> None:
    from monai.networks.nets.swin_unetr import compute_mask
    from voxgate.models.architectures.swinunetr import side_grids

    window = [width for _, width, _, _ in drawn]
    padded = [count * width for count, width, _, _ in drawn]
    size = [count * width - missing % width for count, width, missing, _ in drawn]
    shift = [offset % width for _, width, _, offset in drawn]
    grids = torch.broadcast_tensors(*side_grids(size, window, shift))  # type: ignore[no-untyped-call]
    sides = torch.stack(grids, dim=-1).reshape(-1, math.prod(window), 3)
    same = (sides[:, None] == sides[:, :, None]).all(-1)
    assert torch.equal(same, compute_mask(padded, window, shift, "cpu") == 0)
    assert set(sides.flatten().tolist()) <= {-1.0, 1.0}


def test_vista3d_computes_what_monais_automatic_branch_does() -> None:
    from monai.networks.nets.vista3d import vista3d132
    from voxgate.models.architectures.vista3d import RELEASED_BLOCKS, AutomaticBranch

    classes = 5
    ours = AutomaticBranch(1, classes, width=8, blocks=RELEASED_BLOCKS)
    fill(ours)
    original = vista3d132(encoder_embed_dim=8).eval()
    original.image_encoder.encoder.load_state_dict(ours.encoder.state_dict())
    original.image_encoder.up_layers_auto.load_state_dict(ours.decoder.state_dict())
    original.class_head.load_state_dict(ours.class_head.state_dict())
    image = torch.randn(1, 1, 32, 16, 48, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = original(image, class_vector=torch.arange(classes)[:, None])
        assert_same(ours(image), expected.transpose(0, 1))


# --- nothing idle --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_used(name: str) -> None:
    network = shapes_of(name)
    network(torch.empty(1, 1, *smallest(models.get(name)), device="meta")).sum().backward()
    idle = {n for n, parameter in network.named_parameters() if parameter.grad is None}
    network.zero_grad()
    # MONAI's transformer block has a norm for cross attention even where there is none.
    assert idle == {n for n, _ in network.named_parameters() if "norm_cross_attn" in n}


# --- the structure of the transformers -----------------------------------------------------------


def test_unest_attends_within_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    from voxgate.models.architectures import unest

    monkeypatch.setattr(unest, "BLOCK", 2)
    level = fill(unest._Level(width=8, layers=1, heads=2, blocks=8))
    x = torch.randn(1, 8, 4, 4, 4)
    changed = x.clone()
    changed[0, 0, 1, 2, 3] += 1  # in the block of 0-1, 2-3, 2-3
    with torch.no_grad():
        differs = (level(changed) != level(x)).any(1)[0]
    inside = torch.zeros(4, 4, 4, dtype=torch.bool)
    inside[:2, 2:, 2:] = True
    assert torch.equal(differs, inside)


def test_unest_gives_every_token_its_own_position(monkeypatch: pytest.MonkeyPatch) -> None:
    from voxgate.models.architectures import unest

    monkeypatch.setattr(unest, "BLOCK", 2)
    level = unest._Level(width=1, layers=0, heads=1, blocks=8)
    level.layers = torch.nn.Sequential()
    with torch.no_grad():
        level.token_positions.copy_(torch.arange(8.0)[:, None])
        level.block_positions.copy_(8 * torch.arange(8.0)[:, None])
        numbers = level(torch.zeros(1, 1, 4, 4, 4))[0, 0]
    assert numbers[:2, :2, :2].flatten().tolist() == list(range(8))
    assert numbers[2:, 2:, 2:].flatten().tolist() == list(range(56, 64))
    assert sorted(numbers.flatten().tolist()) == list(range(64))


def test_unest_puts_tokens_back_where_they_came_from() -> None:
    from voxgate.models.architectures import unest

    level = unest._Level(width=2, layers=0, heads=1, blocks=2**2)
    level.layers = torch.nn.Sequential()
    x = torch.randn(3, 2, 12, 6, 12)
    assert torch.equal(level(x), x)  # the positions start at zero


def test_transunet_puts_tokens_back_where_they_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    from voxgate.models.architectures import transunet

    monkeypatch.setattr(transunet, "LAYERS", 0)
    network = transunet.TransUNet(1, 3, tokens=2 * 3 * 4)
    network.transformer = torch.nn.Sequential()
    x = torch.randn(2, transunet.WIDTH, 2, 3, 4)
    assert torch.equal(network._attend(x), x)  # the positions start at zero


# --- tensors that are stored ---------------------------------------------------------------------


class _Shared(torch.nn.Module):
    """One convolution under two names, and buffers of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv3d(1, 2, 1)
        self.again = torch.nn.ModuleList([self.first])
        self.norm = torch.nn.BatchNorm3d(2)
        self.register_buffer("kept", torch.full((2,), torch.nan))
        self.register_buffer("index", torch.arange(3))
        self.register_buffer("scratch", torch.ones(2), persistent=False)


def test_stored_tensors_are_the_float_ones_each_once() -> None:
    module = _Shared()
    assert {"again.0.weight", "index", "norm.num_batches_tracked"} <= set(module.state_dict())
    assert set(float_tensors(module)) == {
        "first.weight", "first.bias", "norm.weight", "norm.bias", "norm.running_mean",
        "norm.running_var", "kept",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["", "nnunet-small"])
def test_one_value_fills_every_name_of_a_tensor(name: str) -> None:
    network = models.get(name).build(1, 3) if name else _Shared()
    floats = {k: v for k, v in network.state_dict().items() if v.is_floating_point()}
    assert len(float_tensors(network)) < len(floats)
    for tensor in floats.values():
        tensor.fill_(torch.nan)
    values = {k: torch.from_numpy(v) for k, v in initial_state(network, 0).items()}
    network.load_state_dict(values, strict=False)
    assert not any(tensor.isnan().any() for tensor in floats.values())
