"""What INT8 engines must reach, by backend and, where it must be, by model. Pure.

A runtime without plans of its own kernels keeps little in float; TensorRT's plans hold kernels, float
transposed convolutions and whatever its release has no int8 kernel for. So the share of int8, the
size and the speed-up that can be asked of an engine depend on what built it. The certificate and the
suites both read this table.

Three kinds of engines come of it. *Not int8*: less than a tenth of the multiply-accumulates; the case
has failed. *Partly int8*: measured, gated by its share, without a certificate. And those that reach
what the certificate requires.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from voxgate import models
from voxgate.records.run import CaseResult

# Below it an engine is a float engine, whatever it is called.
NOT_INT8 = 0.10
# What no executed layer stands for may be so much; a release that names one layer anew is no failure.
MOST_UNMAPPED = 0.01

# Of the mean, against FP32 of the same run. What is lost beyond that is no matter of rounding: with a
# norm that overflowed, a network kept 0.07 of 0.95, at a speed to be proud of.
MOST_DICE_LOST = 0.02

# An engine that is partly int8 must be smaller and faster than FP32 at all.
_PARTLY = 1.1
_DOT_PRODUCTS = frozenset({"avx_vnni", "avx512_vnni", "amx_int8"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Expectations:
    """What is asked of the INT8 engines of one backend, beside FP32 of the same run.

    ``certified``: each must be granted a certificate. ``left_in_float`` is the share of
    multiply-accumulates by which the runtime may miss what a model requires. ``int8_macs`` is the
    least share by model where no certificate is promised. ``smaller`` and ``faster`` are least
    ratios; ``faster_by_model`` takes precedence, and both are for a CPU with int8 dot products where
    the backend is ``on_cpu``.
    """

    certified: bool = True
    on_cpu: bool = True
    left_in_float: float = 0.0
    int8_macs: Mapping[str, float] = field(default_factory=dict)
    smaller: float = 3.5
    faster: float = _PARTLY
    faster_by_model: Mapping[str, float] = field(default_factory=dict)


# Wider than what quiet machines show, and still far apart from no speed-up at all. Networks that are
# not listed were not measured on one.
_ON_CPU = Expectations(
    faster_by_model={
        "unet": 3.0, "transunet": 2.3, "unest-small": 2.1, "nnunet-small": 2.8,
        "swinunetr-24": 1.6, "segresnet-24": 3.0, "vista3d-16": 2.6, "vista3d-released": 2.6,
        "stunet-s": 2.5,
    },
)  # fmt: skip

# The paper's own engines are 3.17 to 3.83 times smaller and 2.06 to 3.27 times faster than its FP32;
# what the arXiv tables call sizes gives 2.43 at least. Transposed convolutions, the first and the last
# layer are at most 4 % of the networks' work. The shares are what TensorRT 8.6.0 was seen to execute in
# int8, U-Net 98.9 % and nnU-Net 92.7 %, with a little room.
_PLANS = Expectations(
    certified=False,
    on_cpu=False,
    left_in_float=0.05,
    int8_macs={"unet": 0.90, "nnunet": 0.90},
    smaller=2.4,
    faster=2.0,
)

_BACKENDS: dict[str, Expectations] = {"tensorrt": _PLANS, "tensorrt-rtx": _PLANS}


def of(backend: str) -> Expectations:
    """What is expected of a backend's INT8 engines."""
    return _BACKENDS.get(backend, _ON_CPU)


def required_int8_macs(backend: str, model: str) -> float:
    """The share of multiply-accumulates that a certificate requires in int8."""
    return round(models.get(model).minimum_int8_macs - of(backend).left_in_float, 6)


def least_int8_macs(backend: str, model: str) -> float:
    """The share that an engine must reach to be as good as it was found to be.

    What the certificate requires where the backend promises one; else what was seen, or no less than
    makes it an INT8 engine at all.
    """
    expected = of(backend)
    if expected.certified:
        return required_int8_macs(backend, model)
    return expected.int8_macs.get(model, NOT_INT8)


def is_whole(row: CaseResult) -> bool:
    """Whether an engine's int8 share is what a certificate requires; of unknown layers it is not."""
    share = row.int8_coverage.by_macs.int8 if row.int8_coverage else 0.0
    return share >= required_int8_macs(row.backend, row.model)


def least_smaller(backend: str, *, whole: bool) -> float:
    """How many times smaller than FP32's an engine file must be.

    ``whole``: its int8 share is what a certificate requires (`is_whole`), not a part of that.
    """
    return of(backend).smaller if whole else _PARTLY


def least_faster(backend: str, model: str, isa: Collection[str], *, whole: bool) -> float:
    """How many times faster than FP32 an engine must be on a machine with these instruction sets."""
    expected = of(backend)
    if not whole or (expected.on_cpu and _DOT_PRODUCTS.isdisjoint(isa)):
        return _PARTLY
    return expected.faster_by_model.get(model, expected.faster)
