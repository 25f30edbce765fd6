"""Train low-rank updates of a seeded network: what `voxgate train` does.

Deterministic per (seed, step) in its data, resumable: the whole state of the optimisation is in one
safetensors file beside the output, replaced atomically, and removed when the checkpoint is written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from voxgate import datasets, models
from voxgate.datasets.augment import Batch, training_batch, training_batches
from voxgate.errors import ArtifactError, HarnessError, UnavailableError
from voxgate.files import replacing
from voxgate.models import checkpoint
from voxgate.models.initialization import State, initial_state

if TYPE_CHECKING:
    import torch

    from voxgate.datasets import Dataset
    from voxgate.models import ModelSpec

Progress = Callable[[int, int, str], None]

_FACTOR = 0.02
_NORM_BATCHES = 24
_NORMS_FIXED_AFTER = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """Everything that decides the trained weights, but the hardware's rounding."""

    model: str
    task: str
    output: Path
    steps: int = 800
    batch: int = 2
    rank: int = 8
    seed: int = 0
    learning_rate: float = 4e-3
    device: Literal["cpu", "cuda"] = "cpu"
    save_every: int = 50


def train(config: TrainConfig, progress: Progress) -> checkpoint.CheckpointInfo:
    """Train, or go on where an interrupted run stopped, and write the checkpoint.

    Raises:
        UnavailableError: CUDA was asked for and is not there.
        ArtifactError: the file of an interrupted run belongs to another configuration.
    """
    spec = models.get(config.model)
    dataset = datasets.get(config.task)
    run = _Run(config, spec, dataset)
    run.restore()
    for step, batch in run.batches():
        loss = run.advance(step, batch)
        if not math.isfinite(loss):
            msg = f"training {config.model} diverged at step {step}: loss is {loss}; lower the rate"
            raise HarnessError(msg)
        if (step + 1) % config.save_every == 0 and step + 1 < config.steps:
            run.save_partial()
        progress(step + 1, config.steps, f"loss {loss:.3f}")
    info = run.write_checkpoint()
    run.partial.unlink(missing_ok=True)
    return info


