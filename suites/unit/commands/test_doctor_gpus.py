"""What `voxgate doctor` says of GPUs and TensorRT."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import sys
from typing import Any

import pytest
from voxgate.cli import main
from voxgate.commands import doctor
from voxgate.commands.gpus import gpu_lines, tensorrt_advice
from voxgate.machine.nvml import Driver
from voxgate.records.runtime import Probe

from suites.support.fake_nvml import MIB, FakeNvml


@pytest.fixture(autouse=True)
def _no_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_probe", lambda *_: Probe(available=False, reason="not asked"))


@pytest.fixture
def tensorrt(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """TensorRT's installed distributions; empty means that it is not there."""
    installed: dict[str, str] = {}
    find_spec, version = importlib.util.find_spec, importlib.metadata.version

    def spec(name: str) -> Any:
        if name != "tensorrt":
            return find_spec(name)
        return object() if installed else None

    def installed_version(name: str) -> str:
        if not name.startswith("tensorrt"):
            return version(name)
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(importlib.util, "find_spec", spec)
    monkeypatch.setattr(importlib.metadata, "version", installed_version)
    return installed


def text(driver: Driver) -> str:
    return "\n".join(gpu_lines(driver))


def test_gpus_are_listed_for_people(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tensorrt: dict[str, str]
) -> None:
    assert not tensorrt
    FakeNvml(processes=[(os.getpid(), MIB)]).install(monkeypatch)
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # else the first could be either
    main(["doctor"])
    printed = capsys.readouterr().out
    assert "NVIDIA driver 580.1, CUDA 13.2" in printed
    assert "Fake 0, 8 GiB, persistence mode on, the one that runs engines" in printed
    assert "Fake 1, 8 GiB, persistence mode off\n" in printed
    assert "process ids are those of this system: yes" in printed
    assert "TensorRT is missing: pip install tensorrt-cu13" in printed
    assert printed.startswith("INT8 works here with no backend; GPU: Fake 0 and 1 more.\n")


def test_gpus_are_listed_for_programs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tensorrt: dict[str, str]
) -> None:
    tensorrt["tensorrt-cu13"] = "10.14"
    FakeNvml().install(monkeypatch)
    main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (found["nvml"], found["driver"], found["cuda"]) == (True, "580.1", "13.2")
    assert [gpu["memory_bytes"] for gpu in found["gpus"]] == [8192 * MIB] * 2
    assert found["pids_visible"] is None
    assert found["tensorrt"] == {"tensorrt-cu13": "10.14"}
    assert (found["tensorrt_found"], found["tensorrt_advice"]) == (True, "")


def test_without_the_module_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tensorrt: dict[str, str]
) -> None:
    assert not tensorrt
    monkeypatch.setitem(sys.modules, "pynvml", None)
    main(["doctor"])
    printed = capsys.readouterr().out
    assert printed.startswith("INT8 works here with no backend; GPU: none.\n")
    assert "cannot run here: no GPU: the module pynvml is missing; TensorRT and" in printed
    assert "persistence mode" not in printed
    main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (found["nvml"], found["gpus"], found["gpu"]) == (False, [], None)


def test_pids_of_another_system_are_said_to_be(tensorrt: dict[str, str]) -> None:
    assert not tensorrt
    driver = Driver(version="580.1", cuda="13.2", pids_visible=False)
    assert "process ids are those of this system: no" in text(driver)
    assert "unknown" in text(Driver(version="580.1", cuda="13.2"))


@pytest.mark.parametrize(
    ("cuda", "installed", "words"),
    [
        ("12.8", "", "pip install tensorrt-cu12"),
        ("13.0", "", "pip install tensorrt-cu13"),
        ("11.4", "", "no package for CUDA 11.4; update the driver"),
        ("12.8", "tensorrt-cu13", "newer CUDA than the driver's 12.8: pip install tensorrt-cu12"),
        ("12.8", "tensorrt-cu12", ""),
        ("13.0", "tensorrt-cu12", ""),
        ("13.0", "tensorrt", ""),
        ("14.1", "", "pip install tensorrt-cu13"),
        ("14.1", "tensorrt-cu13", ""),
    ],
)
def test_the_package_of_the_drivers_cuda_is_named(
    tensorrt: dict[str, str], cuda: str, installed: str, words: str
) -> None:
    if installed:
        tensorrt[installed] = "10.14"
    advice = tensorrt_advice(Driver(version="580.1", cuda=cuda))
    assert (words in advice) if words else not advice
