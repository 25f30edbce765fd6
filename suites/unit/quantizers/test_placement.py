"""Each placement rule on small graphs: which pairs go, which come, and what is computed after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from voxgate.errors import QuantizationError, UsageError
from voxgate.quantization.rewiring import Wiring, load, save
from voxgate.quantizers.pairs import Placing, without_pairs
from voxgate.quantizers.placement import RULES, place
from voxgate.quantizers.version_rules import NEED_RANGES, RULES_BY_VERSION, rules_for

from suites.support.small_network import run_onnx

onnx: Any = pytest.importorskip("onnx", reason="onnx is not installed")

SIDE, CHANNELS = 4, 2
IMAGE = np.linspace(-1, 2, CHANNELS * SIDE**3, dtype=np.float32).reshape(1, CHANNELS, *[SIDE] * 3)
RANGES = dict.fromkeys(("c1", "c2", "c3", "a1", "m1"), 4.0)


class Net:
    """Nodes one after the other; tensors are named by their nodes."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.values: dict[str, NDArray[Any]] = {
            "scale": np.array(0.05, np.float32),
            "zero": np.array(0, np.int8),
        }

    def add(self, kind: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        self.nodes.append(
            onnx.helper.make_node(kind, list(inputs), [name], name=name, **attributes)
        )
        return name

    def pair(self, tensor: str) -> str:
        codes = self.add("QuantizeLinear", [tensor, "scale", "zero"], f"{tensor}.q")
        return self.add("DequantizeLinear", [codes, "scale", "zero"], f"{tensor}.dq")

    def conv(self, tensor: str, name: str, kind: str = "Conv") -> str:
        kernel = 2 if kind == "ConvTranspose" else 1
        shape = (CHANNELS, CHANNELS, *[kernel] * 3)
        generator = np.random.default_rng(len(self.nodes))
        self.values[f"{name}.w"] = generator.uniform(-1, 1, shape).astype(np.float32)
        more = {"strides": [2] * 3} if kind == "ConvTranspose" else {}
        return self.add(kind, [tensor, self.pair(f"{name}.w")], name, **more)

    def pool(self, tensor: str, name: str = "p") -> str:
        return self.add("MaxPool", [tensor], name, kernel_shape=[2] * 3, strides=[2] * 3)

    def write(self, path: Path, *ends: str) -> Path:
        def info(name: str, shape: Any) -> Any:
            return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)

        graph = onnx.helper.make_graph(
            self.nodes,
            "net",
            [info("x", IMAGE.shape)],
            [info(end, None) for end in ends],
            [onnx.numpy_helper.from_array(v, n) for n, v in self.values.items()],
        )
        opset = [onnx.helper.make_opsetid("", 21)]
        model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=10)
        onnx.save(onnx.shape_inference.infer_shapes(model), path)
        return path


class Placed:
    """A graph before and after some rules."""

    def __init__(
        self, net: Net, folder: Path, rules: Sequence[str], ranges: Mapping[str, float] = RANGES
    ) -> None:
        self.before = net.write(folder / "before.onnx", net.nodes[-1].output[0])
        self.after = folder / "after.onnx"
        self.touched = place(self.before, self.after, rules, ranges)
        self._placing = Placing(wiring=Wiring(load(self.after)))
        self._nodes = {node.name: node for node in self._placing.wiring.nodes}

    def has_pair(self, node: str, index: int) -> bool:
        return self._placing.pair(self._nodes[node], index) is not None

    def has_pair_behind(self, tensor: str) -> bool:
        return self._placing.pair_behind(tensor) is not None

    def chain(self, node: str) -> str:
        """What reads a node, and what reads that, as long as there is one reader each."""
        kinds: list[str] = []
        readers = self._placing.readers(self._nodes[node].output[0])
        while len(readers) == 1:
            kinds.append(readers[0].op_type)
            readers = self._placing.readers(readers[0].output[0])
        short = {"QuantizeLinear": "Q", "DequantizeLinear": "DQ"}
        return " ".join(short.get(kind, kind) for kind in kinds)

    def before_node(self, node: str) -> str:
        """The three nodes in front of one."""
        kinds: list[str] = []
        maker = self._placing.producer(self._nodes[node].input[0])
        while maker is not None and len(kinds) < 3:
            kinds.insert(0, maker.op_type)
            maker = self._placing.producer(maker.input[0])
        short = {"QuantizeLinear": "Q", "DequantizeLinear": "DQ"}
        return " ".join(short.get(kind, kind) for kind in kinds)

    def is_the_same_in_float(self) -> None:
        """Without any pairs both graphs compute the same."""
        outputs = []
        for path in (self.before, self.after):
            wiring = Wiring(load(path))
            without_pairs(wiring)
            save(wiring.finish(), path.with_suffix(".float.onnx"))
            outputs.append(run_onnx(path.with_suffix(".float.onnx"), IMAGE))
        np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-6, atol=1e-6)
        assert np.isfinite(run_onnx(self.after, IMAGE)).all()