def segmentation_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross-entropy plus soft Dice loss; logits (N, C, D, H, W), target (N, D, H, W) integer."""
    import torch
    from torch.nn import functional

    cross_entropy = functional.cross_entropy(logits, target)
    probability = logits.softmax(1)
    truth = functional.one_hot(target, logits.shape[1]).movedim(-1, 1).to(probability.dtype)
    axes = (0, 2, 3, 4)
    overlap = (probability * truth).sum(axes)
    total = probability.sum(axes) + truth.sum(axes)
    dice: torch.Tensor = 1 - torch.mean((2 * overlap + 1) / (total + 1))
    return cross_entropy + dice


class _Run:
    """One optimisation: the network, its trainable tensors, the optimiser and the step."""

    def __init__(self, config: TrainConfig, spec: ModelSpec, dataset: Dataset) -> None:
        import torch
        from torch.nn.modules.batchnorm import _BatchNorm

        if config.device == "cuda" and not torch.cuda.is_available():
            msg = "no CUDA device for training; use --device cpu or a machine with a GPU"
            raise UnavailableError(msg)
        torch.manual_seed(config.seed)
        self.config = config
        self.spec = spec
        self.dataset = dataset
        self.volumes = dataset.training_volumes()
        self.classes = len(dataset.classes)
        self.step = 0
        self.partial = config.output.with_suffix(".partial.safetensors")
        module = spec.build(1, self.classes)
        self.base: State = initial_state(module, config.seed)
        module.load_state_dict(
            {name: torch.from_numpy(value) for name, value in self.base.items()}, strict=False
        )
        self.module = module.to(config.device).train()
        self._norms = [m for m in self.module.modules() if isinstance(m, _BatchNorm)]
        self._fixed_from = int(config.steps * _NORMS_FIXED_AFTER)
        self.trainable, self.frozen = self._make_trainable()
        self.optimizer = torch.optim.AdamW(self.trainable.values(), lr=0.0, weight_decay=0.0)

    def _make_trainable(self) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Leaf tensors by checkpoint name, and the frozen base of each low-rank weight."""
        import torch

        trainable: dict[str, torch.Tensor] = {}
        frozen: dict[str, torch.Tensor] = {}
        for name, parameter in self.module.named_parameters():
            parameter.requires_grad_(False)  # noqa: FBT003 - torch's own signature
            if not checkpoint.is_low_rank(tuple(parameter.shape), self.config.rank):
                trainable[f"{name}.full"] = parameter.detach().clone().requires_grad_()
                continue
            rows, columns = len(parameter), math.prod(parameter.shape[1:])
            frozen[name] = parameter.detach().clone()
            left = np.random.default_rng((self.config.seed, len(frozen))).standard_normal(
                (rows, self.config.rank), dtype=np.float32
            )
            trainable[f"{name}.left"] = (
                torch.from_numpy(left * _FACTOR).to(parameter.device).requires_grad_()
            )
            trainable[f"{name}.right"] = torch.zeros(
                (self.config.rank, columns), device=parameter.device, requires_grad=True
            )
        return trainable, frozen

    def _weights(self) -> dict[str, torch.Tensor]:
        """The parameters of this step as functions of the trainable tensors."""
        weights = {
            name.removesuffix(".full"): tensor
            for name, tensor in self.trainable.items()
            if name.endswith(".full")
        }
        for name, base in self.frozen.items():
            update = self.trainable[f"{name}.left"] @ self.trainable[f"{name}.right"]
            weights[name] = base + update.view_as(base)
        return weights

    def batches(self) -> Iterator[tuple[int, Batch]]:
        """The batches of the steps still to do."""
        c = self.config
        steps = range(self.step, c.steps)
        return training_batches(self.volumes, self.dataset.patch_size, c.batch, c.seed, steps)

    def advance(self, step: int, batch: Batch) -> float:
        """One optimiser step; returns the loss before it."""
        import torch

        if step == self._fixed_from:
            self._fix_norms()
        images, labels = batch
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * _schedule(step, self.config.steps)
        device = self.config.device
        # bf16 on a CPU is not repeatable even with one thread; on a GPU it halves the time.
        with torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda"):
            logits = self._forward(torch.from_numpy(images).to(device))
        loss = segmentation_loss(logits.float(), torch.from_numpy(labels).long().to(device))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.trainable.values(), 1.0)
        self.optimizer.step()
        self.step = step + 1
        return float(loss.detach())

    def _forward(self, images: torch.Tensor) -> torch.Tensor:
        import torch

        logits: torch.Tensor = torch.func.functional_call(self.module, self._weights(), (images,))
        return logits

    def _buffers(self) -> dict[str, torch.Tensor]:
        return {n: b for n, b in self.module.named_buffers() if b.is_floating_point()}

    def _rounded(self) -> checkpoint.Tensors:
        """The trainable tensors as they are stored: low-rank factors in float16."""
        values = {name: tensor.detach().cpu().numpy() for name, tensor in self.trainable.items()}
        return {
            name: value if name.endswith(".full") else value.astype(np.float16)
            for name, value in values.items()
        }

    def _fix_norms(self) -> None:
        """Average the batch norms' statistics anew and hold them from here on.

        With two patches a batch, the statistics of training are those of the patch itself; a
        network that only ever saw those loses up to 0.1 Dice in an unseen region when it runs with
        averages. Training its last part with the averages closes that gap.
        """
        import torch

        for norm in self._norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain average over the batches
        size, c = self.dataset.patch_size, self.config
        for step in range(_NORM_BATCHES if self._norms else 0):
            images, _ = training_batch(self.volumes, size, c.batch, c.seed + 1, step)
            with torch.no_grad():
                self._forward(torch.from_numpy(images).to(c.device))
        self._hold_norms()

    def _hold_norms(self) -> None:
        for norm in self._norms:
            norm.eval()

    def write_checkpoint(self) -> checkpoint.CheckpointInfo:
        """Expand the stored tensors, and write them with the hash of what they expand to."""
        tensors = self._rounded()
        for name, buffer in self._buffers().items():
            tensors[f"{name}.full"] = buffer.detach().cpu().numpy()
        state = checkpoint.expand_tensors(self.base, tensors)
        info = checkpoint.CheckpointInfo(
            model=self.spec.name,
            task=self.dataset.name,
            classes=self.classes,
            rank=self.config.rank,
            seed=self.config.seed,
            steps=self.config.steps,
            sha256=checkpoint.state_sha256(state),
        )
        checkpoint.save(self.config.output, info, tensors)
        return info

    def _identity(self) -> str:
        c = self.config
        return f"{c.model}/{c.task}/{c.steps}/{c.batch}/{c.rank}/{c.seed}/{c.learning_rate}"

    def save_partial(self) -> None:
        """Everything needed to go on: trainable tensors, running statistics, Adam's moments.

        Nothing that diverged is saved, or every later run would go on from there.
        """
        if not all(bool(tensor.isfinite().all()) for tensor in self.trainable.values()):
            return
        from safetensors.torch import save_file

        tensors = {f"train:{n}": t.detach() for n, t in self.trainable.items()}
        tensors |= {f"buffer:{n}": b for n, b in self._buffers().items()}
        for name, tensor in self.trainable.items():
            for key, value in self.optimizer.state[tensor].items():
                tensors[f"adam.{key}:{name}"] = value
        header = {"identity": self._identity(), "step": str(self.step)}
        with replacing(self.partial) as temporary:
            save_file({n: t.contiguous().cpu() for n, t in tensors.items()}, temporary, header)

    def restore(self) -> None:
        """Load an interrupted run of the same configuration, if there is one."""
        import torch
        from safetensors import SafetensorError, safe_open

        if not self.partial.is_file():
            return
        try:
            opened = safe_open(self.partial, framework="pt", device=self.config.device)
        except SafetensorError as error:
            msg = f"{self.partial}, of an interrupted run, is damaged ({error}); delete it"
            raise ArtifactError(msg) from error
        with opened as file:
            header = file.metadata() or {}
            if header.get("identity") != self._identity():
                msg = (
                    f"{self.partial} is an interrupted run of {header.get('identity')}, "
                    f"not of {self._identity()}; finish that one or delete the file"
                )
                raise ArtifactError(msg)
            with torch.no_grad():
                for name, tensor in self.trainable.items():
                    tensor.copy_(file.get_tensor(f"train:{name}"))
                    self.optimizer.state[tensor] = {
                        "step": file.get_tensor(f"adam.step:{name}").cpu(),
                        "exp_avg": file.get_tensor(f"adam.exp_avg:{name}"),
                        "exp_avg_sq": file.get_tensor(f"adam.exp_avg_sq:{name}"),
                    }
                for name, buffer in self._buffers().items():
                    buffer.copy_(file.get_tensor(f"buffer:{name}"))
            self.step = int(header["step"])
        if self.step > self._fixed_from:
            self._hold_norms()


def _schedule(step: int, steps: int) -> float:
    """Linear warm-up over 5 % of the steps, then a cosine to 2 %."""
    warm = max(1, steps // 20)
    if step < warm:
        return (step + 1) / warm
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
