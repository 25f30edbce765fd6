"""Workers: answers come back, and every way of losing one becomes the right error."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from voxgate.artifacts import jobs
from voxgate.artifacts.launcher import Limits, Watch, run_job
from voxgate.errors import (
    BuildError,
    EngineOutputError,
    HarnessError,
    UsageError,
    WorkerCrashError,
    WorkerError,
    WorkerMemoryError,
    WorkerTimeoutError,
)
from voxgate.records.runtime import EngineOptions, Probe
from voxgate.stages.requests import BuildRequest, PrepareRequest, ProbeRequest, RunRequest

TASK = "phantom-mini"
OPTIONS = EngineOptions(precision="int8", threads=1, model="unet", task=TASK, classes=4)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("patches")
    run_job(jobs.PREPARE, PrepareRequest(task=TASK, folder=str(folder)), Limits(seconds=60))
    request = BuildRequest(backend="fake", options=OPTIONS, source="", folder=str(folder))
    run_job(jobs.BUILD, request, Limits(seconds=60))
    return folder


def launch(folder: Path, limits: Limits, watch: Watch | None = None) -> object:
    request = RunRequest(
        backend="fake",
        options=OPTIONS,
        engine=str(folder / "engine.bin"),
        images=str(folder / "evaluation_images.npy"),
        labels=str(folder / "evaluation_labels.npy"),
        cases=("a", "b", "c", "d"),
        label_names=("background", "organ-1", "organ-2", "organ-3"),
        warmups=2,
        min_samples=3,
        max_samples=4,
        seconds=0.0,
        evaluate=True,
        inspect=True,
    )
    return run_job(jobs.RUN, request, limits, watch=watch)


def test_a_probe_answers() -> None:
    probe = run_job(jobs.PROBE, ProbeRequest(backend="fake"), Limits(seconds=60))
    assert probe == Probe(available=True, version="1", device="none")


@pytest.mark.parametrize("killed", [False, True])
def test_what_a_worker_leaves_in_its_temporary_folder_ends_with_it(
    killed: bool, tmp_path: Path  # noqa: FBT001
) -> None:  # fmt: skip
    python = tmp_path / "python3"
    then = "sleep 60" if killed else f'exec "{sys.executable}" "$@"'
    python.write_text(f'#!/bin/sh\necho left > "$TMPDIR/left"\necho "$TMPDIR" > {tmp_path}/where\n{then}\n')  # fmt: skip
    python.chmod(0o755)
    expected = pytest.raises(WorkerTimeoutError) if killed else contextlib.nullcontext()
    with expected:
        run_job(jobs.PROBE, ProbeRequest(backend="fake"), Limits(seconds=2 if killed else 60), str(python))  # fmt: skip
    folder = Path((tmp_path / "where").read_text().strip())
    assert folder.name.startswith("voxgate-worker-")
    assert not folder.exists()


def test_an_error_keeps_its_class_and_words() -> None:
    with pytest.raises(UsageError, match="unknown backend 'nosuch'"):
        run_job(jobs.PROBE, ProbeRequest(backend="nosuch"), Limits(seconds=60))


def test_a_foreign_error_is_a_harness_error_with_its_type() -> None:
    missing = PrepareRequest(task=TASK, folder="/nonexistent/folder")
    with pytest.raises(HarnessError, match="FileNotFoundError"):
        run_job(jobs.PREPARE, missing, Limits(seconds=60))


def test_what_libraries_print_does_not_spoil_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONVERBOSE", "1")  # floods standard error
    assert run_job(jobs.PROBE, ProbeRequest(backend="fake"), Limits(seconds=60)).available


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("nan", EngineOutputError, "NaN or infinite"),
        ("shape", EngineOutputError, "returned shape"),
        ("crash", WorkerCrashError, "SIGKILL"),
        ("exit", WorkerCrashError, "exited with code 7 and no answer.*gone without an answer"),
    ],
)
def test_a_faulty_engine_is_named(
    prepared: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    error: type[HarnessError],
    words: str,
) -> None:
    monkeypatch.setenv("VOXGATE_FAKE_FAULT", f"int8={fault}")
    with pytest.raises(error, match=words):
        launch(prepared, Limits(seconds=60))


def test_modules_of_the_working_directory_are_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('not numpy')")
    (tmp_path / "voxgate.py").write_text("raise SystemExit('not the harness')")
    monkeypatch.chdir(tmp_path)
    assert run_job(jobs.PROBE, ProbeRequest(backend="fake"), Limits(seconds=60)).available


def test_an_answer_that_is_none_is_a_crash(tmp_path: Path) -> None:
    python = tmp_path / "python3"
    python.write_text("#!/bin/sh\necho hello\n")
    python.chmod(0o755)
    with pytest.raises(WorkerCrashError, match="answered what is no answer"):
        run_job(jobs.PROBE, ProbeRequest(backend="fake"), Limits(seconds=60), python=str(python))


def test_a_hanging_worker_is_killed(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXGATE_FAKE_FAULT", "int8=hang")
    start = time.monotonic()
    with pytest.raises(WorkerTimeoutError, match="did not finish in 1 s"):
        launch(prepared, Limits(seconds=1))
    assert time.monotonic() - start < 10
    assert not workers_of(os.getpid())


def test_a_hoarding_worker_is_killed(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXGATE_FAKE_FAULT", "int8=memory")
    with pytest.raises(WorkerMemoryError, match=r"used \d+ MiB, more than its limit of 512 MiB"):
        launch(prepared, Limits(seconds=60, memory_bytes=512 * 2**20))


@pytest.mark.parametrize("fault", ["", "int8=crash", "int8=hang"])
def test_a_watch_is_entered_with_the_pid_and_always_left(
    prepared: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    seen: list[int] = []

    @contextlib.contextmanager
    def watch(pid: int) -> Iterator[None]:
        assert psutil.Process(pid).ppid() == os.getpid()
        try:
            yield
        finally:
            seen.append(pid)

    monkeypatch.setenv("VOXGATE_FAKE_FAULT", fault)
    with pytest.raises(WorkerError) if fault else contextlib.nullcontext():
        launch(prepared, Limits(seconds=1.5), watch)
    assert len(seen) == 1


def test_a_foreign_engine_is_refused(prepared: Path, tmp_path: Path) -> None:
    for name in ("evaluation_images.npy", "evaluation_labels.npy"):
        (tmp_path / name).symlink_to(prepared / name)
    (tmp_path / "engine.bin").write_bytes(b"\x00 not an engine")
    with pytest.raises(BuildError, match="not a fake engine"):
        launch(tmp_path, Limits(seconds=60))


def test_an_interpreter_without_the_harness_is_a_crash_with_its_words(tmp_path: Path) -> None:
    python = tmp_path / "python3"
    python.write_text("#!/bin/sh\necho no module named voxgate >&2\nexit 3\n")
    python.chmod(0o755)
    with pytest.raises(WorkerCrashError, match=r"code 3 and no answer.*no module named voxgate"):
        run_job(jobs.PROBE, ProbeRequest(backend="fake"), Limits(seconds=60), python=str(python))


HANGING = """
import os, sys, tempfile, time
from voxgate.artifacts import launcher
with open(os.devnull, "wb") as sink:
    process = launcher._start(sys.executable, "probe", tempfile.gettempdir(), sink, sink)
    print(process.pid, flush=True)
    time.sleep(60)
