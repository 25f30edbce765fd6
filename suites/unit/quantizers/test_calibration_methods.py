"""Each calibration method sets the ranges that its name promises, on a graph of two convolutions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from voxgate import quantizers
from voxgate.errors import QuantizationError
from voxgate.quantizers.images import ImageReader, image_at

onnx: Any = pytest.importorskip("onnx", reason="onnx is not installed")

SIZE = 16
CHANNELS = 16  # ModelOpt leaves narrower convolutions in float
OUTLIER = 40.0

Images = NDArray[np.float32]


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Conv, Relu, Conv; the input ``x`` gets a quantize node of its own."""
    generator = np.random.default_rng(0)
    weights = {
        "w1": generator.standard_normal((CHANNELS, 1, 3, 3, 3), dtype=np.float32) * 0.2,
        "w2": generator.standard_normal((CHANNELS, CHANNELS, 3, 3, 3), dtype=np.float32) * 0.05,
    }
    make, same = onnx.helper, {"pads": [1] * 6, "kernel_shape": [3] * 3}
    nodes = [
        make.make_node("Conv", ["x", "w1"], ["a"], name="first", **same),
        make.make_node("Relu", ["a"], ["b"], name="relu"),
        make.make_node("Conv", ["b", "w2"], ["y"], name="second", **same),
    ]
    ends = [
        make.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, channels, *[SIZE] * 3])
        for name, channels in (("x", 1), ("y", CHANNELS))
    ]
    constants = [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()]
    body = make.make_graph(nodes, "tiny", ends[:1], ends[1:], constants)
    opset = [make.make_operatorsetid("", 21)]
    path = tmp_path_factory.mktemp("graph") / "tiny.onnx"
    onnx.save(make.make_model(body, opset_imports=opset, ir_version=10), path)
    return path


@pytest.fixture(scope="module")
def images() -> Images:
    """Three patches whose ranges differ; the middle one has a single far voxel."""
    generator = np.random.default_rng(1)
    drawn = generator.standard_normal((3, 1, *[SIZE] * 3), dtype=np.float32)
    drawn *= np.array([0.5, 1, 2], np.float32)[:, None, None, None, None]
    drawn[1, 0, 3, 3, 3] = OUTLIER
    return drawn


def nncf_range(graph: Path, images: Images, method: str, folder: Path) -> tuple[float, float]:
    """The lower and the upper end of the input's range."""
    ov = pytest.importorskip("openvino", reason="OpenVINO is not installed")
    pytest.importorskip("nncf", reason="NNCF is not installed")
    folder.mkdir()
    made = quantizers.load("nncf").quantize(graph, images, method, folder, ())
    for node in ov.Core().read_model(folder / made.file).get_ops():
        if node.get_type_name() == "FakeQuantize":
            source, low, high = (node.input_value(i).get_node() for i in range(3))
            if source.get_type_name() == "Parameter":
                return float(low.get_data().item()), float(high.get_data().item())
    pytest.fail("the input has no quantize node")


def modelopt_largest(graph: Path, images: Images, method: str, folder: Path) -> float:
    """The largest value of the input that its scale can represent."""
    pytest.importorskip("modelopt", reason="ModelOpt is not installed")
    folder.mkdir()
    made = quantizers.load("modelopt").quantize(graph, images, method, folder, ())
    model = onnx.load(folder / made.file)
    values = {tensor.name: tensor for tensor in model.graph.initializer}
    (scale,) = (
        values[node.input[1]]
        for node in model.graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] == "x"
    )
    return 127 * float(onnx.numpy_helper.to_array(scale))


def around(value: float) -> Any:
    """As much as the steps of 8 bits let a symmetric range differ."""
    return pytest.approx(value, rel=0.01)


def test_nncf_min_max_is_the_mean_of_the_patches_extremes(
    graph: Path, images: Images, tmp_path: Path
) -> None:
    found = nncf_range(graph, images, "min-max", tmp_path / "out")
    assert found[1] == around(float(np.mean([np.abs(image).max() for image in images])))
    assert found[0] == around(-found[1])


def test_nncf_max_is_the_extreme_of_all_patches(
    graph: Path, images: Images, tmp_path: Path
) -> None:
    found = nncf_range(graph, images, "max", tmp_path / "out")
    assert found[1] == around(OUTLIER)


