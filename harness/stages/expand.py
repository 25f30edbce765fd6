"""Expand a checkpoint to full weights, as safetensors."""

from __future__ import annotations

from pathlib import Path

from harness import layout, models
from harness.models import checkpoint
from harness.requests import Expanded, ExpandRequest


def expand(request: ExpandRequest) -> Expanded:
    """Write ``weights.safetensors`` and count the trainable parameters."""
    from safetensors.numpy import save_file

    spec = models.get(request.model)
    path, trained_classes = Path(request.checkpoint), request.trained_classes
    info, state = checkpoint.expand(path, spec, request.task, trained_classes)
    sha256 = info.sha256
    if request.classes != trained_classes:
        state = checkpoint.with_classes(state, spec, request.classes, info.seed)
        sha256 = checkpoint.state_sha256(state)
    save_file(state, Path(request.folder) / layout.WEIGHTS)
    parameters = sum(p.numel() for p in spec.build(1, request.classes).parameters())
    return Expanded(parameters=parameters, sha256=sha256)
