"""What each version of TensorRT has, and that nothing is guessed of others."""

from __future__ import annotations

import pytest
from voxgate.backends.tensorrt_versions import traits
from voxgate.errors import UnavailableError


@pytest.mark.parametrize(
    ("version", "strongly_typed", "opset", "cuda"),
    [
        ("8.5.3.1", False, 17, 11),
        ("8.6.0", False, 17, 12),
        ("8.6.1.6", False, 17, 12),
        ("10.3.0", True, 21, None),
        ("10.16.1.11", True, 21, None),
        ("11.4.0.106", True, 21, None),
    ],
)
def test_versions_that_are_known(
    version: str, opset: int, cuda: int | None, *, strongly_typed: bool
) -> None:
    found = traits(version)
    assert found.strongly_typed is strongly_typed
    assert found.half_by_graph is strongly_typed
    assert (found.highest_opset, found.cuda) == (opset, cuda)
    assert ("InstanceNormalization" in found.primitive_norms) is not strongly_typed


@pytest.mark.parametrize("version", ["7.2.3", "8.4.3", "8.7.0", "9.3.0", "10.2.0", "", "unknown"])
def test_versions_that_are_not_known(version: str) -> None:
    with pytest.raises(UnavailableError, match=r"it takes 8\.5, 8\.6, and 10\.3 or newer"):
        traits(version)


def test_the_sibling_counts_its_versions_anew() -> None:
    assert traits("1.7.1", "tensorrt_rtx").strongly_typed