def with_pool(activation: str = "Relu", **attributes: Any) -> Net:
    """Conv, activation, pair; a pooled branch with a pair of its own, and a convolution each."""
    net = Net()
    net.add(activation, [net.conv(net.pair("x"), "c1")], "a1", **attributes)
    skip = net.pair("a1")
    net.conv(net.pair(net.pool(skip)), "c2")
    net.conv(skip, "c3")
    net.add("ReduceMean", ["c3"], "mean", keepdims=1)
    net.add("Add", ["c2", "mean"], "y")
    return net


# --- pooling -------------------------------------------------------------------------------------


def test_pools_in_float_read_what_is_in_front_of_the_pair(tmp_path: Path) -> None:
    placed = Placed(with_pool(), tmp_path, ["pools-in-float"])
    assert placed.touched == {"pools-in-float": ("p",)}
    assert not placed.has_pair("p", 0)
    assert placed.has_pair("c2", 0)
    assert placed.has_pair("c3", 0)
    placed.is_the_same_in_float()


def test_convolutions_behind_pools_lose_both_pairs(tmp_path: Path) -> None:
    placed = Placed(with_pool(), tmp_path, ["behind-pools-in-float"])
    assert placed.touched == {"behind-pools-in-float": ("c2",)}
    assert not placed.has_pair("c2", 0)
    assert not placed.has_pair("c2", 1)
    assert placed.has_pair("c3", 1)


def test_barriers_stand_on_both_sides_of_a_pool(tmp_path: Path) -> None:
    placed = Placed(with_pool(), tmp_path, ["barrier-before-pools", "barrier-behind-pools"])
    assert placed.touched == dict.fromkeys(("barrier-before-pools", "barrier-behind-pools"), ("p",))
    assert not placed.has_pair("p", 0)
    assert placed.chain("p").startswith("Mul Q DQ Conv")
    placed.is_the_same_in_float()


@pytest.mark.parametrize("joined", [False, True])
def test_a_barrier_stands_behind_interpolation_that_a_q_reads(
    tmp_path: Path, *, joined: bool
) -> None:
    net = Net()
    net.values["larger"] = np.array([1, 1, 2, 2, 2], np.float32)
    net.add("Resize", ["x", "", "larger"], "r", mode="nearest")
    net.conv(net.pair(net.add("Concat", ["r", "r"], "joined", axis=2) if joined else "r"), "c1")
    placed = Placed(net, tmp_path, ["barrier-behind-resizes"])
    assert placed.touched == {"barrier-behind-resizes": ("r",)}
    assert placed.chain("r").startswith("Mul" if joined else "Mul Q DQ Conv")
    placed.is_the_same_in_float()


def with_resize() -> Net:
    """A convolution that interpolation and a sum read."""
    net = Net()
    net.values["larger"] = np.array([1, 1, 2, 2, 2], np.float32)
    net.conv(net.pair("x"), "c1")
    net.add("Resize", ["c1", "", "larger"], "r", mode="nearest")
    net.add("Add", ["r", net.add("ReduceMean", ["c1"], "mean", keepdims=1)], "y")
    return net


@pytest.mark.parametrize("passed_first", [False, True])
def test_a_barrier_stands_before_interpolation_that_reads_a_dq(
    tmp_path: Path, *, passed_first: bool
) -> None:
    rules = ["barrier-before-resizes", "pass-behind-convolutions"]
    rules = ["convolution-outputs", *(reversed(rules) if passed_first else rules)]
    placed = Placed(with_resize(), tmp_path, rules)
    assert placed.touched["barrier-before-resizes"] == ("r",)
    assert placed.before_node("r") == "Q DQ Mul"
    assert placed.before_node("mean") == "Q DQ MaxPool"  # which a norm would be compiled with
    placed.is_the_same_in_float()


