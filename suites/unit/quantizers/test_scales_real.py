"""Real quantizers on a small network: their scales are the formulas', and faults in files are found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from voxgate import quantizers
from voxgate.errors import ArtifactError, HarnessError, UsageError
from voxgate.quantization import readers
from voxgate.quantization.tensors import Reading
from voxgate.quantizers import ranges as ranges_module
from voxgate.quantizers.check_scales import check
from voxgate.quantizers.conventions import CONVENTIONS
from voxgate.quantizers.images import image_at as read_image
from voxgate.quantizers.ranges import add_reductions, measure
from voxgate.records.scales import CheckedScales, Ranges
from voxgate.stages import scales as stage
from voxgate.stages.scale_requests import RangesRequest

CHANNELS, SIDE = 32, 8


def write_network(path: Path) -> Path:
    """Two convolutions with a ReLU, joined with what they skip, and a head; one channel is zero."""
    rng = np.random.default_rng(5)
    sizes = {
        "first": (CHANNELS, 1, 3, 3, 3),
        "second": (CHANNELS, CHANNELS, 3, 3, 3),
        "third": (CHANNELS, 2 * CHANNELS, 1, 1, 1),
        "head": (CHANNELS, CHANNELS, 1, 1, 1),
    }
    weights = {name: rng.normal(size=size).astype(np.float32) for name, size in sizes.items()}
    weights["second"][3] = 0.0
    nodes, value = [], "image"
    for name, given in (
        ("first", "image"),
        ("second", "first_y"),
        ("third", "joined"),
        ("head", "third_y"),
    ):
        if name == "third":
            nodes.append(
                helper.make_node("Concat", ["second_y", "first_y"], ["joined"], "cat", axis=1)
            )
        pads = [sizes[name][-1] // 2] * 6
        value = "logits" if name == "head" else f"{name}_c"
        nodes.append(helper.make_node("Conv", [given, name, f"{name}_b"], [value], name, pads=pads))
        if name != "head":
            kind = "Relu" if name == "first" else "LeakyRelu"
            nodes.append(helper.make_node(kind, [value], [f"{name}_y"], f"{name}_relu"))
    biases = {f"{name}_b": np.zeros(CHANNELS, np.float32) for name in weights}
    shape = (SIDE, SIDE, SIDE)
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 1, *shape))],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, (1, CHANNELS, *shape))],
        [numpy_helper.from_array(v, name) for name, v in (weights | biases).items()],
    )
    opsets = [helper.make_opsetid("", 21)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def patches() -> NDArray[np.float32]:
    """Three, each of another magnitude, so that their mean is not their greatest."""
    rng = np.random.default_rng(9)
    images = rng.normal(size=(3, 1, SIDE, SIDE, SIDE)) * np.array([1, 2, 4]).reshape(3, 1, 1, 1, 1)
    return np.asarray(images, np.float32)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_network(tmp_path_factory.mktemp("network") / "model.onnx")


@pytest.fixture(scope="module")
def ranges(network: Path) -> Ranges:
    return measure(network, patches(), threads=1)


@pytest.fixture(scope="module")
def quantized(network: Path) -> Callable[[str], tuple[Path, str]]:
    """By quantizer: its graph and the format, made once."""
    made: dict[str, tuple[Path, str]] = {}

    def graph(name: str) -> tuple[Path, str]:
        if name not in made:
            folder = network.parent / name
            folder.mkdir()
            method = quantizers.get(name).methods[0]
            result = quantizers.load(name).quantize(network, patches(), method, folder, ())
            made[name] = (folder / result.file, result.format)
        return made[name]

    return graph


def judged(reading: Reading, ranges: Ranges, quantizer: str) -> CheckedScales:
    method = quantizers.get(quantizer).methods[0]
    return CheckedScales(tensors=check(reading, ranges, CONVENTIONS[quantizer], method))


@pytest.mark.parametrize("quantizer", ["nncf", "modelopt"])
def test_a_real_graph_has_the_formulas_scales(
    quantizer: str, quantized: Callable[[str], tuple[Path, str]], ranges: Ranges
) -> None:
    found = judged(readers.read(*quantized(quantizer)), ranges, quantizer)
    assert not found.of("deviates")
    assert not found.of("not-checked")
    # The first layer of one channel is left in float by ModelOpt.
    assert len(found.of("equal", "weight")) >= 3
    assert len(found.of("equal", "activation")) >= 2


@pytest.mark.parametrize("quantizer", ["nncf", "modelopt"])
def test_calibration_on_other_images_is_found(
    quantizer: str, quantized: Callable[[str], tuple[Path, str]], network: Path
) -> None:
    other = measure(network, patches() * np.float32(1.01), threads=1)
    found = judged(readers.read(*quantized(quantizer)), other, quantizer)
    assert not found.of("equal", "activation")
    assert not found.of("deviates", "weight")


def test_each_quantizer_needs_its_own_convention(
    quantized: Callable[[str], tuple[Path, str]], ranges: Ranges
) -> None:
    reading = readers.read(*quantized("nncf"))
    swapped = CheckedScales(tensors=check(reading, ranges, CONVENTIONS["modelopt"], "max"))
    assert swapped.of("deviates", "weight")
    assert swapped.of("deviates", "activation")


def changed(path: Path, target: Path, change: Callable[[onnx.ModelProto], None]) -> Reading:
    model = onnx.load(path)
    change(model)
    onnx.save(model, target)
    return readers.read(target, "onnx-qdq")


def set_scale(name: str, factor: float, index: int = 1) -> Callable[[onnx.ModelProto], None]:
    """Multiply the scale that one Q or DQ node reads, and no other."""

    def change(model: onnx.ModelProto) -> None:
        node = next(node for node in model.graph.node if node.name == name)
        constants = {tensor.name: tensor for tensor in model.graph.initializer}
        values = numpy_helper.to_array(constants[node.input[index]]) * np.float32(factor)
        model.graph.initializer.append(numpy_helper.from_array(values, "changed"))
        node.input[index] = "changed"

    return change


def quantize_node(path: Path, of: str) -> str:
    nodes = onnx.load(path).graph.node
    return str(next(n.name for n in nodes if n.op_type == "QuantizeLinear" and n.input[0] == of))


@pytest.mark.parametrize("tensor", ["second", "first_y"])
def test_a_pair_of_two_scales_is_found(
    tensor: str, quantized: Callable[[str], tuple[Path, str]], ranges: Ranges, tmp_path: Path
) -> None:
    graph, _ = quantized("modelopt")
    reading = changed(graph, tmp_path / "x.onnx", set_scale(quantize_node(graph, tensor), 2.0))
    (verdict,) = judged(reading, ranges, "modelopt").of("deviates")
    assert verdict.name == tensor
    assert "another scale" in verdict.detail


def test_changed_weights_are_found(
    quantized: Callable[[str], tuple[Path, str]], ranges: Ranges, tmp_path: Path
) -> None:
    def change(model: onnx.ModelProto) -> None:
        tensor = next(t for t in model.graph.initializer if t.name == "second")
        values = numpy_helper.to_array(tensor) * np.float32(1.5)
        tensor.CopyFrom(numpy_helper.from_array(values, "second"))

    reading = changed(quantized("modelopt")[0], tmp_path / "x.onnx", change)
    (verdict,) = judged(reading, ranges, "modelopt").of("deviates")
    assert (verdict.name, verdict.role) == ("second", "weight")


def test_weights_beside_the_file_are_read(
    quantized: Callable[[str], tuple[Path, str]], ranges: Ranges, tmp_path: Path
) -> None:
    target = tmp_path / "x.onnx"
    model = onnx.load(quantized("modelopt")[0])
    onnx.save(model, target, save_as_external_data=True, location="weights", size_threshold=4096)
    found = judged(readers.read(target, "onnx-qdq"), ranges, "modelopt")
    assert len(found.of("equal", "weight")) >= 3
    (tmp_path / "weights").unlink()
    with pytest.raises(ArtifactError, match="cannot be read"):
        judged(readers.read(target, "onnx-qdq"), ranges, "modelopt")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('levels="256"', 'levels="200"', "zero"),
        ('levels="255"', 'levels="127"', "code"),
    ],
)
def test_other_levels_in_an_ir_are_found(
    old: str,
    new: str,
    reason: str,
    quantized: Callable[[str], tuple[Path, str]],
    ranges: Ranges,
    tmp_path: Path,
) -> None:
    graph, form = quantized("nncf")
    text = graph.read_text()
    assert old in text
    (tmp_path / "x.xml").write_text(text.replace(old, new))
    (tmp_path / "x.bin").write_bytes(graph.with_suffix(".bin").read_bytes())
    found = judged(readers.read(tmp_path / "x.xml", form), ranges, "nncf").of("deviates")
    assert found
    assert any(reason in verdict.detail for verdict in found)


@pytest.mark.parametrize("form", ["onnx-qdq", "openvino-ir"])
@pytest.mark.parametrize(
    "content", [None, b"", b"no graph at all"], ids=["missing", "empty", "text"]
)
def test_a_damaged_graph_is_refused(form: str, content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "graph.xml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ArtifactError):
        list(readers.read(path, form).tensors)


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="onnx-qdq"):
        readers.read(tmp_path / "x", "tflite")


# --- ranges --------------------------------------------------------------------------------------


def test_ranges_are_those_of_the_tensors(ranges: Ranges) -> None:
    images = patches()
    lows, highs = np.array(ranges.by_tensor["image"]).T
    assert lows.tolist() == [float(image.min()) for image in images]
    assert highs.tolist() == [float(image.max()) for image in images]
    assert {"first_y", "joined", "logits"} <= set(ranges.by_tensor)
    assert "first" not in ranges.by_tensor  # a weight
    positive = np.array(ranges.by_tensor["first_y"])
    before = np.array(ranges.by_tensor["first_c"])
    assert np.array_equal(positive, np.maximum(before, 0))


def test_a_tensor_that_is_not_finite_has_no_range(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Log", ["x"], ["y"]), helper.make_node("Abs", ["x"], ["z"])],
        "log",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 1, 2, 2, 2))],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, (1, 1, 2, 2, 2)) for n in "yz"],
    )
    path = tmp_path / "log.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path
    )
    found = measure(path, -np.ones((1, 1, 2, 2, 2), np.float32), threads=1)
    assert found.not_finite == ("y",)
    assert found.by_tensor["z"] == ((1.0, 1.0),)


def test_an_old_opset_is_refused(network: Path) -> None:
    model = onnx.load(network)
    model.opset_import[0].version = 11
    with pytest.raises(ArtifactError, match="opset 11"):
        add_reductions(model)


def test_a_graph_that_the_runtime_refuses_is_named(network: Path, tmp_path: Path) -> None:
    model = onnx.load(network)
    model.graph.node[0].op_type = "NoSuchOperator"
    onnx.save(model, tmp_path / "x.onnx")
    with pytest.raises(HarnessError):
        measure(tmp_path / "x.onnx", patches(), threads=1)


def test_a_float_graph_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no ONNX file"):
        measure(tmp_path / "x.onnx", patches(), threads=1)


def test_the_images_of_a_file_are_read_one_at_a_time(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.concatenate([patches(), patches() + 1])
    np.save(tmp_path / "images.npy", images)
    taken: list[tuple[bool, int]] = []

    def image_at(given: NDArray[np.float32], index: int) -> NDArray[np.float32]:
        taken.append((isinstance(given, np.memmap), index))
        return read_image(given, index)

    monkeypatch.setattr(ranges_module, "image_at", image_at)
    request = RangesRequest(
        onnx=str(network), images=str(tmp_path / "images.npy"), folder=str(tmp_path), threads=1
    )
    measured = stage.measure_ranges(request)
    assert measured.patches == len(images)
    assert taken == [(True, index) for index in range(len(images))]
    written = msgspec.json.decode((tmp_path / "ranges.json").read_bytes(), type=Ranges)
    assert written == measure(network, images, threads=1)


def test_the_tensors_that_are_asked_for_have_the_ranges_that_all_have(network: Path) -> None:
    names, rows = ranges_module.extremes(network, patches(), 1, ("joined", "image"))
    assert names == ("joined", "image")
    everything = measure(network, patches(), threads=1).by_tensor
    for column, name in enumerate(names):
        assert [tuple(map(float, row[column])) for row in rows] == list(everything[name])
