"""Expand a checkpoint to full weights, as safetensors."""

from __future__ import annotations

from pathlib import Path

from harness import datasets, layout, models
from harness.models import checkpoint
from harness.requests import Expanded, ExpandRequest


def expand(request: ExpandRequest) -> Expanded:
    """Write ``weights.safetensors`` and count the trainable parameters."""
    from safetensors.numpy import save_file

    spec = models.get(request.model)
    classes = len(datasets.get(request.task).classes)
    info, state = checkpoint.expand(Path(request.checkpoint), spec, request.task, classes)
    save_file(state, Path(request.folder) / layout.WEIGHTS)
    parameters = sum(p.numel() for p in spec.build(1, classes).parameters())
    return Expanded(parameters=parameters, sha256=info.sha256)
