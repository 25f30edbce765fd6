"""`voxgate sensitivity` on a network whose layers are known: ranking, budget, resuming, refusals."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from voxgate.artifacts.progress import Silent
from voxgate.backends import BACKENDS
from voxgate.cli import main
from voxgate.config import RunConfig
from voxgate.errors import QuantizationError, UnavailableError, UsageError
from voxgate.records import file
from voxgate.records.runtime import Probe
from voxgate.records.sensitivity import SensitivityRecord
from voxgate.report.markdown import markdown_of
from voxgate.runs import sensitivity
from voxgate.runs.sensitivity import SensitivityConfig, analyse, precisions

from suites.support import graded_network, report_records, sensitivity_records
from suites.support.graded_network import Asked

for needed in ("openvino", "onnx"):
    pytest.importorskip(needed, reason=f"{needed} is not installed")


class Counting(Silent):
    """Counts the steps that were announced and those that were done."""

    def __init__(self) -> None:
        self.announced: list[int] = []
        self.done: list[int] = []

    def begin(self, steps: int) -> None:
        self.announced.append(steps)
        self.done.append(0)

    def advance(self) -> None:
        self.done[-1] += 1


def config_in(folder: Path) -> RunConfig:
    return RunConfig(
        models=("unet",), task="phantom-mini", threads=1, launches=1, warmups=1, min_samples=1,
        max_samples=1, seconds_per_launch=0.0, cache_dir=folder / "cache",
    ).check()  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SensitivityRecord, Asked]:
    """A folder in which everything was measured once, and what that found; only to be copied."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        asked = graded_network.stand_in(patch, folder)
        return folder, analyse(config_in(folder), SensitivityConfig(), Silent()), asked


@pytest.fixture
def asked(
    finished: tuple[Path, SensitivityRecord, Asked], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Asked:
    """What is done from here on, with everything measured in the cache."""
    shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True)
    return graded_network.stand_in(monkeypatch, tmp_path)


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    return config_in(tmp_path)


Analyse = Callable[..., SensitivityRecord]


@pytest.fixture
def run(asked: Asked, config: RunConfig) -> Analyse:
    del asked

    def analysed(**rules: object) -> SensitivityRecord:
        checked = SensitivityConfig(**rules).check(config)  # type: ignore[arg-type]
        return analyse(config, checked, Silent())

    return analysed


def test_layers_are_ranked_by_the_harm_that_was_built_in(
    finished: tuple[Path, SensitivityRecord, Asked],
) -> None:
    _, found, asked = finished
    assert [layer.name for layer in found.layers] == ["coarse", "fine", "exact"]
    coarse, fine, exact = found.layers
    assert coarse.dice_lost is not None
    assert coarse.dice_regained is not None
    assert coarse.dice_lost > 0.05
    assert coarse.dice_regained > 0.05
    assert [layer.sqnr_db for layer in found.layers] == sorted(
        layer.sqnr_db or 0.0 for layer in found.layers
    )
    assert abs(exact.dice_lost or 0.0) < abs(fine.dice_lost or 0.0) + 0.01
    assert coarse.sqnr_gained_db == max(layer.sqnr_gained_db or 0.0 for layer in found.layers)
    assert sum(layer.macs_share for layer in found.layers) == pytest.approx(1)
    assert (found.alone_in, found.rest_in) == ("fake-int8", "int8")
    assert found.between is None
    assert found.quantizers == 3
    # FP32, nothing quantized, everything in both arithmetics, and each layer in both directions
    assert asked.count("variant") == found.costs.variants == 4 + 2 * 3
    assert found.wholes["control"].sqnr_db is None
    assert found.wholes["control"].dice_mean == found.wholes["fp32"].dice_mean


def test_ranking_sees_calibration_patches_alone(run: Analyse) -> None:
    from voxgate import datasets

    found = run(patches=2)
    calibration = datasets.get("phantom-mini").patches("calibration")
    assert [patch.sha256 for patch in found.patches] == [p.sha256 for p in calibration[:2]]


def test_an_interrupted_analysis_goes_on_where_it_was(
    run: Analyse, asked: Asked, config: RunConfig
) -> None:
    whole = run()
    assert asked.count("variant") == 0
    assert (whole.costs.variants, whole.costs.reused, whole.costs.inference_s) == (0, 10, 0)
    shutil.rmtree(config.cache_root / "sensitivity")
    asked.patience = 5
    with pytest.raises(KeyboardInterrupt):
        run()
    assert asked.count("variant") == 5
    asked.patience = 10_000
    found = run()
    assert asked.count("variant") == 10
    assert (found.costs.variants, found.costs.reused) == (5, 5)
    assert found.layers == whole.layers
    assert found.costs.inference_s > 0


