"""Updating baselines: on request, one place at a time, whole at every moment."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from voxgate.errors import ArtifactError
from voxgate.records import file as record
from voxgate.records.measurement import HostLoad
from voxgate.verdicts import baseline
from voxgate.verdicts.baseline import Entry

from suites.support.accepted_entries import ENTRY, accepted, entry

REPOSITORY = Path(__file__).resolve().parents[3]


def test_all_replaces_what_is_there_and_keeps_the_rest(tmp_path: Path) -> None:
    other = entry(precision="fp32")
    path = accepted(tmp_path, ENTRY, other)
    newer = replace(ENTRY, host="newer")
    assert baseline.update(tmp_path, [newer], only_new=False) == (newer,)
    assert baseline.read(path).entries == (other, newer)


def test_new_leaves_alone_what_is_there(tmp_path: Path) -> None:
    path = accepted(tmp_path)
    before = path.read_bytes()
    newer = replace(ENTRY, host="newer")
    assert baseline.update(tmp_path, [newer], only_new=True) == ()
    assert path.read_bytes() == before
    added = entry(precision="fp32")
    assert baseline.update(tmp_path, [newer, added], only_new=True) == (added,)
    assert baseline.read(path).entries == (added, ENTRY)


@pytest.mark.parametrize(
    "changes",
    [
        {"runtime": "2027.0"},
        {"weights_sha256": "01" * 32},
        {"isa": ()},
        {"record_schema": 2},
    ],
)
def test_another_version_takes_the_same_place(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = accepted(tmp_path)
    assert baseline.update(tmp_path, [entry(**changes)], only_new=True) == ()
    accepted(tmp_path, entry(**changes))
    assert baseline.read(path).entries == (entry(**changes),)


@pytest.mark.parametrize(
    "changes", [{"cores": 4}, {"classes": 14}, {"task": "phantom"}, {"backend": "onnxruntime"}]
)
def test_another_setting_has_a_place_of_its_own(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = accepted(tmp_path)
    assert baseline.update(tmp_path, [entry(**changes)], only_new=True) == (entry(**changes),)
    assert len(baseline.read(path).entries) == 2


def test_models_and_environments_have_files_of_their_own(tmp_path: Path) -> None:
    accepted(tmp_path, ENTRY, entry(model="nnunet"), entry(cpu=None, gpu="NVIDIA H200"))
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.json")}
    assert found == {
        "amd-epyc-2-threads/unet.json", "amd-epyc-2-threads/nnunet.json", "nvidia-h200/unet.json",
    }  # fmt: skip


def test_the_order_of_acceptance_does_not_show_in_the_file(tmp_path: Path) -> None:
    entries = [ENTRY, entry(precision="fp32"), entry(task="phantom")]
    accepted(tmp_path / "a", *entries)
    for each in reversed(entries):
        accepted(tmp_path / "b", each)
    a, b = (
        (tmp_path / name / "amd-epyc-2-threads" / "unet.json").read_bytes() for name in ("a", "b")
    )
    assert a == b


def test_nothing_to_accept_touches_nothing(tmp_path: Path) -> None:
    assert baseline.update(tmp_path / "none", [], only_new=False) == ()
    assert not list(tmp_path.iterdir())


# --- when it goes wrong ------------------------------------------------------------------------------


def test_a_damaged_file_is_not_overwritten(tmp_path: Path) -> None:
    path = accepted(tmp_path)
    path.write_bytes(path.read_bytes()[:-9])
    before = path.read_bytes()
    with pytest.raises(ArtifactError, match="is no valid baseline"):
        baseline.update(tmp_path, [entry(precision="fp32")], only_new=False)
    assert path.read_bytes() == before


def unread(launch: Any) -> Entry:
    return replace(ENTRY, launches=(launch,))


@pytest.mark.parametrize(
    ("nonsense", "words"),
    [
        (replace(ENTRY, build_s=float("nan")), r"entries\[0\].build_s is nan"),
        (replace(ENTRY, launches=()), "launches is empty"),
        (replace(ENTRY, engine_sha256="short"), "engine_sha256 is no SHA-256"),
        (unread(replace(ENTRY.launches[0], load=HostLoad(steal=-0.1, foreign=0.0))), "steal is -0.1"),
    ],
)  # fmt: skip
def test_what_could_not_be_read_is_not_written(tmp_path: Path, nonsense: Entry, words: str) -> None:
    path = accepted(tmp_path)
    before = path.read_bytes()
    with pytest.raises(ArtifactError, match=f"is left as it was: .*{words}"):
        baseline.update(tmp_path, [nonsense], only_new=False)
    assert path.read_bytes() == before


def test_an_interrupted_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = accepted(tmp_path)
    before = path.read_bytes()

    def interrupt(file: Path, data: bytes) -> int:
        with file.open("wb") as stream:
            stream.write(data[:100])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupt)
    with pytest.raises(KeyboardInterrupt):
        baseline.update(tmp_path, [entry(precision="fp32")], only_new=False)
    monkeypatch.undo()
    assert path.read_bytes() == before
    accepted(tmp_path, entry(precision="fp32"))  # and its lock is free again
    assert len(baseline.read(path).entries) == 2


def test_what_a_killed_update_left_behind_is_no_baseline(tmp_path: Path) -> None:
    path = accepted(tmp_path)
    (path.parent / ".unet.json.x1y2.json").write_bytes(path.read_bytes()[:50])
    (tmp_path / "nvidia-l4").mkdir()
    (tmp_path / "nvidia-l4" / ".unet.json.x1y2.json").write_bytes(b"")
    assert baseline.read_folder(tmp_path) == (ENTRY,)
    assert baseline.environments(tmp_path) == ("amd-epyc-2-threads",)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ArtifactError, match="cannot be written") as caught:
        accepted(tmp_path / "file")
    assert str(tmp_path / "file" / "amd-epyc-2-threads" / "unet.json") in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into any folder")
def test_a_read_only_folder_is_named(tmp_path: Path) -> None:
    path = accepted(tmp_path)
    path.parent.chmod(0o555)
    with pytest.raises(ArtifactError, match=r"unet\.json cannot be written"):
        accepted(tmp_path, entry(precision="fp32"))
    path.parent.chmod(0o755)


def test_a_full_disk_is_told_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = accepted(tmp_path)

    def full(file: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device", str(file), len(data))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ArtifactError, match="No space left on device"):
        baseline.update(tmp_path, [entry(precision="fp32")], only_new=False)
    monkeypatch.undo()
    assert baseline.read(path).entries == (ENTRY,)


WRITER = """
import sys
from pathlib import Path
from voxgate.verdicts import baseline
from suites.support.accepted_entries import entry
folder, precision = Path(sys.argv[1]), sys.argv[2]
for number in range(20):
    models = [entry(precision=precision, model=name, threads=number % 5) for name in ("unet", "nnunet")]
    baseline.update(folder, models, only_new=False)
    baseline.read_folder(folder)  # whole at every moment
"""


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    precisions = ("fp32", "fake-int8", "int8", "bf16")
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), precision],
            cwd=REPOSITORY, stderr=subprocess.PIPE, text=True,
        )
        for precision in precisions
    ]  # fmt: skip
    errors = [writer.communicate(timeout=60)[1] for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * 4, errors
    found = baseline.read_folder(tmp_path)
    expected = {
        record.encode(entry(precision=precision, model=model, threads=threads))
        for precision in precisions
        for model in ("unet", "nnunet")
        for threads in range(5)
    }
    assert len(found) == len(expected)
    assert {record.encode(each) for each in found} == expected
