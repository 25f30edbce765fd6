"""Targets that are no files: a device, a pipe, standard output or a link is written to, never replaced.

A link in a folder of the test's own stands for the device, so that no fault can harm the machine.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from voxgate.cli import main
from voxgate.errors import ArtifactError, UsageError
from voxgate.files import check_writable, write_atomic
from voxgate.records import file as record

from suites.support import report_records as records

FAKE = ["--models", "unet", "--backend", "fake", "--task", "phantom-mini", "--seconds", "0", "--launches", "1"]  # fmt: skip


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    path = tmp_path / "nightly.json"
    record.write(path, records.red_gate())
    return path


@pytest.fixture
def null(tmp_path: Path) -> Path:
    link = tmp_path / "null"
    link.symlink_to("/dev/null")
    return link


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_linked_file_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    file, link = tmp_path / "kept" / "record.json", tmp_path / "latest.json"
    file.write_bytes(b"old")
    link.symlink_to(file)
    check_writable(link, "--record")
    write_atomic(link, b"new")
    assert link.is_symlink()
    assert file.read_bytes() == b"new"
    assert names(tmp_path) == ["kept", "latest.json"]
    assert names(tmp_path / "kept") == ["record.json"]


def test_a_link_to_nothing_yet_leads_to_the_new_file(tmp_path: Path) -> None:
    link = tmp_path / "latest.json"
    link.symlink_to(tmp_path / "new" / "record.json")
    check_writable(link, "--record")
    write_atomic(link, b"new")
    assert link.is_symlink()
    assert (tmp_path / "new" / "record.json").read_bytes() == b"new"


def test_a_link_to_itself_cannot_be_written(tmp_path: Path) -> None:
    link = tmp_path / "loop"
    link.symlink_to(link)
    with pytest.raises(ArtifactError, match="loop cannot be written"):
        check_writable(link, "--record")
    with pytest.raises(OSError, match="loop"):
        write_atomic(link, b"new")
    assert link.is_symlink()


def test_a_linked_device_is_written_to(null: Path, tmp_path: Path) -> None:
    check_writable(null, "--record")
    write_atomic(null, b"new")
    assert null.is_symlink()
    assert stat.S_ISCHR(null.stat().st_mode)
    assert names(tmp_path) == ["null"]


def test_a_device_is_written_to(tmp_path: Path) -> None:
    device = tmp_path / "full"
    try:
        os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 7))  # /dev/full
        device.open("wb").close()
    except OSError:
        pytest.skip("devices cannot be made here")
    with pytest.raises(OSError, match="No space left"):
        write_atomic(device, b"new")
    assert stat.S_ISCHR(device.stat().st_mode)
    assert names(tmp_path) == ["full"]


def test_a_named_pipe_is_refused_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(UsageError, match="pipe is a named pipe"):
        check_writable(pipe, "--record")
    with pytest.raises(UsageError, match="pipe is a named pipe"):
        write_atomic(pipe, b"new")
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert names(tmp_path) == ["pipe"]


def test_an_open_pipe_is_written_to() -> None:
    reader, writer = os.pipe()
    path = Path(f"/dev/fd/{writer}")
    check_writable(path, "--html")
    write_atomic(path, b"new")
    assert os.read(reader, 100) == b"new"
    os.close(reader)
    os.close(writer)


def test_a_pipe_that_is_only_read_is_refused() -> None:
    reader, writer = os.pipe()
    with pytest.raises(UsageError, match="is open for reading alone"):
        check_writable(Path(f"/dev/fd/{reader}"), "--html")
    os.close(reader)
    os.close(writer)


def report_to_stdout(recorded: Path, stdout: int) -> subprocess.CompletedProcess[bytes]:
    link = recorded.with_name("stdout")
    link.symlink_to("/dev/stdout")
    command = [sys.executable, "-m", "voxgate.cli", "report", str(recorded), "--html", str(link)]
    done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, check=False)
    assert link.is_symlink()
    return done


def test_standard_output_takes_a_page(recorded: Path) -> None:
    done = report_to_stdout(recorded, subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"<!DOCTYPE html>")
    assert done.stdout.rstrip().endswith(b"</html>")


def test_standard_output_that_is_a_file_takes_a_page(recorded: Path) -> None:
    path = recorded.with_name("page.html")
    with path.open("wb") as file:
        inode = os.fstat(file.fileno()).st_ino
        done = report_to_stdout(recorded, file.fileno())
    assert done.returncode == 0, done.stderr
    assert path.read_bytes().startswith(b"<!DOCTYPE html>")
    assert path.stat().st_ino == inode


def test_a_record_that_goes_to_a_device_has_no_page(
    null: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VOXGATE_CACHE", str(tmp_path / "cache"))
    assert main(["bench", *FAKE, "--precisions", "fp32", "--record", str(null)]) == 0
    assert null.is_symlink()
    assert names(tmp_path) == ["cache", "null"]
    printed = capsys.readouterr().out
    assert f"record: {null}" in printed
    assert "report:" not in printed


def test_a_page_of_what_is_no_file_needs_a_name(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with recorded.open("rb") as file:
        source = tmp_path / "stdin"
        source.symlink_to(f"/dev/fd/{file.fileno()}")
        assert main(["report", str(source)]) == 2
    assert "name the page with --html" in capsys.readouterr().err
    assert names(tmp_path) == ["nightly.json", "stdin"]


@pytest.mark.parametrize("command", ["report", "trend"])
def test_a_full_device_is_told_and_is_no_bug(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    source = {"report": str(recorded), "trend": str(tmp_path)}[command]
    assert main([command, source, "--html", str(full)]) == 4
    assert f"the report {full} cannot be written" in capsys.readouterr().err
