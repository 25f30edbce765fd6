"""A run against what was accepted, through real workers of the fake backend."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from voxgate.artifacts import launcher
from voxgate.artifacts.progress import Silent
from voxgate.errors import ArtifactError
from voxgate.records.case import CaseId
from voxgate.records.measurement import PairedLaunch
from voxgate.records.verdicts import CaseVerdicts, GateRecord
from voxgate.runs import bench
from voxgate.verdicts import baseline, gate, paired_launches
from voxgate.verdicts.accepted_engines import AcceptedEngines
from voxgate.verdicts.paired_launches import Pairing

from suites.support.gate_site import Site, of

Sites = Callable[[str], Site]


@pytest.fixture
def paired(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The engine files of each paired launch."""
    seen: list[tuple[str, str]] = []

    def spy(job: Any, request: Any, limits: Any, *where: Any) -> Any:
        seen.append((request.engine_a, request.engine_b))
        return launcher.run_job(job, request, limits, *where)

    monkeypatch.setattr(paired_launches, "run_job", spy)
    return seen


def script(monkeypatch: pytest.MonkeyPatch, *ratios: float) -> list[Path]:
    """Paired launches with these ratios instead of real ones; returns the first engines of each."""
    left, first = iter(ratios), []

    def pair(_: Pairing, __: CaseId, a: Path, *___: object) -> PairedLaunch:
        first.append(a)
        return PairedLaunch(
            b_first=False, a_ns=(100_000,) * 30, b_ns=(int(100_000 * next(left)),) * 30
        )

    monkeypatch.setattr(Pairing, "_launch", pair)
    return first


def outcomes(case: CaseVerdicts) -> dict[str, str]:
    return {f"{v.metric} {v.subject}".strip(): v.outcome for v in case.verdicts}


# --- the accepted engine -------------------------------------------------------------------------


def test_nothing_changed_passes_without_a_paired_launch(
    site: Site, paired: list[tuple[str, str]]
) -> None:
    before = site.content
    result = site.gate("fp32", "fake-int8", "int8")
    assert result.outcome == "pass"
    assert [case.precision for case in result.cases] == ["fp32", "fake-int8", "int8"]
    for case in result.cases:
        assert case.outcome == "pass"
        assert case.same_engine
        assert case.host_drift == pytest.approx(0.0, abs=0.05)
        assert set(outcomes(case)) == {
            "latency", "size", "memory", "int8-coverage", "dice organ-1", "dice organ-2",
            "dice organ-3",
        }  # fmt: skip
    assert "byte for byte" in of(result.cases[0], "latency").words
    assert not paired
    assert site.content == before


def test_the_accepted_engine_passes_on_a_host_that_is_slower_today(site: Site) -> None:
    for index in range(len(site.entry()["launches"])):
        site.edit("launches", index, "samples_ns", value=[1_000_000])
    case = site.gate_one()
    assert case.outcome == "pass"
    assert case.host_drift == pytest.approx(1.0, abs=0.1)
    assert "the host, not the engine" in of(case, "latency").words


def test_the_accepted_engine_with_worse_dice_is_a_regression(site_of: Sites) -> None:
    site = site_of("int8=worse")
    case = site.gate_one()
    assert case.same_engine
    assert outcomes(case)["latency"] == "pass"
    assert outcomes(case)["dice organ-1"] == "regression"
    assert case.outcome == "regression"
    assert "margin 0.005" in of(case, "dice", "organ-1").words


def test_a_lower_int8_share_is_a_regression(site: Site) -> None:
    site.edit(
        "int8_coverage", "by_macs", value={"int8": 0.5, "float": 0.5, "unmapped": 0},
        precision="fp32",
    )  # fmt: skip
    case = site.gate_one("fp32")
    assert outcomes(case)["int8-coverage"] == case.outcome == "regression"
    assert "50.00% → 0.00% of MACs in int8" in of(case, "int8-coverage").words


def test_a_partly_int8_engine_is_gated_by_the_share_it_was_accepted_with(site_of: Sites) -> None:
    site = site_of("int8=partly")
    (row,) = [row for row in site.run.cases if row.precision == "int8"]
    assert row.certificate is not None
    assert not row.certificate.granted
    fallen = site.gate_one()  # what was accepted is wholly int8
    assert outcomes(fallen)["int8-coverage"] == fallen.outcome == "regression"
    assert "no longer int8: conv1" in of(fallen, "int8-coverage").words
    site.accept()
    assert site.gate_one().outcome == "pass"
    assert site.entry()["int8_coverage"]["by_macs"]["int8"] == 0.9


