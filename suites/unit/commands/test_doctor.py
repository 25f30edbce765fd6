"""What `voxgate doctor` says first, whether the GPU nightly can run, and what it leaves out."""

from __future__ import annotations

import importlib.util
import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from voxgate.cli import main
from voxgate.commands import doctor
from voxgate.commands.nightly import read_nightly
from voxgate.commands.options import make_config
from voxgate.commands.parser import build_parser
from voxgate.machine.nvml import Driver, Identity
from voxgate.models import names_of
from voxgate.records.runtime import Probe

GPU = Identity(name="Fake H100", uuid="GPU-1", memory_bytes=2**36, persistence=True)
DRIVER = Driver(version="580.1", cuda="13.0", gpus=(GPU,), first=GPU)
NO_DRIVER = Driver(reason="no NVIDIA driver (not loaded); install one, or use a CPU backend")
HERE = Probe(available=True, version="11.4", device="Fake H100", accelerator="GPU-1")
OTHER = "missing (pip install {}, or name a Python that has them: --python tensorrt=PATH)"
NOT_HERE = Probe(available=False, reason="TensorRT needs a CUDA GPU: no such luck.")


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The modules of the nightly that this interpreter is to have."""
    found: set[str] = set()
    find_spec = importlib.util.find_spec

    def spec(name: str) -> object:
        if name.partition(".")[0] not in {"tensorrt", "cuda"}:
            return find_spec(name)
        return object() if name in found else None

    monkeypatch.setattr(importlib.util, "find_spec", spec)
    return found


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], str]:
    """A Python that answers the question for its packages with a line, and is ours otherwise."""

    def make(answer: str) -> str:
        path = tmp_path / "python3"
        case = f"case \"$*\" in *json*) echo '{answer}'; exit;; esac"
        path.write_text(f'#!/bin/sh\n{case}\nexec "{sys.executable}" "$@"\n')
        path.chmod(0o755)
        return str(path)

    return make


# --- the nightly ---------------------------------------------------------------------------------


def test_the_nightly_runs_where_tensorrt_and_a_gpu_are() -> None:
    found = read_nightly(DRIVER, HERE, None)
    assert not found.lacking
    assert found.sentence == (
        'The GPU nightly, make bench ARGS="--backend tensorrt --models paper", can run here: '
        "TensorRT 11.4 on Fake H100."
    )


@pytest.mark.parametrize(
    ("modules", "driver", "lacking"),
    [
        (
            set(), NO_DRIVER,
            "no GPU: no NVIDIA driver (not loaded); TensorRT and cuda-bindings are " + OTHER.format("tensorrt-cu13 cuda-bindings"),
        ),
        ({"tensorrt", "cuda.bindings"}, NO_DRIVER, "no GPU: no NVIDIA driver (not loaded)"),
        (
            {"tensorrt"}, DRIVER,
            "cuda-bindings is " + OTHER.format("cuda-bindings"),
        ),
        ({"tensorrt", "cuda.bindings"}, DRIVER, "TensorRT needs a CUDA GPU: no such luck"),
    ],
)  # fmt: skip
def test_what_the_nightly_lacks_is_named(
    modules: set[str], driver: Driver, lacking: str, there: set[str]
) -> None:
    there |= modules
    found = read_nightly(driver, NOT_HERE, None)
    assert found.lacking == lacking
    assert found.sentence.endswith(f", cannot run here: {lacking}.")


def test_the_package_is_that_of_the_drivers_cuda(there: set[str]) -> None:
    assert not there
    found = read_nightly(Driver(version="570.1", cuda="12.8"), NOT_HERE, None)
    assert "(pip install tensorrt-cu12 cuda-bindings, or" in found.lacking


def test_another_interpreter_is_asked_and_is_in_the_command(
    there: set[str], script: Callable[[str], str]
) -> None:
    there |= {"tensorrt", "cuda.bindings"}
    python = script('{"missing": ["tensorrt"], "packages": {}, "builds": {}}')
    found = read_nightly(NO_DRIVER, NOT_HERE, python)
    assert found.command.endswith(f'--models paper --python tensorrt={python}"')
    assert found.lacking.startswith("no GPU: no NVIDIA driver (not loaded); ")
    assert f"{python} lacks tensorrt, which VoxGate's workers import" in found.lacking
    whole = script('{"missing": [], "packages": {}, "builds": {}}')
    assert read_nightly(NO_DRIVER, NOT_HERE, whole).lacking == "no GPU: no NVIDIA driver (not loaded)"  # fmt: skip


def test_the_nightlys_command_line_is_one() -> None:
    command = read_nightly(DRIVER, HERE, sys.executable).command
    make, target, arguments = shlex.split(command)
    assert (make, target) == ("make", "bench")
    words = shlex.split(arguments.removeprefix("ARGS="))
    config = make_config(build_parser().parse_args(["bench", *words]))
    assert config.models == names_of("paper")
    assert config.backends == ("tensorrt",)
    assert config.pythons == (("tensorrt", sys.executable),)


# --- the whole -----------------------------------------------------------------------------------


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch, there: set[str]) -> dict[str, Probe]:
    """What each backend answers; one that is not in here is missing."""
    assert not there
    answers: dict[str, Probe] = {}
    missing = Probe(available=False, reason="not installed")
    monkeypatch.setattr(doctor, "_probe", lambda name, _: answers.get(name, missing))
    monkeypatch.setattr(doctor, "read_driver", lambda *_: NO_DRIVER)
    return answers


def test_it_begins_with_what_runs(
    probes: dict[str, Probe], capsys: pytest.CaptureFixture[str]
) -> None:
    probes["openvino"] = Probe(available=True, version="1", device="a CPU")
    assert main(["doctor"]) == 0
    first, second, machine, *_ = capsys.readouterr().out.splitlines()
    assert first == "INT8 works here with OpenVINO; GPU: none."
    assert second.startswith("The GPU nightly, ")
    assert ", cannot run here: no GPU: " in second
    assert "GiB; " in machine


def test_what_nobody_asked_for_is_said_on_request(
    probes: dict[str, Probe], capsys: pytest.CaptureFixture[str]
) -> None:
    probes["openvino"] = Probe(available=True, version="1", device="a CPU")
    main(["doctor"])
    short = capsys.readouterr().out
    assert "not here" not in short
    assert short.endswith("Why the rest does not run here: voxgate doctor --all\n")
    main(["doctor", "--all"])
    whole = capsys.readouterr().out
    assert "not here: onnxruntime at all: not installed" in whole
    assert "not here: openvino fp16: " in whole


def test_without_int8_it_says_so_and_fails(
    probes: dict[str, Probe], capsys: pytest.CaptureFixture[str]
) -> None:
    probes["pytorch"] = Probe(available=True, version="2", device="CPU")
    assert main(["doctor"]) == 4
    assert capsys.readouterr().out.startswith("INT8 works here with no backend; GPU: none.\n")


def test_int8_with_half_precision_is_int8(
    probes: dict[str, Probe], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "read_driver", lambda *_: DRIVER)
    probes["openvino"] = Probe(available=True, version="1", device="a CPU")
    probes["tensorrt"] = Probe(
        available=True, version="11.4", device="Fake H100", refused={"int8": "slow"}
    )
    assert main(["doctor"]) == 0
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first == "INT8 works here with OpenVINO and TensorRT; GPU: Fake H100."
    assert second.endswith(", can run here: TensorRT 11.4 on Fake H100.")


@pytest.mark.parametrize(("cores", "words"), [(1, ", 1 core, "), (2, ", 2 cores, ")])
def test_one_core_is_one_core(
    cores: int,
    words: str,
    probes: dict[str, Probe],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert not probes
    monkeypatch.setattr("voxgate.machine.environment.usable_cores", lambda: cores)
    main(["doctor"])
    assert words in capsys.readouterr().out


def test_programs_learn_the_same(
    probes: dict[str, Probe], capsys: pytest.CaptureFixture[str]
) -> None:
    probes["openvino"] = Probe(available=True, version="1", device="a CPU")
    main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["summary"] == "INT8 works here with OpenVINO; GPU: none."
    assert found["nightly"]["runs_here"] is False
    assert found["nightly"]["command"].startswith("make bench ARGS=")
    assert "no GPU: " in found["nightly"]["lacking"]
    assert found["backends"]["openvino"]["available"]
