"""The comparison of scales with the formulas: what is right passes, and each seeded fault is found."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from voxgate.quantization.formulas import affine_grid, symmetric_grid
from voxgate.quantization.grids import Grid
from voxgate.quantization.tensors import QuantizedTensor, Reading
from voxgate.quantizers.check_scales import ACTIVATION_TOLERANCE, check
from voxgate.quantizers.conventions import CONVENTIONS, Convention
from voxgate.records.scales import ROLES, Ranges, Role, TensorVerdict

MODELOPT, NNCF = CONVENTIONS["modelopt"], CONVENTIONS["nncf"]
VALUES = np.random.default_rng(3).normal(size=(4, 4, 3, 3, 3)).astype(np.float32)
# Two patches; the greatest magnitude is 8 over both, 6 in the mean.
RANGES = Ranges(
    by_tensor={
        "signed": ((-4.0, 3.0), (-8.0, 5.0)),
        "positive": ((0.0, 4.0), (0.0, 8.0)),
        "other": ((-20.0, 10.0), (-10.0, 10.0)),
    },
    not_finite=("mask",),
)


def weight(values: NDArray[np.float32] = VALUES, axis: int = 0, **changes: Any) -> QuantizedTensor:
    """A Conv's weights as ModelOpt quantizes them."""
    others = tuple(i for i in range(values.ndim) if i != axis)
    grid = symmetric_grid(np.abs(values).max(axis=others), axis=axis)
    tensor = QuantizedTensor(
        name="w", role="weight", grid=grid, channel_axis=0, values=values, consumers=("Conv",)
    )
    return replace(tensor, **changes)


def activation(amax: float, name: str = "signed", **changes: Any) -> QuantizedTensor:
    tensor = QuantizedTensor(
        name=name, role="activation", grid=symmetric_grid(amax), names=(name,), producer="Conv"
    )
    return replace(tensor, **changes)


def judged(
    *tensors: QuantizedTensor,
    convention: Convention | None = MODELOPT,
    method: str = "max",
    shared: tuple[frozenset[str], ...] = (),
) -> tuple[TensorVerdict, ...]:
    return check(Reading(tensors=iter(tensors), shared=shared), RANGES, convention, method)


def outcomes(*tensors: QuantizedTensor, **given: Any) -> list[str]:
    return [verdict.outcome for verdict in judged(*tensors, **given)]


def scaled(grid: Grid | None, factor: float) -> Grid:
    assert grid is not None
    return replace(grid, scale=np.asarray(grid.scale * np.float32(factor)))


def test_right_scales_pass() -> None:
    assert outcomes(weight(), activation(8.0)) == ["equal", "equal"]
    assert [verdict.deviation for verdict in judged(weight())] == [0.0]


def test_verdicts_keep_the_graphs_order() -> None:
    found = judged(activation(8.0), weight(), activation(20.0, "other"))
    assert [verdict.name for verdict in found] == ["signed", "w", "other"]


def one_ulp_off() -> QuantizedTensor:
    right = weight()
    assert right.grid is not None
    scale = right.grid.scale.copy()
    scale[2] = np.nextafter(scale[2], np.float32(1))
    return replace(right, grid=replace(right.grid, scale=scale))


WRONG_WEIGHTS = {
    "one ULP in one channel": one_ulp_off(),
    "divided by 128": replace(weight(), grid=scaled(weight().grid, 127 / 128)),
    "along the other axis": weight(axis=1),
    "one range for all": replace(weight(), grid=symmetric_grid(np.abs(VALUES).max())),
    "channels exchanged": replace(weight(), values=VALUES[::-1].copy()),
    "without the lowest code": replace(
        weight(),
        grid=symmetric_grid(np.abs(VALUES).max(axis=(1, 2, 3, 4)), axis=0, narrow=True),
    ),
    "a zero point": replace(
        weight(),
        grid=replace(weight().grid, zero_point=np.array([0, 0, 1, 0])),  # type: ignore[type-var]
    ),
    "four bits": replace(
        weight(), grid=symmetric_grid(np.abs(VALUES).max(axis=(1, 2, 3, 4)), 4, axis=0)
    ),
}


