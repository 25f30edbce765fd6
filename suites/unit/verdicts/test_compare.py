"""Two records side by side: what may be said, what may not, and which files are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxgate.artifacts.progress import Silent
from voxgate.cli import main
from voxgate.config import RunConfig
from voxgate.records import file
from voxgate.records.calibration import Calibration
from voxgate.records.case import Status
from voxgate.records.run import CaseResult, RunRecord
from voxgate.records.verdicts import CaseComparison, ComparisonRecord
from voxgate.runs import bench
from voxgate.verdicts.comparison import Evidence, compare_runs, compare_stored, label_agreement


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    config = RunConfig(
        models=("unet",), task="phantom-mini", backends=("fake",), precisions=("fp32", "int8"),
        launches=2, min_samples=2, max_samples=3, seconds_per_launch=0.0,
        cache_dir=tmp_path_factory.mktemp("cache"),
    )  # fmt: skip
    return bench.bench(config.check(), Silent())


def changed(run: RunRecord, **values: Any) -> RunRecord:
    """The record with something else in its INT8 row."""
    fp32, int8 = run.cases
    return replace(run, cases=(fp32, replace(int8, **values)))


def int8(a: RunRecord, b: RunRecord) -> CaseComparison:
    return compare_stored(a, b)[1]


def outcomes(case: CaseComparison) -> dict[str, str]:
    return {f"{v.metric} {v.subject}".strip(): v.outcome for v in case.verdicts}


def slower(row: CaseResult, factor: float) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(int(ns * factor) for ns in launch) for launch in row.samples_ns)


def test_two_equal_records_pass_and_say_that_times_confirm_nothing(run: RunRecord) -> None:
    case = int8(run, run)
    assert case.outcome == "pass"
    assert set(outcomes(case)) == {
        "latency", "size", "memory", "int8-coverage", "dice organ-1", "dice organ-2", "dice organ-3",
    }  # fmt: skip
    latency = case.verdicts[0]
    assert "two stored records cannot confirm a change of latency" in latency.words
    assert (case.agreement, case.layers[0].before_ns) == (None, None)
    assert case.build_s == (run.cases[1].build_s, run.cases[1].build_s)


@pytest.mark.parametrize(("factor", "outcome"), [(1.014, "pass"), (1.016, "inconclusive"), (0.5, "pass"), (3.0, "inconclusive")])  # fmt: skip
def test_stored_times_raise_a_suspicion_and_never_convict(
    run: RunRecord, factor: float, outcome: str
) -> None:
    case = int8(run, changed(run, samples_ns=slower(run.cases[1], factor)))
    assert outcomes(case)["latency"] == case.outcome == outcome
    assert ("--python-a" in case.verdicts[0].words) == (outcome == "inconclusive")


@pytest.mark.parametrize(
    ("key", "value"),
    [("host", "other"), ("cpu", "another"), ("isa", ("another",)), ("threads", 99), ("cores", 99)],
)
def test_times_of_other_hosts_are_not_compared(run: RunRecord, key: str, value: Any) -> None:
    other: dict[str, Any] = {key: value}
    case = int8(run, replace(run, environment=replace(run.environment, **other)))
    assert "latency" not in outcomes(case)
    (words,) = case.unsaid
    assert words.startswith(f"latency: {key} is ")
    assert case.outcome == "pass"


def test_other_settings_keep_times_apart_and_a_key_of_later_versions_does_not(
    run: RunRecord,
) -> None:
    on_gpu = changed(run, on_gpu=True)
    graph = int8(on_gpu, replace(on_gpu, config=run.config | {"cuda_graph": True}))
    assert graph.unsaid[0].startswith("latency: cuda_graph is None in A and True in B")
    old = {name: value for name, value in run.config.items() if name != "cuda_graph"}
    assert int8(on_gpu, replace(on_gpu, config=old)).unsaid == ()
    driver = replace(run.environment, driver="1.2")  # a CPU does not care
    assert int8(run, replace(run, environment=driver)).unsaid == ()
    other = int8(on_gpu, replace(on_gpu, environment=driver))
    assert f"driver is {run.environment.driver} in A and 1.2 in B" in other.unsaid[0]


def test_what_grew_or_got_worse_is_a_regression(run: RunRecord) -> None:
    row = run.cases[1]
    assert row.engine_bytes
    assert row.memory_bytes
    assert row.dice
    assert row.int8_coverage
    worse: dict[str, dict[str, Any]] = {
        "size": {"engine_bytes": row.engine_bytes * 2},
        "memory": {"memory_bytes": replace(row.memory_bytes, delta=row.memory_bytes.delta + 2**30)},
        "int8-coverage": {
            "int8_coverage": replace(
                row.int8_coverage, by_macs=replace(row.int8_coverage.by_macs, int8=0.5, float=0.5)
            )
        },
        "dice organ-1": {
            "dice": replace(
                row.dice,
                per_case={
                    name: scores | {"organ-1": 0.1} for name, scores in row.dice.per_case.items()
                },
            )
        },
    }
    for metric, values in worse.items():
        case = int8(run, changed(run, **values))
        assert case.outcome == "regression", metric
        assert [name for name, found in outcomes(case).items() if found != "pass"] == [metric]
        assert int8(changed(run, **values), run).outcome == "pass"


def test_memory_of_another_scope_is_inconclusive(run: RunRecord) -> None:
    memory = run.cases[1].memory_bytes
    assert memory
    case = int8(run, changed(run, memory_bytes=replace(memory, scope="process-gpu")))
    assert outcomes(case)["memory"] == case.outcome == "inconclusive"


def test_what_is_not_in_a_record_is_said(run: RunRecord) -> None:
    nothing = changed(
        run, memory_bytes=None, dice=None, engine_bytes=None, samples_ns=(), int8_coverage=None,
        layers=(),
    )  # fmt: skip
    case = int8(nothing, nothing)
    assert case.outcome == "failed"  # of no verdict at all
    assert [words.split(":")[0] for words in case.unsaid] == [
        "latency", "size", "memory", "Dice", "int8 share",
    ]  # fmt: skip


def test_a_case_of_one_record_alone_is_failed(run: RunRecord) -> None:
    short = replace(run, cases=run.cases[:1])
    assert [case.outcome for case in compare_stored(run, short)] == ["pass", "failed"]
    assert int8(run, short).reason == "only A has this case; there is nothing beside it"
    assert "only B" in (int8(short, run).reason or "")


@pytest.mark.parametrize("status", ["failed", "unavailable"])
def test_a_row_that_was_not_measured_has_no_verdict(run: RunRecord, status: Status) -> None:
    fp32, row = run.cases
    bare = CaseResult(
        model=row.model, task=row.task, backend=row.backend, precision=row.precision, status=status,
        error="it broke" if status == "failed" else None,
        reason="it is not here" if status == "unavailable" else None,
    )  # fmt: skip
    case = int8(run, replace(run, cases=(fp32, bare)))
    assert (case.outcome, case.verdicts) == (status, ())
    assert case.reason == f"B {status}: {bare.error or bare.reason}"


def test_spoilt_times_are_inconclusive_in_both_modes(run: RunRecord) -> None:
    spoilt = changed(run, status="inconclusive", reason="a foreign process computed")
    for comparison in (int8(run, spoilt), compare_runs(run, spoilt, {})[1]):
        assert comparison.outcome == "inconclusive"
        assert comparison.verdicts[0].words == "times of B say nothing: a foreign process computed"


def test_another_network_is_told(run: RunRecord) -> None:
    assert "other networks: 4 classes in A, 14 in B" in (
        int8(run, changed(run, classes=14)).reason or ""
    )
    weights = int8(run, changed(run, weights_sha256="abc"))
    assert weights.unsaid == ("whether the runtime or the network changed: the weights differ",)
    calibration = Calibration(
        method="max", quantizer="modelopt", cases=(), patches=(), sha256="0123456789"
    )
    (words,) = int8(run, changed(run, calibration=calibration)).unsaid
    assert "it is none in A and modelopt, max, 01234567 in B" in words


def test_layers_that_were_timed_on_a_busy_host_say_so(run: RunRecord) -> None:
    row = run.cases[1]
    times = {layer.name: 1_000_000 for layer in row.layers}
    busy = {layer.name: 1_000_000_000 for layer in row.layers}
    evidence = {row.case: Evidence(times_ns=(times, busy))}
    (words,) = compare_runs(run, run, evidence)[1].unsaid
    assert words.startswith("which layers are slower: on B they add up to 2000.0 ms")


def test_agreement_of_labels_by_hand() -> None:
    a = np.array([[[[0, 1, 1, 2]]]], dtype=np.uint8)
    b = np.array([[[[0, 1, 2, 2]]]], dtype=np.uint8)
    agreement, dice = label_agreement(a, b, ("background", "one", "two", "three"))
    assert agreement == 0.75
    assert dice == {"one": pytest.approx(2 / 3), "two": pytest.approx(2 / 3), "three": None}
    with pytest.raises(ValueError, match="voxel by voxel"):
        label_agreement(a, b[..., :3], ("background", "one"))


@given(st.lists(st.integers(0, 2), min_size=1, max_size=30), st.randoms())
def test_agreement_is_symmetric_and_whole_only_for_equal_labels(labels: list[int], random: Any) -> None:  # fmt: skip
    other = [random.choice([value, random.randrange(3)]) for value in labels]
    a, b = (np.array(values, dtype=np.uint8) for values in (labels, other))
    there, back = (label_agreement(*pair, ("x", "y", "z")) for pair in ((a, b), (b, a)))
    assert there == back
    assert (there[0] == 1.0) == (labels == other)


# --- files ---------------------------------------------------------------------------------------


@pytest.fixture
def files(run: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    monkeypatch.chdir(tmp_path)
    for name in ("a.json", "b.json"):
        file.write(tmp_path / name, run)
    return "a.json", "b.json"


def test_two_files_are_compared_and_nothing_is_written(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *files]) == 0
    printed = capsys.readouterr().out
    assert "A: fake 1 (a.json)" in printed
    assert "two stored records cannot confirm a change of latency" in printed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "b.json"]


def test_json_is_the_record(files: tuple[str, str], capsysbinary: Any, tmp_path: Path) -> None:
    assert main(["compare", *files, "--json", "--record", "c.json"]) == 0
    printed = capsysbinary.readouterr().out
    assert msgspec.json.decode(printed, type=ComparisonRecord).outcome == "pass"
    assert (tmp_path / "c.json").read_bytes() == printed


def test_a_slower_file_is_inconclusive(
    files: tuple[str, str], run: RunRecord, tmp_path: Path
) -> None:
    file.write(tmp_path / "b.json", changed(run, samples_ns=slower(run.cases[1], 1.1)))
    assert main(["compare", *files]) == 3
    file.write(tmp_path / "b.json", changed(run, engine_bytes=10**9))
    assert main(["compare", *files]) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "takes two records, not 0"),
        (["a.json"], 2, "takes two records, not 1"),
        (["a.json", "b.json", "a.json"], 2, "takes two records, not 3"),
        (["a.json", "./a.json"], 2, "are one file; name two records"),
        (["a.json", "b.json", "--python-a", "python3"], 2, "not both"),
        (["a.json", "missing.json"], 4, "missing.json is not a VoxGate record"),
        (["a.json", "."], 4, "is not a VoxGate record"),
    ],
)
def test_a_wrong_selection_is_told(
    files: tuple[str, str], arguments: list[str], code: int, words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert files
    assert main(["compare", *arguments]) == code
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"cases": []}, "holds no cases; there is nothing to compare"),
        ({"schema_version": 99}, "has schema_version 99; this version reads 1"),
        ({"kind": "nonsense"}, "record of an unknown kind, 'nonsense'"),
        ({"cases": 3}, "is not a valid record"),
    ],
)
def test_a_file_that_is_no_run_is_refused(
    files: tuple[str, str], tmp_path: Path, values: dict[str, object], words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    found = json.loads((tmp_path / "b.json").read_text())
    (tmp_path / "b.json").write_text(json.dumps(found | values))
    assert main(["compare", *files]) == 4
    assert words in capsys.readouterr().err


def test_a_comparison_is_no_run(
    files: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    main(["compare", *files, "--record", "c.json"])
    assert main(["compare", "a.json", "c.json"]) == 4
    assert "c.json was written by 'voxgate compare'" in capsys.readouterr().err
