"""The record file: what is written is what is read, and nothing else is accepted."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxgate.errors import ArtifactError
from voxgate.records import file as record
from voxgate.records.calibration import Calibration, PatchInfo
from voxgate.records.engine import Coverage, ExecutedLayer, Share
from voxgate.records.gpu import GpuFacts, GpuProcess, Span
from voxgate.records.measurement import Dice, Latency, Launch, Memory
from voxgate.records.run import CaseResult, Certificate, Environment, Ratios, RunRecord, Timing

ENVIRONMENT = Environment(
    host="host", system="Linux 6", cpu="a CPU", isa=("avx2", "avx512_vnni"), cores=8, threads=2,
    memory_bytes=2**34, gpu=None, driver=None, cuda=None, python="3.11.2",
    backends={"openvino": "2026.1"}, packages={"numpy": "2.3"}, git_commit="0123abc",
)  # fmt: skip

FULL = CaseResult(
    model="unet",
    task="mni152",
    backend="openvino",
    precision="int8",
    status="ok",
    classes=3,
    parameters=5_749_443,
    weights_sha256="ab" * 32,
    onnx_bytes=23_000_000,
    export_relative_error=1.5e-6,
    engine_bytes=5_900_000,
    engine_sha256="cd" * 32,
    engine_key="ef" * 20,
    build_s=1.25,
    build_cached=False,
    latency_ms=Latency(
        median=100.5, p50=100.0, p90=120.0, p99=130.0, min=99.0, mean=101.0, stdev=2.5, n=3
    ),
    samples_ns=((100_000_000, 99_000_000), (130_000_000,)),
    launches=(
        Launch(order=0, load_s=0.5, warmups_ns=(1, 2), samples_ns=(3, 2**60), cpu_s=0.25),
    ),
    memory_bytes=Memory(baseline=2**28, peak=2**29, delta=2**28, scope="process-gpu"),
    host_memory_bytes=Memory(baseline=2**28, peak=2**29, delta=2**28, scope="process-host"),
    gpu=(
        GpuFacts(
            name="a GPU", uuid="GPU-1", driver="580.1", samples=90, interval_ms=20.5,
            sm_clock_mhz=Span(min=1900.0, median=1980.0, max=1980.0), unsteady=0.0,
            memory_clock_mhz=None, temperature_c=Span(min=40.0, median=41.5, max=43.0),
            power_w=None, throttled={"power cap": 0.01}, foreign_visible=True,
            foreign=(GpuProcess(pid=7, memory_bytes=None),),
        ),
    ),
    dice=Dice(
        mean=0.75,
        per_class={"grey": 0.75, "white": None},
        per_case={"right-front-y117-z012": {"grey": 0.75, "white": None}},
    ),
    int8_coverage=Coverage(
        by_count=Share(int8=0.5, float=0.25, unmapped=0.25),
        by_macs=Share(int8=0.875, float=0.125, unmapped=0.0),
        float_nodes=("first", "last"),
        unmapped_nodes=("hidden",),
    ),
    layers=(
        ExecutedLayer(
            name="conv", kind="Convolution", arithmetic="int8", detail="brgemm", sources=("a", "b")
        ),
    ),
    calibration=Calibration(
        method="min-max",
        quantizer="nncf",
        cases=("left-back",),
        patches=(PatchInfo(name="p", case="left-back", sha256="01" * 32),),
        sha256="23" * 32,
    ),
    certificate=Certificate(
        granted=True, quantize_nodes=40, int8_macs=0.875, required_int8_macs=0.95,
        unmapped_macs=0.0, size_ratio=3.9, speedup=2.5, speedup_over_fake=None,
        findings=("yes: é — ≥ 1.1×",),
    ),
)  # fmt: skip

RECORD = RunRecord(
    schema_version=1,
    voxgate="0.1.0",
    environment=ENVIRONMENT,
    config={"models": ["unet"], "threads": 0, "cache_dir": None},
    cases=(
        FULL,
        CaseResult(
            model="unet", task="mni152", backend="pytorch", precision="fp32", status="failed",
            error_type="WorkerCrashError", error="killed by signal 11",
        ),
    ),
    ratios=(
        Ratios(
            model="unet", task="mni152", backend="openvino", precision="int8", size=3.9,
            latency=2.5, latency_by_minima=None, dice_mean_delta=-0.001,
            dice_per_class_delta={"grey": -0.001},
        ),
    ),
    timing=Timing(
        started="2026-03-04T05:06:07Z", wall_s=12.5, inference_s=3.25, artifacts_built=4,
        artifacts_reused=2,
    ),
)  # fmt: skip


def _changed(tmp_path: Path, change: Callable[[Any], None]) -> Path:
    """The file of a record whose JSON was changed afterwards."""
    data = json.loads(record.encode(RECORD))
    change(data)
    path = tmp_path / "changed.json"
    path.write_text(json.dumps(data))
    return path


def _refusal(path: Path) -> str:
    with pytest.raises(ArtifactError) as caught:
        record.read(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_record_reads_back_equal(tmp_path: Path) -> None:
    path = tmp_path / "records" / "r.json"
    record.write(path, RECORD)
    assert record.read(path) == RECORD
    assert [p.name for p in path.parent.iterdir()] == ["r.json"]


def _drop_classes(data: Any) -> None:
    for case in data["cases"]:
        del case["classes"]


def test_a_record_from_before_class_counts_is_read(tmp_path: Path) -> None:
    path = _changed(tmp_path, _drop_classes)
    assert record.read(path).cases[0] == replace(FULL, classes=None)


def _drop_gpu(data: Any) -> None:
    for case in data["cases"]:
        del case["gpu"], case["host_memory_bytes"]


def test_a_record_from_before_gpus_were_watched_is_read(tmp_path: Path) -> None:
    path = _changed(tmp_path, _drop_gpu)
    assert record.read(path).cases[0] == replace(FULL, gpu=(), host_memory_bytes=None)


def test_record_is_readable_by_people(tmp_path: Path) -> None:
    record.write(tmp_path / "r.json", RECORD)
    text = (tmp_path / "r.json").read_text("utf-8")
    assert text.startswith('{\n "schema_version": 1,\n "voxgate": "0.1.0",\n')
    assert text.endswith("}\n")
    assert "yes: é — ≥ 1.1×" in text


_text = st.text(max_size=12)
_number = st.floats(allow_nan=False, allow_infinity=False)
_share = st.builds(Share, int8=_number, float=_number, unmapped=_number)
_scores = st.dictionaries(_text, st.none() | _number, max_size=3)
_cases = st.builds(
    CaseResult,
    model=_text,
    task=_text,
    backend=_text,
    precision=st.sampled_from(["fp32", "fake-int8", "int8", "fp16", "bf16"]),
    status=st.sampled_from(["ok", "failed", "unavailable", "inconclusive"]),
    error=st.none() | _text,
    classes=st.none() | st.integers(1, 999),
    parameters=st.none() | st.integers(0, 2**62),
    build_s=st.none() | _number,
    build_cached=st.none() | st.booleans(),
    samples_ns=st.lists(st.lists(st.integers(0, 2**62), max_size=3).map(tuple), max_size=2).map(
        tuple
    ),
    dice=st.none()
    | st.builds(
        Dice,
        mean=_number,
        per_class=_scores,
        per_case=st.dictionaries(_text, _scores, max_size=2),
    ),
    int8_coverage=st.none()
    | st.builds(
        Coverage,
        by_count=_share,
        by_macs=_share,
        float_nodes=st.lists(_text, max_size=2).map(tuple),
    ),
)
_records = st.builds(
    RunRecord,
    schema_version=st.just(1),
    voxgate=_text,
    environment=st.builds(
        replace,
        st.just(ENVIRONMENT),
        host=_text,
        gpu=st.none() | _text,
        packages=st.dictionaries(_text, _text, max_size=2),
    ),
    config=st.dictionaries(
        _text, st.none() | st.booleans() | st.integers(-(2**53), 2**53) | _text, max_size=3
    ),
    cases=st.lists(_cases, max_size=2).map(tuple),
    ratios=st.just(()),
    timing=st.builds(
        Timing,
        started=_text,
        wall_s=_number,
        inference_s=_number,
        artifacts_built=st.integers(0, 99),
        artifacts_reused=st.integers(0, 99),
    ),
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One path for all the examples of a test."""
    return tmp_path_factory.mktemp("records") / "r.json"


