"""List the architectures with their size, the sets they are in, trained checkpoints and source."""

from __future__ import annotations

import argparse
import json
import sys

from voxgate import datasets, models
from voxgate.models.checkpoints import checkpoint_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Only the format."""
    parser.add_argument("--json", action="store_true", help="for programs")


def run(options: argparse.Namespace) -> int:
    """Always 0."""
    if options.json:
        rows = [_row(spec) for spec in models.MODELS.values()]
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
        return 0
    from rich.console import Console
    from rich.table import Table

    table = Table("model", "parameters", "sets", "trained for", "source")
    for spec in models.MODELS.values():
        sets, tasks = models.sets_with(spec.name), _trained_for(spec)
        names = (", ".join(group) or "–" for group in (sets, tasks))
        table.add_row(spec.name, f"{spec.parameters:,}", *names, spec.source)
    Console().print(table)
    return 0


def _row(spec: models.ModelSpec) -> dict[str, object]:
    return {
        "name": spec.name,
        "title": spec.title,
        "parameters": spec.parameters,
        "sets": models.sets_with(spec.name),
        "roi_multiple": spec.roi_multiple,
        "roi": spec.roi,
        "source": spec.source,
        "trained_for": _trained_for(spec),
    }


def _trained_for(spec: models.ModelSpec) -> list[str]:
    folder = checkpoint_folder()
    return [t for t in datasets.TASKS if (folder / f"{spec.name}-{t}.safetensors").is_file()]
