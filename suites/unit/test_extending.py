"""docs/extending.md is true: its blocks are put into a copy of the package, and the copy does what they add."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from suites.support.extended_package import AFTER, NEW, copied, sections

# How many files may be touched for each, a network's checkpoint and a backend's contract test left out.
MOST = {"A network": 2, "A task": 2, "A backend": 2, "A quantizer": 2, "An option": 2}


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a package with everything that the page adds."""
    return copied(tmp_path_factory.mktemp("extended"))


def python(folder: Path, *words: str, code: int = 0) -> str:
    """What Python prints that has the extended package, in workers too, from a folder of its own."""
    done = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", *words],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def test_each_touches_no_more_files_than_promised() -> None:
    touched = {
        title: len({where.removeprefix(NEW).partition(AFTER)[0] for where, _ in blocks})
        for title, blocks in sections().items()
    }
    assert touched == MOST


def test_the_network_the_task_the_backend_and_the_option_are_measured(extended: Path) -> None:
    words = ("--models", "toynet", "--task", "toytask", "--backend", "toyruntime")
    few = ("--launches", "1", "--min-samples", "4", "--max-samples", "4", "--seconds", "0")
    places = ("--record", "record.json", "--cache-dir", "cache", "--toy-dose", "3")
    python(extended, "-m", "voxgate", "bench", *words, *few, *places)
    record = json.loads((extended / "record.json").read_text())
    assert [(c["model"], c["task"], c["backend"], c["precision"]) for c in record["cases"]] == [
        ("toynet", "toytask", "toyruntime", precision) for precision in ("fp32", "int8")
    ]
    assert {case["status"] for case in record["cases"]} == {"ok"}
    assert record["cases"][1]["certificate"]["granted"]
    assert record["cases"][1]["dice"]["per_class"].keys() == {"organ-1", "organ-2"}
    assert record["config"]["set_by"]["toy-dose"] == "command line"


def test_a_file_sets_the_option_and_the_command_line_repeats_it(extended: Path) -> None:
    settings = extended / "voxgate.toml"
    settings.write_text("toy-dose = 'much'")
    told = python(extended, "-m", "voxgate", "bench", "--models", "toynet", code=2)
    settings.unlink()
    assert "toy-dose is 'much'; it must be a whole number" in told
    script = (
        "from voxgate.config import RunConfig; from voxgate.config.options import command_line\n"
        "print(command_line(RunConfig(models=('toynet',), toy_dose=3)))"
    )
    assert python(extended, "-c", script) == "voxgate bench --toy-dose 3 --models toynet\n"


def test_the_network_has_the_parameters_that_its_entry_says(extended: Path) -> None:
    script = (
        "from voxgate import models; spec = models.get('toynet')\n"
        "print(sum(p.numel() for p in spec.build(1, 3).parameters()), spec.parameters)"
    )
    built, said = python(extended, "-c", script).split()
    assert built == said


def test_the_quantizer_has_its_methods_alone(extended: Path) -> None:
    script = (
        "from voxgate import quantizers; spec = quantizers.get('toyquantizer')\n"
        "print(spec.check_method(''), callable(quantizers.load('toyquantizer').quantize))"
    )
    assert python(extended, "-c", script).split() == ["max", "True"]
    found = python(extended, "-m", "voxgate", "bench", "--quantizer", "toyquantizer",
                   "--calibration", "entropy", code=2)  # fmt: skip
    assert "entropy" in found
