"""Expand a checkpoint, or a seed, to full weights, as safetensors."""

from __future__ import annotations

from pathlib import Path

from voxgate import models
from voxgate.models import checkpoint
from voxgate.models.initialization import State, initial_state
from voxgate.stages import file_names
from voxgate.stages.requests import Expanded, ExpandRequest

_SEED = 0  # of networks without a checkpoint


def expand(request: ExpandRequest) -> Expanded:
    """Write ``weights.safetensors`` and count the trainable parameters."""
    from safetensors.numpy import save_file

    module = models.get(request.model).build(1, request.classes)
    state = _trained(request) if request.checkpoint else initial_state(module, _SEED)
    sha256 = checkpoint.state_sha256(state)
    save_file(state, Path(request.folder) / file_names.WEIGHTS)
    return Expanded(parameters=sum(p.numel() for p in module.parameters()), sha256=sha256)


def _trained(request: ExpandRequest) -> State:
    """The checkpoint's weights, with a seeded head where the class count is another."""
    spec, trained_classes = models.get(request.model), request.trained_classes
    path = Path(request.checkpoint)
    info, state = checkpoint.expand(path, spec, request.task, trained_classes)
    if request.classes == trained_classes:
        return state
    return checkpoint.with_classes(state, spec, request.classes, info.seed)
