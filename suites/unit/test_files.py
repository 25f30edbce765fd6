"""Files that are whole or absent, and names that stay inside their folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from voxgate.errors import ArtifactError
from voxgate.files import inside, replacing, sha256_bytes, sha256_file, write_atomic


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _fail_half_way(target: Path, error: type[BaseException]) -> None:
    with replacing(target) as temporary:
        temporary.write_bytes(b"half")
        raise error


def test_sha256_of_bytes_is_the_published_value() -> None:
    # FIPS 180-2, appendix B.1
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_bytes(b"abc") == expected


@pytest.mark.parametrize("size", [0, 1, 2**20 - 1, 2**20, 2**20 + 1])
def test_sha256_of_a_file_does_not_depend_on_the_chunks(tmp_path: Path, size: int) -> None:
    data = bytes(i % 251 for i in range(size))
    (tmp_path / "file").write_bytes(data)
    assert sha256_file(tmp_path / "file") == hashlib.sha256(data).hexdigest()


def test_write_makes_the_folder_and_leaves_only_the_file(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "record.json"
    write_atomic(target, b"first")
    assert target.read_bytes() == b"first"
    assert _names(target.parent) == ["record.json"]


def test_write_replaces_an_older_file(tmp_path: Path) -> None:
    target = tmp_path / "record.json"
    target.write_bytes(b"a longer old content")
    write_atomic(target, b"new")
    assert target.read_bytes() == b"new"
    assert _names(tmp_path) == ["record.json"]


def test_written_file_is_readable_by_others(tmp_path: Path) -> None:
    write_atomic(tmp_path / "record.json", b"x")
    assert (tmp_path / "record.json").stat().st_mode & 0o777 == 0o644


def test_old_file_is_untouched_until_the_new_one_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "model.onnx"
    target.write_bytes(b"old")
    with replacing(target) as temporary:
        temporary.write_bytes(b"new")
        assert target.read_bytes() == b"old"
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".onnx"
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failure_leaves_the_old_file_and_no_temporary_one(
    tmp_path: Path, error: type[BaseException]
) -> None:
    target = tmp_path / "record.json"
    target.write_bytes(b"old")
    with pytest.raises(error):
        _fail_half_way(target, error)
    assert target.read_bytes() == b"old"
    assert _names(tmp_path) == ["record.json"]


def test_failure_without_an_old_file_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        _fail_half_way(tmp_path / "record.json", RuntimeError)
    assert _names(tmp_path) == []


def test_failed_rename_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "record.json").mkdir()  # a folder cannot be replaced by a file
    with pytest.raises(OSError, match=r"record\.json"):
        write_atomic(tmp_path / "record.json", b"new")
    assert _names(tmp_path) == ["record.json"]


@pytest.mark.parametrize("name", ["a", "a/b", "a/../b", "./a", "..a"])
def test_inside_accepts_names_that_stay(tmp_path: Path, name: str) -> None:
    assert inside(tmp_path, name).is_relative_to(tmp_path.resolve())


@pytest.mark.parametrize("name", ["..", "../x", "a/../../x", "/etc/passwd", "", ".", "a/.."])
def test_inside_refuses_names_that_leave(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArtifactError, match="leads outside"):
        inside(tmp_path, name)


def test_inside_refuses_a_sibling_whose_name_begins_alike(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    with pytest.raises(ArtifactError, match="leads outside"):
        inside(tmp_path / "cache", "../cache-of-another/x")


def test_inside_refuses_a_link_that_leads_out(tmp_path: Path) -> None:
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (folder / "link").symlink_to(outside)
    with pytest.raises(ArtifactError, match="leads outside"):
        inside(folder, "link/secret")


def test_inside_follows_a_link_that_stays(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert inside(tmp_path, "link/x") == tmp_path.resolve() / "real" / "x"


def test_inside_works_when_the_folder_itself_is_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert inside(tmp_path / "link", "x") == tmp_path.resolve() / "real" / "x"


def test_inside_refuses_a_link_to_itself(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(ArtifactError):
        inside(tmp_path, "loop")


def test_inside_refuses_a_name_with_a_zero_byte(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError):
        inside(tmp_path, "weights\0.bin")
