"""Baseline files: what is accepted is what is read, and nothing else is."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxgate import datasets
from voxgate.errors import ArtifactError
from voxgate.models import checkpoint
from voxgate.records import file as record
from voxgate.records.run import CaseResult, Environment
from voxgate.verdicts import baseline
from voxgate.verdicts.baseline import Identity

from suites.support.accepted_entries import ENTRY, HOST, IDENTITY, ROW, RUN, WHOLE, accepted, entry

# --- identity ------------------------------------------------------------------------------------


def test_a_rows_identity_is_read_from_its_record() -> None:
    assert baseline.identify(ROW, RUN) == replace(IDENTITY, isa=("avx2",))


def test_a_cpus_results_do_not_depend_on_the_gpu_beside_it_nor_the_other_way_round() -> None:
    other_gpu = replace(HOST, gpu="NVIDIA L4", driver="1", cuda="12.0")
    other_cpu = replace(HOST, cpu="Xeon", isa=(), cores=96, threads=4)
    on_gpu = replace(ROW, backend="tensorrt", on_gpu=True)

    def identity(row: CaseResult, host: Environment) -> Identity:
        return baseline.identify(row, replace(RUN, environment=host))

    assert identity(ROW, HOST) == identity(ROW, other_gpu)
    assert identity(ROW, HOST) != identity(ROW, other_cpu)
    assert identity(on_gpu, HOST) == identity(on_gpu, other_cpu)
    assert identity(on_gpu, HOST).differences(identity(on_gpu, other_gpu)) == (
        "gpu was NVIDIA H200, is NVIDIA L4",
        "driver was 580.1, is 1",
        "cuda was 13.0, is 12.0",
    )
    assert identity(on_gpu, HOST).cuda_graph
    assert not identity(ROW, HOST).cuda_graph


OTHER: dict[str, Any] = {
    "record_schema": 2, "model": "nnunet", "task": "phantom", "backend": "pytorch",
    "precision": "fp32", "classes": 14, "shape": (1, 1, 32, 32, 32), "weights_sha256": "01" * 32,
    "runtime": "2027.0", "cpu": "Xeon", "isa": (), "cores": 9, "threads": 3, "gpu": "NVIDIA L4",
    "driver": "1", "cuda": "13", "cuda_graph": True, "gpu_settings": "power cap 300 W",
}  # fmt: skip


@pytest.mark.parametrize("name", OTHER)
def test_each_key_that_differs_is_named_with_both_values(name: str) -> None:
    (words,) = IDENTITY.differences(replace(IDENTITY, **{name: OTHER[name]}))
    before, after = getattr(IDENTITY, name), OTHER[name]
    if name == "weights_sha256":
        before, after = before[:12], after[:12]
    assert words == f"{name} was {before}, is {after}"
    assert IDENTITY.differences(IDENTITY) == ()


def test_the_list_of_keys_is_whole() -> None:
    assert set(OTHER) == set(msgspec.to_builtins(IDENTITY))


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "amd-epyc-2-threads"),
        ({"cpu": "Intel(R) Xeon(R) Platinum 8480+", "threads": 16},
         "intel-xeon-platinum-8480-16-threads"),
        ({"cpu": "AMD EPYC 9B14 96-Core Processor"}, "amd-epyc-9b14-96-core-2-threads"),
        ({"cpu": None, "gpu": "NVIDIA H200"}, "nvidia-h200"),
        ({"cpu": "../../etc"}, "etc-2-threads"),
        ({"cpu": None, "gpu": "(R)"}, "unknown"),
    ],
)  # fmt: skip
def test_an_environment_is_a_folder_name(changes: dict[str, Any], name: str) -> None:
    assert replace(IDENTITY, **changes).environment == name


# --- accepting and reading -------------------------------------------------------------------------


def test_what_is_accepted_is_read(tmp_path: Path) -> None:
    path = accepted(tmp_path)
    assert baseline.read(path) == WHOLE
    assert baseline.read_folder(tmp_path) == (ENTRY,)
    assert baseline.environments(tmp_path) == ("amd-epyc-2-threads",)
    assert [p.name for p in path.parent.iterdir() if not p.name.endswith(".lock")] == ["unet.json"]


def test_an_entry_holds_what_was_measured() -> None:
    made = baseline.accept(replace(ROW, int8_coverage=ENTRY.int8_coverage), RUN)
    expected = replace(ENTRY, identity=baseline.identify(ROW, RUN), calibration_sha256=None)
    assert made == expected


@pytest.mark.parametrize("status", ["failed", "inconclusive", "unavailable"])
def test_only_what_was_measured_without_doubt_is_accepted(status: Any) -> None:
    with pytest.raises(ArtifactError, match=f"unet/mni152/openvino/int8 is {status}; only what"):
        baseline.accept(replace(ROW, status=status), RUN)


def test_there_is_nothing_in_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert baseline.read_folder(tmp_path / "none") == ()
    assert baseline.find((), IDENTITY) is None
    assert baseline.nearest((), IDENTITY) is None


def test_the_entry_in_the_same_place_is_found_whatever_its_versions() -> None:
    old = entry(runtime="2025.1", weights_sha256=None, isa=())
    others = [entry(precision="fp32"), entry(threads=4), entry(cuda_graph=True)]
    assert baseline.find([*others, old], IDENTITY) is old
    assert baseline.find(others, IDENTITY) is None


def test_the_nearest_entry_is_of_the_same_case() -> None:
    near, far = entry(threads=4), entry(threads=4, cpu="Xeon")
    assert baseline.nearest([entry(precision="fp32"), far, near], IDENTITY) is near


# --- what is refused -------------------------------------------------------------------------------


def refusal(path: Path) -> str:
    with pytest.raises(ArtifactError) as caught:
        baseline.read(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def put(data: Any, *keys: Any, value: Any) -> None:
    for key in keys[:-1]:
        data = data[key]
    data[keys[-1]] = value


E = ("entries", 0)
L = (*E, "launches", 1)
DAMAGE: dict[str, tuple[tuple[Any, ...], Any, str]] = {
    "negative": ((*E, "engine_bytes"), -1, "$.entries[0].engine_bytes is -1"),
    "NaN": ((*E, "build_s"), float("nan"), "$.entries[0].build_s is nan"),
    "Infinity": ((*E, "dice", "mean"), float("inf"), "$.entries[0].dice.mean is inf"),
    "too large": ((*E, "memory", "peak"), 10**400, "$.entries[0].memory.peak is 1000"),
    "wrong type": ((*L, "cpu_s"), "fast", "$.entries[0].launches[1].cpu_s"),
    "text as sample": ((*L, "samples_ns", 0), "1", "$.entries[0].launches[1].samples_ns[0]"),
    "a fraction of a ns": ((*L, "samples_ns", 0), 1.5, "$.entries[0].launches[1].samples_ns[0]"),
    "no launches": ((*E, "launches"), [], "$.entries[0].launches is empty"),
    "no samples": ((*L, "samples_ns"), [], "$.entries[0].launches[1].samples_ns must hold"),
    "zero sample": ((*L, "samples_ns"), [5, 0], "$.entries[0].launches[1].samples_ns must hold"),
    "empty engine": ((*E, "engine_bytes"), 0, "$.entries[0].engine_bytes is 0"),
    "Dice of a case": ((*E, "dice", "per_case", "right", "grey"), 1.5,
                       "$.entries[0].dice.per_case.right.grey is 1.5, above 1"),
    "Dice of a class": ((*E, "dice", "per_class", "grey"), 75, "dice.per_class.grey is 75"),
    "Dice": ((*E, "dice", "mean"), 1.01, "$.entries[0].dice.mean is 1.01, above 1"),
    "share": ((*E, "int8_coverage", "by_macs", "int8"), 87.5, "int8_coverage.by_macs.int8 is 87.5"),
    "engine's hash": ((*E, "engine_sha256"), "../x", "$.entries[0].engine_sha256 is no SHA-256"),
    "kernels' hash": ((*E, "kernels_sha256"), "x", "$.entries[0].kernels_sha256 is no SHA-256"),
    "graph's hash": ((*E, "source_sha256"), "x", "$.entries[0].source_sha256 is no SHA-256"),
    "weights' hash": ((*E, "identity", "weights_sha256"), "CD" * 32, "identity.weights_sha256 is no"),
    "data's hash": ((*E, "calibration_sha256"), "", "$.entries[0].calibration_sha256 is no SHA-256"),
    "unknown precision": ((*E, "identity", "precision"), "int4", "$.entries[0].identity.precision"),
    "entry of another": ((*E, "identity", "model"), "nnunet",
                         "$.entries[0].identity.model is nnunet, in a file of unet"),
    "file of another": (("model",), "nnunet", "$.model is nnunet, in the file of unet"),
    "list of cases": (("entries",), {}, "$.entries"),
    "schema": (("schema_version",), 2, "has schema_version 2; this version reads 1"),
    "schema as text": (("schema_version",), "1", 'has schema_version "1"'),
    "no schema": (("schema_version",), None, "has schema_version none"),
    "schema beyond reason": (("schema_version",), 10**30, "has schema_version 1000"),
    "schema of half a letter": (("schema_version",), "\ud800", ""),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_nonsense_is_refused_by_file_and_key(tmp_path: Path, damage: str) -> None:
    keys, value, words = DAMAGE[damage]
    path = accepted(tmp_path)
    data = json.loads(path.read_text())
    put(data, *keys, value=value)
    path.write_text(json.dumps(data))
    assert words in refusal(path)


@pytest.mark.parametrize(("keys", "name"), [(E, "identity"), (L, "samples_ns"), ((), "model")])
def test_a_missing_key_is_named(tmp_path: Path, keys: tuple[Any, ...], name: str) -> None:
    path = accepted(tmp_path)
    data = json.loads(path.read_text())
    place = data
    for key in keys:
        place = place[key]
    del place[name]
    path.write_text(json.dumps(data))
    assert f"missing required field `{name}`" in refusal(path)


def test_a_doubled_entry_is_refused(tmp_path: Path) -> None:
    path = accepted(tmp_path)
    data = json.loads(path.read_text())
    data["entries"].append({**data["entries"][0], "host": "another"})
    path.write_text(json.dumps(data))
    assert "$.entries[1].identity is a second entry of unet/mni152/openvino/int8" in refusal(path)


CONTENTS: dict[str, bytes] = {
    "empty": b"",
    "text": b"latency: fast",
    "list": b"[]",
    "number": b"1",
    "truncated": record.encode(WHOLE)[:-20],
    "merge conflict": b"<<<<<<< HEAD\n" + record.encode(WHOLE),
    "not UTF-8": record.encode(WHOLE).replace(b'"host"', b'"ho\xff"', 1),
    "pickle": b"\x80\x04\x95",
    "nested lists": b'{"schema_version": 1, "entries": ' + b"[" * 100_000,
    "nested objects": b'{"schema_version": 1, "x": ' + b'{"a":' * 900 + b"1" + b"}" * 901,
    "digits": b'{"schema_version": ' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("content", CONTENTS)
def test_what_is_no_baseline_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "unet.json"
    path.write_bytes(CONTENTS[content])
    refusal(path)


def test_a_refusal_says_what_to_do(tmp_path: Path) -> None:
    words = refusal(tmp_path / "none.json")
    assert "restore it from version control, or delete it and accept anew with" in words


# --- any value anywhere ------------------------------------------------------------------------------


def leaves(tree: Any, *keys: Any) -> Iterator[tuple[Any, ...]]:
    items: Any = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
        if isinstance(value, dict | list) and value:
            yield from leaves(value, *keys, key)
        else:
            yield (*keys, key)


TREE = json.loads(record.encode(WHOLE))
_hostile: st.SearchStrategy[Any] = st.sampled_from(
    [
        None, True, False, 0, -1, 1, 2**63, -(2**63), 2**64, 10**400, 0.5, -0.0, 1e308, 5e-324, float("nan"),
        float("inf"), float("-inf"), "", "nan", "../..", "\x00", "\ud800", "ab" * 32, [], [[]], [0], {}, {"": 0},
    ]
)  # fmt: skip


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One path for all the examples of a test."""
    return tmp_path_factory.mktemp("baselines") / "unet.json"


@settings(max_examples=500)
@given(keys=st.sampled_from(list(leaves(TREE))), value=_hostile)
def test_any_value_in_any_place_is_read_as_it_stands_or_refused(
    file: Path, keys: tuple[Any, ...], value: Any
) -> None:
    changed = copy.deepcopy(TREE)
    put(changed, *keys, value=value)
    file.write_text(json.dumps(changed))
    try:
        found = baseline.read(file)
    except ArtifactError:
        return
    assert json.loads(record.encode(found)) == changed


@given(data=st.binary(max_size=200))
def test_any_bytes_are_refused(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    refusal(file)


# --- those of this repository --------------------------------------------------------------------


def test_shipped_baselines_are_of_the_shipped_checkpoints() -> None:
    """A name that is given to another network takes no baseline with it."""
    root = Path(__file__).parents[3]
    entries = baseline.read_folder(root / "baselines") if (root / "baselines").is_dir() else ()
    for found in (accepted_entry.identity for accepted_entry in entries):
        if found.classes == len(datasets.get(found.task).classes):
            path = root / "fixtures" / "checkpoints" / f"{found.model}-{found.task}.safetensors"
            info, _ = checkpoint.read(path)
            assert found.weights_sha256 == info.sha256, found.model
