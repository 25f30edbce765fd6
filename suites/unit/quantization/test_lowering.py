"""A graph of opset 21 in opset 17: it computes the same, or the node that cannot is named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from voxgate.errors import ArtifactError
from voxgate.quantization import lowering, norms
from voxgate.quantization.rewiring import Wiring, load, save

from suites.support import small_network
from suites.support.small_network import run_onnx

onnx: Any = pytest.importorskip("onnx", reason="onnx is not installed")

IMAGE = np.random.default_rng(5).normal(size=(2, 6, 4, 4, 4)).astype(np.float32)


def write(
    path: Path,
    nodes: Sequence[Any],
    constants: dict[str, NDArray[Any]] | None = None,
    outputs: Sequence[str] = ("y",),
) -> Path:
    """A graph of these nodes from ``x`` to its outputs, in opset 21."""
    values = [onnx.numpy_helper.from_array(v, n) for n, v in (constants or {}).items()]
    image = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, IMAGE.shape)
    ends = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in outputs]
    graph = onnx.helper.make_graph(list(nodes), "g", [image], ends, values)
    opset = [onnx.helper.make_opsetid("", 21)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=10)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return path


def make(kind: str, inputs: Sequence[str], end: str = "y", **attributes: Any) -> Any:
    return onnx.helper.make_node(kind, list(inputs), [end], name=f"{kind}-{end}", **attributes)


def ints(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


FLOATS = np.linspace(-1, 2, 6, dtype=np.float32)
LAST = np.linspace(0.5, 2, 4, dtype=np.float32)

CASES: dict[str, tuple[Any, dict[str, NDArray[Any]]]] = {
    "gelu": (make("Gelu", ["x"]), {}),
    "gelu-tanh": (make("Gelu", ["x"], approximate="tanh"), {}),
    "mean": (make("ReduceMean", ["x", "axes"], keepdims=0), {"axes": ints(2, -1)}),
    "max": (make("ReduceMax", ["x", "axes"], keepdims=1), {"axes": ints(1)}),
    "mean-of-all": (make("ReduceMean", ["x"]), {}),
    "pad-axes": (
        make("Pad", ["x", "pads", "", "axes"]),
        {"pads": ints(1, 0, 2, 3), "axes": ints(-1, 2)},
    ),
    "pad-value": (
        make("Pad", ["x", "pads", "value", "axes"]),
        {"pads": ints(1, 1), "value": np.array(3, np.float32), "axes": ints(3)},
    ),
    "resize": (
        make("Resize", ["x", "", "scales"], mode="linear", antialias=0),
        {"scales": np.array([1, 1, 2, 2, 2], np.float32)},
    ),
    "cast": (make("Cast", ["x"], to=1, saturate=1), {}),
    "instance": (
        make(norms.INSTANCE, ["x", "s", "b"], epsilon=1e-3),
        {"s": FLOATS, "b": FLOATS},
    ),
    "layer": (make(norms.LAYER, ["x", "s", "b"], epsilon=1e-3), {"s": LAST, "b": LAST}),
    "layer-without-bias": (make(norms.LAYER, ["x", "s"], axis=-1), {"s": LAST}),
    "layer-of-two-axes": (
        make(norms.LAYER, ["x", "s"], axis=3),
        {"s": np.outer(LAST, LAST).astype(np.float32)},
    ),
    "group": (
        make(norms.GROUP, ["x", "s", "b"], num_groups=3),
        {"s": FLOATS, "b": FLOATS},
    ),
}


def lowered(source: Path, target: Path) -> Any:
    wiring = Wiring(load(source))
    written = norms.as_primitives(wiring, (norms.INSTANCE, norms.LAYER))
    assert set(written) <= {node.name for node in wiring.nodes}
    save(lowering.lower(wiring, 17), target)
    return onnx.load(target)


@pytest.mark.parametrize("name", CASES)
def test_what_newer_opsets_have_is_written_with_what_17_has(tmp_path: Path, name: str) -> None:
    node, constants = CASES[name]
    source = write(tmp_path / "new.onnx", [node], constants)
    model = lowered(source, tmp_path / "old.onnx")
    assert [entry.version for entry in model.opset_import] == [17]
    assert model.ir_version == 8
    onnx.checker.check_model(onnx.shape_inference.infer_shapes(model), full_check=True)
    old, new = (run_onnx(tmp_path / name, IMAGE) for name in ("old.onnx", "new.onnx"))
    np.testing.assert_allclose(old, new, rtol=1e-5, atol=1e-6)
    assert node.name in {made.name for made in model.graph.node}


@pytest.mark.parametrize("count", [2, 3])
def test_a_split_gets_its_sizes(tmp_path: Path, count: int) -> None:
    parts = [f"p{index}" for index in range(count)]
    split = onnx.helper.make_node("Split", ["x"], parts, name="split", axis=1, num_outputs=count)
    join = make("Concat", parts[::-1], axis=1)
    source = write(tmp_path / "new.onnx", [split, join])
    lowered(source, tmp_path / "old.onnx")
    old, new = (run_onnx(tmp_path / name, IMAGE) for name in ("old.onnx", "new.onnx"))
    np.testing.assert_array_equal(old, new)


def test_pairs_lose_the_attributes_that_17_does_not_know(tmp_path: Path) -> None:
    path = small_network.write_onnx(tmp_path / "new.onnx", small_network.ALL_EDGES)
    model = onnx.load(path)
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            node.attribute.append(onnx.helper.make_attribute("saturate", 1))
            node.attribute.append(onnx.helper.make_attribute("block_size", 0))
    onnx.save(model, path)
    lowered(path, tmp_path / "old.onnx")
    image = small_network.IMAGE
    old, new = (run_onnx(tmp_path / name, image) for name in ("old.onnx", "new.onnx"))
    np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
    ("node", "constants", "words"),
    [
        (
            make("Resize", ["x", "", "scales"], mode="linear", antialias=1),
            {"scales": np.array([1, 1, 0.5, 0.5, 0.5], np.float32)},
            "Resize Resize-y has antialias=1, which older opsets cannot say",
        ),
        (make("Mish", ["x"]), {}, "Mish Mish-y cannot be written in opset 17"),
    ],
)
def test_what_17_cannot_say_is_named(
    tmp_path: Path, node: Any, constants: dict[str, NDArray[Any]], words: str
) -> None:
    source = write(tmp_path / "new.onnx", [node], constants)
    with pytest.raises(ArtifactError, match=words):
        lowered(source, tmp_path / "old.onnx")


def test_a_graph_that_is_old_enough_stays(tmp_path: Path) -> None:
    source = write(tmp_path / "new.onnx", [make("Gelu", ["x"])])
    model = lowering.lower(Wiring(load(source)), 21)
    assert [node.op_type for node in model.graph.node] == ["Gelu"]


@pytest.mark.parametrize("slope", [0.01, 0.3])
@pytest.mark.parametrize("residual", [False, True])
def test_leaky_activations_of_norms_are_maxima(
    tmp_path: Path, slope: float, *, residual: bool
) -> None:
    nodes = [make("InstanceNormalization", ["x", "gain", "offset"], "n")]
    nodes += [make("Add", ["n", "x"], "s")] if residual else []
    nodes += [make("LeakyRelu", ["s" if residual else "n"], alpha=slope)]
    constants = {"gain": FLOATS, "offset": FLOATS}
    before = write(tmp_path / "before.onnx", nodes, constants)
    wiring = Wiring(load(before))
    assert norms.leaky_as_maximum(wiring) == 1
    save(wiring.finish(), tmp_path / "after.onnx")
    assert "LeakyRelu" not in {node.op_type for node in wiring.nodes}
    np.testing.assert_array_equal(run_onnx(tmp_path / "after.onnx", IMAGE), run_onnx(before, IMAGE))


@pytest.mark.parametrize(("source", "slope"), [("x", 0.01), ("n", 1.5)])
def test_other_leaky_activations_stay(tmp_path: Path, source: str, slope: float) -> None:
    norm = make("InstanceNormalization", ["x", "gain", "offset"], "n")
    nodes = [norm, make("LeakyRelu", [source], "a", alpha=slope), make("Add", ["a", "n"])]
    graph = write(tmp_path / "net.onnx", nodes, {"gain": FLOATS, "offset": FLOATS})
    assert norms.leaky_as_maximum(Wiring(load(graph))) == 0
