"""Layers of two engines meet by the graph nodes that they stand for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from voxgate.records.engine import Arithmetic, ExecutedLayer
from voxgate.records.verdicts import LayerChange
from voxgate.verdicts.layers import Side, join, layer_changes


def layer(name: str, *sources: str, arithmetic: Arithmetic = "int8") -> ExecutedLayer:
    return ExecutedLayer(
        name=name, kind="Convolution", arithmetic=arithmetic, detail="d", sources=sources
    )


def names(
    groups: list[tuple[list[ExecutedLayer], list[ExecutedLayer]]],
) -> list[tuple[list[str], list[str]]]:
    return [([x.name for x in before], [x.name for x in after]) for before, after in groups]


def test_renamed_layers_meet() -> None:
    a, b = [layer("one", "conv1")], [layer("uno", "conv1")]
    assert names(join(a, b)) == [(["one"], ["uno"])]


def test_layers_that_are_fused_otherwise_are_one_row() -> None:
    a = [layer("q", "mm1"), layer("k", "mm2"), layer("c", "conv")]
    b = [layer("c", "conv"), layer("attention", "mm1", "softmax", "mm2")]
    assert names(join(a, b)) == [(["q", "k"], ["attention"]), (["c"], ["c"])]
    assert names(join(b, a)) == [(["c"], ["c"]), (["attention"], ["q", "k"])]


def test_a_part_of_a_fused_layer_that_shares_more_does_not_push_the_other_away() -> None:
    a, b = (
        [layer("all", "mm1", "mm2", "softmax")],
        [layer("x", "mm1"), layer("y", "mm2", "softmax")],
    )
    assert names(join(a, b)) == [(["all"], ["x", "y"])]


def test_a_number_that_means_another_node_joins_nothing() -> None:
    a = [layer("c1", "conv1", "relu1", "Multiply_7"), layer("c2", "conv2", "relu2", "Multiply_8")]
    b = [layer("c1", "conv1", "relu1", "Multiply_9"), layer("c2", "conv2", "relu2", "Multiply_7")]
    assert names(join(a, b)) == [(["c1"], ["c1"]), (["c2"], ["c2"])]


def test_what_one_side_has_alone_stays_alone() -> None:
    a, b = [layer("c1", "conv1"), layer("old", "conv2")], [layer("c1", "conv1"), layer("new", "x")]
    assert names(join(a, b)) == [(["c1"], ["c1"]), (["old"], []), ([], ["new"])]
    alone = layer_changes(Side(layers=a), Side(layers=b))[:2]
    assert [(c.sources, bool(c.before), bool(c.after)) for c in alone] == [
        (("conv2",), True, False), (("x",), False, True),
    ]  # fmt: skip


def test_another_arithmetic_comes_first_then_the_greatest_change_of_time() -> None:
    a = Side(
        layers=[layer("c1", "n1"), layer("c2", "n2"), layer("c3", "n3")],
        times_ns={"c1": 100, "c2": 100, "c3": 100, "pool": 7, "reorder": 3},
    )
    b = Side(
        layers=[layer("c1", "n1"), layer("c2", "n2"), layer("x3", "n3", arithmetic="float")],
        times_ns={"c1": 150, "c2": 30, "x3": 100, "pool": 8},
    )
    changes = layer_changes(a, b)
    assert [change.sources for change in changes] == [("n3",), ("n2",), ("n1",), ()]
    assert [change.arithmetic_changed for change in changes] == [True, False, False, False]
    assert (changes[1].before_ns, changes[1].after_ns) == (100, 30)
    assert changes[-1] == LayerChange(
        sources=(), before="all 2 other layers", after="all 1 other layers", before_ns=10,
        after_ns=8, arithmetic_changed=False,
    )  # fmt: skip


def test_times_that_are_unknown_stay_unknown() -> None:
    a, b = Side(layers=[layer("c", "n")]), Side(layers=[layer("c", "n")], times_ns={"c": 1})
    (change,) = layer_changes(a, b)
    assert (change.before_ns, change.after_ns) == (None, 1)
    (lost,) = layer_changes(Side(layers=a.layers, times_ns={}), b)
    assert lost.before_ns is None


def test_a_fused_row_has_the_sum_of_its_layers_or_nothing() -> None:
    a = Side(layers=[layer("q", "m1"), layer("k", "m2")], times_ns={"q": 3, "k": 4})
    b = Side(layers=[layer("qk", "m1", "m2")], times_ns={"qk": 5})
    (change,) = layer_changes(a, b)
    assert (change.sources, change.before_ns, change.after_ns) == (("m1", "m2"), 7, 5)
    (partly,) = layer_changes(Side(layers=a.layers, times_ns={"q": 3}), b)[:1]
    assert partly.before_ns is None


sources = st.lists(st.sampled_from("abcdefgh"), min_size=0, max_size=4).map(tuple)
sides = st.lists(sources, max_size=6).map(
    lambda found: [layer(f"layer{i}", *names) for i, names in enumerate(found)]
)


@given(sides, sides)
def test_every_layer_is_in_exactly_one_row(a: list[ExecutedLayer], b: list[ExecutedLayer]) -> None:
    groups = join(a, b)
    assert sorted(x.name for before, _ in groups for x in before) == sorted(x.name for x in a)
    assert sorted(x.name for _, after in groups for x in after) == sorted(x.name for x in b)
    assert all(before or after for before, after in groups)


@given(sides, sides)
def test_rows_of_both_sides_share_a_node(a: list[ExecutedLayer], b: list[ExecutedLayer]) -> None:
    for before, after in join(a, b):
        if before and after:
            own = {name for x in before for name in x.sources}
            assert own & {name for x in after for name in x.sources}


@given(sides)
def test_an_engine_beside_itself_changes_nothing(a: list[ExecutedLayer]) -> None:
    times_ns = {x.name: 10 for x in a}
    side = Side(layers=a, times_ns=times_ns)
    for change in layer_changes(side, side):
        assert not change.arithmetic_changed
        assert change.before_ns == change.after_ns or not (change.before and change.after)