def test_a_barrier_takes_the_place_of_a_pooling_that_passes_all(tmp_path: Path) -> None:
    net = Net()
    net.values["larger"] = np.array([1, 1, 2, 2, 2], np.float32)
    passed = net.add("MaxPool", [net.pair("x")], "pass", kernel_shape=[1] * 3)
    net.add("Resize", [passed, "", "larger"], "r", mode="nearest")
    placed = Placed(net, tmp_path, ["barrier-before-resizes"])
    assert placed.touched == {"barrier-before-resizes": ("r",)}
    assert placed.before_node("r") == "Q DQ Mul"
    placed.is_the_same_in_float()


@pytest.mark.parametrize("between", [None, "Relu", "MaxPool"])
def test_interpolation_of_float_values_needs_no_barrier(
    tmp_path: Path, between: str | None
) -> None:
    net = Net()
    net.values["larger"] = np.array([1, 1, 2, 2, 2], np.float32)
    source = {"Relu": lambda: net.add("Relu", [net.pair("x")], "a"),
              "MaxPool": lambda: net.pool(net.pair("x"))}.get(between or "", lambda: "x")()  # fmt: skip
    net.add("Resize", [source, "", "larger"], "r", mode="nearest")
    placed = Placed(net, tmp_path, ["barrier-before-resizes"])
    assert placed.touched == {"barrier-before-resizes": ()}


def test_a_barrier_before_a_resize_is_passed_by_no_pooling() -> None:
    eight = rules_for("tensorrt", "8.6.0")
    order = [eight.index(n) for n in ("convolution-outputs", "barrier-before-resizes", "pass-behind-convolutions")]  # fmt: skip
    assert order == sorted(order)


def test_interpolation_that_no_q_reads_needs_no_barrier(tmp_path: Path) -> None:
    net = Net()
    net.values["larger"] = np.array([1, 1, 2, 2, 2], np.float32)
    net.add("Relu", [net.add("Resize", ["x", "", "larger"], "r", mode="nearest")], "y")
    assert Placed(net, tmp_path, ["barrier-behind-resizes"]).touched == {
        "barrier-behind-resizes": ()
    }


def test_a_pool_goes_in_front_of_an_activation_that_rises(tmp_path: Path) -> None:
    net = with_pool("LeakyRelu", alpha=0.1)
    placed = Placed(net, tmp_path, ["pool-before-activation"])
    assert placed.touched == {"pool-before-activation": ("p",)}
    assert placed.chain("p").startswith("LeakyRelu Q DQ Conv")
    placed.is_the_same_in_float()


def test_a_pool_stays_behind_an_activation_that_falls(tmp_path: Path) -> None:
    net = with_pool("LeakyRelu", alpha=-0.1)
    placed = Placed(net, tmp_path, ["pool-before-activation"])
    assert placed.touched == {"pool-before-activation": ()}


def test_a_pool_by_planes_computes_the_same_codes(tmp_path: Path) -> None:
    placed = Placed(with_pool(), tmp_path, ["pools-as-planes"])
    assert placed.touched == {"pools-as-planes": ("p",)}
    np.testing.assert_array_equal(run_onnx(placed.after, IMAGE), run_onnx(placed.before, IMAGE))


def test_a_pool_with_pads_is_left_whole(tmp_path: Path) -> None:
    net = Net()
    pads = {"kernel_shape": [3] * 3, "strides": [2] * 3, "pads": [1] * 6}
    net.conv(net.pair(net.add("MaxPool", ["x"], "p", **pads)), "c1")
    assert Placed(net, tmp_path, ["pools-as-planes"]).touched == {"pools-as-planes": ()}


# --- what stays in float -------------------------------------------------------------------------


def decoder() -> Net:
    """Conv, Relu, transposed conv, head."""
    net = Net()
    active = net.add("Relu", [net.conv(net.pair("x"), "c1")], "a1")
    up = net.conv(net.pair(active), "t", "ConvTranspose")
    net.conv(net.pair(up), "c2")
    return net


@pytest.mark.parametrize(
    ("rule", "activation"),
    [("deconvolutions-in-float", False), ("deconvolution-weights-in-float", True)],
)
def test_transposed_convolutions_keep_no_weights_in_pairs(
    tmp_path: Path, rule: str, *, activation: bool
) -> None:
    placed = Placed(decoder(), tmp_path, [rule])
    assert placed.touched == {rule: ("t",)}
    assert placed.has_pair("t", 0) is activation
    assert not placed.has_pair("t", 1)
    assert placed.has_pair("c2", 1)


def test_the_head_has_float_weights(tmp_path: Path) -> None:
    placed = Placed(decoder(), tmp_path, ["heads-in-float"])
    assert placed.touched == {"heads-in-float": ("c2",)}
    assert placed.has_pair("c2", 0)
    assert not placed.has_pair("c2", 1)


