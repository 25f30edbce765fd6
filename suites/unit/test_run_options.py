"""Run options: what a command cannot use it refuses, and a printed command line says all that was chosen."""

from __future__ import annotations

import ast
import shlex
from dataclasses import fields, replace
from pathlib import Path

import pytest
import voxgate
from hypothesis import given, settings
from hypothesis import strategies as st
from voxgate import models
from voxgate.cli import main
from voxgate.commands.parser import COMMANDS, build_parser
from voxgate.config import RunConfig
from voxgate.config.options import RUN_OPTIONS, command_line, config_of, flag_of
from voxgate.datasets import TASKS
from voxgate.records import file
from voxgate.records.case import PRECISIONS
from voxgate.runs.layer_budget import command_of
from voxgate.verdicts import alternating

from suites.support import report_records

REPOSITORY = Path(voxgate.__file__).parents[2]
TYPED = {
    "models": "nosuch", "task": "mni152", "classes": "task", "backend": "openvino",
    "precisions": "int8", "python": "openvino=x", "quantizer": "bogus", "calibration": "max",
    "calibration_patches": "0", "calibration_seed": "0", "calibration_data": "x",
    "float_layers": "a", "surface_tolerance": "1", "threads": "0", "launches": "-5",
    "warmups": "2", "min_samples": "4", "max_samples": "50", "seconds": "2", "time_limit": "1800",
    "memory_limit": "1", "workspace": "1", "cache_dir": "x", "checkpoint_dir": "x",
}  # fmt: skip


def typed(name: str) -> list[str]:
    """An option on a command line; many with the value that they have by default."""
    return [flag_of(name), *([TYPED[name]] if name in TYPED else [])]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    monkeypatch.chdir(tmp_path)
    for name in ("a.json", "b.json"):
        file.write(tmp_path / name, report_records.eight_networks())
    return "a.json", "b.json"


# --- what cannot be used is refused -------------------------------------------------------------------


@pytest.mark.parametrize("name", RUN_OPTIONS)
def test_two_records_are_compared_as_they_are(
    files: tuple[str, str], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *files, *typed(name)]) == 2
    assert f"{flag_of(name)} cannot be used with two records" in capsys.readouterr().err


