"""Run in a process of its own: build a plan with TensorRT-RTX behind TensorRT's bindings.

``python build_plan.py FOLDER SOURCE PLAN`` reads the engine's options as JSON from standard input,
imports ``tensorrt_bindings`` from FOLDER, writes PLAN, and prints its size or the error as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec
from voxgate.backends.tensorrt import TensorRt
from voxgate.errors import HarnessError
from voxgate.records.runtime import EngineOptions

if __name__ == "__main__":
    folder, source, plan = sys.argv[1:]
    sys.path.insert(0, folder)
    backend = TensorRt("tensorrt_bindings", "TensorRT-RTX", "pip install tensorrt-rtx")
    options = msgspec.json.decode(sys.stdin.read(), type=EngineOptions)
    try:
        Path(plan).write_bytes(backend.build(source, options))
        answer: dict[str, object] = {"bytes": Path(plan).stat().st_size}
    except HarnessError as error:
        answer = {"error": type(error).__name__, "message": str(error)}
    print(json.dumps(answer))  # noqa: T201
