"""Real jobs of the SDKs that report their use to their makers, for a process of its own.

``python quiet_jobs.py FOLDER PYTHON QUANTIZER BACKEND`` quantizes, builds and runs a small network in
workers of that Python; without a PYTHON ("") it does so itself, as tests and benchmarks do.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
from voxgate import quantizers
from voxgate.artifacts import jobs, messages
from voxgate.artifacts.launcher import Limits, run_job
from voxgate.records.case import Precision
from voxgate.records.runtime import EngineOptions
from voxgate.stages import file_names
from voxgate.stages.requests import (
    BuildRequest,
    CalibrateRequest,
    PrepareRequest,
    QuantizeRequest,
    RunRequest,
)

_CLASSES, _SIZE = 4, 32
_CHANNELS = (1, 16, 16, _CLASSES)  # ModelOpt leaves narrower convolutions in float
_PRECISIONS: dict[str, Precision] = {"openvino": "int8", "onnxruntime": "fake-int8"}


def main(folder: Path, python: str, quantizer: str, backend: str) -> None:
    """Everything from patches to Dice."""
    folder.mkdir(parents=True)

    def ask(job: messages.Job[Any, Any], request: Any, where: str = sys.executable) -> Any:
        return run_job(job, request, Limits(), where) if python else job.function()(request)

    task = "phantom-mini"
    prepared = ask(jobs.PREPARE, PrepareRequest(task=task, folder=str(folder)))
    images = str(folder / file_names.EVALUATION_IMAGES)
    ask(
        jobs.CALIBRATE,
        CalibrateRequest(
            task=task,
            patches=0,
            seed=0,
            data="",
            folder=str(folder),
            evaluation=prepared.evaluation,
            evaluation_images=images,
        ),
    )
    request = QuantizeRequest(
        quantizer=quantizer,
        method=quantizers.get(quantizer).check_method(""),
        onnx=str(_write_onnx(folder / file_names.ONNX)),
        images=str(folder / file_names.CALIBRATION_IMAGES),
        folder=str(folder),
    )
    quantized = ask(jobs.QUANTIZE, request)
    options = EngineOptions(
        precision=_PRECISIONS[backend], threads=1, model="graded", task=task, classes=_CLASSES
    )
    graph = str(folder / quantized.file)
    build = BuildRequest(backend=backend, options=options, source=graph, folder=str(folder))
    ask(jobs.BUILD, build, python)
    run = RunRequest(
        backend=backend,
        options=options,
        engine=str(folder / file_names.ENGINE),
        images=images,
        labels=str(folder / file_names.EVALUATION_LABELS),
        cases=tuple(patch.case for patch in prepared.evaluation),
        label_names=("background", "organ-1", "organ-2", "organ-3"),
        warmups=1,
        min_samples=1,
        max_samples=1,
        seconds=0.0,
        evaluate=True,
        inspect=True,
    )
    assert ask(jobs.RUN, run, python).dice is not None


def _write_onnx(path: Path) -> Path:
    """Three convolutions with seeded weights."""
    import onnx

    generator = np.random.default_rng(0)
    nodes, weights = [], []
    for number, (inputs, outputs) in enumerate(itertools.pairwise(_CHANNELS)):
        values = generator.standard_normal((outputs, inputs, 3, 3, 3), dtype=np.float32) * 0.1
        weights.append(onnx.numpy_helper.from_array(values, f"w{number}"))
        names = [f"t{number}", f"w{number}"], [f"t{number + 1}"]
        nodes.append(
            onnx.helper.make_node(
                "Conv", *names, name=f"n{number}", pads=[1] * 6, kernel_shape=[3] * 3
            )
        )
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, count, *[_SIZE] * 3])
        for name, count in (("t0", 1), ("t3", _CLASSES))
    ]
    graph = onnx.helper.make_graph(nodes, "quiet", ends[:1], ends[1:], weights)
    opset = [onnx.helper.make_opsetid("", 21)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return path


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
