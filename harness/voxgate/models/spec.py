"""What the harness knows of an architecture before it builds it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from voxgate.errors import UsageError

if TYPE_CHECKING:
    import torch

Builder = Callable[[int, int], "torch.nn.Module"]


@dataclass(frozen=True, slots=True)
class LazyBuilder:
    """``build`` of a module that is imported when the first network is built."""

    module: str
    options: Mapping[str, object] = field(default_factory=dict)

    def __call__(self, in_channels: int, classes: int) -> torch.nn.Module:
        """The network with library-default weights."""
        build: Callable[..., torch.nn.Module] = importlib.import_module(self.module).build
        return build(in_channels, classes, **self.options)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSpec:
    """One architecture at one size.

    ``build(in_channels, classes)`` returns the network with library-default weights; the harness
    overwrites all of them. ``parameters`` counts float32 parameters at one input channel and three
    classes, ``paper_parameters`` those of the paper's network with its ``paper_classes``; a test
    holds both against the built network. ``minimum_int8_macs`` is the share of multiply-accumulates
    that an INT8 engine must execute in int8 to be certified.

    Each side of an input is a multiple of ``roi_multiple``; ``roi`` is the only size that a network
    with learned positions takes. ``instance_norm`` says that features are normalized over the voxels
    of the lowest resolution, of which there must be more than one.
    """

    name: str
    title: str
    source: str
    build: Builder
    parameters: int
    roi_multiple: int
    roi: tuple[int, int, int] | None = None
    instance_norm: bool = False
    paper_parameters: int | None = None
    paper_classes: int | None = None
    minimum_int8_macs: float = 0.95

    @property
    def module(self) -> str:
        """The module that has ``build``."""
        build = self.build
        return build.module if isinstance(build, LazyBuilder) else build.__module__

    def check_roi(self, roi: tuple[int, int, int]) -> None:
        """Refuse an input size that the architecture cannot take.

        Raises:
            UsageError: names the multiple that every side must have, or the only size.
        """
        problem = self._problem(roi)
        if problem:
            msg = f"{self.name} cannot take {_text(roi)}: {problem}"
            raise UsageError(msg)

    def _problem(self, roi: tuple[int, int, int]) -> str:
        if self.roi is not None and roi != self.roi:
            return f"its positions are learned for {_text(self.roi)} alone"
        if any(side <= 0 or side % self.roi_multiple for side in roi):
            return f"each side must be a multiple of {self.roi_multiple}"
        if self.instance_norm and all(side == self.roi_multiple for side in roi):
            return (
                "instance normalization would see one voxel at the lowest resolution; "
                f"one side must be at least {2 * self.roi_multiple}"
            )
        return ""


def _text(roi: tuple[int, int, int]) -> str:
    return "x".join(map(str, roi))