@given(drawn=_records)
def test_any_record_reads_back_equal(file: Path, drawn: RunRecord) -> None:
    record.write(file, drawn)
    assert record.read(file) == drawn


@pytest.mark.parametrize(
    ("version", "shown"), [(0, "0"), (2, "2"), ("1", '"1"'), (1.0, "1.0"), (None, "none")]
)
def test_another_schema_is_refused(tmp_path: Path, version: object, shown: str) -> None:
    path = _changed(tmp_path, lambda data: data.update(schema_version=version))
    assert f"has schema_version {shown}; this version reads 1" in _refusal(path)


def test_record_without_a_schema_is_refused(tmp_path: Path) -> None:
    path = _changed(tmp_path, lambda data: data.pop("schema_version"))
    assert "has schema_version none; this version reads 1" in _refusal(path)


def test_schema_is_checked_before_anything_else(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text('{"schema_version": 2, "cases": "of another shape"}')
    assert "has schema_version 2" in _refusal(tmp_path / "r.json")


@pytest.mark.parametrize(
    "content",
    [b"", b"not json", b'{"schema_version": 1', b"[1]", b"null", b"\x80\x04\x95", b'{"\xff": 1}'],
    ids=["empty", "text", "truncated", "list", "null", "pickle", "not utf-8"],
)
def test_what_is_no_record_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "r.json").write_bytes(content)
    assert "is not a VoxGate record" in _refusal(tmp_path / "r.json")


