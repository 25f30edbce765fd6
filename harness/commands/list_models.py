"""List the architectures with their size, source and trained checkpoints."""

from __future__ import annotations

import argparse
import json
import sys

from harness import datasets, models
from harness.artifacts import checkpoint_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Only the format."""
    parser.add_argument("--json", action="store_true", help="for programs")


def run(options: argparse.Namespace) -> int:
    """Always 0."""
    rows = [_row(spec) for spec in models.MODELS.values()]
    if options.json:
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
        return 0
    from rich.console import Console
    from rich.table import Table

    table = Table("model", "parameters", "trained for", "source")
    for row in rows:
        tasks = ", ".join(row["trained_for"]) or "–"
        table.add_row(row["name"], f"{row['parameters']:,}", tasks, row["source"])
    Console().print(table)
    return 0


def _row(spec: models.ModelSpec) -> dict[str, object]:
    folder = checkpoint_folder()
    return {
        "name": spec.name,
        "title": spec.title,
        "parameters": spec.parameters,
        "roi_multiple": spec.roi_multiple,
        "source": spec.source,
        "trained_for": [
            task
            for task in datasets.TASKS
            if (folder / f"{spec.name}-{task}.safetensors").is_file()
        ],
    }
