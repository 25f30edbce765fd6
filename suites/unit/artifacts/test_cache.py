"""Artifacts are built once, verified on every read, and made again when they are damaged."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from voxgate.artifacts.cache import MANIFEST, Artifact, Cache, read_manifest
from voxgate.errors import ArtifactError, BuildError
from voxgate.files import default_root

INPUTS: dict[str, object] = {"source": "abc", "threads": 2, "packages": {"openvino": "1"}}


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """The result of the stage in these tests."""

    bytes: int


def _make(folder: Path) -> Made:
    (folder / "engine.bin").write_bytes(b"engine")
    (folder / "parts").mkdir()
    (folder / "parts" / "extra.bin").write_bytes(b"extra")
    return Made(bytes=6)


def _never(folder: Path) -> Made:
    pytest.fail(f"{folder} was made a second time")


def _get(
    cache: Cache,
    make: Callable[[Path], Made] = _make,
    inputs: dict[str, object] = INPUTS,
    kind: str = "engine",
) -> Artifact[Made]:
    return cache.get_or_make(kind, inputs, Made, make)


def _leftovers(root: Path) -> list[str]:
    """Everything in the cache but the locks."""
    return [
        str(p.relative_to(root)) for p in root.rglob("*") if p.is_file() and p.suffix != ".lock"
    ]


def test_first_request_makes_and_second_reuses(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    first = _get(cache)
    second = _get(cache, _never)
    assert (first.reused, second.reused) == (False, True)
    assert (cache.built, cache.reused) == (1, 1)
    assert first.result == second.result == Made(bytes=6)
    assert first.digest == second.digest
    assert second.path("engine.bin").read_bytes() == b"engine"
    assert second.path("parts/extra.bin").read_bytes() == b"extra"


def test_another_run_reuses_what_is_on_disk(tmp_path: Path) -> None:
    _get(Cache(tmp_path))
    assert _get(Cache(tmp_path), _never).reused


def test_artifact_lies_under_its_kind_and_key(tmp_path: Path) -> None:
    made = _get(Cache(tmp_path))
    assert made.folder == tmp_path / "engine" / made.key
    assert len(made.key) == 40
    assert made.folder.stat().st_mode & 0o777 == 0o755


def test_manifest_names_the_inputs_and_every_file(tmp_path: Path) -> None:
    made = _get(Cache(tmp_path))
    manifest = read_manifest(made.folder)
    assert manifest.kind == "engine"
    assert manifest.key == made.key
    assert manifest.inputs == INPUTS
    assert sorted(manifest.files) == ["engine.bin", "parts/extra.bin"]


@pytest.mark.parametrize(
    "inputs",
    [
        {**INPUTS, "source": "abd"},
        {**INPUTS, "threads": 3},
        {**INPUTS, "threads": "2"},
        {**INPUTS, "packages": {"openvino": "2"}},
        {**INPUTS, "packages": {}},
        {**INPUTS, "method": "max"},
        {"source": "abc", "threads": 2},
    ],
)
def test_key_changes_with_each_input(tmp_path: Path, inputs: dict[str, object]) -> None:
    cache = Cache(tmp_path)
    assert _get(cache).key != _get(cache, inputs=inputs).key
    assert cache.built == 2


def test_key_does_not_depend_on_the_order_of_the_inputs(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    _get(cache)
    assert _get(cache, _never, inputs=dict(reversed(INPUTS.items()))).reused


def test_key_changes_with_the_kind(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    assert _get(cache).key != _get(cache, kind="onnx").key


def test_digest_follows_the_content_and_not_the_inputs(tmp_path: Path) -> None:
    def other(folder: Path) -> Made:
        (folder / "engine.bin").write_bytes(b"another engine")
        return Made(bytes=6)

    cache = Cache(tmp_path)
    first = _get(cache)
    same = _get(cache, inputs={**INPUTS, "threads": 3})
    different = _get(cache, other, inputs={**INPUTS, "threads": 4})
    assert first.digest == same.digest
    assert first.digest != different.digest


def _change_byte(folder: Path) -> None:
    (folder / "engine.bin").write_bytes(b"Engine")


def _truncate(folder: Path) -> None:
    (folder / "engine.bin").write_bytes(b"eng")


def _change_nested(folder: Path) -> None:
    (folder / "parts" / "extra.bin").write_bytes(b"EXTRA")


def _remove_file(folder: Path) -> None:
    (folder / "engine.bin").unlink()


def _remove_manifest(folder: Path) -> None:
    (folder / MANIFEST).unlink()


def _truncate_manifest(folder: Path) -> None:
    (folder / MANIFEST).write_bytes((folder / MANIFEST).read_bytes()[:-9])


def _empty_manifest(folder: Path) -> None:
    (folder / MANIFEST).write_bytes(b"")


def _manifest_of_another_schema(folder: Path) -> None:
    (folder / MANIFEST).write_bytes(b'{"kind": "engine"}')


def _manifest_not_utf8(folder: Path) -> None:
    data = (folder / MANIFEST).read_bytes()
    (folder / MANIFEST).write_bytes(data.replace(b"engine.bin", b"engine\xff\xffin"))


def _result_of_another_type(folder: Path) -> None:
    _rewrite(folder, "result", {"bytes": "six"})


def _result_changed(folder: Path) -> None:
    _rewrite(folder, "result", {"bytes": 7})


def _file_forgotten(folder: Path) -> None:
    data = json.loads((folder / MANIFEST).read_bytes())
    del data["files"]["engine.bin"]
    (folder / MANIFEST).write_bytes(json.dumps(data).encode())
    (folder / "engine.bin").write_bytes(b"unverified")


def _artifact_of_another_key(folder: Path) -> None:
    _rewrite(folder, "key", "0" * 40)


def _rewrite(folder: Path, field: str, value: object) -> None:
    data = json.loads((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).write_bytes(json.dumps({**data, field: value}).encode())


@pytest.mark.parametrize(
    "damage",
    [
        _change_byte,
        _truncate,
        _change_nested,
        _remove_file,
        _remove_manifest,
        _truncate_manifest,
        _empty_manifest,
        _manifest_of_another_schema,
        _manifest_not_utf8,
        _result_of_another_type,
        _result_changed,
        _file_forgotten,
        _artifact_of_another_key,
    ],
)
def test_damaged_artifact_is_made_again_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    cache = Cache(tmp_path)
    first = _get(cache)
    damage(first.folder)
    with caplog.at_level(logging.WARNING, logger="voxgate"):
        again = _get(cache)
    assert not again.reused
    assert (cache.built, cache.reused) == (2, 0)
    assert again.path("engine.bin").read_bytes() == b"engine"
    assert again.result == Made(bytes=6)
    assert again.digest == first.digest
    (message,) = caplog.messages
    assert f"cached engine {first.key} is damaged and made again" in message
    assert _get(cache, _never).reused


@pytest.mark.parametrize("position", range(12))
def test_no_changed_byte_of_the_manifest_is_fatal(tmp_path: Path, position: int) -> None:
    cache = Cache(tmp_path)
    manifest = _get(cache).folder / MANIFEST
    data = bytearray(manifest.read_bytes())
    data[len(data) * position // 12] ^= 0x80  # never valid UTF-8 afterwards
    manifest.write_bytes(data)
    assert not _get(cache).reused


def test_sound_artifact_logs_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = Cache(tmp_path)
    _get(cache)
    _get(cache, _never)
    assert caplog.messages == []


@pytest.mark.parametrize(
    "name",
    ["../x", "/etc/hostname", "parts/../../x", ".", "a\0b", "x" * 300, "parts"],
    ids=["up", "absolute", "up from below", "itself", "zero byte", "too long", "a folder"],
)
def test_manifest_naming_what_is_no_file_of_the_artifact_is_refused(
    tmp_path: Path, name: str
) -> None:
    folder = _get(Cache(tmp_path)).folder
    (folder.parent / "x").write_bytes(b"engine")
    files = json.loads((folder / MANIFEST).read_bytes())["files"]
    _rewrite(folder, "files", {**files, name: files["engine.bin"]})
    with pytest.raises(ArtifactError):
        read_manifest(folder)
    assert not _get(Cache(tmp_path)).reused
    assert (folder.parent / "x").read_bytes() == b"engine"


def test_path_of_an_artifact_stays_inside_it(tmp_path: Path) -> None:
    made = _get(Cache(tmp_path))
    with pytest.raises(ArtifactError, match="leads outside"):
        made.path("../x")


@pytest.mark.parametrize("error", [BuildError, KeyboardInterrupt])
def test_failed_making_leaves_nothing_behind(tmp_path: Path, error: type[BaseException]) -> None:
    def fail(folder: Path) -> Made:
        (folder / "engine.bin").write_bytes(b"half")
        raise error

    cache = Cache(tmp_path)
    with pytest.raises(error):
        _get(cache, fail)
    assert _leftovers(tmp_path) == []
    assert [p for p in (tmp_path / "engine").iterdir() if p.is_dir()] == []
    assert (cache.built, cache.reused) == (0, 0)
    assert not _get(cache).reused


def test_unusable_cache_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ArtifactError, match="--cache-dir") as caught:
        _get(Cache(tmp_path / "file"), _never)
    assert str(tmp_path / "file") in str(caught.value)


def test_existing_cache_folder_that_refuses_files_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(ArtifactError, match="--cache-dir"):
        _get(Cache(tmp_path), _never)


def test_existing_cache_folder_that_refuses_the_lock_is_named(tmp_path: Path) -> None:
    made = _get(Cache(tmp_path))
    lock = tmp_path / "engine" / f"{made.key}.lock"
    lock.unlink(missing_ok=True)
    lock.mkdir()
    with pytest.raises(ArtifactError, match="--cache-dir"):
        _get(Cache(tmp_path), _never)


def test_threads_that_want_the_same_artifact_make_it_once(tmp_path: Path) -> None:
    count = 6
    start = threading.Barrier(count)
    made: list[Path] = []

    def make(folder: Path) -> Made:
        made.append(folder)
        return _make(folder)

    def ask() -> Artifact[Made]:
        cache = Cache(tmp_path)
        start.wait(timeout=30)
        return _get(cache, make)

    with ThreadPoolExecutor(count) as pool:
        found = [job.result(timeout=60) for job in [pool.submit(ask) for _ in range(count)]]
    assert len(made) == 1
    assert sorted(artifact.reused for artifact in found) == [False] + [True] * (count - 1)
    assert len({artifact.digest for artifact in found}) == 1


_CHILD = """
import sys
from pathlib import Path
from voxgate.artifacts.cache import Cache

def make(folder):
    print("making", flush=True)
    (folder / "engine.bin").write_bytes(b"engine of the child")
    return {"bytes": 1}

print("asking", flush=True)
artifact = Cache(Path(sys.argv[1])).get_or_make(
    "engine", {"source": "abc", "threads": 2, "packages": {"openvino": "1"}}, dict[str, int], make
)
print("reused" if artifact.reused else "made", artifact.result["bytes"], flush=True)
"""


def test_another_process_waits_for_the_one_that_makes(tmp_path: Path) -> None:
    children: list[subprocess.Popen[str]] = []

    def make(folder: Path) -> Made:
        child = subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        children.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == "asking\n"
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(timeout=0.3)  # it is held up for as long as this one is at work
        return _make(folder)

    _get(Cache(tmp_path), make)
    (child,) = children
    output, _ = child.communicate(timeout=60)
    assert child.returncode == 0
    assert output == "reused 6\n"


def test_cache_folder_is_the_chosen_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXGATE_CACHE", "/chosen")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert default_root() == Path("/chosen")


def test_cache_folder_is_in_the_users_cache_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOXGATE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert default_root() == Path("/xdg/voxgate")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert default_root() == Path("/home/someone/.cache/voxgate")
