"""Layers of a weakly typed network that compute in single precision, whatever its flags allow.

With the FP16 flag a builder computes any layer in half precision, whose largest number is 65504. A norm
that is written as primitives squares its image and averages over a whole volume, and overflows. Only
weakly typed versions have what this file touches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from voxgate.errors import BuildError

if TYPE_CHECKING:
    import tensorrt as trt

_SHOWN = 5


def keep_single(
    sdk: Any, network: trt.INetworkDefinition, config: trt.IBuilderConfig, names: Sequence[str]
) -> None:
    """Oblige the builder to compute these layers in single precision.

    What one of them computes for another stays in single precision, too; what leaves them may be
    rounded to half precision.

    Raises:
        BuildError: the network has no layer of such a name.
    """
    if not names:
        return
    layers = _layers(network, frozenset(names))
    missing = [name for name in names if name not in layers]
    if missing:
        raise BuildError(_missing(missing, network.num_layers))
    read = {tensor for layer in layers.values() for tensor in _read(layer)}
    for found in layers.values():
        layer: trt.ILayer = found
        layer.precision = sdk.float32
        end: trt.ITensor = layer.get_output(0)
        if end.name in read:
            layer.set_output_type(0, sdk.float32)
    config.set_flag(sdk.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)


def _layers(network: trt.INetworkDefinition, names: frozenset[str]) -> dict[str, trt.ILayer]:
    found: dict[str, trt.ILayer] = {}
    for index in range(network.num_layers):
        layer: trt.ILayer = network.get_layer(index)
        if layer.name in names:
            found[layer.name] = layer
    return found


def _read(layer: trt.ILayer) -> list[str]:
    """The tensors that a layer reads; an input that is left out is None."""
    inputs = [layer.get_input(index) for index in range(layer.num_inputs)]
    return [str(tensor.name) for tensor in inputs if tensor is not None]


def _missing(names: Sequence[str], total: int) -> str:
    shown = ", ".join(names[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (
        f"the norms' layers {shown}{more} must be computed in single precision, and none of the "
        f"network's {total} layers is called so: this parser names layers otherwise, and in half "
        "precision the norms would overflow; build int8 or fp32 with this version instead"
    )
