"""Nothing leaves the machine: no SDK reports to its maker, in no process, and leaves no id in a home.

Python's own sockets are heard by an audit hook; those of libraries by strace, where it is.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
_JOBS = ROOT / "suites" / "support" / "quiet_jobs.py"
_LISTENER = """
import os, sys
def heard(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname") or (
        event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple)
    ):
        with open(os.environ["HEARD"], "a") as file:
            print(event, arguments, file=file)
sys.addaudithook(heard)
"""
_STRACE = shutil.which("strace")
_INTERNET = re.compile(r"AF_INET6?\b")


@pytest.mark.parametrize("place", ["workers", "another Python", "one process"])
@pytest.mark.parametrize(
    ("quantizer", "backend"), [("nncf", "openvino"), ("modelopt", "onnxruntime")]
)
def test_nothing_leaves_the_machine(
    tmp_path: Path, quantizer: str, backend: str, place: str
) -> None:
    python = {"workers": sys.executable, "another Python": _wrapper(tmp_path), "one process": ""}
    done = _watched(
        tmp_path, [str(_JOBS), str(tmp_path / "jobs"), python[place], quantizer, backend]
    )
    assert done.returncode == 0, done.stderr
    assert _heard(tmp_path) == []
    assert list((tmp_path / "home").rglob("*")) == []
    assert list((tmp_path / "tmp").rglob("*")) == []


def test_the_listeners_hear(tmp_path: Path) -> None:
    script = "import socket; socket.socket(type=socket.SOCK_DGRAM).connect(('127.0.0.1', 9))"
    assert _watched(tmp_path, ["-c", script]).returncode == 0
    assert len(_heard(tmp_path)) == 1 + (_STRACE is not None)


def _wrapper(folder: Path) -> str:
    path = folder / "python3"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    path.chmod(0o755)
    return str(path)


def _watched(folder: Path, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """A Python with an empty home, and nothing in its environment that turns anything off."""
    for name in ("home", "tmp", "listener"):
        (folder / name).mkdir()
    (folder / "listener" / "sitecustomize.py").write_text(_LISTENER)
    traced = [
        _STRACE,
        "-f",
        "-qq",
        "-e",
        "trace=connect,sendto,sendmmsg",
        "-o",
        str(folder / "calls"),
    ]
    command = [*([str(word) for word in traced] if _STRACE else []), sys.executable, *arguments]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "HEARD": str(folder / "heard"),
        "PYTHONPATH": os.pathsep.join([str(folder / "listener"), str(ROOT)]),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, check=False
    )


def _heard(folder: Path) -> list[str]:
    lines = [
        line
        for name in ("heard", "calls")
        if (folder / name).exists()
        for line in (folder / name).read_text().splitlines()
    ]
    return [line for line in lines if line.startswith("socket.") or _INTERNET.search(line)]