# --- quantized outputs ---------------------------------------------------------------------------


def test_a_float_reader_beside_a_pair_reads_the_pair(tmp_path: Path) -> None:
    net = Net()
    active = net.add("Relu", [net.conv(net.pair("x"), "c1")], "a1")
    net.add("Add", [net.conv(net.pair(active), "c2"), active], "y")
    placed = Placed(net, tmp_path, ["shared-pairs"])
    assert placed.touched == {"shared-pairs": ("y",)}
    assert placed.has_pair("y", 1)


def test_a_convolution_in_front_of_a_float_operation_gets_a_pair(tmp_path: Path) -> None:
    net = Net()
    net.values["s"] = net.values["b"] = np.ones(CHANNELS, np.float32)
    norm = net.add("InstanceNormalization", [net.conv(net.pair("x"), "c1"), "s", "b"], "n")
    leaky = net.add("LeakyRelu", [norm], "a1")
    net.conv(net.pair(leaky), "c2")
    placed = Placed(net, tmp_path, ["convolution-outputs"])
    assert placed.touched == {"convolution-outputs": ("c1",)}  # and not the head
    assert placed.chain("c1").startswith("Q DQ InstanceNormalization LeakyRelu Q DQ Conv")
    scales = {t.name: t for t in onnx.load(placed.after).graph.initializer}
    (scale,) = [
        onnx.numpy_helper.to_array(t) for n, t in scales.items() if n.startswith("c1/scale")
    ]
    assert scale == np.float32(RANGES["c1"] / 127)
    placed.is_the_same_in_float()


def test_a_convolution_that_ends_in_codes_gets_no_further_pair(tmp_path: Path) -> None:
    net = Net()
    active = net.add("Relu", [net.conv(net.pair("x"), "c1")], "a1")
    second = net.conv(net.pair(active), "c2")
    total = net.add("Add", [second, net.pair("x")], "sum")
    net.conv(net.pair(net.add("Relu", [total], "a2")), "c3")
    placed = Placed(net, tmp_path, ["convolution-outputs"])
    assert placed.touched == {"convolution-outputs": ()}


def test_a_sum_with_a_float_branch_is_no_end_in_codes(tmp_path: Path) -> None:
    net = Net()
    total = net.add("Add", [net.conv(net.pair("x"), "c1"), "x"], "sum")
    net.conv(net.pair(net.add("Relu", [total], "a2")), "c3")
    placed = Placed(net, tmp_path, ["convolution-outputs"])
    assert placed.touched == {"convolution-outputs": ("c1",)}


def test_a_range_that_was_not_measured_is_named(tmp_path: Path) -> None:
    net = Net()
    net.add("Sigmoid", [net.conv(net.pair("x"), "c1")], "y")
    with pytest.raises(QuantizationError, match=r"no range of tensor 'c1' behind Conv c1"):
        Placed(net, tmp_path, ["convolution-outputs"], {})


def test_a_pair_behind_a_convolution_stays_outside_of_what_is_compiled_with_a_norm(
    tmp_path: Path,
) -> None:
    net = Net()
    net.values |= {name: np.ones(CHANNELS, np.float32) for name in ("gain", "offset")}
    normal = net.add(
        "InstanceNormalization", [net.conv(net.pair("x"), "c1"), "gain", "offset"], "n"
    )
    net.add("Relu", [net.conv(net.pair(normal), "c2")], "y")
    rules = ["convolution-outputs", "pass-behind-convolutions"]
    placed = Placed(net, tmp_path, rules)
    assert placed.touched == {
        "convolution-outputs": ("c1", "c2"),
        "pass-behind-convolutions": ("c1",),  # an activation takes the codes itself
    }
    assert placed.chain("c1").startswith("Q DQ MaxPool InstanceNormalization Q DQ Conv Q DQ Relu")
    placed.is_the_same_in_float()


