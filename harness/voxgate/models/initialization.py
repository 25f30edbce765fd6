"""Initial weights that are the same everywhere: drawn per parameter name, bit for bit.

A library's own initialisers change with its version, and a normal distribution needs logarithms
that differ between math libraries. Here each tensor draws raw 64-bit integers from a PCG64 seeded
with the parameter's name; integers become uniform floats by a shift and a multiplication, which
IEEE 754 fixes exactly.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Container
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

State = dict[str, NDArray[np.float32]]


def float_tensors(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The float entries of ``module.state_dict()``, a tensor that has two names under the first.

    (MONAI's DynUNet registers its blocks twice.)
    """
    first = {name for name, _ in (*module.named_parameters(), *module.named_buffers())}
    return {
        name: tensor
        for name, tensor in module.state_dict().items()
        if name in first and tensor.is_floating_point()
    }


def initial_state(module: torch.nn.Module, seed: int, without: Container[str] = ()) -> State:
    """Seeded values for every tensor of `float_tensors`, but for those named in ``without``.

    Weights of two and more axes are He-uniform by their fan-in; norms start at one, biases and
    running means at zero. Integer buffers (batch counters) are left out.
    """
    fans = _fan_ins(module)
    return {
        name: _draw(name, tuple(tensor.shape), fans.get(name), seed)
        for name, tensor in float_tensors(module).items()
        if name not in without
    }


def uniform(name: str, shape: tuple[int, ...], bound: float, seed: int) -> NDArray[np.float32]:
    """Uniform float32 values in [-bound, bound] that depend on ``name``, ``shape`` and ``seed`` only."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    generator = np.random.PCG64(int.from_bytes(digest[:16], "little"))
    raw = np.asarray(generator.random_raw(math.prod(shape)), dtype=np.uint64)
    unit = (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return ((unit * 2.0 - 1.0) * bound).astype(np.float32).reshape(shape)


def _draw(
    name: str, shape: tuple[int, ...], fan_in: float | None, seed: int
) -> NDArray[np.float32]:
    if fan_in is not None:
        return uniform(name, shape, math.sqrt(6.0 / fan_in), seed)
    if name.endswith(("weight", "running_var")) and len(shape) == 1:
        return np.ones(shape, np.float32)
    if len(shape) <= 1:
        return np.zeros(shape, np.float32)
    return uniform(name, shape, 0.02 * math.sqrt(3.0), seed)


def _fan_ins(module: torch.nn.Module) -> dict[str, float]:
    """Inputs that feed one output element, per weight name."""
    from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

    fans: dict[str, float] = {}
    for prefix, child in module.named_modules():
        weight = getattr(child, "weight", None)
        if weight is None or weight.ndim < 2:
            continue
        taps = math.prod(weight.shape[2:])
        if isinstance(child, _ConvTransposeNd):
            fan = weight.shape[0] * taps / math.prod(child.stride) / child.groups
        elif isinstance(child, _ConvNd):
            fan = weight.shape[1] * taps
        else:
            fan = math.prod(weight.shape[1:])
        fans[f"{prefix}.weight" if prefix else "weight"] = max(fan, 1.0)
    return fans
