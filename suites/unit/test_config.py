"""A configuration is checked before any work: every name, every number."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, cast

import pytest
from voxgate import backends, datasets, models, quantizers
from voxgate.config import RunConfig, default_record_path, split_models, split_names
from voxgate.datasets.phantom import Phantom
from voxgate.errors import EXIT_USAGE, UsageError
from voxgate.records.case import PRECISIONS, CaseId, Precision


def _refused(**changes: Any) -> str:
    """The message with which a changed default configuration is refused."""
    with pytest.raises(UsageError) as caught:
        replace(RunConfig(), **changes).check()
    assert caught.value.exit_code == EXIT_USAGE == 2
    return str(caught.value)


def test_default_configuration_is_sound() -> None:
    config = RunConfig()
    assert config.check() is config
    smaller = {"unest-small", "nnunet-small", "swinunetr-24", "segresnet-24", "vista3d-16"}
    assert {str(case) for case in config.cases()} == {
        f"{model}/mni152/openvino/{precision}"
        for model in {"unet", "transunet", "stunet-s"} | smaller
        for precision in ("fp32", "fake-int8", "int8")
    }


@pytest.mark.parametrize(
    ("option", "value", "kind", "guess", "choices"),
    [
        ("models", ("unett",), "model", "unet", sorted(models.MODELS)),
        ("classes", "papr", "class set", "paper", ["paper", "task"]),
        ("task", "mni", "task", "mni152", sorted(datasets.TASKS)),
        ("backends", ("openvin",), "backend", "openvino", sorted(backends.BACKENDS)),
        ("precisions", ("int-8",), "precision", "int8", sorted(PRECISIONS)),
        ("quantizer", "nnfc", "quantizer", "nncf", sorted(quantizers.QUANTIZERS)),
        (
            "calibration_method",
            "minmax",
            "calibration method of nncf",
            "min-max",
            ["max", "min-max", "percentile"],
        ),
    ],
)
def test_unknown_name_lists_the_choices_and_guesses(
    option: str, value: object, kind: str, guess: str, choices: list[str]
) -> None:
    message = _refused(**{option: value})
    name = value[0] if isinstance(value, tuple) else value
    assert message.startswith(f"unknown {kind} {name!r}.")
    assert f"Did you mean {guess!r}?" in message
    assert message.endswith(f"Choose from: {', '.join(choices)}.")


@pytest.mark.parametrize("option", ["models", "backends", "precisions"])
def test_unknown_name_after_a_known_one_is_found(option: str) -> None:
    known = {"models": "unet", "backends": "openvino", "precisions": "int8"}[option]
    assert "'zzz'" in _refused(**{option: (known, "zzz")})


def test_name_like_no_other_gets_no_guess() -> None:
    message = _refused(task="zzz")
    assert "Did you mean" not in message
    assert "Choose from: " in message


@pytest.mark.parametrize(
    ("option", "names"),
    [
        ("models", ("unet", "unet")),
        ("backends", ("openvino", "fake", "openvino")),
        ("precisions", ("int8", "fp32", "int8")),
    ],
)
def test_name_given_twice_is_refused(option: str, names: tuple[str, ...]) -> None:
    assert _refused(**{option: names}).startswith(f"the {option} name {names[0]} twice: ")


@pytest.mark.parametrize("option", ["models", "backends"])
def test_empty_selection_is_refused(option: str) -> None:
    assert "at least one model and one backend" in _refused(**{option: ()})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("threads", -1), ("launches", 0), ("launches", -3), ("warmups", 0), ("min_samples", 0),
        ("max_samples", 0), ("seconds_per_launch", -0.1), ("time_limit_s", 0.5),
        ("seconds_per_launch", math.nan), ("seconds_per_launch", math.inf),
        ("time_limit_s", math.nan), ("time_limit_s", math.inf), ("time_limit_s", -math.inf),
    ],
)  # fmt: skip
def test_number_out_of_range_is_named(option: str, value: float) -> None:
    assert _refused(**{option: value}).startswith(f"{option} is {value}")


@pytest.mark.parametrize("value", [0, -1])
def test_memory_limit_must_be_positive(value: int) -> None:
    assert f"memory_limit_bytes is {value}; it must be" in _refused(memory_limit_bytes=value)
    assert f"workspace_bytes is {value}; it must be" in _refused(workspace_bytes=value)


@pytest.mark.parametrize(
    "changes",
    [
        {"threads": 0}, {"launches": 1}, {"warmups": 1}, {"min_samples": 1}, {"max_samples": 5},
        {"seconds_per_launch": 0}, {"time_limit_s": 1}, {"memory_limit_bytes": 1},
        {"min_samples": 7, "max_samples": 7},
    ],
)  # fmt: skip
def test_lowest_numbers_are_accepted(changes: dict[str, Any]) -> None:
    config = replace(RunConfig(), **changes)
    assert config.check() is config


def test_quantizer_whose_format_a_backend_cannot_read_is_refused() -> None:
    message = _refused(backends=("onnxruntime",), quantizer="nncf")
    assert message == (
        "ONNX Runtime cannot read what NNCF writes (openvino-ir); use --quantizer modelopt"
    )


def test_one_backend_that_cannot_read_the_format_is_enough() -> None:
    assert "ONNX Runtime" in _refused(backends=("openvino", "onnxruntime"), quantizer="nncf")


@pytest.mark.parametrize(
    ("names", "quantizer", "method"),
    [
        (("openvino",), "modelopt", ""),
        (("openvino",), "modelopt", "entropy"),
        (("openvino",), "nncf", "min-max"),
        (("openvino", "onnxruntime"), "", ""),
        (("openvino", "onnxruntime"), "modelopt", "max"),
        (("onnxruntime",), "", "entropy"),
        (("pytorch",), "nncf", ""),
        (("fake", "pytorch"), "", ""),
    ],
)
def test_quantizers_that_fit_are_accepted(
    names: tuple[str, ...], quantizer: str, method: str
) -> None:
    config = RunConfig(backends=names, quantizer=quantizer, calibration_method=method)
    assert config.check() is config


def test_calibration_method_must_fit_every_default_quantizer() -> None:
    message = _refused(backends=("openvino", "onnxruntime"), calibration_method="entropy")
    assert "calibration method of nncf 'entropy'" in message


@pytest.mark.parametrize("method", ["percentile", "mse", "min-max"])
def test_method_that_modelopt_would_not_run_is_refused(method: str) -> None:
    message = _refused(quantizer="modelopt", calibration_method=method)
    assert "Choose from: entropy, max." in message


def test_method_of_no_quantizer_is_refused_without_a_quantizing_backend_too() -> None:
    assert "'bogus'" in _refused(backends=("pytorch",), calibration_method="bogus")


def test_patches_that_a_model_cannot_halve_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = Phantom(name="odd", organs=3, size=40, evaluation_count=1)
    monkeypatch.setitem(datasets.TASKS, "odd", odd)
    assert _refused(task="odd") == ("unet cannot take 40x40x40: each side must be a multiple of 16")
    fits = replace(RunConfig(), task="odd", models=("segresnet",))
    assert fits.check() is fits
    message = _refused(task="odd", models=("segresnet", "stunet-s"))
    assert message == "stunet-s cannot take 40x40x40: each side must be a multiple of 32"


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("transunet", "its positions are learned for 96x96x96 alone"),
        ("swinunetr", "one voxel at the lowest resolution; one side must be at least 64"),
    ],
)
def test_patches_that_are_too_small_for_a_model_are_refused(model: str, words: str) -> None:
    message = _refused(task="phantom-mini", models=("unet", model))
    assert message.startswith(f"{model} cannot take 32x32x32: ")
    assert message.endswith(words)


def test_cases_are_ordered_by_model_backend_and_precision() -> None:
    config = RunConfig(
        models=("m2", "m1"), task="t", backends=("b2", "b1"), precisions=("int8", "fp32")
    )
    assert [str(case) for case in config.cases()] == [
        "m2/t/b2/int8", "m2/t/b2/fp32", "m2/t/b1/int8", "m2/t/b1/fp32",
        "m1/t/b2/int8", "m1/t/b2/fp32", "m1/t/b1/int8", "m1/t/b1/fp32",
    ]  # fmt: skip


def test_each_backend_has_its_own_default_precisions() -> None:
    config = RunConfig(models=("unet",), backends=("pytorch", "onnxruntime", "openvino"))
    assert config.cases() == tuple(
        CaseId(model="unet", task="mni152", backend=backend, precision=cast("Precision", precision))
        for backend, precision in (
            ("pytorch", "fp32"),
            ("onnxruntime", "fp32"),
            ("onnxruntime", "fake-int8"),
            ("openvino", "fp32"),
            ("openvino", "fake-int8"),
            ("openvino", "int8"),
        )
    )


def test_threads_default_to_every_usable_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voxgate.config.usable_cores", lambda: 6)
    assert RunConfig().thread_count == 6
    assert RunConfig(threads=2).thread_count == 2


def test_cache_folder_defaults_to_the_users(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VOXGATE_CACHE", str(tmp_path / "chosen"))
    assert RunConfig().cache_root == tmp_path / "chosen"
    assert RunConfig(cache_dir=tmp_path).cache_root == tmp_path


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ()), (",", ()), ("a", ("a",)), ("a,b", ("a", "b")), (" a , b,", ("a", "b")),
        ("b,a,b", ("b", "a", "b")),
    ],
)  # fmt: skip
def test_names_are_split_at_commas(text: str, names: tuple[str, ...]) -> None:
    assert split_names(text) == names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("default", models.MODEL_SETS["default"]),
        (" stunet-h , unet", ("stunet-h", "unet")),
        ("", ()),
        # What two names stand for is taken once, in the order of the names.
        ("paper,unet", models.MODEL_SETS["paper"]),
        ("vista3d,paper", ("vista3d", *models.MODEL_SETS["paper"][:6], "stunet-s")),
        (
            "paper,default",
            (
                *models.MODEL_SETS["paper"], "unest-small", "nnunet-small", "swinunetr-24",
                "segresnet-24", "vista3d-16",
            ),
        ),
    ],
)  # fmt: skip
def test_a_set_stands_for_its_models(text: str, names: tuple[str, ...]) -> None:
    assert split_models(text) == names


@pytest.mark.parametrize("text", ["unet,unet", "paper,paper", "paper,unet,unet"])
def test_a_name_that_is_written_twice_is_refused(text: str) -> None:
    assert "the models name unet" in _refused(models=split_models(text))


def test_each_set_can_run() -> None:
    for name in models.MODEL_SETS:
        config = RunConfig(models=split_models(name))
        assert config.check() is config
        assert len(config.models) == 8


def test_the_papers_set_has_the_papers_sizes_and_class_counts() -> None:
    config = RunConfig(models=split_models("paper"), classes="paper")
    assert config.check() is config
    assert all(models.get(name).paper_parameters for name in config.models)


@pytest.mark.parametrize(("name", "guess"), [("papr", "paper"), ("unett", "unet"), ("zzz", "")])
def test_unknown_model_lists_the_sets_too(name: str, guess: str) -> None:
    with pytest.raises(UsageError) as caught:
        split_models(f"unet,{name}")
    message = str(caught.value)
    assert message.startswith(f"unknown model {name!r}.")
    assert (f"Did you mean {guess!r}?" in message) == bool(guess)
    assert message.endswith(f"{', '.join(sorted(models.MODELS))}; sets of them: default, paper.")


def test_record_is_named_after_the_time() -> None:
    now = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    assert default_record_path(now) == Path("records/20260304T050607.000000Z.json")


def test_record_is_named_after_universal_time() -> None:
    now = datetime(2026, 3, 4, 1, 6, 7, tzinfo=timezone(timedelta(hours=2)))
    assert default_record_path(now) == Path("records/20260303T230607.000000Z.json")