def test_more_memory_is_a_regression(site: Site) -> None:
    memory = site.entry()["memory"]
    site.edit("memory", "delta", value=0)
    assert site.gate_one().outcome == "pass"  # the fake takes less than the slack
    site.edit("memory", "scope", value="device-gpu")
    assert outcomes(site.gate_one())["memory"] == "inconclusive"
    assert memory["scope"] == "process-host"


@pytest.mark.parametrize("engine", ["", "int8=other"])
def test_a_contaminated_row_is_inconclusive_and_all_but_its_clock_judged(
    site_of: Sites,
    paired: list[tuple[str, str]],
    engine: str,
) -> None:
    site = site_of(engine)
    rows = [replace(row, status="inconclusive", reason="power cap") for row in site.run.cases]
    case = replace(site, run=replace(site.run, cases=tuple(rows))).gate_one()
    assert case.outcome == "inconclusive"
    assert of(case, "latency").words == "power cap"
    assert outcomes(case)["size"] == outcomes(case)["dice organ-1"] == "pass"
    assert not paired


# --- no verdict ------------------------------------------------------------------------------------


def reason(result: GateRecord) -> str:
    (case,) = result.cases
    assert case.outcome == result.outcome == "inconclusive"
    assert not case.verdicts
    assert case.reason
    return case.reason


def test_a_missing_baseline_is_no_pass_and_says_what_to_do(site: Site) -> None:
    site.baseline.unlink()
    words = reason(site.gate("int8"))
    assert f"no baseline of this case for {site.gate('int8').environment} in" in words
    assert words.endswith("accept this run with --update-baselines=new")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("threads", 77, "threads was 77, is "),
        ("cpu", "Xeon", "cpu was Xeon, is "),
        ("shape", [1, 1, 8, 8, 8], "shape was (1, 1, 8, 8, 8), is (1, 1, 32, 32, 32)"),
        ("classes", 14, "classes was 14, is 4"),
    ],
)
def test_a_baseline_of_another_place_is_no_pass_and_names_the_key(
    site: Site, key: str, value: object, words: str
) -> None:
    site.edit("identity", key, value=value)
    found = reason(site.gate("int8"))
    assert f"(the nearest one cannot be compared with: {words}" in found


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("record_schema", 0, "record_schema was 0, is 1; accept anew with --update-baselines"),
        ("runtime", "0.9", "runtime was 0.9, is 1; compare the runtimes with 'voxgate compare"),
        ("weights_sha256", "ab" * 32, "weights_sha256 was abababababab, is None; accept anew"),
    ],
)
def test_a_baseline_of_other_versions_is_no_pass_and_names_the_key(
    site: Site, key: str, value: object, words: str
) -> None:
    site.edit("identity", key, value=value)
    found = reason(site.gate("int8"))
    assert found.startswith(f"the baseline in {site.baseline} cannot be compared with: ")
    assert words in found


