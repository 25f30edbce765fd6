"""What TensorRT's engine inspector says about an engine's layers, as text. Pure: needs no TensorRT.

Two schemas are read. Up to 10.x a tensor has one field, `Format/Datatype`; 11.x splits it in two and
spells the second one `Datatype` or `DataType`. Tensors inside Myelin's fused blocks say just `Int8`,
all others a sentence such as "Thirty-two wide channel vectorized row major Int8 format".

Only layers that multiply are returned. Metadata repeats a node's name at reformats and pointwise
kernels around it, and what those read says nothing about the product. Myelin's kernels are named after
what they fuse, a matrix product being `Fc` in them; pooling and reductions multiply nothing, though
their kernels come from the same library as the convolutions'.
"""

from __future__ import annotations

import json
import re
from typing import Any

from voxgate.errors import BuildError
from voxgate.files import sha256_bytes
from voxgate.records.engine import Arithmetic, ExecutedLayer

Entry = dict[str, Any]

_KIND_KEYS = ("LayerType", "ParameterType", "TacticName")
_COMPUTE = re.compile(
    r"conv(?!ert)|gemm|mat_?mul|matrix[ _]?multiply|fully[ _]?connected|fprop|dgrad|xmma|mha",
    re.IGNORECASE,
)
# "__myl_FcAddCast_myl5_249" and "__myl_Fc_0x12ab": a name, or a tactic where there is one.
_MYELIN_PRODUCT = re.compile(r"_*myl_\w*Fc(?![a-z])")
_IDLE = {"reformat", "noop", "constant", "shuffle"}
# "Pooling", "CaskPooling", "Reduce", but not "ConvActPool", which is a convolution with more behind it.
_NO_PRODUCT = re.compile(r"(?:cask|cudnn|tiled)?(?:pool|reduc)", re.IGNORECASE)

# Queries, keys and values: what a fused attention multiplies. Masks and scales follow.
_ATTENTION = re.compile("mha", re.IGNORECASE)
_ATTENTION_INPUTS = 3

_TYPE_KEYS = ("Datatype", "DataType", "Format/Datatype", "Type", "Format")
_TYPE = re.compile(
    r"(?<![a-z])(?:u?int(?:4|8|32|64)|fp(?:4|8|16|32)|bf16|bfloat16|float|half|bool)",
    re.IGNORECASE,
)
_SAME_TYPE = {"fp32": "float", "fp16": "half", "bfloat16": "bf16"}
_FLOATS = {"float", "half", "bf16", "fp8", "fp4"}

# Kernels with int8 operands are "i8i8_i8i32" where they write int8 and "i8f32_i8i32" where they
# write float; CUTLASS says "s8_s8_s32" or names the integer instruction by its shape, "i16832gemm".
# The names of generated kernels end in hexadecimals, which may look like "f16".
_INT8_TACTIC = re.compile(
    r"(?<![a-z])(?:i8i8|i8i32|s8s8|int8|imma)"
    r"|(?<![a-z0-9])(?:s8_s8_s32(?![a-z0-9])|i(?:8816|16832|64x\d+x32)(?:gemm|fprop|dgrad))",
    re.IGNORECASE,
)
_FLOAT_TACTIC = re.compile(r"(?<![a-z0-9])(?:b?f16|t?f32|fp16|fp32)", re.IGNORECASE)

_KERNEL_KEYS = ("Name", "LayerType", "ParameterType", "TacticName", "TacticValue")
_TENSOR_KEYS = ("Dimensions", "Count", *_TYPE_KEYS)

# Items are joined by control characters; a name may hold brackets of its own.
_ONNX_NODE = re.compile(r"\[ONNX Layer: ([^\x1e\x1f]+?)\](?=\s*(?:[\x1e\x1f\[]|$))")
_REFORMAT_NAME = "Reformatting CopyNode for "
_OPAQUE_NAMES = ("PWN(", "{ForeignNode[")

_HINT = "this TensorRT release may have changed the inspector's format"


def parse_layers(information: str) -> tuple[ExecutedLayer, ...] | None:
    """The multiplying layers of `get_engine_information(JSON)`.

    None where the inspector knows no more than names: the engine was built without detailed
    profiling verbosity, and its coverage is unknown, not zero.

    Raises:
        BuildError: the text is not the inspector's JSON.
    """
    entries = _entries(information)
    if not entries or any(isinstance(entry, str) for entry in entries):
        return None
    for position, entry in enumerate(entries):
        if not isinstance(entry, dict):
            msg = f"layer {position} in TensorRT's engine information is {entry!r:.80}, not an object; {_HINT}"
            raise BuildError(msg)
    return tuple(_executed_layer(entry) for entry in entries if _multiplies(entry))


def kernels_sha256(information: str) -> str | None:
    """One hash of what an engine executes: each layer's name, tactic, and formats, in their order.

    A plan's bytes differ from build to build, with a filled timing cache, too; these do not where the
    builder chose the same kernels. Names of tensors are left out, which Myelin numbers, and weights:
    they are the graph's. None where the inspector knows no more than names.

    Raises:
        BuildError: the text is not the inspector's JSON.
    """
    entries = _entries(information)
    if not entries or not all(isinstance(entry, dict) for entry in entries):
        return None
    kernels = [_kernel(entry) for entry in entries]
    return sha256_bytes(json.dumps(kernels).encode())


