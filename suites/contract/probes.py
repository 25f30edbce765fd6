"""Asks a TensorRT on a GPU which patterns it computes in int8, and what it refuses.

    python -m suites.contract.probes write FOLDER
    python -m suites.contract.probes ask FOLDER OUT.json [--python PATH]
    python -m suites.contract.probes keep OUT.json

The graphs are written by a Python with onnx. Each is built in a process of its own, by the Python at
PATH, which needs TensorRT, NumPy and NVIDIA's cuda-bindings: a builder that dies takes no other probe
with it. ``keep`` writes the answers into the table of `voxgate.quantizers.tensorrt_patterns`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_TABLE = Path(__file__).parents[2] / "harness" / "voxgate" / "quantizers" / "tensorrt_patterns.json"
_PRECISIONS = ("int8", "int8-fp16")
_QUESTIONS = "questions.json"
_SECONDS = 300
_SHOWN = 400
# The nodes that a probe asks about; see probe_graphs.
_ASKED = ("c1", "c2", "c3", "t1", "m1", "m2")


def write(folder: Path) -> None:
    """Write the graphs, and what each one asks."""
    from suites.contract.probe_graphs import write_all

    (folder / _QUESTIONS).write_text(json.dumps(write_all(folder), indent=1))


def ask(folder: Path, python: str, precisions: Sequence[str] = _PRECISIONS) -> dict[str, Any]:
    """Every answer by graph and precision, and the version that gave them."""
    answers: dict[str, Any] = {}
    versions: set[str] = set()
    for path in sorted(folder.glob("*.onnx")):
        for precision in precisions:
            answer = _ask_one(path, python, precision)
            versions.add(answer.pop("version", ""))
            answers.setdefault(path.stem, {})[precision] = answer
    return {"versions": sorted(versions - {""}), "patterns": answers}


def _ask_one(path: Path, python: str, precision: str) -> dict[str, Any]:
    command = [python, "-m", "suites.contract.probes", "build", str(path), precision]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=False,
            env=dict(os.environ), stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"refused": f"it did not end in {_SECONDS} s"}
    if done.returncode != 0:
        return {"refused": f"exit code {done.returncode}: {done.stderr.strip()[-_SHOWN:]}"}
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def build(path: Path, precision: Any) -> dict[str, Any]:
    """The answer of this process's TensorRT: the arithmetic of each node, or why it refused."""
    from voxgate import backends
    from voxgate.errors import HarnessError
    from voxgate.records.runtime import EngineOptions

    backend = backends.load("tensorrt")
    version = backend.probe().version
    options = EngineOptions(precision=precision, threads=1, model="", task="", classes=0)
    try:
        engine = backend.build(str(path), options)
        session = backend.load(engine, options)
    except HarnessError as error:
        return {"version": version, "refused": str(error)[-_SHOWN:]}
    layers = session.layers() or ()
    found = {
        name: {"arithmetic": layer.arithmetic, "kernel": layer.detail}
        for layer in layers
        for name in _ASKED
        if {name, f"{name}.out"} & set(layer.sources)
    }
    return {"version": version, "nodes": found}


def as_table(found: dict[str, Any]) -> dict[str, Any]:
    """Answers as the table has them: the arithmetic of each node, or the words of a refusal."""
    return {
        pattern: {
            precision: answer["refused"]
            if "refused" in answer
            else {node: facts["arithmetic"] for node, facts in answer["nodes"].items()}
            for precision, answer in answers.items()
        }
        for pattern, answers in found["patterns"].items()
    }


def keep(found: dict[str, Any], path: Path) -> None:
    """Put the answers of one version into a table, in the place of what that version had."""
    (version,) = found["versions"]
    table = json.loads(path.read_text())
    table[version] = as_table(found)
    path.write_text(json.dumps(dict(sorted(table.items())), indent=1) + "\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("write").add_argument("folder", type=Path)
    asking = commands.add_parser("ask")
    asking.add_argument("folder", type=Path)
    asking.add_argument("out", type=Path)
    asking.add_argument("--python", default=sys.executable)
    commands.add_parser("keep").add_argument("found", type=Path)
    one = commands.add_parser("build")
    one.add_argument("path", type=Path)
    one.add_argument("precision")
    given = parser.parse_args(arguments)
    if given.command == "write":
        given.folder.mkdir(parents=True, exist_ok=True)
        write(given.folder)
    elif given.command == "keep":
        keep(json.loads(given.found.read_text()), _TABLE)
    elif given.command == "ask":
        given.out.write_text(json.dumps(ask(given.folder, given.python), indent=1))
    else:
        sys.stdout.write(json.dumps(build(given.path, given.precision)) + "\n")


if __name__ == "__main__":
    main()
