"""Run in a process of its own: what a version of the bindings says of parts of its API.

``python describe.py FOLDER`` imports ``tensorrt_bindings`` from FOLDER, reads a JSON list of paths
from standard input, and writes for each path its documentation, and whether it can be assigned.

``python3.10 -m suites.contract.describe --whole > suites/contract/tensorrt-8.6.0.json`` writes the
signatures of all of an installed ``tensorrt``: a wheel of 8.5 or 8.6 is too large to fetch for a test.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import re
import sys
from collections.abc import Iterator
from typing import Any

SIGNATURE = re.compile(r"^(?:\d+\. )?\w+\(.*\) -> .*$", re.MULTILINE)


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


def paths(module: Any) -> Iterator[str]:
    """Everything of a module, and of the classes in it."""
    yield from ("__name__", "__version__")
    for name, found in sorted(vars(module).items()):
        if name.startswith("_"):
            continue
        yield name
        if isinstance(found, type):
            yield from (
                f"{name}.{part}" for part in sorted(vars(found)) if not part.startswith("_")
            )


def whole(module: Any) -> dict[str, Any]:
    """What it says of all paths, their signatures alone."""
    found = {path: describe(module, path) for path in paths(module)}
    return {
        path: said | {"doc": "\n".join(SIGNATURE.findall(said["doc"]))}
        for path, said in found.items()
        if said is not None
    }


def flags(module: Any) -> dict[str, int | None]:
    """What the backend's own functions make of this version's enums."""
    network = importlib.import_module("voxgate.backends.tensorrt_network")
    strong = getattr(module.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return {
        "network": network.network_flags(module),
        "strongly_typed": None if strong is None else int(strong),
    }


def profiled(module: Any) -> dict[str, int]:
    """What the backend's profiler, a class derived from this version's, makes of two inferences."""
    profiler = importlib.import_module("voxgate.backends.tensorrt_session")._profiler(module)
    for ms in (9.0, 1.5):
        profiler.report_layer_time("conv", ms)
        profiler.end_inference()
    times_ns: dict[str, int] = profiler.medians()
    return times_ns


def answer(module: Any, api: dict[str, Any]) -> str:
    """All of it, as JSON."""
    found = {
        "version": module.__version__, "flags": flags(module), "profiled": profiled(module), "api": api,
    }  # fmt: skip
    return json.dumps(found, indent=0)


if __name__ == "__main__":
    if sys.argv[1] == "--whole":
        sdk = importlib.import_module("tensorrt")
        print(answer(sdk, whole(sdk)))  # noqa: T201
    else:
        sys.path.insert(0, sys.argv[1])
        bindings = importlib.import_module("tensorrt_bindings")
        print(answer(bindings, {path: describe(bindings, path) for path in json.load(sys.stdin)}))  # noqa: T201