@pytest.mark.parametrize("fault", WRONG_WEIGHTS)
def test_a_wrong_weight_is_found(fault: str) -> None:
    (verdict,) = judged(WRONG_WEIGHTS[fault])
    assert verdict.outcome == "deviates"
    assert verdict.detail


WRONG_ACTIVATIONS = {
    "divided by 128": replace(activation(8.0), grid=scaled(activation(8.0).grid, 127 / 128)),
    "the mean of the patches": activation(6.0),
    "the first patch alone": activation(4.0),
    "the greatest value, not magnitude": activation(5.0),
    "another tensor's range": activation(20.0),
    "just outside of the tolerance": activation(8.0 * (1 + 2 * ACTIVATION_TOLERANCE)),
    "unsigned": replace(activation(8.0), grid=affine_grid(0.0, 8.0)),
    "with its own zero point": replace(activation(8.0), grid=affine_grid(-8.0, 5.0)),
}


@pytest.mark.parametrize("fault", WRONG_ACTIVATIONS)
def test_a_wrong_activation_is_found(fault: str) -> None:
    (verdict,) = judged(WRONG_ACTIVATIONS[fault])
    assert verdict.outcome == "deviates"
    assert "the formula's" in verdict.detail


def test_the_noise_of_another_runtime_passes() -> None:
    assert outcomes(activation(8.0 * (1 + ACTIVATION_TOLERANCE / 2))) == ["equal"]


def test_a_softmax_has_a_fixed_range_by_modelopt_alone() -> None:
    softmax = activation(1.0, "unmeasured", producer="Softmax")
    assert outcomes(softmax) == ["equal"]
    assert outcomes(activation(0.5, "unmeasured", producer="Softmax")) == ["deviates"]
    assert outcomes(softmax, convention=NNCF, method="min-max") == ["not-checked"]


def nncf_weight(
    values: NDArray[np.float32], amax: NDArray[np.float32], **changes: Any
) -> QuantizedTensor:
    return weight(values, grid=symmetric_grid(amax, axis=0, narrow=True), **changes)


def test_nncf_widens_narrow_channels_and_the_first_layer() -> None:
    values = VALUES.copy()
    values[1] = 0.0
    amax = np.abs(values).max(axis=(1, 2, 3, 4))
    given = {"convention": NNCF, "method": "min-max"}
    floored = np.maximum(amax, np.float32(0.01) * amax.max())
    assert outcomes(nncf_weight(values, floored), **given) == ["equal"]
    assert outcomes(nncf_weight(values, amax), **given) == ["deviates"]
    assert outcomes(nncf_weight(values, floored * 2, first=True), **given) == ["equal"]
    assert outcomes(nncf_weight(values, floored, first=True), **given) == ["deviates"]
    assert outcomes(nncf_weight(values, floored * 2), **given) == ["deviates"]
    zeros = np.zeros_like(values)
    assert outcomes(nncf_weight(zeros, np.full(4, 8e-5, np.float32)), **given) == ["equal"]


def test_nncf_takes_the_mean_and_unsigned_codes_where_nothing_is_negative() -> None:
    given = {"convention": NNCF, "method": "min-max"}
    unsigned = activation(1.0, "positive", grid=affine_grid(0.0, 6.0))
    assert outcomes(activation(6.0), unsigned, **given) == ["equal", "equal"]
    assert outcomes(activation(8.0), **given) == ["deviates"]
    assert outcomes(activation(6.0, "positive"), **given) == ["deviates"]


def test_shared_tensors_have_the_widest_range_of_their_group() -> None:
    group = (frozenset({"signed", "other"}),)
    wide = (activation(20.0), activation(20.0, "other"))
    assert outcomes(*wide, shared=group) == ["equal", "equal"]
    assert outcomes(*wide) == ["deviates", "equal"]
    assert outcomes(activation(8.0), wide[1], shared=group) == ["deviates", "equal"]


