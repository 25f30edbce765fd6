"""What a real TensorRT 8.6 said of our own engines: documents of its inspector, and its profiles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from voxgate.backends.tensorrt_inspector import kernels_sha256, parse_layers
from voxgate.metrics.coverage import measure_coverage
from voxgate.records.engine import Coverage, ExecutedLayer, GraphFacts, Share

FOLDER = Path(__file__).parent / "tensorrt_documents"
UNETS = ("fp32", "tf32", "fp16", "int8", "int8-fp16")
MULTIPLYING = {"CaskConvolution", "CaskDeconvolution", "CaskDeconvolutionV2"}

# What each convolution of a probe was built to, in the order of the graph.
PROBES = {
    "2d-conv-floatout": "int8",
    "2d-conv-lrelu-q-conv": "int8 int8",
    "2d-conv-relu-q-conv": "int8 int8",
    "2d-deconv-floatout": "int8",
    "2d-deconv-q-conv": "int8 int8",
    "3d-concat-q-conv": "float",
    "3d-conv-24ch": "int8 float",
    "3d-conv-cin1": "float",
    "3d-conv-cin1-q-conv": "int8 float",
    "3d-conv-cout3-k1": "float",
    "3d-conv-cout3-k3": "float",
    "3d-conv-floatout": "float",
    "3d-conv-k1": "float",
    "3d-conv-lrelu-q-conv": "float float",
    "3d-conv-relu-q-conv": "int8 float",
    "3d-deconv-floatout": "float",
    "3d-residual": "int8 int8 float",
}


# With the INT8 flag alone: "Assertion engine failed".
NOT_BUILT = "probe-2d-deconv-q-conv-int8"


def layers_of(name: str) -> tuple[ExecutedLayer, ...]:
    found = parse_layers((FOLDER / f"{name}.json").read_text())
    assert found is not None
    return found


def coverage_of(precision: str) -> Coverage:
    graph = msgspec.json.decode((FOLDER / "unet.facts.json").read_bytes(), type=GraphFacts)
    return measure_coverage(graph, layers_of(f"unet-{precision}"))


@pytest.mark.parametrize("flags", ["int8", "int8-fp16"])
@pytest.mark.parametrize("probe", sorted(PROBES))
def test_each_probe_is_read_as_it_was_built(probe: str, flags: str) -> None:
    if f"probe-{probe}-{flags}" == NOT_BUILT:
        return
    layers = layers_of(f"probe-{probe}-{flags}")
    assert [layer.arithmetic for layer in layers] == PROBES[probe].split()
    assert {layer.kind for layer in layers} <= MULTIPLYING
    assert all(
        any(node in layer.sources for node in ("conv", "c1", "c2", "c3", "dc")) for layer in layers
    )


def test_no_probe_is_left_unread() -> None:
    read = {f"probe-{probe}-{flags}" for probe in PROBES for flags in ("int8", "int8-fp16")}
    assert {path.stem for path in FOLDER.glob("probe-*.json")} == read - {NOT_BUILT}


@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16"])
def test_a_float_engine_computes_nothing_in_int8(precision: str) -> None:
    assert coverage_of(precision).by_macs == Share(int8=0.0, float=1.0, unmapped=0.0)


@pytest.mark.parametrize("precision", ["int8", "int8-fp16"])
def test_the_int8_share_is_what_the_engine_has(precision: str) -> None:
    found = coverage_of(precision)
    assert found.by_macs.int8 == pytest.approx(0.67246, abs=1e-5)
    assert found.by_macs.unmapped == 0.0
    assert found.by_count.int8 * 23 == pytest.approx(6)
    # What feeds no quantizer, and every transposed convolution.
    assert {"node_Conv_115", "node_convolution", "node_convolution_3"} <= set(found.float_nodes)


@pytest.mark.parametrize("precision", UNETS)
def test_pooling_multiplies_nothing(precision: str) -> None:
    """Its kernels are called "xmma", too."""
    layers = layers_of(f"unet-{precision}")
    assert len(layers) == 23
    assert {layer.kind for layer in layers} <= MULTIPLYING
    assert not [layer.name for layer in layers if "pool" in layer.name]


@pytest.mark.parametrize("precision", UNETS)
def test_the_profile_times_each_layer_by_the_inspectors_name(precision: str) -> None:
    text = (FOLDER / f"unet-{precision}.json").read_text()
    times_ns = json.loads((FOLDER / f"unet-{precision}.profile.json").read_text())
    listed = {layer["Name"] for layer in json.loads(text, strict=False)["Layers"]}
    assert set(times_ns) == listed
    assert {layer.name for layer in layers_of(f"unet-{precision}")} <= set(times_ns)


def test_an_engine_without_details_is_unknown() -> None:
    assert parse_layers((FOLDER / "unet-int8-namesonly.json").read_text()) is None


# --- which kernels ---------------------------------------------------------------------------------


def document(precision: str = "int8") -> Any:
    return json.loads((FOLDER / f"unet-{precision}.json").read_text(), strict=False)


def digest(whole: Any) -> str | None:
    return kernels_sha256(json.dumps(whole))


def test_engines_of_other_precisions_have_other_kernels() -> None:
    found = {kernels_sha256((FOLDER / f"unet-{name}.json").read_text()) for name in UNETS}
    assert len(found - {None}) == len(UNETS)
    assert digest(document()) in found


def test_kernels_of_an_engine_without_details_are_unknown() -> None:
    assert kernels_sha256((FOLDER / "unet-int8-namesonly.json").read_text()) is None


def test_what_a_build_numbers_or_remarks_is_no_other_kernel() -> None:
    whole = document()
    for layer in whole["Layers"]:
        layer["Metadata"] = ""
        layer["StreamId"] = 7
        for tensor in [*layer["Inputs"], *layer["Outputs"]]:
            tensor["Name"] = f"renamed {tensor['Name']}"
    assert digest(whole) == digest(document())


@pytest.mark.parametrize(
    ("key", "value"), [("TacticName", "another"), ("TacticValue", "0x1"), ("Name", "another")]
)
def test_another_tactic_or_layer_is_another_kernel(key: str, value: str) -> None:
    whole = document()
    whole["Layers"][10][key] = value
    assert digest(whole) != digest(document())


@pytest.mark.parametrize("side", ["Inputs", "Outputs"])
@pytest.mark.parametrize("key", ["Format/Datatype", "Datatype", "Format"])
def test_another_format_is_another_kernel_in_either_schema(side: str, key: str) -> None:
    whole = document()
    whole["Layers"][10][side][0][key] = "Row major Half format"
    assert digest(whole) != digest(document())


def test_another_order_and_other_weights_types_are_other_kernels() -> None:
    turned, halved = document(), document()
    turned["Layers"].reverse()
    next(layer for layer in halved["Layers"] if "Weights" in layer)["Weights"]["Type"] = "Half"
    assert len({digest(turned), digest(halved), digest(document())}) == 3
