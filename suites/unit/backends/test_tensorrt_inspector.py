"""TensorRT's inspector in both schemas, written by hand: which layers multiply, and in what."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxgate.backends.tensorrt_inspector import parse_layers, sources_of
from voxgate.errors import BuildError
from voxgate.metrics.coverage import measure_coverage
from voxgate.records.engine import Arithmetic, Coverage, ExecutedLayer, GraphFacts, GraphNode, Share

Entry = dict[str, Any]

CHW32 = "Thirty-two wide channel vectorized row major Int8 format"
KCDHW32 = (
    "Thirty-two wide channel vectorized row major INT8 format (kCDHW32) with 3 spatial dimensions"
)
LINEAR = "Row major linear FP32"
INT8_TO_INT8 = "sm80_xmma_fprop_implicit_gemm_interleaved_i8i8_i8i32_f32_nchw_vect_c_32"
INT8_TO_FLOAT = "sm80_xmma_gemm_i8f32_i8i32_f32_tn_n_tilesize128x128x64"
HALF = "sm80_xmma_fprop_implicit_gemm_indexed_f16f16_f16f32_f32_nhwckrsc_nhwc"


def tensor10(name: str, element: str) -> Entry:
    return {"Name": name, "Location": "Device", "Dimensions": [1, 32], "Format/Datatype": element}


def tensor11(name: str, element: str, sentence: str) -> Entry:
    return {"Name": name, "Dimensions": [1, 32], "Format": sentence, "Datatype": element}


def metadata(*nodes: str, separator: str = "\x1e") -> str:
    return separator.join(f"[ONNX Layer: {node}]" for node in nodes)


def text(*layers: object) -> str:
    return json.dumps({"Layers": layers, "Bindings": ["image", "logits"]})


def layer(kind: str, *inputs: str, **fields: object) -> Entry:
    """A layer of 10.x whose inputs have these types; absent fields stay absent."""
    tensors = [tensor10(f"t{i}", element) for i, element in enumerate(inputs)]
    return {"Name": "layer", "LayerType": kind, "Inputs": tensors, "Outputs": [], **fields}


def conv(*inputs: str, weights: str | None = "Int8", **fields: object) -> Entry:
    own = {} if weights is None else {"Weights": {"Type": weights, "Count": 27648}}
    return layer("CaskConvolution", *inputs, ParameterType="Convolution", **own, **fields)


def only(entry: Entry) -> ExecutedLayer:
    layers = parse_layers(text(entry))
    assert layers is not None
    (found,) = layers
    return found


# --- the two schemas -----------------------------------------------------------------------------


def network(image: Entry, quantized: Entry, features: Entry, logits: Entry) -> list[Entry]:
    """A quantization, an int8 convolution that writes int8, a float upsampling, a constant."""
    return [
        {
            "Name": "Reformatting CopyNode for Input Tensor 0 to weight + /down/Conv",
            "LayerType": "Reformat",
            "Inputs": [image],
            "Outputs": [quantized],
            "ParameterType": "Reformat",
            "TacticName": "",
            "TacticValue": "0x00000000000003e8",
            "Metadata": metadata("/down/Conv"),
        },
        {
            "Name": "weight + weight_QuantizeLinear + /down/Conv + PWN(/down/Relu)",
            "LayerType": "CaskConvolution",
            "Inputs": [quantized],
            "Outputs": [features],
            "ParameterType": "Convolution",
            "Kernel": [3, 3, 3],
            "Stride": [1, 1, 1],
            "Groups": 1,
            "Weights": {"Type": "Int8", "Count": 27648},
            "Bias": {"Type": "Float", "Count": 32},
            "TacticName": INT8_TO_INT8,
            "TacticValue": "0x11bde0e1d9f2f35d",
            "StreamId": 0,
            "Metadata": metadata("image_QuantizeLinear", "/down/Conv", "/down/Relu"),
        },
        {
            "Name": "/up/ConvTranspose",
            "LayerType": "CaskDeconvolutionV2",
            "Inputs": [features],
            "Outputs": [logits],
            "ParameterType": "Deconvolution",
            "Weights": {"Type": "Half", "Count": 2048},
            "TacticName": "sm80_xmma_dgrad_implicit_gemm_indexed_f16f16_f16f16_f16",
            "Metadata": metadata("/up/ConvTranspose"),
        },
        {"Name": "shape", "LayerType": "Constant", "Inputs": [], "Outputs": [], "Metadata": ""},
    ]


TEN = {
    "Layers": network(
        tensor10("image", LINEAR),
        tensor10("image_q", CHW32),
        tensor10("down_q", CHW32),
        tensor10("logits", LINEAR),
    ),
    "Bindings": ["image", "logits"],
}
ELEVEN = {
    "Layers": network(
        tensor11("image", "Float", "Row major linear FP32 format (kLINEAR)"),
        tensor11("image_q", "Int8", KCDHW32),
        tensor11("down_q", "Int8", KCDHW32),
        tensor11("logits", "Float", "Row major linear FP32 format (kLINEAR)"),
    ),
    "I/O Tensors": [
        {"Name": "image", "IOMode": "Input", "DataType": "Float", "Dimensions": [1, 1, 8, 8, 8]},
        {"Name": "logits", "IOMode": "Output", "DataType": "Float", "Dimensions": [1, 2, 8, 8, 8]},
    ],
}


def test_only_layers_that_multiply_are_read() -> None:
    down, up = parse_layers(json.dumps(TEN)) or ()
    assert down == ExecutedLayer(
        name="weight + weight_QuantizeLinear + /down/Conv + PWN(/down/Relu)",
        kind="CaskConvolution",
        arithmetic="int8",
        detail=f"int8xint8 {INT8_TO_INT8}",
        sources=("image_QuantizeLinear", "/down/Conv", "/down/Relu"),
    )
    assert (up.kind, up.arithmetic) == ("CaskDeconvolutionV2", "float")
    assert up.detail.startswith("int8xhalf sm80_xmma_dgrad")


def test_both_schemas_give_the_same_layers() -> None:
    assert parse_layers(json.dumps(ELEVEN)) == parse_layers(json.dumps(TEN))


@pytest.mark.parametrize("field", ["Datatype", "DataType", "Format/Datatype", "Format"])
@pytest.mark.parametrize("element", ["Int8", CHW32, KCDHW32])
def test_every_spelling_of_the_type_is_read(field: str, element: str) -> None:
    entry = conv()
    entry["Inputs"] = [{"Name": "x", field: element}]
    assert only(entry).arithmetic == "int8"


def test_datatype_outranks_the_sentence_about_the_layout() -> None:
    entry = conv()
    entry["Inputs"] = [tensor11("x", "Half", KCDHW32)]
    assert only(entry).arithmetic == "float"


def test_raw_control_characters_are_accepted() -> None:
    """Strict JSON wants them escaped; a C++ printer may not."""
    raw = text(conv("Int8", Metadata=metadata("a", "b"))).replace("\\u001e", "\x1e")
    assert "\x1e" in raw
    ((sources),) = [found.sources for found in parse_layers(raw) or ()]
    assert sources == ("a", "b")


# --- the arithmetic ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "arithmetic"),
    [
        (conv(CHW32), "int8"),
        (conv(LINEAR), "float"),  # int8 weights are merely stored
        (conv(CHW32, weights="Float"), "float"),
        (conv(CHW32, weights="Half"), "float"),
        (conv("Half", weights="Half", TacticName=HALF), "float"),
        (conv("UInt8"), "unknown"),
        (conv(CHW32, weights="UInt8"), "unknown"),
        (conv("Int32", weights="Int32"), "unknown"),
        (conv("FP8"), "float"),
        (conv(), "unknown"),
        (conv("opaque", TacticName=INT8_TO_INT8), "unknown"),
        (conv("Int8", "Float"), "int8"),  # the second input is the residual
        (conv("Int8", "Int8", weights="Half"), "float"),
        (conv("Int8", "Int8", weights="opaque"), "unknown"),
    ],
)
def test_convolution_needs_int8_data_and_weights(entry: Entry, arithmetic: Arithmetic) -> None:
    assert only(entry).arithmetic == arithmetic


@pytest.mark.parametrize(
    ("tactic", "arithmetic"),
    [
        (INT8_TO_INT8, "int8"),
        (INT8_TO_FLOAT, "int8"),
        ("sm75_xmma_fprop_implicit_gemm_s8s8_s32", "int8"),
        ("ampere_int8_i16832cudnn_int8_128x128_ldg16", "int8"),
        ("conv_IMMA_kernel", "int8"),
        ("cutlass3x_sm90_tensorop_gemm_s8_s8_s32_s8_s8_128x128x128_1x1x1_0_tnn_align16", "int8"),
        ("cutlass3x_sm90_tensorop_i64x128x32gemm_s8_s8_s32_f32_f32_64x128x128", "int8"),
        ("cutlass_80_tensorop_i16832gemm_s8_128x128_64x4_tn_align16", "int8"),
        ("cutlass_tensorop_s8_i16832fprop_optimized_s8_256x128_64x3", "int8"),
        ("cutlass_80_tensorop_i16864gemm_s4_128x128_128x3", "unknown"),
        ("sm80_xmma_fprop_implicit_gemm_interleaved_i8i8_i8i32_f32_nchw_vect_c_32kcrs", "int8"),
        ("sm90_xmma_fprop_implicit_gemm_i8f32_i8i32_f32_nchw_vect_c_32", "int8"),
        ("cutlass3x_sm90_tensorop_gemm_f16_f16_f32_f16_f16_128x128x64", "float"),
        ("cutlass_80_tensorop_s16816gemm_f16_s8_128x128", "float"),
        ("cutlass_tensorop_class8_gemm", "unknown"),
        (HALF, "float"),
        ("__myl_Conv_0x4d2ae194f16042f17642a7", "unknown"),
        ("sm80_conv_uint8", "unknown"),
        ("trimmable_conv", "unknown"),
        ("", "unknown"),
    ],
)
def test_tactic_decides_where_the_weights_are_not_told(tactic: str, arithmetic: Arithmetic) -> None:
    assert only(conv("Int8", weights=None, TacticName=tactic)).arithmetic == arithmetic


def test_tactic_alone_makes_nothing_int8() -> None:
    assert only(conv("Half", weights=None, TacticName=INT8_TO_INT8)).arithmetic == "float"


@pytest.mark.parametrize(
    ("inputs", "constants", "arithmetic"),
    [
        (("Int8", "Int8"), [], "int8"),
        (("Int8", "Half"), [], "float"),
        (("Half", "Int8"), [], "float"),
        (("Int8",), [], "unknown"),
        (("Int8",), [{"Type": "Int8", "Count": 64}], "int8"),
        (("Int8",), {"Type": "Int8", "Count": 64}, "int8"),
        (("Int8",), [tensor10("scale", "Float"), tensor10("w", "Int8")], "int8"),
        (("Int8",), [tensor10("w", "Half")], "float"),
        (("Float",), [tensor10("w", "Int8")], "float"),
    ],
)
def test_product_of_two_tensors_needs_both_in_int8(
    inputs: tuple[str, ...], constants: object, arithmetic: Arithmetic
) -> None:
    assert only(layer("gemm", *inputs, Constants=constants)).arithmetic == arithmetic


def test_convolution_by_a_tensor_has_no_weights_of_its_own() -> None:
    entry = layer("CaskConvolution", "Int8", "Int8", Weights={"Type": "Float", "Count": 0})
    assert only(entry).arithmetic == "int8"


@pytest.mark.parametrize(
    ("inputs", "arithmetic"),
    [
        (("Int8", "Int8", "Int8", "Half"), "int8"),
        (("Int8", "Int8", "Half"), "float"),
        (("Half", "Int8", "Int8"), "float"),
        (("Int8", "Int8", "opaque"), "unknown"),
        (("Int8",), "unknown"),
    ],
)
def test_fused_attention_needs_queries_keys_and_values(
    inputs: tuple[str, ...], arithmetic: Arithmetic
) -> None:
    entry = layer("kgen", *inputs, TacticName="_gemm_mha_v2_0x865c16f51c59c6f8")
    assert only(entry).arithmetic == arithmetic


def test_what_a_layer_writes_does_not_matter() -> None:
    entry = conv(CHW32, TacticName=INT8_TO_FLOAT)
    entry["Outputs"] = [tensor10("y", LINEAR)]
    assert only(entry).arithmetic == "int8"


@pytest.mark.parametrize(
    ("own", "arithmetic"),
    [({"Type": "Int8", "Count": 9408}, "int8"), ({"Type": "Half", "Count": 9408}, "float")],
)
@pytest.mark.parametrize("kind", ["ConvActPool", "CaskConvActPool"])
def test_a_convolution_with_pooling_behind_it_has_weights_by_another_name(
    kind: str, own: Entry, arithmetic: Arithmetic
) -> None:
    entry = layer(kind, CHW32, ParameterType="ConvActPool", ConvWeights=own)
    assert only(entry).arithmetic == arithmetic


MYELIN = [
    ("fusion", "__myl_Fc_myl2_7", ""),
    ("kgen", "__myl_FcAddCastMeanSubMulMeanAddSqrtDivMulMulAdd_myl5_249", ""),
    ("kgen", "__myl_FcNegExpAddDivMulMul_myl0_5", "__myl_FcNegExpAddDivMulMul_0x4d2ae194f16042f1"),
    ("kgen", "__myl_CastFc_myl0_5", "generated"),
]


@pytest.mark.parametrize(("kind", "name", "tactic"), MYELIN)
@pytest.mark.parametrize(
    ("inputs", "arithmetic"),
    [(("Int8", "Int8"), "int8"), (("Half", "Half"), "float"), (("Int8",), "unknown")],
)
def test_a_fused_product_is_known_by_its_name(
    kind: str, name: str, tactic: str, inputs: tuple[str, ...], arithmetic: Arithmetic
) -> None:
    entry = layer(kind, *inputs, TacticName=tactic, Metadata=metadata("/a/MatMul", "/a/Gelu"))
    found = only(entry | {"Name": name})
    assert (found.arithmetic, found.sources) == (arithmetic, ("/a/MatMul", "/a/Gelu"))


@pytest.mark.parametrize(
    "entry",
    [
        layer("Reformat", "Int8", TacticName="conv_copy"),
        layer("CaskPooling", CHW32, ParameterType="Pooling", TacticName="sm50_xmma_pooling_nd_f32"),
        layer("CaskReduce", ParameterType="Reduce", TacticName="sm80_xmma_reduce"),
        layer("Pooling", CHW32, TacticName="sm80_xmma_new_pooling_int8_interleaved"),
        layer("MyelinReformat", "Half") | {"Name": "Reformatting CopyNode for __myl_Fc_myl2_7"},
        layer("kgen", "Half") | {"Name": "__myl_ResizeFcnScale_myl0_1"},
        layer("NoOp", "Int8"),
        layer("Constant"),
        layer("Shuffle", "Int8"),
        layer(
            "kgen", "Int8", TacticName="__myl_CastMulAddMaxCast_0x4d2ae1", Metadata=metadata("a")
        ),
        layer("PointWiseV2", "Int8", ParameterType="PointWise"),
        layer("kgen", "Int8", TacticName="convert_layout"),
        {},
    ],
)
def test_layers_that_do_not_multiply_are_ignored(entry: Entry) -> None:
    assert parse_layers(text(entry)) == ()


@pytest.mark.parametrize(
    "kind",
    ["CaskConvolution", "CaskDeconvolutionV2", "gemm", "MatrixMultiply", "FULLY_CONNECTED", "mha"],
)
def test_layers_that_multiply_are_known_by_their_kind(kind: str) -> None:
    assert only(layer(kind, "Int8")).kind == kind


def test_detail_says_what_is_not_told() -> None:
    assert only(conv(weights=None)).detail == "?x?"


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "sources"),
    [
        (metadata("/a/Conv"), ("/a/Conv",)),
        (metadata("/a/Conv", "/a/Relu", "/a/Conv"), ("/a/Conv", "/a/Relu")),
        (metadata("a", "b", separator="\x1f"), ("a", "b")),
        (f"{metadata('a', 'b', separator=chr(31))}\x1e{metadata('c')}", ("a", "b", "c")),
        (metadata("blocks[0]/Conv", "b[1]"), ("blocks[0]/Conv", "b[1]")),
        (metadata("a_clone_1", "node_b"), ("a_clone_1", "node_b")),
    ],
)
def test_metadata_names_the_nodes(written: str, sources: tuple[str, ...]) -> None:
    assert sources_of({"Name": "ignored", "Metadata": written}) == sources


@pytest.mark.parametrize(
    ("name", "sources"),
    [
        ("/a/Conv", ("/a/Conv",)),
        ("w + /a/Conv + /a/Add", ("w", "/a/Conv", "/a/Add")),
        ("/a/Conv + PWN(/a/Relu)", ("/a/Conv",)),
        ("/a/Conv + PWN(PWN(c + /b/Add + d), e) + /c/Conv", ("/a/Conv", "/c/Conv")),
        ("Reformatting CopyNode for Input Tensor 0 to w + /a/Conv", ()),
        ("{ForeignNode[/a/Conv.../c/Conv]}", ()),
        ("{ForeignNode[w + /a/Conv.../c/Conv]} + /d/Conv", ("/d/Conv",)),
        ("", ()),
    ],
)
def test_name_stands_in_for_metadata(name: str, sources: tuple[str, ...]) -> None:
    assert sources_of({"Name": name, "Metadata": ""}) == sources
    assert sources_of({"Name": name}) == sources


# --- coverage ------------------------------------------------------------------------------------


def coverage_of(information: str, **macs: int) -> Coverage:
    nodes = tuple(
        GraphNode(name=f"/{name}/Conv", op_type="Conv", outputs=(f"{name}_out",), macs=count)
        for name, count in macs.items()
    )
    layers = parse_layers(information)
    assert layers is not None
    return measure_coverage(GraphFacts(nodes=nodes, parameters=0, opset=19), layers)


def test_coverage_of_an_engine() -> None:
    coverage = coverage_of(
        text(
            layer("Reformat", LINEAR, Metadata=metadata("/a/Conv")),
            conv(CHW32, Metadata=metadata("q", "/a/Conv")),
            conv("Half", Metadata=metadata("/b/Conv")),
            conv("Int8", weights=None, Metadata=metadata("/c/Conv")),
        ),
        a=600,
        b=200,
        c=100,
        d=100,
    )
    assert coverage.by_macs == Share(int8=0.6, float=0.2, unmapped=0.2)
    assert coverage.float_nodes == ("/b/Conv",)
    assert coverage.unmapped_nodes == ("/c/Conv", "/d/Conv")


@pytest.mark.parametrize("kind", ["Myelin", "gemm"])
def test_foreign_node_leaves_all_of_it_unmapped(kind: str) -> None:
    foreign = layer(kind, "Int8", "Int8", Name="{ForeignNode[/a/Conv.../c/Conv]}")
    coverage = coverage_of(text(foreign), a=1, b=1, c=1)
    assert coverage.by_count == Share(int8=0.0, float=0.0, unmapped=1.0)


def test_node_split_over_two_kernels_needs_both() -> None:
    parts = [conv(element, Metadata=metadata("/a/Conv")) for element in ("Int8", "Half")]
    assert coverage_of(text(*parts), a=1).by_count.float == 1.0


# --- what is not there ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layers",
    [
        ["weight + /a/Conv", "{ForeignNode[/b/Conv.../c/Conv]}"],
        [conv(CHW32), "/b/Conv"],
        [],
    ],
)
def test_engine_without_details_is_unknown(layers: list[object]) -> None:
    assert parse_layers(text(*layers)) is None


@pytest.mark.parametrize(
    ("information", "message"),
    [
        ("", "is not JSON"),
        ("Layer(Convolution): /a/Conv", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", 'no list of "Layers"'),
        ("null", 'no list of "Layers"'),
        ('{"Bindings": []}', 'no list of "Layers"'),
        ('{"Layers": {}}', 'no list of "Layers"'),
        ('{"Layers": [{}, 7]}', "layer 1 .* is 7, not an object"),
    ],
)
def test_foreign_text_is_an_error(information: str, message: str) -> None:
    with pytest.raises(BuildError, match=message):
        parse_layers(information)


_keys = st.sampled_from(
    ["Layers", "Name", "LayerType", "Inputs", "Weights", "Type", "Count", "Constants", "Datatype"]
)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(_keys, values, max_size=4),
    max_leaves=12,
)
_elements = st.sampled_from(["Int8", CHW32, KCDHW32, "UInt8", "Half", LINEAR, "Int32", "", "?"])
_tensors = st.dictionaries(
    st.sampled_from(["Datatype", "DataType", "Format/Datatype", "Format"]), _elements, max_size=1
)
_layers = st.fixed_dictionaries(
    {"LayerType": st.sampled_from(["CaskConvolution", "gemm", "mha", "Reformat"])},
    optional={
        "Inputs": st.lists(_tensors, max_size=4) | _json,
        "Weights": st.fixed_dictionaries({"Type": _elements, "Count": st.integers(0, 2)}) | _json,
        "Constants": st.lists(_tensors, max_size=2) | _json,
        "TacticName": st.sampled_from([INT8_TO_INT8, INT8_TO_FLOAT, HALF, ""]) | _json,
        "Metadata": st.text(max_size=30) | _json,
        "Name": st.text("a +([{}])", max_size=30) | _json,
    },
)


@given(st.text() | _json.map(json.dumps) | _json.map(lambda value: text(value, value)))
def test_any_text_is_read_or_refused(information: str) -> None:
    try:
        layers = parse_layers(information)
    except BuildError:
        return
    assert layers is None or isinstance(layers, tuple)


@given(_layers)
def test_only_int8_inputs_make_int8(entry: Entry) -> None:
    for found in parse_layers(text(entry)) or ():
        if found.arithmetic == "int8":
            inputs = entry["Inputs"]
            first = inputs[0] if isinstance(inputs, list) else inputs
            assert re.search(r"(?<![A-Za-z])int8", json.dumps(first), re.IGNORECASE)
