"""Layers that stay in float by name: from the option to the quantizer, and into the key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voxgate import backends
from voxgate.artifacts import run_artifacts
from voxgate.artifacts.cache import Artifact, Cache
from voxgate.artifacts.launcher import Limits
from voxgate.artifacts.run_artifacts import Artifacts
from voxgate.cli import main
from voxgate.commands.options import make_config
from voxgate.config import RunConfig
from voxgate.errors import QuantizationError, UsageError
from voxgate.quantizers.base import Quantized
from voxgate.records.engine import GraphFacts, GraphNode
from voxgate.records.runtime import Probe
from voxgate.runs import bench
from voxgate.runs.case_run import CaseRun
from voxgate.stages.requests import Calibrated, Exported, Prepared, QuantizeRequest

pytest_plugins = ["pytester"]

NODES = tuple(
    GraphNode(name=name, op_type="Conv", outputs=(f"{name}_output_0",), macs=1)
    for name in ("/stem/Conv", "/down/Conv", "/head/Conv")
)


class GivenArtifacts(Artifacts):
    """Artifacts with an exported graph already; quantization only writes down what it is asked."""

    asked: list[QuantizeRequest]

    def onnx(self, model: str) -> Artifact[Exported]:
        graph = GraphFacts(nodes=NODES, parameters=1, opset=21)
        result = Exported(graph=graph, onnx_bytes=1, max_relative_error=0.0)
        return Artifact(
            key=model, folder=self.config.cache_root, result=result, digest="o", reused=True
        )

    def patches(self) -> Artifact[Prepared]:
        result = Prepared(evaluation=())
        return Artifact(
            key="p", folder=self.config.cache_root, result=result, digest="p", reused=True
        )

    def calibration(self) -> Artifact[Calibrated]:
        result = Calibrated(patches=())
        return Artifact(
            key="c", folder=self.config.cache_root, result=result, digest="c", reused=True
        )


Open = Callable[..., GivenArtifacts]


@pytest.fixture
def artifacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    asked: list[QuantizeRequest] = []

    def quantize(_: object, request: QuantizeRequest, __: object) -> Quantized:
        asked.append(request)
        (Path(request.folder) / "quantized.xml").write_text("a graph")
        return Quantized(format="openvino-ir", file="quantized.xml", quantize_nodes=1)

    monkeypatch.setattr(run_artifacts, "run_job", quantize)

    def make(*float_layers: str) -> GivenArtifacts:
        config = RunConfig(models=("unet",), float_layers=float_layers, cache_dir=tmp_path).check()
        made = GivenArtifacts(
            config=config, cache=Cache(tmp_path), limits=Limits(), announce=lambda _: None
        )
        made.asked = asked
        return made

    return make


def test_the_quantizer_gets_the_nodes_of_the_graph(artifacts: Open) -> None:
    chosen = artifacts("/head/Conv", "/stem/Conv")
    chosen.quantized("unet", "openvino")
    (request,) = chosen.asked
    assert request.float_layers == (NODES[2], NODES[0])


def test_without_the_option_none_stays_in_float(artifacts: Open) -> None:
    chosen = artifacts()
    chosen.quantized("unet", "openvino")
    assert chosen.asked[0].float_layers == ()


def test_the_key_of_the_quantized_graph_has_the_layers_in_any_order(artifacts: Open) -> None:
    keys = [
        artifacts(*layers).quantized("unet", "openvino").key
        for layers in (
            (),
            ("/head/Conv",),
            ("/head/Conv", "/stem/Conv"),
            ("/stem/Conv", "/head/Conv"),
        )
    ]
    assert len(set(keys)) == 3
    assert keys[2] == keys[3]


def test_an_unknown_layer_names_the_choices(artifacts: Open) -> None:
    with pytest.raises(UsageError) as caught:
        artifacts("/haed/Conv").quantized("unet", "openvino")
    assert str(caught.value) == (
        "unknown layer of unet '/haed/Conv'. Did you mean '/head/Conv'? "
        "Choose from: /down/Conv, /head/Conv, /stem/Conv."
    )


def test_an_unknown_layer_fails_the_quantized_case_alone(
    artifacts: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = artifacts("/nose/Conv")
    case = replace(chosen.config, precisions=("int8",)).cases()[0]
    run = CaseRun(case, chosen)
    monkeypatch.setattr(backends, "require", lambda *_: None)
    bench.build(run, Probe(available=True))
    (row,) = bench.results_of([run])
    assert row.status == "failed"
    assert "unknown layer of unet '/nose/Conv'" in (row.error or "")
    assert not chosen.asked


# --- the option ------------------------------------------------------------------------------------


def test_the_option_of_the_command_line_reaches_the_configuration() -> None:
    import argparse

    from voxgate.commands.options import add_run_options

    parser = argparse.ArgumentParser()
    add_run_options(parser)
    options = parser.parse_args(["--models=unet", "--float-layers= /a/Conv, /b/Conv"])
    assert make_config(options).float_layers == ("/a/Conv", "/b/Conv")
    assert make_config(options).facts()["float_layers"] == ["/a/Conv", "/b/Conv"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--models=unet,nnunet"], "select the one model that they belong to"),
        (["--models=unet", "--float-layers=a,a"], "the float_layers name a twice: a, a"),
        (["--models=unet", "--backend=fake"], "no selected case is quantized"),
        (["--models=unet", "--precisions=fp32"], "no selected case is quantized"),
    ],
)
def test_layers_that_mean_nothing_are_usage(
    capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    assert main(["bench", "--float-layers=a", *options]) == 2
    assert words in capsys.readouterr().err


def option_of_pytest(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    pytester.makepyfile(
        "def test_it(vg_config):\n    assert vg_config.float_layers == ('/a/Conv', '/b/Conv')\n"
    )
    return pytester.runpytest_subprocess(
        "-p", "voxgate.plugin", "--vg-float-layers=/a/Conv,/b/Conv", *options
    )


def test_pytest_takes_the_same_option(pytester: pytest.Pytester) -> None:
    assert option_of_pytest(pytester, "--vg-models=unet").parseoutcomes() == {"passed": 1}


def test_pytest_refuses_layers_of_several_models(pytester: pytest.Pytester) -> None:
    result = option_of_pytest(pytester)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "select the one model that they belong to" in result.stderr.str()


# --- the operation of a node -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """As OpenVINO reads it: nodes without a bias, with one, and with an output of the model."""
    ov: Any = pytest.importorskip("openvino", reason="OpenVINO is not installed")
    onnx: Any = pytest.importorskip("onnx", reason="onnx is not installed")
    make = onnx.helper.make_node
    nodes = [
        make("Conv", ["x", "w"], ["a"], name="/plain/Conv"),
        make("Conv", ["a", "w", "b"], ["c"], name="/stem/Conv"),
        make("ConvTranspose", ["c", "w", "b"], ["d"], name="/up/ConvTranspose"),
        make("Relu", ["d"], ["e"], name="/act/Relu"),
        make("Conv", ["e", "w", "b"], ["y"], name="/head/Conv"),
    ]
    weights = [
        onnx.numpy_helper.from_array(np.ones((2, 2, 1, 1, 1), np.float32), "w"),
        onnx.numpy_helper.from_array(np.ones(2, np.float32), "b"),
    ]
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 2, 4, 4, 4])
        for name in "xy"
    ]
    graph = onnx.helper.make_graph(nodes, "network", ends[:1], ends[1:], weights)
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)]), path)
    return ov.Core().read_model(path)


def node(name: str, output: str) -> GraphNode:
    return GraphNode(name=name, op_type="Conv", outputs=(output,), macs=1)


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        (node("/plain/Conv", "a"), "Convolution"),
        (node("/stem/Conv", "c"), "Convolution"),
        (node("/up/ConvTranspose", "d"), "ConvolutionBackpropData"),
        (node("/head/Conv", "y"), "Convolution"),
    ],
    ids=lambda value: value.name if isinstance(value, GraphNode) else value,
)
def test_a_node_is_the_weighted_operation_and_not_its_bias(
    network: Any, asked: GraphNode, kind: str
) -> None:
    from voxgate.quantization.openvino_operations import operation_of

    found = {op.get_friendly_name(): op for op in network.get_ops()}[operation_of(asked, network)]
    assert found.get_type_name() == kind
    order = [op.get_friendly_name() for op in network.get_ordered_ops()]
    weighted = [name for name in order if name in _convolutions(network)]
    position = ("/plain/Conv", "/stem/Conv", "/up/ConvTranspose", "/head/Conv").index(asked.name)
    assert weighted[position] == found.get_friendly_name()


def _convolutions(network: Any) -> set[str]:
    return {
        op.get_friendly_name()
        for op in network.get_ops()
        if op.get_type_name().startswith("Convolution")
    }


@pytest.mark.parametrize("asked", [node("/down/Conv", "none"), node("/act/Relu", "e")])
def test_a_node_without_a_weighted_operation_is_refused_by_name(
    network: Any, asked: GraphNode
) -> None:
    from voxgate.quantization.openvino_operations import operation_of

    with pytest.raises(QuantizationError, match=f"no operation for the layer {asked.name}"):
        operation_of(asked, network)