def test_every_option_that_cannot_be_used_is_named(
    files: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--models=nosuch", "--launches=-5", "--quantizer=bogus"]
    assert main(["compare", *files, *options]) == 2
    assert "--models, --quantizer, --launches cannot be used" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (["scales", "unet"], ["models", "precisions", "launches", "seconds", "cuda_graph"]),
        (
            ["inspect", "unet/phantom-mini/fake/int8"],
            ["models", "task", "backend", "precisions", "launches", "surface_metrics"],
        ),
        (["sensitivity", "unet"], ["models", "surface_metrics", "surface_tolerance"]),
    ],
    ids=lambda words: words[0],
)
def test_what_a_command_would_overwrite_or_ignore_is_refused(
    command: list[str],
    options: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("VOXGATE_CACHE", str(tmp_path))
    for name in options:
        assert main([*command, *typed(name)]) == 2
        assert flag_of(name) in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_an_engine_is_inspected_as_it_was_built(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = ["--cache-dir", str(tmp_path)]
    assert main(["inspect", "unet/phantom-mini/fake/int8", "--threads", "1", *cache]) == 0
    (engine,) = tmp_path.glob("engine/*/engine.bin")
    assert main(["inspect", str(engine), *cache]) == 0
    for name in ("threads", "classes", "quantizer", "calibration_patches", "workspace"):
        capsys.readouterr()
        assert main(["inspect", str(engine), *typed(name), *cache]) == 2
        assert f"{flag_of(name)} cannot be used with an engine file" in capsys.readouterr().err


def test_inspect_takes_layers_in_float(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It has the one model that they belong to, whatever is selected by default."""
    command = ["inspect", "unet/phantom-mini/openvino/fp32", "--cache-dir", str(tmp_path)]
    assert main([*command, "--float-layers", "a"]) == 2
    assert "no selected case is quantized" in capsys.readouterr().err


def test_the_launches_of_a_comparison_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def stop(config: RunConfig, *_: object) -> None:
        asked.append(config.launches)
        raise KeyboardInterrupt

    monkeypatch.setattr("voxgate.verdicts.interpreters.compare_interpreters", stop)
    command = ["compare", "--python-a", "a", "--python-b", "b"]
    assert [main(command), main([*command, "--launches", "2"])] == [130, 130]
    assert asked == [alternating.LAUNCHES, 2]


# --- abbreviations -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        ["bench", "--model", "unet"],
        ["compare", "--python", "a", "--python-b", "b", "--launch", "2"],
        ["trend", "--jso"],
        ["--versio"],
    ],
)
def test_an_abbreviation_is_no_option(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command) == 2
    assert "usage:" in capsys.readouterr().err


def test_no_parser_takes_abbreviations() -> None:
    calls = [
        call
        for folder in ("harness", "benchmarks")
        for path in (REPOSITORY / folder).rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call)
        and ast.unparse(call.func).endswith(("ArgumentParser", "add_parser"))
    ]
    assert len(calls) > 5
    for call in calls:
        assert "allow_abbrev=False" in ast.unparse(call)


# --- a command line from a configuration ---------------------------------------------------------------


WORDS = st.text(min_size=1).map(str.strip).filter(lambda word: word and "," not in word)
NAMES = st.lists(WORDS, unique=True, max_size=3).map(tuple)
NUMBERS = st.integers(min_value=0, max_value=10**6)
SECONDS = st.floats(min_value=0, allow_infinity=False)
BYTES = st.none() | st.integers(min_value=1, max_value=2**50)
PATHS = st.none() | WORDS.filter(lambda word: "\0" not in word).map(Path)
CONFIGS = st.builds(
    RunConfig,
    models=st.lists(st.sampled_from(sorted(models.MODELS)), unique=True).map(tuple),
    task=st.sampled_from(sorted(TASKS)),
    classes=st.sampled_from(["task", "paper"]),
    backends=NAMES,
    precisions=st.lists(st.sampled_from(PRECISIONS), unique=True).map(tuple),
    quantizer=WORDS | st.just(""),
    calibration_method=WORDS | st.just(""),
    calibration_patches=NUMBERS,
    calibration_seed=NUMBERS,
    calibration_data=PATHS,
    float_layers=NAMES,
    pythons=st.lists(st.tuples(st.sampled_from(["tensorrt", "fake"]), WORDS)).map(tuple),
    threads=NUMBERS,
    launches=NUMBERS,
    warmups=NUMBERS,
    min_samples=NUMBERS,
    max_samples=NUMBERS,
    seconds_per_launch=SECONDS,
    time_limit_s=SECONDS,
    memory_limit_bytes=BYTES,
    workspace_bytes=BYTES,
    cuda_graph=st.booleans(),
    cache_dir=PATHS,
    checkpoint_dir=PATHS,
    surface_metrics=st.booleans(),
    surface_tolerance_mm=SECONDS,
)


def read_back(command: str) -> RunConfig:
    program, *words = shlex.split(command)
    assert program == "voxgate"
    return config_of(build_parser().parse_args(words))


@settings(deadline=None)
@given(CONFIGS)
def test_a_printed_command_line_is_the_configuration(config: RunConfig) -> None:
    assert read_back(command_line(config)) == config


def test_every_field_that_somebody_sets_has_an_option() -> None:
    named = [option.field for option in RUN_OPTIONS.values()]
    assert len(named) == len(set(named))
    # A command has its own place for the record, and nobody types where an option came from.
    assert set(named) == {field.name for field in fields(RunConfig)} - {"record", "set_by"}


def test_what_repeats_a_budget_has_its_calibration_and_not_its_record() -> None:
    config = RunConfig(
        models=("unet",), calibration_patches=8, calibration_seed=3, record=Path("s.json")
    )
    command = command_of(config, "int8", ("conv_1", "conv_2"))
    assert command == (
        "voxgate bench --models unet --precisions int8 --calibration-patches 8 "
        "--calibration-seed 3 --float-layers conv_1,conv_2"
    )
    again = read_back(command)
    assert again == replace(
        config, precisions=("int8",), float_layers=("conv_1", "conv_2"), record=None
    )


def test_defaults_need_no_word() -> None:
    assert command_line(RunConfig()) == "voxgate bench"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_can_be_printed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert f"voxgate {name}" in capsys.readouterr().out