def test_the_sum_of_a_residual_block_reads_its_branch_dequantized(tmp_path: Path) -> None:
    net = Net()
    net.values |= {name: np.ones(CHANNELS, np.float32) for name in ("gain", "offset")}
    first = net.pair(net.add("Relu", [net.conv(net.pair("x"), "c0")], "a0"))
    second = net.conv(net.pair(net.add("Relu", [net.conv(first, "c1")], "a1")), "c2")
    shortcut = net.conv(first, "c3")  # its pair is read by the sum alone
    total = net.add("Add", [second, net.pair(shortcut)], "sum")
    normal = net.add("InstanceNormalization", [net.pair(total), "gain", "offset"], "n")
    net.conv(net.pair(normal), "c4")
    placed = Placed(net, tmp_path, ["pass-behind-convolutions"])
    # The kernel of c2 adds c3's codes to its own; the norm behind them is what is compiled.
    assert placed.touched == {"pass-behind-convolutions": ("sum",)}
    assert placed.has_pair("sum", 1)
    assert placed.chain("sum").startswith("Q DQ MaxPool InstanceNormalization")
    placed.is_the_same_in_float()


def test_a_pair_behind_the_sum_of_two_float_tensors_stays_outside(tmp_path: Path) -> None:
    net = Net()
    net.values |= {name: np.ones(CHANNELS, np.float32) for name in ("gain", "offset")}
    features = net.add("Sigmoid", [net.conv(net.pair("x"), "c1")], "features")
    total = net.add("Add", [net.add("Tanh", ["x"], "up"), features], "sum")
    dequantized = net.pair(total)
    normal = net.add("InstanceNormalization", [dequantized, "gain", "offset"], "n")
    second = net.conv(net.pair(normal), "c2")
    net.add("Add", [second, dequantized], "end")  # a decoder's residual block
    net.conv(net.pair("end"), "c3")
    placed = Placed(net, tmp_path, ["pass-behind-convolutions"])
    assert placed.touched == {"pass-behind-convolutions": ("sum",)}
    assert placed.has_pair("end", 1)  # the kernel of c2 adds the codes
    assert placed.before_node("n") == "Q DQ MaxPool"
    placed.is_the_same_in_float()


def test_the_sum_with_a_bias_and_a_product_that_reads_codes_need_no_pass(tmp_path: Path) -> None:
    net = Net()
    net.values["bias"] = np.ones(SIDE, np.float32)
    net.values["m.w"] = np.eye(SIDE, dtype=np.float32)
    biased = net.add("Add", ["x", "bias"], "biased")
    net.add("Sigmoid", [net.pair(biased)], "s")
    tokens = net.pair(net.add("Add", ["s", "x"], "tokens"))
    net.add("MatMul", [tokens, net.pair("m.w")], "y")
    placed = Placed(net, tmp_path, ["pass-behind-convolutions"])
    assert placed.touched == {"pass-behind-convolutions": ()}


def test_a_sum_with_a_float_branch_is_compiled_with_what_is_around_it(tmp_path: Path) -> None:
    net = Net()
    total = net.add("Add", [net.pair(net.conv(net.pair("x"), "c1")), "x"], "sum")
    net.add("Sigmoid", [total], "y")
    placed = Placed(net, tmp_path, ["pass-behind-convolutions"])
    assert placed.touched == {"pass-behind-convolutions": ("c1",)}
    assert not placed.has_pair("sum", 0)


def test_a_product_gets_its_pair_behind_its_bias(tmp_path: Path) -> None:
    net = Net()
    net.values["m.w"] = np.eye(SIDE, dtype=np.float32)
    net.values["bias"] = np.ones(SIDE, np.float32)
    product = net.add("MatMul", [net.pair("x"), net.pair("m.w")], "m")
    net.add("Softmax", [net.add("Add", [product, "bias"], "m1")], "y")
    placed = Placed(net, tmp_path, ["linear-outputs"])
    assert placed.touched == {"linear-outputs": ("m",)}
    assert placed.has_pair_behind("m1")
    assert not placed.has_pair_behind("m")


# --- the tables ----------------------------------------------------------------------------------


def test_every_version_has_rules_that_exist() -> None:
    named = {rule for rows in RULES_BY_VERSION.values() for _, rules in rows for rule in rules}
    assert named <= set(RULES)
    assert set(RULES) >= NEED_RANGES
    for rows in RULES_BY_VERSION.values():
        firsts = [first for first, _ in rows]
        assert firsts == sorted(set(firsts))


@pytest.mark.parametrize(
    ("version", "like"), [("8.6.1", "8.6"), ("8.9", "8.6"), ("11.4.0.106", "10.0"), ("?", "10.0")]
)
def test_a_version_gets_the_newest_entry_that_it_is_not_older_than(version: str, like: str) -> None:
    assert rules_for("tensorrt", version) == rules_for("tensorrt", like)


def test_an_unknown_rule_names_the_choices(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown placement rule 'pool-in-float'"):
        Placed(with_pool(), tmp_path, ["pool-in-float"])
