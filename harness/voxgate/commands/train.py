"""Train the low-rank checkpoint of a model; an interrupted run goes on where it stopped."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from voxgate import datasets, models
from voxgate.artifacts.progress import Reporter
from voxgate.commands.options import reporting
from voxgate.config import DEFAULT_TASK, MODELS_HELP, split_models
from voxgate.errors import UsageError
from voxgate.files import check_writable
from voxgate.models.checkpoints import checkpoint_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What decides the weights."""
    parser.add_argument("--models", default="default", help=MODELS_HELP)
    parser.add_argument("--task", default=DEFAULT_TASK, help="default: %(default)s")
    parser.add_argument("--output-dir", type=Path, help="default: fixtures/checkpoints")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--batch", type=int, default=2, help="patches a step")
    parser.add_argument("--rank", type=int, default=8, help="of the low-rank updates")
    parser.add_argument("--learning-rate", type=float, default=4e-3, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")


def run(options: argparse.Namespace) -> int:
    """0 when every checkpoint was written."""
    names = split_models(options.models)
    dataset = datasets.get(options.task)
    for name in names:
        models.get(name).check_roi(dataset.patch_size)
    if not names:
        msg = "no model is named; nothing to train"
        raise UsageError(msg)
    for option, least in (("steps", 1), ("batch", 1), ("rank", 1), ("seed", 0)):
        if getattr(options, option) < least:
            msg = f"--{option} is {getattr(options, option)}; it must be at least {least}"
            raise UsageError(msg)
    if not 0 < options.learning_rate < 1:
        msg = f"--learning-rate is {options.learning_rate}; it must be between 0 and 1"
        raise UsageError(msg)
    folder = options.output_dir or checkpoint_folder()
    for name in names:
        check_writable(folder / f"{name}-{options.task}.safetensors", "--output-dir")
    for name in names:
        path = folder / f"{name}-{options.task}.safetensors"
        with reporting() as reporter:
            _train(name, path, options, reporter)
        sys.stdout.write(f"{path} ({path.stat().st_size:,} bytes)\n")
    return 0


def _train(name: str, path: Path, options: argparse.Namespace, reporter: Reporter) -> None:
    from voxgate.stages.train import TrainConfig, train

    config = TrainConfig(
        model=name,
        task=options.task,
        output=path,
        steps=options.steps,
        batch=options.batch,
        rank=options.rank,
        seed=options.seed,
        learning_rate=options.learning_rate,
        device=options.device,
    )
    reporter.begin(options.steps)

    def progress(step: int, steps: int, text: str) -> None:
        if step % 10 == 0 or step == steps:
            reporter.say(f"{name}, step {step} of {steps}, {text}")
        reporter.advance()

    train(config, progress)
