"""Networks with the paper's class counts: what is trained in them, what is measured, what is not."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from voxgate import backends, models
from voxgate.artifacts.cache import Artifact
from voxgate.artifacts.launcher import Limits
from voxgate.artifacts.progress import Silent
from voxgate.artifacts.run_artifacts import Artifacts
from voxgate.cli import main
from voxgate.config import RunConfig
from voxgate.errors import ArtifactError, BuildError, UsageError
from voxgate.models import checkpoint
from voxgate.models.checkpoint import CheckpointInfo
from voxgate.models.initialization import State, initial_state
from voxgate.models.spec import ModelSpec
from voxgate.quantizers.base import Quantized
from voxgate.records import file
from voxgate.records.case import CaseId, Precision
from voxgate.records.run import CaseResult, RunRecord
from voxgate.records.runtime import EngineOptions
from voxgate.report.terminal import make_console, print_record
from voxgate.runs import bench
from voxgate.stages.expand import expand
from voxgate.stages.export import export
from voxgate.stages.requests import ExpandRequest, ExportRequest

SHIPPED = Path(__file__).parents[3] / "fixtures" / "checkpoints" / "unet-mni152.safetensors"
SEED = 5


# --- how many ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "count"), [("unet", 14), ("transunet", 14), ("unest", 133), ("swinunetr", 105)]
)
def test_the_count_is_the_tasks_or_the_papers(model: str, count: int) -> None:
    assert RunConfig().class_count(model) == 3
    assert RunConfig(task="phantom-mini").class_count(model) == 4
    assert RunConfig(classes="paper").class_count(model) == count


def test_a_model_that_the_paper_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    own = replace(models.get("unet"), name="own", paper_classes=None)
    monkeypatch.setitem(models.MODELS, "own", own)
    config = RunConfig(models=("unet", "own"))
    assert config.check() is config
    with pytest.raises(UsageError, match="no class count for own; leave it out"):
        replace(config, classes="paper").check()


# --- weights -------------------------------------------------------------------------------------


class _Tiny(torch.nn.Module):
    """A body, and a head with a channel a class."""

    def __init__(self, in_channels: int, classes: int) -> None:
        super().__init__()
        self.body = torch.nn.Conv3d(in_channels, 4, 3, padding=1)
        self.norm = torch.nn.BatchNorm3d(4)
        self.head = torch.nn.Conv3d(4, classes, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(torch.relu(self.norm(self.body(image))))
        return logits


TINY = ModelSpec(
    name="tiny", title="Tiny", source="", build=_Tiny, parameters=135, roi_multiple=1,
    paper_classes=14,
)  # fmt: skip
BODY = {
    "body.weight", "body.bias", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var",
}  # fmt: skip
HEAD = {"head.weight", "head.bias"}


def _trained() -> State:
    """Weights of three classes that are nobody's initial ones."""
    return {name: value + 0.5 for name, value in initial_state(_Tiny(1, 3), SEED).items()}


def test_the_body_is_trained_and_the_head_is_seeded() -> None:
    state = checkpoint.with_classes(_trained(), TINY, 14, SEED)
    seeded = initial_state(_Tiny(1, 14), SEED)
    assert set(state) == BODY | HEAD
    for name in BODY:
        assert np.array_equal(state[name], _trained()[name])
        assert not np.array_equal(state[name], seeded[name])
    for name in HEAD:
        assert np.array_equal(state[name], seeded[name])
    assert state["head.weight"].shape == (14, 4, 1, 1, 1)


def test_the_head_depends_on_the_checkpoints_seed() -> None:
    one, other = (checkpoint.with_classes(_trained(), TINY, 14, seed) for seed in (5, 6))
    assert not np.array_equal(one["head.weight"], other["head.weight"])


def test_as_many_classes_as_were_trained_keep_every_weight() -> None:
    state = checkpoint.with_classes(_trained(), TINY, 3, SEED)
    assert checkpoint.state_sha256(state) == checkpoint.state_sha256(_trained())