def test_the_bar_is_as_long_as_the_work(config: RunConfig, asked: Asked) -> None:
    del asked
    for rules in ({}, {"proxy": "sqnr", "checks": 1}):
        bar = Counting()
        analyse(config, SensitivityConfig(**rules).check(config), bar)  # type: ignore[arg-type]
        assert bar.done == bar.announced


def test_the_proxy_measures_all_by_one_patch_and_the_worst_by_dice(
    run: Analyse, asked: Asked
) -> None:
    found = run(proxy="sqnr", checks=1)
    assert [layer.name for layer in found.layers] == ["coarse", "fine", "exact"]
    assert found.layers[0].dice_lost is not None
    assert [layer.dice_lost for layer in found.layers[1:]] == [None, None]
    assert all(layer.sqnr_db for layer in found.layers)
    assert found.agreement.spearman is None
    assert asked.count("variant") == 3  # the others, and Dice, are those of the whole analysis


def test_a_budget_leaves_the_coarse_layer_in_float_and_confirms_it(
    run: Analyse, asked: Asked
) -> None:
    found = run(budget=0.1).budget
    assert found is not None
    assert (found.outcome, found.layers, found.proven) == ("found", ("coarse",), True)
    assert found.confirmation is not None
    before, after = found.confirmation.loss_before, found.confirmation.loss_after
    assert max(before.values()) > 0.1 >= max(after.values())
    assert found.confirmation.run.config["float_layers"] == ["coarse"]
    assert found.confirmation.latency_ratio is not None
    command = (
        "voxgate bench --models unet --task phantom-mini --precisions int8 --float-layers coarse"
    )
    assert found.command.startswith(f"{command} --threads 1 --launches ")
    # fp32, int8, and int8 with the list, built and launched once each
    assert (asked.count("build"), asked.count("run")) == (3, 3)


def test_a_margin_that_is_met_anyway_needs_no_layer(run: Analyse, asked: Asked) -> None:
    found = run(budget=0.9).budget
    assert found is not None
    assert (found.outcome, found.layers, found.proven, found.command) == ("met", (), True, "")
    assert "no layer needs to be left in float" in found.words
    assert asked.count("run") == 2