def test_a_constant_widens_the_range_that_it_shares() -> None:
    constant = replace(weight(), name="signed-table", values=VALUES * (30.0 / np.abs(VALUES).max()))
    group = (frozenset({"signed", "signed-table"}),)
    found = judged(activation(30.0), constant, shared=group)
    assert found[0].outcome == "equal"
    assert outcomes(activation(8.0), constant, shared=group)[0] == "deviates"


def test_groups_with_a_common_tensor_are_one() -> None:
    chain = (
        frozenset({"signed", "positive"}),
        frozenset({"other"}),
        frozenset({"positive", "other"}),
    )
    names = ("signed", "positive", "other")
    assert outcomes(*(activation(20.0, n) for n in names), shared=chain) == ["equal"] * 3


def test_what_shares_an_unknown_range_is_not_checked() -> None:
    group = (frozenset({"signed", "nowhere"}),)
    found = judged(activation(8.0), activation(8.0, "nowhere"), shared=group)
    assert [verdict.outcome for verdict in found] == ["not-checked", "not-checked"]
    assert "nowhere" in found[0].detail


@pytest.mark.parametrize(
    ("tensor", "given", "reason"),
    [
        (activation(8.0), {"method": "entropy"}, "entropy"),
        (activation(8.0), {"convention": None}, "not known"),
        (weight(), {"convention": None}, "not known"),
        (activation(8.0, "nowhere"), {}, "no tensor of its name"),
        (activation(8.0, "mask"), {}, "not finite"),
        (weight(values=VALUES, channel_axis=None), {}, "output channels"),
        (replace(weight(), values=None), {}, "integers"),
    ],
)
def test_what_no_formula_gives_is_not_checked(
    tensor: QuantizedTensor, given: dict[str, Any], reason: str
) -> None:
    (verdict,) = judged(tensor, **given)
    assert verdict.outcome == "not-checked"
    assert reason in verdict.detail


@pytest.mark.parametrize("role", ROLES)
def test_what_the_reader_could_not_make_out_deviates(role: Role) -> None:
    broken = replace(activation(8.0), role=role, grid=None, fault="its scale is no constant")
    (verdict,) = judged(broken)
    assert (verdict.outcome, verdict.detail) == ("deviates", "its scale is no constant")


@given(
    seed=st.integers(0, 2**32 - 1),
    magnitude=st.floats(1e-30, 1e30),
    channel=st.integers(0, 3),
    factor=st.sampled_from([1 + 2**-22, 1 - 2**-22, 0.5, 127 / 128]),
)
def test_any_weights_pass_and_any_changed_scale_is_found(
    seed: int, magnitude: float, channel: int, factor: float
) -> None:
    values = np.random.default_rng(seed).normal(size=(4, 5)).astype(np.float32)
    values *= np.float32(magnitude)
    right = weight(values)
    assert outcomes(right) == ["equal"]
    assert right.grid is not None
    scale = right.grid.scale.copy()
    scale[channel] *= np.float32(factor)
    assert outcomes(replace(right, grid=replace(right.grid, scale=scale))) == ["deviates"]


@given(
    patches=st.lists(
        st.tuples(st.floats(-1e6, 1e6, width=32), st.floats(-1e6, 1e6, width=32)).map(sorted),
        min_size=1,
        max_size=5,
    ),
    wrong=st.sampled_from([1 + 3 * ACTIVATION_TOLERANCE, 128 / 127, 2.0]),
)
def test_any_range_passes_and_any_other_is_found(patches: list[list[float]], wrong: float) -> None:
    amax = max(max(abs(low), abs(high)) for low, high in patches)
    ranges = Ranges(by_tensor={"x": tuple((low, high) for low, high in patches)})
    right = activation(amax, "x")

    def outcome(tensor: QuantizedTensor) -> str:
        (verdict,) = check(Reading(tensors=[tensor]), ranges, MODELOPT, "max")
        return verdict.outcome

    assert outcome(right) == "equal"
    if amax > 1e-30:  # narrower ones share the least step
        assert outcome(replace(right, grid=scaled(right.grid, wrong))) == "deviates"