def test_only_the_head_of_the_shipped_unet_is_seeded() -> None:
    info, trained = checkpoint.expand(SHIPPED, models.get("unet"), "mni152", 3)
    state = checkpoint.with_classes(trained, models.get("unet"), 14, info.seed)
    assert set(state) == set(trained)
    assert {name for name in state if state[name] is not trained[name]} == {
        "final_conv.weight", "final_conv.bias",
    }  # fmt: skip
    assert state["final_conv.bias"].shape == (14,)


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The checkpoint of a model in the table."""
    monkeypatch.setitem(models.MODELS, "tiny", TINY)
    state = _trained()
    info = CheckpointInfo(
        model="tiny", task="mni152", classes=3, rank=1, seed=SEED, steps=1,
        sha256=checkpoint.state_sha256(state),
    )  # fmt: skip
    path = tmp_path / "tiny-mni152.safetensors"
    checkpoint.save(path, info, {f"{name}.full": value for name, value in state.items()})
    return path


def _expand_request(path: Path, classes: int) -> ExpandRequest:
    return ExpandRequest(
        model="tiny", task="mni152", trained_classes=3, classes=classes, checkpoint=str(path),
        folder=str(path.parent),
    )  # fmt: skip


@pytest.mark.parametrize(("classes", "parameters"), [(3, 135), (14, 190)])
def test_the_stage_writes_and_hashes_what_it_made(
    tiny: Path, classes: int, parameters: int
) -> None:
    expanded = expand(_expand_request(tiny, classes))
    written = load_file(tiny.parent / "weights.safetensors")
    assert expanded.parameters == parameters
    assert expanded.sha256 == checkpoint.state_sha256(written)
    assert written["head.bias"].shape == (classes,)


def test_the_checkpoint_must_be_the_tasks_all_the_same(tiny: Path) -> None:
    with pytest.raises(ArtifactError, match="is for"):
        expand(replace(_expand_request(tiny, 14), trained_classes=14))


# --- engines -------------------------------------------------------------------------------------


def _options(classes: int, precision: Precision = "fp32", model: str = "tiny") -> EngineOptions:
    return EngineOptions(
        precision=precision, threads=1, model=model, task="mni152", classes=classes
    )


def test_the_graph_has_an_output_a_class(tiny: Path) -> None:
    expand(_expand_request(tiny, 14))
    folder = tiny.parent
    np.save(folder / "images.npy", np.ones((1, 1, 8, 8, 8), np.float32))
    exported = export(
        ExportRequest(
            model="tiny", task="mni152", classes=14, weights=str(folder / "weights.safetensors"),
            images=str(folder / "images.npy"), folder=str(folder),
        )
    )  # fmt: skip
    assert [node.macs for node in exported.graph.nodes] == [4 * 27 * 512, 14 * 4 * 512]


def test_pytorch_builds_the_network_that_was_asked_for(tiny: Path) -> None:
    expand(_expand_request(tiny, 14))
    pytorch, weights = backends.load("pytorch"), str(tiny.parent / "weights.safetensors")
    session = pytorch.load(pytorch.build(weights, _options(14)), _options(14))
    output, _ = session.infer(np.ones((1, 1, 8, 8, 8), np.float32))
    assert output.shape == (1, 14, 8, 8, 8)
    with pytest.raises(BuildError, match="do not fit tiny with 3 classes"):
        pytorch.build(weights, _options(3))


def test_a_fake_engine_of_other_classes_is_refused() -> None:
    fake = backends.load("fake")
    engine = fake.build("", _options(14))
    output, _ = fake.load(engine, _options(14)).infer(np.ones((1, 1, 2, 2, 2), np.float32))
    assert output.shape == (1, 14, 2, 2, 2)
    with pytest.raises(BuildError, match="has 14 classes, not 3"):
        fake.load(engine, _options(3))


@dataclass
class _Keys:
    """A cache that makes nothing and remembers what would go into each key."""

    inputs: dict[str, dict[str, object]] = field(default_factory=dict)

    def get_or_make(
        self, kind: str, inputs: dict[str, object], *_: object, **__: object
    ) -> Artifact[Any]:
        self.inputs[kind] = inputs
        result = Quantized(format="onnx-qdq", file="q.onnx", quantize_nodes=1)
        # One digest for all: keys must differ even where the inputs' contents do not.
        return Artifact(key="k", folder=Path(), result=result, digest="same", reused=False)


def _keys(classes: Any, backend: str, precision: Precision) -> dict[str, dict[str, object]]:
    cache, config = _Keys(), RunConfig(classes=classes)
    artifacts = Artifacts(
        config=config, cache=cache, limits=Limits(seconds=1), announce=print  # type: ignore[arg-type]
    )  # fmt: skip
    artifacts.engine(CaseId(model="unet", task="mni152", backend=backend, precision=precision))
    return cache.inputs


@pytest.mark.parametrize(
    ("backend", "precision", "kinds"),
    [
        ("openvino", "int8", {"weights", "onnx", "quantized", "engine"}),
        ("pytorch", "fp32", {"weights", "engine"}),
        ("fake", "int8", {"engine"}),
    ],
)
def test_the_class_count_is_in_every_key(
    backend: str, precision: Precision, kinds: set[str]
) -> None:
    task, paper = (_keys(classes, backend, precision) for classes in ("task", "paper"))
    assert set(task) - {"patches", "calibration"} == kinds
    for kind in kinds:
        assert (task[kind]["classes"], paper[kind]["classes"]) == (3, 14)
    assert task.get("patches") == paper.get("patches")


# --- runs ----------------------------------------------------------------------------------------


@pytest.fixture
def paper_config(fake_config: RunConfig) -> RunConfig:
    return replace(fake_config, classes="paper").check()


def _rows(result: RunRecord) -> dict[str, CaseResult]:
    return {row.precision: row for row in result.cases}


def test_everything_but_dice_is_measured(paper_config: RunConfig) -> None:
    result = bench.bench(paper_config, Silent())
    assert {row.status for row in result.cases} == {"ok"}
    for row in result.cases:
        assert (row.classes, row.dice, row.parameters) == (14, None, None)
        assert row.latency_ms is not None
        assert row.memory_bytes is not None
        assert row.layers
        assert row.int8_coverage is not None
    certificate = _rows(result)["int8"].certificate
    assert certificate is not None
    assert certificate.granted
    assert {(r.dice_mean_delta, len(r.dice_per_class_delta)) for r in result.ratios} == {(None, 0)}
    assert all(r.size and r.latency for r in result.ratios)


def test_the_record_says_whose_classes_they_are(
    fake_config: RunConfig, paper_config: RunConfig, tmp_path: Path
) -> None:
    paper, task = (bench.bench(c, Silent()) for c in (paper_config, fake_config))
    assert (paper.config["classes"], task.config["classes"]) == ("paper", "task")
    assert {row.classes for row in task.cases} == {4}
    assert all(row.dice for row in task.cases)
    file.write(tmp_path / "r.json", paper)
    assert file.read(tmp_path / "r.json") == paper


def test_engines_of_both_class_sets_lie_side_by_side(
    fake_config: RunConfig, paper_config: RunConfig
) -> None:
    task, paper, again = (
        bench.bench(c, Silent()) for c in (fake_config, paper_config, fake_config)
    )
    assert (paper.timing.artifacts_built, paper.timing.artifacts_reused) == (3, 1)  # the patches
    assert (again.timing.artifacts_built, again.timing.artifacts_reused) == (0, 4)
    for row in task.cases:
        assert row.engine_key != _rows(paper)[row.precision].engine_key
        assert row.engine_key == _rows(again)[row.precision].engine_key


@pytest.mark.parametrize(
    ("fault", "words"),
    [("shape", "(1, 14, 31, 32, 32), expected (1, 14, 32, 32, 32)"), ("nan", "NaN")],
)
def test_outputs_are_checked_without_labels(
    paper_config: RunConfig, monkeypatch: pytest.MonkeyPatch, fault: str, words: str
) -> None:
    monkeypatch.setenv("VOXGATE_FAKE_FAULT", f"int8={fault}")
    row = _rows(bench.bench(paper_config, Silent()))["int8"]
    assert (row.status, row.error_type) == ("failed", "EngineOutputError")
    assert words in (row.error or "")


# --- what is shown -------------------------------------------------------------------------------


def _printed(result: RunRecord) -> str:
    stream = StringIO()
    print_record(make_console(stream), result)
    return stream.getvalue()


def test_the_table_has_dashes_and_says_why(paper_config: RunConfig) -> None:
    printed = _printed(bench.bench(paper_config, Silent()))
    (int8,) = [line for line in printed.splitlines() if "3.85x" in line and "│" in line]
    cells = [cell.strip() for cell in int8.strip("│┃ ").split("│")]
    assert cells[7:10] == ["–", "–", "–"]
    assert "paper's class counts (unet 14): weights whose shape depends on them" in printed
    assert "Dice is not measured" in printed


def test_the_tasks_own_classes_need_no_footnote(fake_config: RunConfig) -> None:
    printed = _printed(bench.bench(replace(fake_config, launches=1), Silent()))
    assert "class counts" not in printed


def test_nothing_measured_still_says_why_there_is_no_dice(
    paper_config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOXGATE_FAKE_FAULT", "fp32=missing")
    assert "paper's class counts: weights" in _printed(bench.bench(paper_config, Silent()))


def test_inspect_takes_the_option_and_an_engine_knows_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = ["--json", "--cache-dir", str(tmp_path)]
    case = "unet/phantom-mini/fake/int8"
    assert main(["inspect", case, "--classes", "paper", *cache]) == 0
    assert json.loads(capsys.readouterr().out)["classes"] == 14
    (engine,) = tmp_path.glob("engine/*/engine.bin")
    assert main(["inspect", str(engine), *cache]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["classes"] == 14
    assert "building" not in captured.err
    assert main(["inspect", case, *cache]) == 0
    assert json.loads(capsys.readouterr().out)["classes"] == 4
    assert len(list(tmp_path.glob("engine/*/engine.bin"))) == 2
