"""The comparison of rules: what is drawn, what every rule keeps to, tables and refusals."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from voxgate.errors import ArtifactError

from benchmarks import certainty, gate_rules, our_rules
from benchmarks.gate_rules import compare, contestants, main
from benchmarks.our_rules import Rule
from benchmarks.resampling import (
    AA,
    EFFECTS,
    SECTIONS,
    Draws,
    Effect,
    Floats,
    Section,
    Series,
    draw,
    stratify,
)
from benchmarks.rules_report import BARS, Cell, Row, combine
from suites.support.recorded import STATES, TRIALS, drawn, make_recording, write


def every() -> list[tuple[str, Rule]]:
    return [(each.name, each.rule) for each in contestants()]


# --- every rule -------------------------------------------------------------------------------------


def test_equal_samples_are_never_flagged() -> None:
    same = drawn()
    stored, alternating = (np.repeat(x[:, :1], 2, axis=1) for x in (same.stored, same.alternating))
    first, fresh, alone = (
        np.repeat(x[:, :, :1], 2, axis=2) for x in (same.first, same.fresh, same.self_test)
    )
    equal = Draws(
        stored=stored, alternating=alternating, first=first, fresh=fresh, self_test=alone
    )  # fmt: skip
    for name, rule in every():
        if name != "conbench z":  # it compares with other launches than those of A
            assert not rule(equal).flagged.any(), name


def test_a_constant_clock_raises_nothing_and_hides_nothing() -> None:
    flat = drawn(spread=0.0, noise=0.0)
    for name, rule in every():
        assert not rule(flat).flagged.any(), name
        slow = flat.slowed(Effect(name="+50 %", factor=1.5), np.random.default_rng(1))
        assert rule(slow).flagged.all(), name


@pytest.mark.parametrize("section", SECTIONS)
def test_a_greater_slowdown_is_found_at_least_as_often(section: Section) -> None:
    draws = drawn(section, trials=200)
    slower = [effect for effect in EFFECTS if not effect.tail_share]
    for name, rule in every():
        counts = [
            int(rule(draws.slowed(effect, np.random.default_rng(1))).flagged.sum())
            for effect in slower
        ]
        assert counts == sorted(counts), name
        assert counts[-1] > counts[0], name


# --- what is drawn ----------------------------------------------------------------------------------


def launches_of(samples: Floats) -> set[float]:
    """The launches in it, by their first samples."""
    return set(samples[..., 0].ravel().tolist())


def test_the_sides_of_a_comparison_with_stored_launches_share_none() -> None:
    for draws in (drawn(), drawn("mixed")):
        for sides in draws.stored:
            assert not launches_of(sides[0]) & launches_of(sides[1])


def test_alternating_launches_were_neighbours() -> None:
    made = make_recording(launches=9)
    solo = [launch.a_ns[0] for launch in made.launches if launch.kind == "solo"]
    place = {ns: i for i, ns in enumerate(solo)}
    (stratum,) = stratify([made])
    draws = draw(stratum, "quiet", TRIALS, np.random.default_rng(1))
    a, b = (
        np.vectorize(place.__getitem__)(draws.alternating[:, side, :, 0].astype(int))
        for side in (0, 1)
    )
    assert set(np.unique(b - a)) == {-1, 1}
    assert set(np.unique(a)) == set(range(9))


def test_launches_are_drawn_whole_and_of_their_state() -> None:
    recordings = {state: make_recording(state=state) for state in STATES}
    known = {
        state: {tuple(map(float, launch.a_ns)) for launch in made.launches}
        for state, made in recordings.items()
    }
    (stratum,) = stratify(recordings.values())
    shares = {}
    for section in SECTIONS:
        draws = draw(stratum, section, TRIALS, np.random.default_rng(1))
        solo = [tuple(x) for x in draws.alternating.reshape(-1, draws.alternating.shape[-1])]
        pairs = [tuple(x) for x in draws.first[:, :, 0].reshape(-1, draws.first.shape[-1])]
        assert set(solo) | set(pairs) <= known["quiet"] | known["noisy"]
        shares[section] = float(np.mean([launch in known["noisy"] for launch in solo + pairs]))
    assert (shares["quiet"], shares["noisy"]) == (0.0, 1.0)
    assert 0.4 < shares["mixed"] < 0.6


def test_stored_sides_are_of_one_state_in_mixed() -> None:
    quiet, noisy = (make_recording(state=state) for state in STATES)
    (stratum,) = stratify([quiet, noisy])
    of_quiet = {float(launch.a_ns[0]) for launch in quiet.launches}
    stored = draw(stratum, "mixed", TRIALS, np.random.default_rng(1)).stored
    kinds = [{x in of_quiet for x in launches_of(side)} for trial in stored for side in trial]
    assert all(len(kind) == 1 for kind in kinds)
    assert {kind.copy().pop() for kind in kinds} == {False, True}


def test_load_orders_are_those_of_the_gate() -> None:
    made = make_recording()
    b_first = {launch.a_ns[0]: launch.b_first for launch in made.launches if launch.kind == "pair"}
    (stratum,) = stratify([made])
    draws = draw(stratum, "quiet", TRIALS, np.random.default_rng(1))
    for launches in (draws.first, draws.fresh, draws.self_test):
        for series in launches[:, :, 0, 0]:
            orders = [b_first[int(ns)] for ns in series]
            assert orders == [n % 2 == 1 for n in range(len(series))]


def test_effects_are_b_s_alone() -> None:
    draws = drawn()
    slow = draws.slowed(Effect(name="x", factor=1.5), np.random.default_rng(1))
    assert (slow.stored[:, 0] == draws.stored[:, 0]).all()
    assert slow.stored[:, 1] == pytest.approx(1.5 * draws.stored[:, 1])
    for now, before in ((slow.first, draws.first), (slow.fresh, draws.fresh)):
        assert (now[:, :, 0] == before[:, :, 0]).all()
        assert now[:, :, 1] == pytest.approx(1.5 * before[:, :, 1])
    assert (slow.self_test == draws.self_test).all()


def test_a_tail_slows_a_share() -> None:
    samples = np.ones((100, 100))
    effect = Effect(name="tail", tail_share=0.15, tail_factor=1.3)
    found = effect.apply(samples, np.random.default_rng(1))
    assert set(np.unique(found)) == {1.0, 1.3}
    assert (found == 1.3).mean() == pytest.approx(0.15, abs=0.02)
    assert (samples == 1).all()


# --- the report -------------------------------------------------------------------------------------


def test_the_same_recordings_give_the_same_report_in_any_order() -> None:
    recordings = [
        make_recording(state=state, host=host) for host, state in itertools.product("ab", STATES)
    ]
    first = compare(recordings, comparisons=20, seed=1)
    assert first == compare(recordings[::-1], comparisons=20, seed=1)
    assert first != compare(recordings, comparisons=20, seed=2)
    assert first.hosts == 2
    assert [(e.state, e.solo_launches, e.paired_launches) for e in first.evidence] == [
        ("quiet", 6, 6), ("noisy", 6, 6), ("quiet", 6, 6), ("noisy", 6, 6),
    ]  # fmt: skip
    launches = {row.rule: row.launches for row in first.overall if row.section == "mixed"}
    assert (launches["pyperf"], launches[our_rules.CONFIRMED]) == (24, 24)
    assert launches["screen, then paired to a lead of 3"] == 48
    assert {found.foreign for found in first.evidence} == {0.1}
    assert {row.section for row in first.overall} == {"quiet", "noisy", "mixed"}
    assert all(row.cells[AA.name].comparisons == 40 for row in first.overall)


def test_a_mixed_recording_serves_all_sections() -> None:
    report = compare([make_recording(state="mixed", launches=16)], comparisons=10, seed=1)
    assert {row.section for row in report.rows} == {"quiet", "noisy", "mixed"}


def test_states_with_too_few_launches_are_left_out_and_said() -> None:
    few, enough = make_recording(state="noisy", launches=2), make_recording(launches=4)
    report = compare([few, enough], comparisons=10, seed=1)
    assert {row.section for row in report.rows} == {"quiet"}
    assert report.left_out == ("unet/t/b/int8 on h: c, 2 threads: noisy (4 launches)",)
    with pytest.raises(ArtifactError, match="no recording has four launches"):
        compare([few], comparisons=10, seed=1)


def test_combined_rows_add_up() -> None:
    def row(subject: str, flagged: int) -> Row:
        cell = Cell(flagged=flagged, inconclusive=1, comparisons=10)
        return Row(
            subject=subject, section="quiet", rule="r", ours=True, hosts=frozenset({subject[0]}),
            launches=flagged, cells={"A/A": cell},
        )  # fmt: skip

    (both,) = combine([row("a1", 2), row("a2", 0), row("b", 4)])
    assert (both.subject, both.launches) == ("", 6)
    assert both.hosts == frozenset({"a", "b"})
    assert both.cells["A/A"] == Cell(flagged=6, inconclusive=3, comparisons=30)
    assert both.cells["A/A"].share == 0.2


@pytest.mark.parametrize(
    ("index", "flagged", "met"),
    [
        (0, 10, True),
        (0, 11, False),
        (1, 950, True),
        (1, 949, False),
        (2, 990, True),
        (2, 989, False),
    ],
)
def test_a_bar_is_met_at_its_limit(index: int, flagged: int, met: bool) -> None:  # noqa: FBT001
    assert BARS[index].met(Cell(flagged=flagged, inconclusive=0, comparisons=1000)) is met


def test_intervals_and_bounds_have_known_values() -> None:
    assert certainty.wilson(0, 100) == pytest.approx((0.0, 0.0370), abs=1e-4)
    assert certainty.wilson(50, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert certainty.most(0, 30) == pytest.approx(1 - 0.05 ** (1 / 30))
    assert certainty.most(3, 3) == 1.0
    assert certainty.most(1, 20) == pytest.approx(0.2161, abs=1e-4)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.9])
def test_a_red_has_the_probability_of_the_gates_rule(share: float) -> None:
    generator = np.random.default_rng(1)
    ratios = np.where(generator.random((20_000, 15)) < share, 1.1, 1.0)
    series = Series(minima=ratios, tails=ratios, samples=30)
    found = our_rules.judge_times(series).flagged.mean()
    assert certainty.red(share) == pytest.approx(found, abs=0.01)
    endless = share**3 / (share**3 + (1 - share) ** 3)  # without an end to the series
    assert certainty.red(share) <= endless
    assert endless - certainty.red(share) < (0.1 if share == 0.5 else 0.02)


def test_bounds_grow_with_what_was_seen() -> None:
    alarms = [certainty.false_alarms_at_most(beyond, 30) for beyond in range(5)]
    assert alarms == sorted(alarms)
    assert alarms[0] < 0.001
    assert certainty.found_at_least(0, 30) > 0.95 > certainty.found_at_least(4, 30)


# --- the command ------------------------------------------------------------------------------------


@pytest.fixture
def samples(tmp_path: Path) -> list[str]:
    made = [make_recording(), make_recording(state="noisy", noise=0.2)]
    return [str(write(tmp_path, recording)) for recording in made]


def test_the_tables_name_rules_states_and_bars(
    samples: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--comparisons", "50", *samples]) == 0
    printed = capsys.readouterr().out
    for name, _ in every():
        assert printed.count(name) >= 3, name
    for words in ("A/A ≤ 1%", "+5 % ≥ 95%", "MISSED", "on 1 host;", "of 22 pairs", "Tolerance"):
        assert words in printed


def test_the_tables_come_as_markdown(
    samples: list[str], capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    assert main(["--markdown", "--comparisons", "5", *samples]) == 0
    printed = capsys.readouterr().out
    assert "| state | rule" in printed
    assert "━" not in printed


def test_the_answer_for_programs(samples: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", "--comparisons", "5", "--seed", "3", *samples]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["comparisons"], report["seed"], report["hosts"]) == (5, 3, 1)
    assert len(report["rows"]) == 3 * len(list(every()))
    assert set(report["rows"][0]["cells"]) == {effect.name for effect in EFFECTS}


def test_the_recordings_of_the_repository_are_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gate_rules, "SAMPLES", tmp_path)
    assert main([]) == 4
    assert "no recordings in" in capsys.readouterr().err
    write(tmp_path, make_recording())
    assert main(["--comparisons", "2"]) == 0


def test_wrong_numbers_and_files_are_refused(
    tmp_path: Path, samples: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--comparisons", "0", *samples]) == 2
    assert main(["--seed", "-1", *samples]) == 2
    foreign = tmp_path / "foreign.json"
    foreign.write_text("{}")
    assert main([*samples, str(foreign)]) == 4
    assert "foreign.json is no recording" in capsys.readouterr().err