"""


def test_a_worker_does_not_outlive_a_killed_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", HANGING], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = psutil.Process(int(parent.stdout.readline()))
    assert worker.is_running()
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    _, alive = psutil.wait_procs([worker], timeout=10)
    assert not alive


def workers_of(pid: int) -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process(pid).children(recursive=True)
        if child.is_running() and "voxgate.artifacts.worker" in " ".join(child.cmdline())
    ]


def test_the_parent_imports_no_sdk(modules_after: Callable[[str], set[str]]) -> None:
    heavy = {"torch", "onnx", "onnxruntime", "openvino", "nncf", "modelopt", "monai", "nilearn"}
    assert not heavy & modules_after("import voxgate.cli, voxgate.plugin, voxgate.runs.bench")


def stub(folder: Path, text: str) -> str:
    path = folder / "python3"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("number", "words"), [(11, "was killed by SIGSEGV"), (40, "was killed by signal 40")]
)
def test_death_by_any_signal_is_named(tmp_path: Path, number: int, words: str) -> None:
    python = stub(tmp_path, f"kill -{number} $$")
    with pytest.raises(WorkerCrashError, match=words):
        run_job(jobs.PROBE, ProbeRequest(backend="fake"), Limits(seconds=60), python=python)


def test_of_a_flood_only_the_last_words_are_read(tmp_path: Path) -> None:
    python = stub(tmp_path, "head -c 64000000 /dev/zero >&2; echo the end >&2; exit 3")
    tracemalloc.start()
    with pytest.raises(WorkerCrashError, match=r"its last words: .*the end"):
        run_job(jobs.PROBE, ProbeRequest(backend="fake"), Limits(seconds=60), python=python)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 8_000_000


@pytest.mark.parametrize("text", [None, "no program"])
def test_an_interpreter_that_does_not_start_fails_the_case(
    tmp_path: Path, text: str | None
) -> None:
    python = tmp_path / "python3"
    if text is not None:
        python.write_text(text)
    with pytest.raises(WorkerCrashError, match="the probe worker could not be started: "):
        run_job(jobs.PROBE, ProbeRequest(backend="fake"), Limits(seconds=60), python=str(python))
