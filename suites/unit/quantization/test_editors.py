"""Editing quantized graphs: each edit equals a network that was quantized in part from the start."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from voxgate.backends.openvino import read_folded
from voxgate.errors import QuantizationError
from voxgate.quantization import editors
from voxgate.quantization.editor import Dissected, Edit, Graphs, Onto
from voxgate.records.case import QuantizedFormat
from voxgate.records.engine import GraphNode

from suites.support import small_network as small

for needed in ("openvino", "onnxruntime", "onnx"):
    pytest.importorskip(needed, reason=f"{needed} is not installed")

FORMATS: tuple[QuantizedFormat, ...] = ("openvino-ir", "onnx-qdq")


@dataclass(frozen=True)
class Site:
    """The float and the quantized file of the small network, and how to run and edit them."""

    format: QuantizedFormat
    folder: Path
    plain: Path
    quantized: Path

    def run(self, path: Path) -> NDArray[np.float32]:
        return small.run_onnx(path) if self.format == "onnx-qdq" else small.run_ir(path)

    def edited(self, onto: Onto, *layers: str, between: bool = False) -> NDArray[np.float32]:
        edit = Edit(onto=onto, layers=layers, between=between)
        return self.run(editors.load(self.format).write(self.graphs(), edit, self.folder))

    def graphs(self, nodes: tuple[GraphNode, ...] = small.nodes()) -> Graphs:
        return Graphs(
            format=self.format, onnx=str(self.plain), quantized=str(self.quantized), nodes=nodes
        )

    def oracle(self, layers: Collection[str], *, between: bool) -> NDArray[np.float32]:
        """Quantized there and nowhere else, without any editing."""
        edges = [edge for name in layers for edge in small.LAYER_EDGES[name]]
        edges += small.BETWEEN_EDGES if between else ()
        if self.format == "onnx-qdq":
            return self.run(small.write_onnx(self.folder / "oracle.onnx", edges, shared=False))
        path = self.folder / "oracle.xml"
        return self.run(small.write_ir(self.plain, path, edges, layers, shared=False))

    def dissect(self) -> Dissected:
        return editors.load(self.format).dissect(self.graphs())


@pytest.fixture(params=FORMATS)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    plain = small.write_onnx(tmp_path / "model.onnx")
    if request.param == "onnx-qdq":
        quantized = small.write_onnx(tmp_path / "quantized.onnx", small.ALL_EDGES)
    else:
        quantized = small.write_ir(plain, tmp_path / "quantized.xml")
    return Site(request.param, tmp_path, plain, quantized)


def test_quantization_of_the_small_network_does_something(site: Site) -> None:
    plain, quantized = small.run_onnx(site.plain), site.run(site.quantized)
    assert np.abs(plain - quantized).max() > 0.05
    for name in small.LAYERS:
        assert np.abs(site.oracle([name], between=False) - plain).max() > 1e-3


def test_nothing_quantized_is_fp32_bit_for_bit(site: Site) -> None:
    assert np.array_equal(site.edited("float"), site.run(site.plain))


def test_everything_in_float_is_fp32(site: Site) -> None:
    """The biases that the quantizer corrected, and the weights that it smoothed, are FP32's again."""
    everything = site.edited("quantized", *small.LAYERS, between=True)
    assert np.array_equal(everything, site.run(site.plain))


def test_everything_quantized_is_the_quantized_graph(site: Site) -> None:
    everything = site.edited("float", *small.LAYERS, between=True)
    assert np.array_equal(everything, site.run(site.quantized))
    assert np.array_equal(site.edited("quantized"), site.run(site.quantized))


@pytest.mark.parametrize("name", small.LAYERS)
def test_one_layer_alone_quantized(site: Site, name: str) -> None:
    expected = site.oracle([name], between=False)
    assert site.edited("float", name) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", small.LAYERS)
def test_one_layer_alone_in_float_leaves_the_quantizer_to_others_that_read_it(
    site: Site, name: str
) -> None:
    others = [other for other in small.LAYERS if other != name]
    expected = site.oracle(others, between=True)
    assert site.edited("quantized", name) == pytest.approx(expected, abs=1e-6)


def test_what_is_between_layers_is_a_part_of_its_own(site: Site) -> None:
    alone = site.edited("float", between=True)
    assert alone == pytest.approx(site.oracle([], between=True), abs=1e-6)
    rest = site.edited("quantized", between=True)
    assert rest == pytest.approx(site.oracle(small.LAYERS, between=False), abs=1e-6)


def test_several_layers_at_once(site: Site) -> None:
    expected = site.oracle(["stem", "head"], between=False)
    assert site.edited("float", "stem", "head") == pytest.approx(expected, abs=1e-6)
    expected = site.oracle(["left", "right", "product"], between=True)
    assert site.edited("quantized", "stem", "head") == pytest.approx(expected, abs=1e-6)


def test_every_quantizer_belongs_to_a_layer_or_between(site: Site) -> None:
    found = site.dissect()
    # One on the activation and one on the weights; behind the concatenation there are two tensors.
    assert found.layers == {"stem": 2, "left": 2, "right": 2, "head": 3, "product": 2}
    assert found.between == 2  # the third edge shares the quantizer of two layers
    assert found.total == 11 - 2 + 2  # left, right and head share one
    assert found.left == 0
    assert found.rescaled == ()