def test_a_margin_that_nothing_meets_is_told_and_is_no_regression(
    run: Analyse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if what is between the layers did the harm: every set loses."""
    monkeypatch.setattr("voxgate.runs.layer_budget.farthest", lambda _: 0.2)
    found = run(budget=0.1).budget
    assert found is not None
    assert (found.outcome, found.layers, found.confirmation) == ("unreachable", (), None)
    assert "cannot be met: with all 3 layers in float" in found.words
    from voxgate.commands.sensitivity import EXIT_CODES

    assert EXIT_CODES[found.outcome] == 4


def test_evaluation_can_refute_what_ranking_found(
    run: Analyse, monkeypatch: pytest.MonkeyPatch
) -> None:
    from voxgate.runs import layer_budget

    real = layer_budget.confirm

    def worse(*args: object) -> object:
        return replace(real(*args), loss_after={"organ-1": 0.5})  # type: ignore[arg-type]

    monkeypatch.setattr(layer_budget, "confirm", worse)
    found = run(budget=0.1).budget
    assert found is not None
    assert found.outcome == "refuted"
    assert "NOT confirmed: on the evaluation patches the worst class loses 0.5" in found.words


def test_a_network_without_quantized_layers_is_an_error(run: Analyse, tmp_path: Path) -> None:
    everything = tuple(graded_network.LEVELS)
    graded_network.write_quantized(tmp_path / "model.onnx", tmp_path / "all.xml", everything)
    with pytest.raises(QuantizationError, match="no layer of unet is quantized"):
        run()


def test_a_control_that_is_not_fp32_stops_the_analysis(
    run: Analyse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensitivity, "decibels", lambda *_: 30.0)
    with pytest.raises(QuantizationError, match=r"nothing quantized is 30\.0 dB from fp32"):
        run()


# --- the command -------------------------------------------------------------------------------------


def command(tmp_path: Path, *options: str) -> list[str]:
    return [
        "sensitivity", "unet", "--task=phantom-mini", "--threads=1", "--launches=1", "--seconds=0",
        "--warmups=1", "--min-samples=1", "--max-samples=1", f"--cache-dir={tmp_path / 'cache'}",
        f"--record={tmp_path / 'out' / 's.json'}", *options,
    ]  # fmt: skip


def test_the_command_writes_record_and_page_and_report_renders_them_again(
    asked: Asked, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del asked
    assert main(command(tmp_path, "--budget=0.1")) == 0
    printed = capsys.readouterr().out
    assert "Sensitivity of unet on phantom-mini" in printed
    assert printed.index("coarse") < printed.index("fine") < printed.index("exact")
    assert "voxgate bench --models unet --task phantom-mini --precisions int8" in printed
    path = tmp_path / "out" / "s.json"
    found = file.read_any(path)
    assert isinstance(found, SensitivityRecord)
    assert file.encode(found) == path.read_bytes()
    page = path.with_suffix(".html").read_text()
    again = tmp_path / "again.html"
    markdown = tmp_path / "again.md"
    options = [f"--html={again}", f"--markdown={markdown}"]
    assert main(["report", str(path), *options]) == 0
    assert again.read_text() == page
    assert "| coarse | Conv |" in markdown.read_text()
    assert markdown.read_text() == markdown_of(found, None)
    with pytest.raises(Exception, match="record of a sensitivity, not of a run"):
        file.read(path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--budget=0"], "--budget is 0.0; a margin of Dice is above 0 and below 1"),
        (["--budget=-0.1"], "--budget is -0.1"),
        (["--budget=nan"], "--budget is nan"),
        (["--budget=1"], "--budget is 1.0"),
        (["--proxy=dise"], "unknown proxy 'dise'. Did you mean 'dice'?"),
        (["--checks=0"], "--checks is 0"),
        (["--patches=-1"], "--patches -1"),
        (["--backend=pytorch"], "PyTorch quantizes no layers: it is the float reference here"),
        (["--backend=fake"], "Fake (for tests) quantizes no layers"),
        (["--backend=openvino,onnxruntime"], "one model on one backend"),
        (["--float-layers=a"], "--float-layers is what this command finds"),
        (["--models=nnunet"], "leave --models out"),
        (["--classes=paper"], "there is no Dice to lose"),
        (["--precisions=int8"], "--alone-in and --rest-in"),
        (["--alone-in=fp32"], "unknown quantized precision of openvino 'fp32'"),
        (["--rest-in=int9"], "Did you mean 'int8'?"),
    ],
)
def test_what_makes_no_sense_is_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    assert main(command(tmp_path, *options)) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()


def test_its_record_is_no_run_to_compare_and_no_part_of_a_trend(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, other = tmp_path / "s.json", tmp_path / "other.json"
    file.write(path, sensitivity_records.sensitivity(3))
    file.write(other, report_records.eight_networks())
    assert main(["compare", str(other), str(path)]) == 4
    assert "was written by 'voxgate sensitivity'" in capsys.readouterr().err
    assert main(["trend", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "left out: s.json: is the record of a sensitivity analysis" in printed


def test_an_unknown_model_is_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sensitivity", "unett"]) == 2
    assert "unknown model 'unett'. Did you mean 'unet'?" in capsys.readouterr().err


def test_arithmetic_is_the_fastest_that_the_machine_has() -> None:
    here = Probe(available=True)
    no_int8 = Probe(available=True, version="1", refused={"int8": "no instructions"})
    rules = SensitivityConfig()
    assert precisions("openvino", here, rules) == ("fake-int8", "int8")
    assert precisions("openvino", no_int8, rules) == ("fake-int8", "fake-int8")
    assert precisions("onnxruntime", here, rules) == ("fake-int8", "fake-int8")
    assert precisions("tensorrt", here, rules) == ("int8", "int8")
    named = SensitivityConfig(alone_in="int8", rest_in="fake-int8")
    assert precisions("openvino", here, named) == ("int8", "fake-int8")
    with pytest.raises(UnavailableError, match="no instructions"):
        precisions("openvino", no_int8, SensitivityConfig(rest_in="int8"))


def test_a_refused_precision_is_usage_for_each_backend_without_it() -> None:
    for name, spec in BACKENDS.items():
        if "quantized" not in spec.sources.values():
            with pytest.raises(UsageError, match="quantizes no layers"):
                sensitivity.quantized_precisions(name)