def test_a_damaged_baseline_shows_before_anything_is_measured(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[object] = []
    monkeypatch.setattr(bench, "bench", lambda *args: measured.append(args))
    other = site.baseline.parent.parent / "nvidia-l4" / "unet.json"
    other.parent.mkdir()
    other.write_text("{")
    with pytest.raises(ArtifactError, match=r"nvidia-l4/unet\.json is no valid baseline"):
        gate.gate_run(site.config, site.rules, Silent())
    assert not measured


def test_a_gate_without_a_case_is_failed(site: Site) -> None:
    assert site.gate().outcome == "failed"


def test_a_missing_backend_is_unavailable(site_of: Sites) -> None:
    site = site_of("fp32=missing")
    case = site.gate_one()
    assert case.outcome == "unavailable"
    assert "install it" in (case.reason or "")


# --- the accepted kernels in other bytes -------------------------------------------------------------


def test_a_rebuild_with_the_accepted_kernels_is_screened_alone(
    site_of: Sites, paired: list[tuple[str, str]]
) -> None:
    site = site_of("int8=rebuilt")
    before = site.content
    case = site.gate_one()
    assert case.outcome == "pass"
    assert (case.same_engine, case.same_kernels) == (False, True)
    assert set(outcomes(case)) >= {"latency", "size", "memory", "int8-coverage", "dice organ-1"}
    words = of(case, "latency").words
    assert words.startswith("a rebuild: other bytes, the accepted engine's kernels and weights; ")
    assert "against when it was accepted" in words
    assert not paired
    assert site.content == before


def test_a_rebuild_is_judged_in_all_but_its_time(site_of: Sites) -> None:
    site = site_of("int8=rebuilt")
    site.edit("engine_bytes", value=10_000)
    case = site.gate_one()
    assert outcomes(case)["size"] == case.outcome == "regression"
    assert outcomes(case)["latency"] == "pass"


def test_a_rebuild_needs_no_accepted_file(site_of: Sites) -> None:
    site = site_of("int8=rebuilt")
    site.engine.unlink()
    assert site.gate_one().outcome == "pass"
    assert not site.engine.exists()  # other bytes are no accepted engine


@pytest.mark.parametrize("missing", ["kernels_sha256", "source_sha256"])
@pytest.mark.parametrize("value", [None, "ab" * 32])
def test_other_or_unknown_kernels_or_weights_are_paired(
    site_of: Sites, paired: list[tuple[str, str]], missing: str, value: str | None
) -> None:
    site = site_of("int8=rebuilt")
    site.edit(missing, value=value)
    case = site.gate_one()
    assert case.outcome == "pass"
    assert not case.same_kernels
    assert len(paired) == 3


def test_a_baseline_from_before_kernels_were_told_is_read(site_of: Sites) -> None:
    site = site_of("int8=rebuilt")
    whole = json.loads(site.baseline.read_text())
    for entry in whole["entries"]:
        del entry["kernels_sha256"], entry["source_sha256"]
    site.baseline.write_text(json.dumps(whole))
    case = site.gate_one()
    assert (case.outcome, case.same_kernels, len(case.pairs)) == ("pass", None, 3)


# --- another engine --------------------------------------------------------------------------------


def test_a_slower_engine_is_paired_confirmed_and_a_regression(
    site_of: Sites, paired: list[tuple[str, str]]
) -> None:
    site = site_of("int8=slower")
    before = site.content
    result = site.gate("int8")
    (case,) = result.cases
    assert result.outcome == case.outcome == "regression"
    assert (case.same_engine, case.same_kernels) == (False, False)
    assert (len(case.pairs), len(case.confirmation)) == (3, 3)
    assert [pair.b_first for pair in case.pairs] == [False, True, False]
    assert len(paired) == 6
    assert {a for a, _ in paired} == {str(site.engine)}
    latency = of(case, "latency")
    assert latency.change == pytest.approx(0.1, abs=0.005)
    assert latency.words.startswith(
        "+10.1% against the accepted engine (2.001 → 2.203 ms), in turn"
    )
    assert latency.words.endswith("; and +10.1% before")
    assert outcomes(case)["size"] == outcomes(case)["dice organ-1"] == "pass"
    assert result.timing.inference_s == pytest.approx(
        sum(sum(p.a_ns) + sum(p.b_ns) for p in (*case.pairs, *case.confirmation)) / 1e9
    )
    assert site.content == before


def test_another_engine_as_fast_is_paired_and_passes(
    site_of: Sites, paired: list[tuple[str, str]]
) -> None:
    site = site_of("int8=other")
    case = site.gate_one()
    assert case.outcome == "pass"
    assert case.same_engine is False
    assert len(paired) == len(case.pairs) == 3
    assert not case.confirmation
    assert of(case, "latency").change == pytest.approx(0.0, abs=0.005)
    assert "latency-p90" in outcomes(case)


def test_a_larger_engine_is_a_regression_of_size_alone(
    site_of: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = site_of("int8=larger")
    script(monkeypatch, 1.0, 1.0, 1.0)
    case = site.gate_one()
    assert case.outcome == "regression"
    assert outcomes(case)["latency"] == "pass"
    assert of(case, "size").words == "0.01 → 0.02 MB (+100.00%); tolerance 1%"


def test_the_self_test_is_made_once_for_an_engine(
    site_of: Sites, paired: list[tuple[str, str]]
) -> None:
    site = site_of("int8=other")
    (kept,) = site.engine.parent.glob("self-test-*.json")
    kept.write_text('{"damaged"')
    first = site.gate_one().self_test
    assert paired.count((str(site.engine), str(site.engine))) == 6
    assert len(paired) == 9
    second = site.gate_one().self_test
    assert len(paired) == 12
    assert first is not None
    assert first == second
    assert len(first.launch_ratios) == 6


def test_a_red_that_fresh_launches_do_not_confirm_is_none(
    site_of: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = site_of("int8=other")
    script(monkeypatch, 1.2, 1.2, 1.2, 1.0, 1.0, 1.0)
    case = site.gate_one()
    assert case.outcome == "pass"
    assert (len(case.pairs), len(case.confirmation)) == (3, 3)
    assert of(case, "latency").words.endswith("+20.0% in a first series was not confirmed")


def test_launches_that_never_agree_are_inconclusive(
    site_of: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = site_of("int8=other")
    script(monkeypatch, *[1.2, 0.9] * 8)
    case = site.gate_one()
    assert case.outcome == "inconclusive"
    assert len(case.pairs) == 15


def test_an_accepted_engine_that_is_gone_leaves_no_verdict_on_time(site_of: Sites) -> None:
    site = site_of("int8=slower")
    site.engine.unlink()
    case = site.gate_one()
    assert case.outcome == "inconclusive"
    assert f"the accepted engine is not kept in {site.engine}" in of(case, "latency").words
    assert "restore the cache" in of(case, "latency").words
    assert outcomes(case)["size"] == "pass"


def test_an_accepted_engine_that_is_damaged_leaves_no_verdict_on_time(site_of: Sites) -> None:
    site = site_of("int8=other")
    site.engine.write_bytes(site.engine.read_bytes()[:-1])
    case = site.gate_one()
    assert case.outcome == "inconclusive"
    assert f"the accepted engine in {site.engine} is damaged" in of(case, "latency").words


# --- failures --------------------------------------------------------------------------------------


@pytest.fixture
def crash_in_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(job: Any, request: Any, limits: Any, *where: Any) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("VOXGATE_FAKE_FAULT", "int8=crash")
            return launcher.run_job(job, request, limits, *where)

    monkeypatch.setattr(paired_launches, "run_job", crash)


@pytest.mark.usefixtures("crash_in_pairs")
def test_a_paired_launch_that_crashes_fails_the_case(site_of: Sites) -> None:
    site = site_of("int8=other")
    result = site.gate("int8")
    (case,) = result.cases
    assert result.outcome == case.outcome == "failed"
    assert of(case, "latency").words.startswith(
        "in the paired launches: the pair worker was killed"
    )
    assert outcomes(case)["size"] == "pass"


@pytest.mark.usefixtures("crash_in_pairs")
def test_a_crash_hides_no_other_finding(site_of: Sites) -> None:
    site = site_of("int8=larger")
    case = site.gate_one()
    assert (outcomes(case)["latency"], outcomes(case)["size"]) == ("failed", "regression")
    assert case.outcome == "regression"


def test_a_failed_case_leaves_the_verdicts_of_the_others(site_of: Sites) -> None:
    site = site_of("int8=nan")
    site.edit("engine_bytes", value=1, precision="fp32")
    result = site.gate("fp32", "int8")
    assert [case.outcome for case in result.cases] == ["regression", "failed"]
    assert result.outcome == "regression"
    assert "NaN" in (result.cases[1].reason or "")


# --- accepting -------------------------------------------------------------------------------------


def test_only_what_was_measured_is_accepted(site_of: Sites) -> None:
    site = site_of("int8=nan")
    site.baseline.unlink()
    site.accept()
    accepted = baseline.read(site.baseline).entries
    assert {entry.identity.precision for entry in accepted} == {"fp32", "fake-int8"}


def test_an_engine_that_cannot_be_kept_leaves_the_baseline_as_it_was(
    site_of: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = site_of("int8=other")
    before = site.content

    def full(*_: object) -> None:
        msg = "the accepted engine cannot be kept"
        raise ArtifactError(msg)

    monkeypatch.setattr(AcceptedEngines, "keep", full)
    with pytest.raises(ArtifactError, match="cannot be kept"):
        site.accept()
    assert site.content == before


def test_an_accepted_engine_is_what_the_next_gate_compares_with(
    sites: Sites, site_of: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = site_of("int8=slower")
    site.accept()
    assert site.gate_one().same_engine
    accepted = script(monkeypatch, *[1.0] * 9)  # six of them are the self-test
    assert replace(site, run=sites("int8=other").run).gate_one().outcome == "pass"
    assert accepted == [site.engine] * 9


def test_memory_that_was_not_measured_now_is_inconclusive(site_of: Sites) -> None:
    """A GPU that NVML lost has no memory figure; the baseline's must not go unjudged for that."""
    site = site_of("")
    rows = tuple(replace(row, memory_bytes=None) for row in site.run.cases)
    case = replace(site, run=replace(site.run, cases=rows)).gate_one()
    assert outcomes(case)["memory"] == "inconclusive"
    assert case.outcome == "inconclusive"
    assert "the baseline has it" in of(case, "memory").words