def test_text_that_is_not_utf8_inside_a_record_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_bytes(record.encode(RECORD).replace(b'"host": "host"', b'"host": "ho\xff\xfe"'))
    assert b"\xff" in path.read_bytes()
    assert "record" in _refusal(path)


def test_absent_record_is_refused(tmp_path: Path) -> None:
    assert "is not a VoxGate record" in _refusal(tmp_path / "none.json")


def test_truncated_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_bytes(record.encode(RECORD)[:-20])
    assert "is not a VoxGate record" in _refusal(tmp_path / "r.json")


def _drop_model(data: Any) -> None:
    del data["cases"][0]["model"]


def _drop_median(data: Any) -> None:
    del data["cases"][0]["latency_ms"]["median"]


def _number_as_model(data: Any) -> None:
    data["cases"][1]["model"] = 7


def _unknown_precision(data: Any) -> None:
    data["cases"][0]["precision"] = "int4"


def _text_as_sample(data: Any) -> None:
    data["cases"][0]["samples_ns"][1][0] = "fast"


def _no_environment(data: Any) -> None:
    del data["environment"]


def _text_as_time(data: Any) -> None:
    data["timing"]["wall_s"] = "12"


@pytest.mark.parametrize(
    ("change", "field", "place"),
    [
        (_drop_model, "model", "$.cases[0]"),
        (_drop_median, "median", "$.cases[0].latency_ms"),
        (_number_as_model, "str", "$.cases[1].model"),
        (_unknown_precision, "int4", "$.cases[0].precision"),
        (_text_as_sample, "int", "$.cases[0].samples_ns[1][0]"),
        (_no_environment, "environment", ""),
        (_text_as_time, "float", "$.timing.wall_s"),
    ],
)
def test_wrong_value_names_its_place(
    tmp_path: Path, change: Callable[[Any], None], field: str, place: str
) -> None:
    message = _refusal(_changed(tmp_path, change))
    assert "is not a valid record" in message
    assert field in message
    assert place in message


def test_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    target = tmp_path / "file" / "r.json"
    with pytest.raises(ArtifactError, match="cannot be written") as caught:
        record.write(target, RECORD)
    assert str(target) in str(caught.value)


def test_failed_write_keeps_the_old_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "r.json"
    record.write(path, RECORD)

    def full(file: Path, data: bytes) -> int:
        with file.open("wb") as stream:
            stream.write(data[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ArtifactError, match="No space left on device"):
        record.write(path, replace(RECORD, voxgate="9"))
    monkeypatch.undo()
    assert record.read(path) == RECORD
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]
