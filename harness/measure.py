"""One launch of one engine in one process: load it, time it, evaluate it, inspect it.

The order matters: memory is read after the timed inferences and before the check of the output and
the evaluation, whose own buffers would count otherwise. On an accelerator the context comes first
and the process then holds still: the other side of the launch reads the memory of the bare context.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness import backends
from harness.backends import Session
from harness.files import replacing
from harness.presence import presence_of
from harness.requests import RunRequest, RunResult
from harness.stages import evaluate, latency
from harness.stages.host_load import LoadMeter
from harness.stages.memory import HostMemory
from harness.types import Dice, Launch, Phases

_HOLD_STILL_S = 0.15  # several of the monitor's intervals


def run(request: RunRequest) -> RunResult:
    """Measure one engine.

    Raises:
        BuildError: the engine file is not an engine of this runtime.
        EngineOutputError: NaN, infinity or a wrong shape came out.
    """
    backend = backends.load(request.backend)
    backends.require(request.backend, request.options.precision, backend.probe())
    images = np.load(request.images, allow_pickle=False)  # whole: part of the memory baseline
    accelerated = backend.create_context(request.options)
    memory = HostMemory()
    context_ns = time.monotonic_ns()
    if accelerated:
        time.sleep(_HOLD_STILL_S)
    loading_ns, start = time.monotonic_ns(), time.perf_counter()
    session = backend.load(Path(request.engine).read_bytes(), request.options)
    load_s, loaded_ns = time.perf_counter() - start, time.monotonic_ns()
    runner = _Runner(session, images, request)
    try:
        launch = runner.measure_latency(load_s)
        sampled_ns = time.monotonic_ns()
        host = memory.read()
        runner.check_last_output()
        labels = runner.segment() if request.evaluate or request.predictions else None
        if labels is not None and request.predictions:
            _write(Path(request.predictions), labels)
        return RunResult(
            launch=launch,
            memory=host,
            device_memory_bytes=session.device_memory_bytes(),
            dice=measure_dice(labels, request) if labels is not None and request.evaluate else None,
            layers=session.layers() if request.inspect else None,
            inference_s=runner.inference_ns / 1e9,
            phases=Phases(
                context_ns=context_ns,
                loading_ns=loading_ns,
                loaded_ns=loaded_ns,
                sampling_ns=runner.sampling_ns,
                sampled_ns=sampled_ns,
            )
            if accelerated
            else None,
        )
    finally:
        session.close()


class _Runner:
    """Runs inferences, checks each output and adds up the time spent in them."""

    def __init__(self, session: Session, images: NDArray[np.float32], request: RunRequest) -> None:
        self._session = session
        self._images = images
        self._request = request
        self._expected = (request.options.classes, images.shape[2:])
        self._last: NDArray[np.generic] = np.empty(0)
        self.inference_ns = 0
        self.sampling_ns = 0  # when the first timed inference started

    def _infer(self, index: int) -> tuple[NDArray[np.generic], int]:
        position = index % len(self._images)
        output, elapsed_ns = self._session.infer(self._images[position : position + 1])
        self.inference_ns += elapsed_ns
        self._last = output
        return output, elapsed_ns

    def measure_latency(self, load_s: float) -> Launch:
        """Warm-ups, samples by both clocks, and the CPU seconds of all."""
        request = self._request
        spans_ns: list[tuple[int, int]] = []

        def infer(index: int) -> int:
            start_ns = time.monotonic_ns()
            _, elapsed_ns = self._infer(index)
            spans_ns.append((start_ns, time.monotonic_ns()))
            return elapsed_ns

        cpu, meter = time.process_time(), LoadMeter()
        warmups_ns, samples_ns = latency.sample(
            infer,
            warmups=request.warmups,
            min_samples=request.min_samples,
            max_samples=request.max_samples,
            seconds=request.seconds,
        )
        timed = spans_ns[len(warmups_ns) :]
        self.sampling_ns = timed[0][0]
        return Launch(
            order=0,
            load_s=load_s,
            warmups_ns=warmups_ns,
            samples_ns=samples_ns,
            host_samples_ns=tuple(end_ns - start_ns for start_ns, end_ns in timed),
            cpu_s=time.process_time() - cpu,
            load=meter.read(),
        )

    def check_last_output(self) -> None:
        """Refuse NaN and wrong shapes in every launch, not only in the one that evaluates."""
        evaluate.check_logits(self._last, *self._expected)

    def segment(self) -> NDArray[np.uint8]:
        """The labels of every evaluation patch, (N, D, H, W)."""
        return np.stack(
            [
                evaluate.to_labels(self._infer(index)[0], *self._expected).astype(np.uint8)
                for index in range(len(self._request.cases))
            ]
        )


def measure_dice(labels: NDArray[np.uint8], request: RunRequest) -> Dice:
    """Dice of the predicted labels of every evaluation patch."""
    truth = np.load(request.labels, mmap_mode="r", allow_pickle=False)
    per_case = {
        name: evaluate.dice_scores(labels[index], truth[index], request.label_names)
        for index, name in enumerate(request.cases)
    }
    presence = {
        name: presence_of(labels[index], truth[index], request.label_names)
        for index, name in enumerate(request.cases)
    }
    return evaluate.summarize(per_case, request.label_names, presence)


def _write(path: Path, labels: NDArray[np.uint8]) -> None:
    with replacing(path) as temporary:
        np.save(temporary, labels)
