"""Small Q/DQ graphs, each a question: does this runtime compute that pattern in int8?

A pattern is a function that wires a few layers; its docstring is the question. The nodes that are
asked about are named c1, c2, ... (convolutions), t1 (transposed ones) and m1, m2 (matrix products).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

OPSET, IR_VERSION = 17, 8  # which every version parses
CHANNELS, SIDE, TOKENS = 32, 16, 256

Pattern = Callable[["Graph"], str]


class Graph:
    """A graph that grows node by node; methods take a tensor's name and return the next one's."""

    def __init__(self, dims: int = 3, channels: int = CHANNELS) -> None:
        import onnx

        self._onnx = onnx
        self.dims = dims
        self.shape = [1, channels, *[SIDE] * dims]
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._random = np.random.default_rng(len(self.shape))
        self._count = 0

    def constant(self, value: NDArray[Any]) -> str:
        """A new initializer."""
        self._count += 1
        self.constants.append(self._onnx.numpy_helper.from_array(value, f"k{self._count}"))
        return f"k{self._count}"

    def node(self, kind: str, inputs: Sequence[str], name: str = "", **attributes: Any) -> str:
        """A node with one output."""
        self._count += 1
        name = name or f"{kind}{self._count}"
        end = f"{name}.out"
        self.nodes.append(
            self._onnx.helper.make_node(kind, list(inputs), [end], name=name, **attributes)
        )
        return end

    def pair(self, tensor: str, axis: int | None = None, count: int = 1) -> str:
        """Quantize and dequantize: one scale, or one for each slice along an axis."""
        form = () if axis is None else (count,)
        shared = [
            self.constant(np.full(form, 0.02, np.float32)),
            self.constant(np.zeros(form, np.int8)),
        ]
        more: dict[str, Any] = {} if axis is None else {"axis": axis}
        codes = self.node("QuantizeLinear", [tensor, *shared], **more)
        return self.node("DequantizeLinear", [codes, *shared], **more)

    def conv(
        self,
        tensor: str,
        name: str,
        sizes: tuple[int, int] = (CHANNELS, CHANNELS),
        *,
        kernel: int = 3,
        stride: int = 1,
    ) -> str:
        """A convolution with quantized weights; ``sizes`` are its channels in and out."""
        weights = self._weights((sizes[1], sizes[0], *[kernel] * self.dims))
        inputs = [tensor, self.pair(weights, 0, sizes[1]), self._weights((sizes[1],))]
        pads = [kernel // 2] * (2 * self.dims)
        shape = {"kernel_shape": [kernel] * self.dims, "strides": [stride] * self.dims}
        return self.node("Conv", inputs, name, pads=pads, **shape)

    def deconv(self, tensor: str, name: str, *, quantized: bool = True) -> str:
        """A transposed convolution that doubles each side."""
        weights = self._weights((CHANNELS, CHANNELS, *[2] * self.dims))
        second = self.pair(weights, 1, CHANNELS) if quantized else weights
        shape = {"kernel_shape": [2] * self.dims, "strides": [2] * self.dims}
        return self.node(
            "ConvTranspose", [tensor, second, self._weights((CHANNELS,))], name, **shape
        )

    def pool(self, tensor: str) -> str:
        """Max pooling that halves each side."""
        sides = [2] * self.dims
        return self.node("MaxPool", [tensor], kernel_shape=sides, strides=sides)

    def linear(self, tensor: str, name: str) -> str:
        """A product with constant quantized weights."""
        weights = self._weights((CHANNELS, CHANNELS))
        return self.node("MatMul", [tensor, self.pair(weights, 1, CHANNELS)], name)

    def leaky(self, tensor: str) -> str:
        """The activation of networks with instance norms."""
        return self.node("LeakyRelu", [tensor], alpha=0.01)

    def relu(self, tensor: str) -> str:
        """The activation that is fused."""
        return self.node("Relu", [tensor])

    def instance(self, tensor: str) -> str:
        """An instance norm as one node."""
        ones, zeros = np.ones(CHANNELS, np.float32), np.zeros(CHANNELS, np.float32)
        return self.node(
            "InstanceNormalization", [tensor, self.constant(ones), self.constant(zeros)]
        )

    def primitives(self, tensor: str, axes: Sequence[int]) -> str:
        """A norm over these axes as means, differences and a quotient."""
        mean = self.node("ReduceMean", [tensor], axes=list(axes), keepdims=1)
        centred = self.node("Sub", [tensor, mean])
        square = self.node("Mul", [centred, centred])
        variance = self.node("ReduceMean", [square], axes=list(axes), keepdims=1)
        shifted = self.node("Add", [variance, self.constant(np.array(1e-5, np.float32))])
        return self.node("Div", [centred, self.node("Sqrt", [shifted])])

    def times_one(self, tensor: str) -> str:
        """A factor of one a channel."""
        ones = np.ones((1, CHANNELS, *[1] * self.dims), np.float32)
        return self.node("Mul", [tensor, self.constant(ones)])

    def write(self, path: Path, end: str) -> None:
        """Save it, with one input and one output."""
        helper = self._onnx.helper
        image = helper.make_tensor_value_info("x", self._onnx.TensorProto.FLOAT, self.shape)
        out = helper.make_tensor_value_info(end, self._onnx.TensorProto.FLOAT, None)
        body = helper.make_graph(self.nodes, path.stem, [image], [out], self.constants)
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(body, opset_imports=opsets, ir_version=IR_VERSION)
        self._onnx.save(self._onnx.shape_inference.infer_shapes(model), path)

    def _weights(self, shape: tuple[int, ...]) -> str:
        return self.constant((self._random.standard_normal(shape) * 0.1).astype(np.float32))


# --- convolutions and what is behind them --------------------------------------------------------


def conv_float(g: Graph) -> str:
    """A convolution with a float output, as in front of an instance norm?"""
    return g.conv(g.pair("x"), "c1")


def conv_relu_q_conv(g: Graph) -> str:
    """With a Relu and a quantize node behind?"""
    return g.conv(g.pair(g.relu(g.conv(g.pair("x"), "c1"))), "c2")


def conv_leaky_q_conv(g: Graph) -> str:
    """With a LeakyRelu and a quantize node behind?"""
    return g.conv(g.pair(g.leaky(g.conv(g.pair("x"), "c1"))), "c2")


def conv_q_leaky_q_conv(g: Graph) -> str:
    """With a pair right behind the convolution, then a LeakyRelu and a quantize node?"""
    return g.conv(g.pair(g.leaky(g.pair(g.conv(g.pair("x"), "c1")))), "c2")


def conv_q_float(g: Graph) -> str:
    """With a pair right behind it, and float then?"""
    return g.pair(g.conv(g.pair("x"), "c1"))


def conv_q_sigmoid(g: Graph) -> str:
    """With a pair right behind it, in front of an operation that is never int8?"""
    return g.node("Sigmoid", [g.pair(g.conv(g.pair("x"), "c1"))])


def conv_relu_two_readers(g: Graph) -> str:
    """With a float reader beside the quantize node?"""
    active = g.relu(g.conv(g.pair("x"), "c1"))
    return g.node("Add", [g.conv(g.pair(active), "c2"), active])


def conv_q_conv(g: Graph) -> str:
    """Two convolutions with a quantize node between?"""
    return g.conv(g.pair(g.conv(g.pair("x"), "c1")), "c2")


def strided_relu_q_conv(g: Graph) -> str:
    """A stride of 2?"""
    return g.conv(g.pair(g.relu(g.conv(g.pair("x"), "c1", stride=2))), "c2")


def pointwise_relu_q_conv(g: Graph) -> str:
    """A kernel of 1?"""
    return g.conv(g.pair(g.relu(g.conv(g.pair("x"), "c1", kernel=1))), "c2")


def head(g: Graph) -> str:
    """Three classes, a kernel of 1, a float output?"""
    return g.conv(g.pair("x"), "c1", (CHANNELS, 3), kernel=1)


def head_3(g: Graph) -> str:
    """Three classes, a kernel of 3, a float output?"""
    return g.conv(g.pair("x"), "c1", (CHANNELS, 3))


def head_q(g: Graph) -> str:
    """Three classes and a pair behind?"""
    return g.pair(g.conv(g.pair("x"), "c1", (CHANNELS, 3), kernel=1))


def stem_float(g: Graph) -> str:
    """One channel in, a float output?"""
    return g.conv(g.pair("x"), "c1", (1, CHANNELS))


def stem_relu_q_conv(g: Graph) -> str:
    """One channel in, a Relu and a quantize node behind?"""
    return g.conv(g.pair(g.relu(g.conv(g.pair("x"), "c1", (1, CHANNELS)))), "c2")


def narrow_relu_q_conv(g: Graph) -> str:
    """As many channels as the graph has, 3 to 144?"""
    count = g.shape[1]
    active = g.relu(g.conv(g.pair("x"), "c1", (count, count)))
    return g.conv(g.pair(active), "c2", (count, count))


# --- sums and concatenations ---------------------------------------------------------------------


def residual(g: Graph) -> str:
    """A sum with a dequantized branch, a Relu and a quantize node behind?"""
    shortcut = g.pair("x")
    first = g.relu(g.conv(shortcut, "c1"))
    total = g.node("Add", [g.conv(g.pair(first), "c2"), g.pair("x")])
    return g.conv(g.pair(g.relu(total)), "c3")


def residual_float(g: Graph) -> str:
    """The same with a float branch?"""
    total = g.node("Add", [g.conv(g.pair(g.relu("x")), "c1"), "x"])
    return g.conv(g.pair(g.relu(total)), "c2")


def residual_outputs(g: Graph) -> str:
    """Pairs behind both convolutions of a block without activations between?"""
    first = g.pair(g.conv(g.pair("x"), "c1"))
    second = g.pair(g.conv(first, "c2"))
    return g.conv(g.pair(g.leaky(g.node("Add", [second, first]))), "c3")


def concat_q_conv(g: Graph) -> str:
    """A concatenation of dequantized tensors?"""
    both = g.node("Concat", [g.pair("x"), g.pair(g.relu("x"))], axis=1)
    return g.conv(g.pair(both), "c1", (2 * CHANNELS, CHANNELS))


def concat_float_q_conv(g: Graph) -> str:
    """A concatenation of a dequantized convolution and a float transposed one?"""
    low = g.deconv(g.pair(g.relu(g.conv(g.pair("x"), "c1", stride=2))), "t1", quantized=False)
    skip = g.pair(g.relu(g.conv(g.pair("x"), "c2")))
    both = g.node("Concat", [skip, low], axis=1)
    return g.conv(g.pair(both), "c3", (2 * CHANNELS, CHANNELS))


# --- pooling -------------------------------------------------------------------------------------


def q_pool_q_conv(g: Graph) -> str:
    """Pairs on both sides of max pooling, as ModelOpt writes them?"""
    return g.conv(g.pair(g.pool(g.pair("x"))), "c1")


def pool_q_conv(g: Graph) -> str:
    """Float max pooling and a quantize node?"""
    return g.conv(g.pair(g.pool("x")), "c1")


def conv_relu_pool_q_conv(g: Graph) -> str:
    """Float max pooling behind a convolution?"""
    return g.conv(g.pair(g.pool(g.relu(g.conv(g.pair("x"), "c1")))), "c2")


def pool_times_q_conv(g: Graph) -> str:
    """A factor of one between max pooling and the quantize node?"""
    return g.conv(g.pair(g.times_one(g.pool("x"))), "c1")


def pool_leaky_q_conv(g: Graph) -> str:
    """Max pooling, then the LeakyRelu?"""
    return g.conv(g.pair(g.leaky(g.pool(g.pair(g.conv(g.pair("x"), "c1"))))), "c2")


def _barred(g: Graph, barrier: Callable[[str], str]) -> str:
    """Conv, Relu and a pair; max pooling between two barriers; a pair and a convolution."""
    active = g.pair(g.relu(g.conv(g.pair("x"), "c1")))
    return g.conv(g.pair(barrier(g.pool(barrier(active)))), "c2")


def times_pool_times(g: Graph) -> str:
    """Max pooling of a dequantized convolution between factors of one?"""
    return _barred(g, g.times_one)


def plus_pool_plus(g: Graph) -> str:
    """Between additions of zero?"""
    zeros = np.zeros((1, CHANNELS, *[1] * g.dims), np.float32)
    return _barred(g, lambda tensor: g.node("Add", [tensor, g.constant(zeros)]))


def clip_pool_clip(g: Graph) -> str:
    """Between clips that clip nothing?"""
    ends = [g.constant(np.array(value, np.float32)) for value in (-1e30, 1e30)]
    return _barred(g, lambda tensor: g.node("Clip", [tensor, *ends]))


def relu_pool_relu(g: Graph) -> str:
    """Between Relus?"""
    return _barred(g, g.relu)


def planes_q_conv(g: Graph) -> str:
    """Max pooling of planes, then along the depth, between pairs?"""
    half = SIDE // 2
    tensor = g.pair(g.relu(g.conv(g.pair("x"), "c1")))

    def reshape(name: str, shape: Sequence[int]) -> str:
        return g.node("Reshape", [name, g.constant(np.array(shape, np.int64))])

    planes = reshape(tensor, [1, CHANNELS * SIDE, SIDE, SIDE])
    pooled = g.node("MaxPool", [planes], kernel_shape=[2, 2], strides=[2, 2])
    deep = reshape(pooled, [1, CHANNELS, SIDE, half * half])
    last = g.node("MaxPool", [deep], kernel_shape=[2, 1], strides=[2, 1])
    return g.conv(g.pair(reshape(last, [1, CHANNELS, half, half, half])), "c2")


# --- transposed convolutions ---------------------------------------------------------------------


def deconv_float(g: Graph) -> str:
    """A transposed convolution with a float output?"""
    return g.deconv(g.pair("x"), "t1")


def deconv_q_conv(g: Graph) -> str:
    """A quantize node behind a transposed convolution?"""
    return g.conv(g.pair(g.deconv(g.pair("x"), "t1")), "c1")


def float_deconv_q_conv(g: Graph) -> str:
    """The same with its own operands in float?"""
    return g.conv(g.pair(g.deconv("x", "t1", quantized=False)), "c1")


def conv_q_float_deconv(g: Graph) -> str:
    """A transposed convolution with float weights that reads a dequantized convolution?"""
    return g.deconv(g.pair(g.relu(g.conv(g.pair("x"), "c1"))), "t1", quantized=False)


def conv_q_times_float_deconv(g: Graph) -> str:
    """The same with a factor of one between?"""
    active = g.pair(g.relu(g.conv(g.pair("x"), "c1")))
    return g.deconv(g.times_one(active), "t1", quantized=False)


def float_deconv_times_q_conv(g: Graph) -> str:
    """A factor of one between a float transposed convolution and a quantize node?"""
    return g.conv(g.pair(g.times_one(g.deconv("x", "t1", quantized=False))), "c1")


# --- norms ---------------------------------------------------------------------------------------


def _axes(g: Graph) -> list[int]:
    return list(range(2, 2 + g.dims))


def conv_instance_leaky_q_conv(g: Graph) -> str:
    """An instance norm behind a convolution, as one node?"""
    return g.conv(g.pair(g.leaky(g.instance(g.conv(g.pair("x"), "c1")))), "c2")


def conv_primitives_leaky_q_conv(g: Graph) -> str:
    """The same by means and quotients?"""
    normal = g.primitives(g.conv(g.pair("x"), "c1"), _axes(g))
    return g.conv(g.pair(g.leaky(normal)), "c2")


def conv_q_instance_leaky_q_conv(g: Graph) -> str:
    """A pair between the convolution and the instance norm?"""
    return g.conv(g.pair(g.leaky(g.instance(g.pair(g.conv(g.pair("x"), "c1"))))), "c2")


def conv_q_primitives_leaky_q_conv(g: Graph) -> str:
    """The same by means and quotients?"""
    normal = g.primitives(g.pair(g.conv(g.pair("x"), "c1")), _axes(g))
    return g.conv(g.pair(g.leaky(normal)), "c2")


def conv_q_groups_relu_q_conv(g: Graph) -> str:
    """A pair, then a group norm by an instance norm between reshapes?"""
    codes = g.pair(g.conv(g.pair("x"), "c1"))
    grouped = g.node("Reshape", [codes, g.constant(np.array([1, CHANNELS, -1], np.int64))])
    shape = g.constant(np.array(g.shape, np.int64))
    normal = g.node("Reshape", [g.instance(grouped), shape])
    return g.conv(g.pair(g.relu(g.times_one(normal))), "c2")


def _pass(g: Graph, tensor: str) -> str:
    """Max pooling of single voxels, which computes nothing."""
    return g.node("MaxPool", [tensor], kernel_shape=[1] * g.dims)


def conv_q_pass_primitives_leaky_q_conv(g: Graph) -> str:
    """A pair, max pooling of single voxels, an instance norm by means and quotients?"""
    normal = g.primitives(_pass(g, g.pair(g.conv(g.pair("x"), "c1"))), _axes(g))
    return g.conv(g.pair(g.leaky(normal)), "c2")


def conv_q_pass_primitives_max_q_conv(g: Graph) -> str:
    """The same with the activation as a maximum?"""
    normal = g.primitives(_pass(g, g.pair(g.conv(g.pair("x"), "c1"))), _axes(g))
    small = g.node("Mul", [normal, g.constant(np.array(0.01, np.float32))])
    return g.conv(g.pair(g.node("Max", [normal, small])), "c2")


# --- interpolation -------------------------------------------------------------------------------


def _resize(g: Graph, tensor: str, mode: str) -> str:
    scales = g.constant(np.array([1, 1, *[2] * g.dims], np.float32))
    return g.node("Resize", [tensor, "", scales], mode=mode)


def linear_resize_q_conv(g: Graph) -> str:
    """A quantize node behind linear interpolation?"""
    return g.conv(g.pair(_resize(g, "x", "linear")), "c1")


def nearest_resize_q_conv(g: Graph) -> str:
    """A quantize node behind repetition?"""
    return g.conv(g.pair(_resize(g, "x", "nearest")), "c1")


def linear_resize_times_q_conv(g: Graph) -> str:
    """A factor of one between linear interpolation and the quantize node?"""
    return g.conv(g.pair(g.times_one(_resize(g, "x", "linear"))), "c1")


def conv_q_linear_resize(g: Graph) -> str:
    """Linear interpolation of a dequantized convolution?"""
    return _resize(g, g.pair(g.relu(g.conv(g.pair("x"), "c1"))), "linear")


# --- matrix products -----------------------------------------------------------------------------


def _tokens(g: Graph) -> str:
    g.shape = [1, TOKENS, CHANNELS]
    return g.pair("x")


def linear_float(g: Graph) -> str:
    """A product with constant weights and a float output?"""
    return g.linear(_tokens(g), "m1")


def linear_q(g: Graph) -> str:
    """A pair behind it?"""
    return g.pair(g.linear(_tokens(g), "m1"))


def linear_bias_q_linear(g: Graph) -> str:
    """A bias and a quantize node behind it?"""
    bias = g.constant(np.ones(CHANNELS, np.float32))
    return g.linear(g.pair(g.node("Add", [g.linear(_tokens(g), "m1"), bias])), "m2")


def linear_gelu_q_linear(g: Graph) -> str:
    """A GELU by erf and a quantize node behind it?"""
    hidden = g.linear(_tokens(g), "m1")
    scaled = g.node("Mul", [hidden, g.constant(np.array(0.5**0.5, np.float32))])
    shifted = g.node("Add", [g.node("Erf", [scaled]), g.constant(np.array(1, np.float32))])
    return g.linear(g.pair(g.node("Mul", [hidden, shifted])), "m2")


def norm_q_linear(g: Graph) -> str:
    """A layer norm by means and quotients in front?"""
    _tokens(g)
    return g.linear(g.pair(g.primitives("x", [2])), "m1")


def layer_norm_q_linear(g: Graph) -> str:
    """A layer norm as one node in front?"""
    _tokens(g)
    ones, zeros = np.ones(CHANNELS, np.float32), np.zeros(CHANNELS, np.float32)
    inputs = ["x", g.constant(ones), g.constant(zeros)]
    return g.linear(g.pair(g.node("LayerNormalization", inputs, axis=-1)), "m1")


def linear_as_conv(g: Graph) -> str:
    """A product as a convolution of kernel 1 between transposes?"""
    tokens = g.node("Transpose", [_tokens(g)], perm=[0, 2, 1])
    shape = g.constant(np.array([1, CHANNELS, TOKENS, 1], np.int64))
    g.dims = 2
    return g.conv(g.node("Reshape", [tokens, shape]), "c1", kernel=1)


def attention(g: Graph) -> str:
    """A product of two quantized activations?"""
    left = _tokens(g)
    right = g.node("Transpose", [g.pair(g.relu("x"))], perm=[0, 2, 1])
    return g.node("MatMul", [left, right], "m1")


_SPATIAL: tuple[Pattern, ...] = (
    conv_float, conv_relu_q_conv, conv_leaky_q_conv, conv_q_leaky_q_conv, conv_q_float,
    conv_q_sigmoid, conv_relu_two_readers, conv_q_conv, strided_relu_q_conv, pointwise_relu_q_conv,
    head, head_3, head_q, residual, residual_float, residual_outputs, concat_q_conv,
    concat_float_q_conv, q_pool_q_conv, pool_q_conv, conv_relu_pool_q_conv, pool_times_q_conv,
    pool_leaky_q_conv, times_pool_times, plus_pool_plus, clip_pool_clip, relu_pool_relu,
    deconv_float, deconv_q_conv, float_deconv_q_conv, conv_q_float_deconv,
    conv_q_times_float_deconv, float_deconv_times_q_conv, conv_instance_leaky_q_conv,
    conv_primitives_leaky_q_conv, conv_q_instance_leaky_q_conv, conv_q_primitives_leaky_q_conv,
    conv_q_groups_relu_q_conv, conv_q_pass_primitives_leaky_q_conv,
    conv_q_pass_primitives_max_q_conv, linear_resize_q_conv, nearest_resize_q_conv,
    linear_resize_times_q_conv, conv_q_linear_resize,
)  # fmt: skip
_IN_2D: tuple[Pattern, ...] = (
    conv_float, conv_relu_q_conv, conv_leaky_q_conv, deconv_float, deconv_q_conv, q_pool_q_conv,
)  # fmt: skip
_LINEAR: tuple[Pattern, ...] = (
    linear_float, linear_q, linear_bias_q_linear, linear_gelu_q_linear, norm_q_linear,
    layer_norm_q_linear, linear_as_conv, attention,
)  # fmt: skip


def name_of(pattern: Pattern) -> str:
    """The name of a pattern, as in the table."""
    return pattern.__name__.replace("_", "-")


def question(pattern: Pattern) -> str:
    """What a pattern asks."""
    return inspect.getdoc(pattern) or ""


def write_all(folder: Path) -> dict[str, str]:
    """Write every probe as NAME.onnx; the question of each name."""
    folder.mkdir(parents=True, exist_ok=True)
    cases: list[tuple[str, Pattern, int, int]] = [
        *((f"3d-{name_of(pattern)}", pattern, 3, CHANNELS) for pattern in _SPATIAL),
        ("3d-planes-q-conv", planes_q_conv, 3, CHANNELS),
        ("3d-stem-float", stem_float, 3, 1),
        ("3d-stem-relu-q-conv", stem_relu_q_conv, 3, 1),
        *((f"3d-{n}-channels-relu-q-conv", narrow_relu_q_conv, 3, n) for n in (3, 16, 24, 48, 144)),
        *((f"2d-{name_of(pattern)}", pattern, 2, CHANNELS) for pattern in _IN_2D),
        *((name_of(pattern), pattern, 3, CHANNELS) for pattern in _LINEAR),
    ]
    for name, pattern, dims, channels in cases:
        graph = Graph(dims, channels)
        graph.write(folder / f"{name}.onnx", pattern(graph))
    return {name: question(pattern) for name, pattern, _, _ in cases}
