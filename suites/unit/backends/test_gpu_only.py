"""What only a real GPU can show: that events hold the device's time alone, and that A equals A."""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np
import pytest
import torch
from voxgate.backends.pytorch import MODES, PyTorchCudaSession
from voxgate.records.measurement import Launch
from voxgate.records.runtime import EngineOptions
from voxgate.stages import pair
from voxgate.stages.requests import PairRequest, RunRequest
from voxgate.stages.timed_launch import time_on_device

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no CUDA GPU; this is about the clock of a real one"
)

IMAGES = np.random.default_rng(0).random((2, 1, 96, 96, 96), dtype=np.float32)
OPTIONS = EngineOptions(precision="fp32", threads=1, model="unet", task="mni152", classes=3)
REQUEST = RunRequest(
    backend="pytorch", options=OPTIONS, engine="", images="", labels="", cases=(), label_names=(),
    warmups=2, min_samples=4, max_samples=50, seconds=1.0, evaluate=False, inspect=False,
)  # fmt: skip
PAIR = PairRequest(
    backend="pytorch", options=OPTIONS, engine_a="", engine_b="", b_first=False, images="",
    warmups=3, min_pairs=22, max_pairs=400, seconds=2.0,
)  # fmt: skip


def layers(width: int = 48) -> torch.nn.Module:
    """A few milliseconds of convolutions, in as few launches."""
    torch.manual_seed(0)
    convolutions = [torch.nn.Conv3d(width, width, 3, padding=1) for _ in range(4)]
    first, last = torch.nn.Conv3d(1, width, 3, padding=1), torch.nn.Conv3d(width, 3, 1)
    return torch.nn.Sequential(first, *convolutions, last).eval().cuda()


class Delayed(torch.nn.Module):
    """The same behind a host that needs its time for every enqueue."""

    def __init__(self, network: torch.nn.Module, host_s: float) -> None:
        super().__init__()
        self.network = network
        self.host_s = host_s

    def forward(self, image: torch.Tensor) -> Any:
        time.sleep(self.host_s)
        return self.network(image)


def launch_of(network: torch.nn.Module) -> Launch:
    return time_on_device(PyTorchCudaSession(network, MODES["fp32"]), IMAGES, REQUEST, 0.0).launch


def test_events_and_back_to_back_are_the_same() -> None:
    launch = launch_of(layers())
    assert launch.back_to_back_ns is not None
    assert launch.back_to_back_ns == pytest.approx(statistics.median(launch.samples_ns), rel=0.01)
    assert launch.enqueue_ns is not None
    assert launch.enqueue_ns < min(launch.samples_ns)


def test_a_host_that_takes_its_time_is_in_no_event() -> None:
    network = layers()
    plain = launch_of(network)
    compute_s = min(plain.samples_ns) / 1e9
    delayed = launch_of(Delayed(network, compute_s / 4))
    assert delayed.enqueue_ns is not None
    assert delayed.enqueue_ns > compute_s / 4 * 1e9
    assert min(delayed.samples_ns) == pytest.approx(min(plain.samples_ns), rel=0.01)


def test_the_timed_inferences_leave_their_logits() -> None:
    network = layers()
    session = PyTorchCudaSession(network, MODES["fp32"])
    logits, _ = session.infer(IMAGES[1:])
    session.sample(IMAGES[1:], 3)
    difference = session.output().astype(np.float32) - logits.astype(np.float32)
    assert np.abs(difference).max() < 1e-3


def test_an_engine_beside_itself_is_as_fast() -> None:
    network = layers()
    for _ in range(3):
        sessions: Any = {side: PyTorchCudaSession(network, MODES["fp32"]) for side in "AB"}
        samples_ns, _ = pair._sample_bursts(PAIR, sessions, IMAGES)
        assert min(samples_ns["B"]) == pytest.approx(min(samples_ns["A"]), rel=0.01)