def test_nncf_percentile_is_the_mean_of_the_patches_quantiles(
    graph: Path, images: Images, tmp_path: Path
) -> None:
    found = nncf_range(graph, images, "percentile", tmp_path / "out")
    ends = np.mean([np.quantile(image, [0.0001, 0.9999]) for image in images], axis=0)
    assert found[1] == around(float(np.abs(ends).max()))
    assert found[1] < 0.8 * np.mean([np.abs(image).max() for image in images])


def test_nncf_methods_agree_on_weights(graph: Path, images: Images, tmp_path: Path) -> None:
    ov = pytest.importorskip("openvino", reason="OpenVINO is not installed")
    found = []
    for method in ("min-max", "percentile"):
        nncf_range(graph, images, method, tmp_path / method)
        model = ov.Core().read_model(tmp_path / method / "quantized.xml")
        nodes = [node for node in model.get_ops() if node.get_type_name() == "FakeQuantize"]
        found.append([
            node.input_value(2).get_node().get_data().tolist()
            for node in nodes
            if node.input_value(0).get_node().get_type_name() == "Constant"
        ])  # fmt: skip
    assert found[0]
    assert found[0] == found[1]


def test_nncf_reads_a_mapped_file_as_it_reads_an_array(
    graph: Path, images: Images, tmp_path: Path
) -> None:
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r", allow_pickle=False)
    expected = nncf_range(graph, images, "min-max", tmp_path / "array")
    assert nncf_range(graph, mapped, "min-max", tmp_path / "mapped") == expected


def test_modelopt_max_is_the_extreme_of_all_patches(
    graph: Path, images: Images, tmp_path: Path
) -> None:
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r", allow_pickle=False)
    assert modelopt_largest(graph, mapped, "max", tmp_path / "out") == around(OUTLIER)


def test_modelopt_entropy_clips_what_is_rare_but_never_the_first_patch(
    graph: Path, images: Images, tmp_path: Path
) -> None:
    first = float(np.abs(images[0]).max())
    assert first <= modelopt_largest(graph, images, "entropy", tmp_path / "out") < OUTLIER / 2
    reordered = images[[1, 0, 2]]
    assert modelopt_largest(graph, reordered, "entropy", tmp_path / "far") == around(OUTLIER)


def test_modelopt_entropy_of_one_patch_is_refused_as_it_would_be_max(
    graph: Path, images: Images, tmp_path: Path
) -> None:
    with pytest.raises(QuantizationError, match=r"of a single patch .* max"):
        modelopt_largest(graph, images[1:2], "entropy", tmp_path / "out")


# --- one image at a time -------------------------------------------------------------------------


@pytest.mark.parametrize("view", [slice(None), slice(1, 3)], ids=["whole", "part"])
def test_an_image_of_a_mapped_file_is_a_copy_of_its_own(
    images: Images, tmp_path: Path, view: slice
) -> None:
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r", allow_pickle=False)[view]
    for index, expected in enumerate(images[view]):
        found = image_at(mapped, index)
        assert np.array_equal(found, expected[None])
        assert type(found) is np.ndarray
        assert found.flags.owndata


def test_the_reader_gives_each_image_once_and_begins_again(images: Images) -> None:
    reader = ImageReader("x", images)
    for _ in range(2):
        assert np.array_equal(reader.get_first()["x"], images[:1])
        given = [found["x"] for found in iter(reader.get_next, None)]
        assert np.array_equal(np.concatenate(given), images)
        assert reader.get_next() is None
        reader.rewind()


def test_several_inputs_are_refused(tmp_path: Path, images: Images) -> None:
    pytest.importorskip("modelopt", reason="ModelOpt is not installed")
    make = onnx.helper
    ends = [make.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1]) for n in ("a", "b", "y")]
    body = make.make_graph([make.make_node("Add", ["a", "b"], ["y"])], "two", ends[:2], ends[2:])
    onnx.save(make.make_model(body), tmp_path / "two.onnx")
    with pytest.raises(QuantizationError, match=r"two\.onnx has 2 inputs"):
        quantizers.load("modelopt").quantize(tmp_path / "two.onnx", images, "max", tmp_path, ())
