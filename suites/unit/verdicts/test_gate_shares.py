"""The rules about bytes and shares: size, memory, int8 coverage."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxgate.records.engine import Coverage, Share
from voxgate.records.measurement import Memory, MemoryScope
from voxgate.records.verdicts import Outcome
from voxgate.verdicts import rules

MIB = 2**20


@pytest.mark.parametrize(
    ("after", "outcome"),
    [
        (500_000, "pass"),
        (1_000_000, "pass"),
        (1_009_999, "pass"),
        (1_010_001, "regression"),
        (2_000_000, "regression"),
    ],
)
def test_an_engine_may_grow_by_one_percent(after: int, outcome: Outcome) -> None:
    verdict = rules.judge_size(1_000_000, after)
    assert verdict.outcome == outcome
    assert (verdict.before, verdict.after, verdict.unit) == (1_000_000, after, "bytes")
    assert verdict.change == pytest.approx(after / 1_000_000 - 1)


def test_the_words_of_a_size_have_both_and_the_change() -> None:
    words = rules.judge_size(5_900_000, 6_100_000).words
    assert words == "5.90 → 6.10 MB (+3.39%); tolerance 1%"


@given(before=st.integers(1, 10**12), after=st.integers(1, 10**12))
def test_a_larger_engine_is_never_better(before: int, after: int) -> None:
    larger = rules.judge_size(before, after + 1)
    if rules.judge_size(before, after).outcome == "regression":
        assert larger.outcome == "regression"


def memory(delta: int, scope: MemoryScope = "process-host") -> Memory:
    return Memory(baseline=MIB, peak=MIB + delta, delta=delta, scope=scope)


@pytest.mark.parametrize(
    ("before", "after", "outcome"),
    [
        (1000, 1000, "pass"),
        (1000, 500, "pass"),
        (1000, 1100, "pass"),  # exactly the tolerance
        (1000, 1101, "regression"),
        (10, 25, "pass"),  # more than 10 %, less than the slack
        (10, 27, "regression"),
        (0, 0, "pass"),
        (0, 16, "pass"),
        (0, 17, "regression"),
    ],
)
def test_memory_may_grow_by_a_tenth_or_by_the_slack(
    before: int, after: int, outcome: Outcome
) -> None:
    verdict = rules.judge_memory(memory(before * MIB), memory(after * MIB))
    assert verdict.outcome == outcome
    assert f"{before} → {after} MiB" in verdict.words


def test_memory_of_another_scope_cannot_be_compared() -> None:
    verdict = rules.judge_memory(memory(MIB, "process-gpu"), memory(MIB, "device-gpu"))
    assert verdict.outcome == "inconclusive"
    assert "device-gpu cannot be compared with that of process-gpu" in verdict.words


def coverage(
    int8: float, unmapped: float = 0.0, lost: tuple[str, ...] = (), hidden: tuple[str, ...] = ()
) -> Coverage:
    share = Share(int8=int8, float=1 - int8 - unmapped, unmapped=unmapped)
    return Coverage(by_count=share, by_macs=share, float_nodes=lost, unmapped_nodes=hidden)


@pytest.mark.parametrize(
    ("before", "after", "outcome"),
    [
        (coverage(0.9), coverage(0.9), "pass"),
        (coverage(0.9), coverage(1.0), "pass"),
        (coverage(0.9), coverage(0.8), "regression"),
        (coverage(0.9), coverage(0.9 - 1e-9), "pass"),  # the dust of a sum
        (coverage(0.9, 0.05), coverage(0.9, 0.06), "regression"),
        (coverage(0.8, 0.1), coverage(0.9, 0.0), "pass"),
        (coverage(0.8, 0.0), coverage(0.9, 0.1), "regression"),  # found less, whatever the rest
    ],
)
def test_the_int8_share_may_not_fall_nor_the_unmapped_rise(
    before: Coverage, after: Coverage, outcome: Outcome
) -> None:
    verdict = rules.judge_coverage(before, after)
    assert verdict is not None
    assert verdict.outcome == outcome
    assert verdict.change == pytest.approx(after.by_macs.int8 - before.by_macs.int8)


def test_layers_that_are_no_longer_int8_are_named_up_to_three() -> None:
    verdict = rules.judge_coverage(
        coverage(0.9, lost=("stem",)),
        coverage(0.4, lost=("stem", "down", "up"), hidden=("head", "deep")),
    )
    assert verdict is not None
    assert "90.00% → 40.00% of MACs in int8" in verdict.words
    assert verdict.words.endswith("no longer int8: down, up, head and 1 more")


def test_layers_that_were_float_before_are_not_named() -> None:
    verdict = rules.judge_coverage(coverage(0.9, lost=("a", "b")), coverage(0.9, lost=("b",)))
    assert verdict is not None
    assert "no longer" not in verdict.words


def test_layers_that_are_unknown_on_both_sides_are_not_judged() -> None:
    assert rules.judge_coverage(None, None) is None


@pytest.mark.parametrize(
    ("before", "after", "where"),
    [(None, coverage(1.0), "in the baseline"), (coverage(1.0), None, "now")],
)
def test_layers_that_are_unknown_on_one_side_are_no_pass(
    before: Coverage | None, after: Coverage | None, where: str
) -> None:
    verdict = rules.judge_coverage(before, after)
    assert verdict is not None
    assert verdict.outcome == "inconclusive"
    assert verdict.words == f"the runtime's layers are unknown {where}"
