"""A network with given weights, from the safetensors bytes that the harness passes around."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxgate.models.initialization import float_tensors

if TYPE_CHECKING:
    import torch

    from voxgate.models.spec import ModelSpec


def load_network(spec: ModelSpec, classes: int, weights: bytes) -> torch.nn.Module:
    """The architecture in evaluation mode with the weights of a safetensors file.

    Raises:
        RuntimeError, KeyError, ValueError: the bytes or the names do not fit.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    module = spec.build(1, classes)
    try:
        state = load(weights)
    except SafetensorError as error:
        msg = f"damaged safetensors: {error}"
        raise ValueError(msg) from error
    wanted = set(float_tensors(module))
    if wanted != set(state):
        msg = f"tensor names differ: {', '.join(sorted(wanted ^ set(state))[:5])}"
        raise KeyError(msg)
    module.load_state_dict(state, strict=False)
    return module.eval()
