"""One launch of one engine in one process: load it, time it, evaluate it, inspect it.

The order matters: memory is read after the timed inferences and before the check of the output and
the evaluation, whose own buffers would count otherwise. On an accelerator the context comes first
and the process then holds still: the other side of the launch reads the memory of the bare context.
Replayed launches come last, since a capture that fails may leave a stream that is of no use.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voxgate import backends
from voxgate.backends import Session
from voxgate.files import replacing
from voxgate.machine.host_memory import HostMemory
from voxgate.metrics import dice as evaluate
from voxgate.metrics.presence import presence_of
from voxgate.records.gpu import Phases
from voxgate.records.measurement import Dice
from voxgate.stages.requests import RunRequest, RunResult
from voxgate.stages.timed_launch import patch, time_on_device, time_on_host, with_graph

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
    try:
        measure = time_on_device if accelerated else time_on_host
        timed = measure(session, images, request, load_s)
        host = memory.read()
        # In every launch, not only in the one that evaluates.
        evaluate.check_logits(timed.logits, request.options.classes, images.shape[2:])
        wanted = request.evaluate or request.predictions
        labels, evaluated_ns = _segment(session, images, request) if wanted else (None, 0)
        if labels is not None and request.predictions:
            _write(Path(request.predictions), labels)
        dice = measure_dice(labels, request) if labels is not None and request.evaluate else None
        layers = session.layers() if request.inspect else None
        launch = with_graph(timed.launch, session, images) if request.graph else timed.launch
        return RunResult(
            launch=launch,
            memory=host,
            device_memory_bytes=session.device_memory_bytes(),
            dice=dice,
            layers=layers,
            kernels_sha256=session.kernels_sha256() if request.inspect else None,
            inference_s=(timed.inference_ns + evaluated_ns + sum(launch.graph_samples_ns)) / 1e9,
            phases=Phases(
                context_ns=context_ns,
                loading_ns=loading_ns,
                loaded_ns=loaded_ns,
                sampling_ns=timed.sampling_ns,
                sampled_ns=timed.sampled_ns,
            )
            if accelerated
            else None,
        )
    finally:
        session.close()


def _segment(
    session: Session, images: NDArray[np.float32], request: RunRequest
) -> tuple[NDArray[np.uint8], int]:
    """The labels of every evaluation patch, (N, D, H, W), and the ns of their inferences."""
    labels, inference_ns = list[NDArray[np.uint8]](), 0
    for index in range(len(request.cases)):
        logits, elapsed_ns = session.infer(patch(images, index))
        found = evaluate.to_labels(logits, request.options.classes, images.shape[2:])
        labels.append(found.astype(np.uint8))
        inference_ns += elapsed_ns
    return np.stack(labels), inference_ns


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