def test_a_quantizer_behind_the_last_layer_is_told(tmp_path: Path) -> None:
    import onnx

    plain = small.write_onnx(tmp_path / "model.onnx")
    model = onnx.load(small.write_onnx(tmp_path / "quantized.onnx", small.ALL_EDGES))
    model.graph.node[-1].output[0] = "logits"
    make, scales = onnx.helper.make_node, ["scale", "zero"]
    model.graph.node.append(make("QuantizeLinear", ["logits", *scales], ["last.q"], name="q"))
    model.graph.node.append(make("DequantizeLinear", ["last.q", *scales], ["y"], name="dq"))
    onnx.save(model, tmp_path / "last.onnx")
    site = Site("onnx-qdq", tmp_path, plain, tmp_path / "last.onnx")
    assert site.dissect().left == 1
    everything = site.edited("quantized", *small.LAYERS, between=True)
    assert np.abs(everything - site.run(plain)).max() < 0.07  # the last one's step


def test_a_layer_that_stayed_in_float_has_no_quantizer(tmp_path: Path) -> None:
    edges = [edge for edge in small.ALL_EDGES if edge[0] not in {"product", "head"}]
    plain = small.write_onnx(tmp_path / "model.onnx")
    for site in (
        Site("onnx-qdq", tmp_path, plain, small.write_onnx(tmp_path / "q.onnx", edges)),
        Site("openvino-ir", tmp_path, plain, small.write_ir(plain, tmp_path / "q.xml", edges)),
    ):
        assert site.dissect().layers["product"] == 0


def test_another_network_is_refused(site: Site) -> None:
    """A graph with a relu more is none of the same network; no layer is guessed."""
    import onnx

    model = onnx.load(site.plain)
    head = next(node for node in model.graph.node if node.name == "head")
    head.input[0] = "relued"
    model.graph.node.insert(
        list(model.graph.node).index(head),
        onnx.helper.make_node("Tanh", ["j"], ["relued"], name="more"),
    )
    del model.graph.node[0].input[2]
    onnx.save(model, site.folder / "other.onnx")
    other = Site(site.format, site.folder, site.folder / "other.onnx", site.quantized)
    with pytest.raises(QuantizationError, match=r"where the float one has|of other inputs|no node"):
        other.edited("quantized", *small.LAYERS, between=True)


def test_a_layer_that_is_not_there_is_refused_by_name(site: Site) -> None:
    missing = GraphNode(name="nose", op_type="Conv", outputs=("none",), macs=1)
    with pytest.raises(QuantizationError, match="nose"):
        editors.load(site.format).dissect(site.graphs((missing,)))


def test_constants_that_the_quantizer_computed_are_no_other_network(tmp_path: Path) -> None:
    """A bias is added through a reshape in one graph and directly in the other."""
    import openvino as ov

    plain = small.write_onnx(tmp_path / "model.onnx")
    quantized = small.write_ir(plain, tmp_path / "quantized.xml")
    model = read_folded(quantized)
    assert "Reshape" not in {op.get_type_name() for op in model.get_ops()}
    ov.save_model(model, tmp_path / "folded.xml", compress_to_fp16=False)
    whole, folded = (
        Site("openvino-ir", tmp_path, plain, path) for path in (quantized, tmp_path / "folded.xml")
    )
    for name in small.LAYERS:
        assert np.array_equal(folded.edited("float", name), whole.edited("float", name))


def test_weights_that_were_scaled_with_a_neighbours_are_told(tmp_path: Path) -> None:
    """Cross-layer equalization changes two layers together; neither can be quantized alone."""
    import openvino as ov
    from openvino import opset13 as ops

    plain = small.write_onnx(tmp_path / "model.onnx")
    path = small.write_ir(plain, tmp_path / "quantized.xml")
    model = ov.Core().read_model(path)
    weights: Any = (
        next(op for op in model.get_ops() if op.get_friendly_name() == "left/WithoutBiases")
        .input_value(1)
        .get_node()
    )
    values = weights.input_value(0).get_node().get_data()
    weights.input(0).replace_source_output(ops.constant(values * np.float32(2)).output(0))
    ov.save_model(model, tmp_path / "scaled.xml", compress_to_fp16=False)
    found = Site("openvino-ir", tmp_path, plain, tmp_path / "scaled.xml").dissect()
    assert found.rescaled == ("left",)


def test_numbers_that_openvino_gives_to_nameless_operations_do_not_matter(
    tmp_path: Path,
) -> None:
    """Read in another order, the bias's reshapes have other names; they are found all the same."""
    from openvino import opset13 as ops

    plain = small.write_onnx(tmp_path / "model.onnx")
    quantized = small.write_ir(plain, tmp_path / "quantized.xml")
    site = Site("openvino-ir", tmp_path, plain, quantized)
    before = site.edited("float", "left")
    for _ in range(5):
        ops.relu(ops.parameter([1]))
    assert np.array_equal(site.edited("float", "left"), before)
