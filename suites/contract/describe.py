"""Run in a process of its own: what a version of the bindings says of parts of its API.

``python describe.py FOLDER`` imports ``tensorrt_bindings`` from FOLDER, reads a JSON list of paths
from standard input, and writes for each path its documentation, and whether it can be assigned.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import sys
from typing import Any


def describe(module: Any, path: str) -> dict[str, Any] | None:
    """None where the version has no such thing."""
    try:
        found = functools.reduce(getattr, path.split("."), module)
    except AttributeError:
        return None
    assignable = isinstance(found, property) and found.fset is not None
    return {"doc": _documentation(found), "assignable": assignable}


def _documentation(found: Any) -> str:
    """With the signature, which pybind11 writes into it and Python keeps apart."""
    if inspect.isfunction(found):
        return f"{found.__name__}{inspect.signature(found)} -> object"
    return str(
        vars(found).get("__init__", found).__doc__ if isinstance(found, type) else found.__doc__
    )


def flags(module: Any) -> dict[str, int]:
    """What the backend's own functions make of this version's enums."""
    network = importlib.import_module("harness.backends.tensorrt_network")
    return {
        "network": network.network_flags(module),
        "strongly_typed": int(module.NetworkDefinitionCreationFlag.STRONGLY_TYPED),
    }


def profiled(module: Any) -> dict[str, int]:
    """What the backend's profiler, a class derived from this version's, makes of two inferences."""
    profiler = importlib.import_module("harness.backends.tensorrt_session")._profiler(module)
    for ms in (9.0, 1.5):
        profiler.report_layer_time("conv", ms)
        profiler.end_inference()
    times_ns: dict[str, int] = profiler.medians()
    return times_ns


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    bindings = importlib.import_module("tensorrt_bindings")
    answer = {
        "version": bindings.__version__,
        "api": {path: describe(bindings, path) for path in json.load(sys.stdin)},
        "flags": flags(bindings),
        "profiled": profiled(bindings),
    }
    print(json.dumps(answer))  # noqa: T201