def sources_of(layer: Entry) -> tuple[str, ...]:
    """The ONNX nodes that a layer stands for: from its metadata, else from its name's exact parts.

    A foreign node's name has the two ends of what it swallowed, so it stands for none by name.
    """
    listed = _ONNX_NODE.findall(_text(layer, "Metadata"))
    return tuple(dict.fromkeys(listed or _name_parts(_text(layer, "Name"))))


def _entries(information: str) -> list[Any]:
    try:
        # The separator inside Metadata is a control character, which strict JSON wants escaped.
        document = json.loads(information, strict=False)
    except (ValueError, RecursionError) as error:
        msg = f"TensorRT's engine information is not JSON ({error}): {information[:80]!r}"
        raise BuildError(msg) from error
    entries = document.get("Layers") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        msg = (
            f'TensorRT\'s engine information has no list of "Layers": {information[:80]!r}; {_HINT}'
        )
        raise BuildError(msg)
    return entries


def _multiplies(layer: Entry) -> bool:
    kinds = [_text(layer, key) for key in ("LayerType", "ParameterType")]
    if kinds[0].lower() in _IDLE or any(_NO_PRODUCT.match(kind) for kind in kinds):
        return False
    if any(_MYELIN_PRODUCT.match(_text(layer, key)) for key in ("Name", "TacticName")):
        return True
    return any(_COMPUTE.search(_text(layer, key)) for key in _KIND_KEYS)


def _executed_layer(layer: Entry) -> ExecutedLayer:
    tactic = _text(layer, "TacticName")
    inputs = [_element_type(tensor) for tensor in _listed(layer, "Inputs")]
    data = inputs[0] if inputs else None
    other = _other_operand(layer, inputs)
    return ExecutedLayer(
        name=_text(layer, "Name"),
        kind=_text(layer, "LayerType"),
        arithmetic=_arithmetic(data, other, tactic),
        detail=f"{data or '?'}x{other or '?'} {tactic}".strip(),
        sources=sources_of(layer),
    )


def _arithmetic(data: str | None, other: str | None, tactic: str) -> Arithmetic:
    """int8 only when both operands are; what the layer writes does not matter."""
    if data != "int8":
        return _of_type(data)
    return _of_tactic(tactic) if other is None else _of_type(other)


def _of_type(element: str | None) -> Arithmetic:
    if element == "int8":
        return "int8"
    return "float" if element in _FLOATS else "unknown"


def _of_tactic(tactic: str) -> Arithmetic:
    if _INT8_TACTIC.search(tactic):
        return "int8"
    return "float" if _FLOAT_TACTIC.search(tactic) else "unknown"


def _kernel(layer: Entry) -> list[object]:
    """What tells one kernel, and what it works on, from another."""
    tensors = [
        [
            [tensor.get(key) for key in _TENSOR_KEYS]
            for tensor in _listed(layer, side)
            if isinstance(tensor, dict)
        ]
        for side in ("Inputs", "Outputs", "Weights", "ConvWeights")
    ]
    return [*(layer.get(key) for key in _KERNEL_KEYS), *tensors]


def _other_operand(layer: Entry, inputs: list[str | None]) -> str | None:
    """The type of what the data is multiplied with; None where the inspector does not say."""
    if _is_attention(layer) and len(inputs) >= _ATTENTION_INPUTS:
        rest = inputs[1:_ATTENTION_INPUTS]
        return next((element for element in rest if element != "int8"), "int8")
    own = layer.get("Weights", layer.get("ConvWeights"))  # the latter's is a ConvActPool
    # A layer whose weights come in as a tensor lists zero weights of its own.
    if isinstance(own, dict) and own.get("Count") != 0:
        return _element_type(own)
    found = [*map(_element_type, _listed(layer, "Constants")), *inputs[1:2]]
    # Biases and scales are constants too, and float.
    return "int8" if "int8" in found else next(filter(None, found), None)


def _is_attention(layer: Entry) -> bool:
    return any(_ATTENTION.search(_text(layer, key)) for key in _KIND_KEYS)


def _element_type(tensor: object) -> str | None:
    """The element type in lower case, by one name in either schema."""
    if not isinstance(tensor, dict):
        return None
    for key in _TYPE_KEYS:
        if match := _TYPE.search(_text(tensor, key)):
            element = match.group().lower()
            return _SAME_TYPE.get(element, element)
    return None


def _name_parts(name: str) -> list[str]:
    """The names that " + " joins, but for those inside of a pointwise or foreign node's."""
    parts: list[str] = []
    if name.startswith(_REFORMAT_NAME):
        return parts
    depth = 0
    for part in name.split(" + "):
        if depth == 0 and part and not part.startswith(_OPAQUE_NAMES):
            parts.append(part)
        depth = max(0, depth + _opened(part))
    return parts


def _opened(text: str) -> int:
    """How many more brackets a text opens than it closes."""
    return sum(map(text.count, "([{")) - sum(map(text.count, ")]}"))


def _text(entry: Entry, key: str) -> str:
    value = entry.get(key)
    return value if isinstance(value, str) else ""


def _listed(entry: Entry, key: str) -> list[object]:
    value = entry.get(key)
    if isinstance(value, dict):
        return [value]
    return value if isinstance(value, list) else []
