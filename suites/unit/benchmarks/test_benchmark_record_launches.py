"""The recorder with the fake backend, and the files that it leaves behind."""

from __future__ import annotations

import contextlib
import gzip
import json
import platform
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from voxgate.artifacts import jobs
from voxgate.artifacts.launcher import run_job
from voxgate.errors import ArtifactError, UsageError

from benchmarks import record_launches, recording
from benchmarks.record_launches import build_parser, main
from benchmarks.recording import Recording

CASE = "unet/phantom-mini/fake/int8"


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "samples" / "fake.jsonl"


@pytest.fixture
def disturbed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The neighbours that were asked for; none is started."""
    asked: list[tuple[int, int]] = []

    @contextlib.contextmanager
    def neighbours(count: int, seed: int) -> Iterator[None]:
        asked.append((count, seed))
        yield

    monkeypatch.setattr(record_launches, "neighbours", neighbours)
    return asked


def record(output: Path, *options: str, launches: int = 2, case: str = CASE) -> int:
    cache = output.parent.parent / "cache"
    return main(
        ["--case", case, "--launches", str(launches), "--output", str(output), "--samples", "4",
         "--pairs", "6", "--warmups", "1", "--host", "test", "--cache-dir", str(cache),
         "--time-limit", "60", *options]
    )  # fmt: skip


def recorded(output: Path) -> Recording:
    return recording.read(output)


def test_solo_and_paired_launches_take_turns(output: Path) -> None:
    assert record(output, "--threads", "1") == 0
    found = recorded(output)
    assert [launch.kind for launch in found.launches] == ["solo", "pair", "solo", "pair"]
    assert [launch.number for launch in found.launches] == [0, 1, 2, 3]
    assert [launch.b_first for launch in found.launches] == [False, False, False, True]
    assert {launch.state for launch in found.launches} == {"quiet"}
    assert {(len(x.a_ns), len(x.b_ns)) for x in found.launches} == {(4, 0), (6, 6)}
    assert [len(launch.warmups_ns) for launch in found.launches] == [1, 0, 1, 0]
    assert all(ns > 0 for launch in found.launches for ns in (*launch.a_ns, *launch.b_ns))


def test_the_header_says_what_was_recorded_and_no_name_of_a_machine(output: Path) -> None:
    assert record(output, "--threads", "1", launches=1) == 0
    header = recorded(output).header
    assert (header.case, header.state, header.samples, header.pairs) == (CASE, "quiet", 4, 6)
    assert len(header.engine_sha256) == 64
    assert header.environment.host == "test"
    assert header.environment.threads == 1
    assert header.environment.backends == {"fake": "1"}


def test_without_a_label_the_host_is_a_hash(output: Path) -> None:
    assert record(output, "--host", "", launches=1) == 0
    host = recorded(output).header.environment.host
    assert re.fullmatch(r"host-[0-9a-f]{8}", host)
    assert platform.node() not in output.read_text()


def test_only_noisy_launches_are_disturbed(
    output: Path, disturbed: list[tuple[int, int]]
) -> None:  # fmt: skip
    assert record(output) == 0
    assert not disturbed
    other = output.with_name("noisy.jsonl")
    assert record(other, "--state", "noisy", "--neighbours", "3") == 0
    assert [count for count, _ in disturbed] == [3] * 4
    assert len({seed for _, seed in disturbed}) == 4
    assert {launch.state for launch in recorded(other).launches} == {"noisy"}


def test_mixed_labels_each_launch(output: Path, disturbed: list[tuple[int, int]]) -> None:
    assert record(output, "--state", "mixed", launches=4) == 0
    states = Counter(launch.state for launch in recorded(output).launches)
    assert set(states) == {"quiet", "noisy"}
    assert states["noisy"] == len(disturbed)


def test_an_interrupted_recording_goes_on(
    output: Path, disturbed: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = output.with_name("whole.jsonl")
    assert record(whole, "--state", "mixed") == 0

    def interrupt(job: Any, *arguments: Any) -> Any:
        if job is jobs.PAIR:
            raise KeyboardInterrupt
        return run_job(job, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(record_launches, "run_job", interrupt)
        assert record(output, "--state", "mixed") == 130
    assert len(recorded(output).launches) == 1
    with output.open("ab") as file:
        file.write(b'{"kind":"pair","a_ns":[1,2')  # as a lost machine leaves it
    assert len(recorded(output).launches) == 1
    assert record(output, "--state", "mixed") == 0
    found, expected = recorded(output).launches, recorded(whole).launches
    assert [launch.number for launch in found] == [0, 1, 2, 3]
    assert [(x.kind, x.state, x.b_first, x.a_ns) for x in found] == [
        (x.kind, x.state, x.b_first, x.a_ns) for x in expected
    ]
    assert len(disturbed) >= 2


def test_more_launches_are_added_to_a_finished_one(output: Path) -> None:
    assert record(output, launches=1) == 0
    before = output.read_bytes()
    assert record(output, launches=1) == 0
    assert output.read_bytes() == before
    assert record(output, launches=2) == 0
    assert output.read_bytes().startswith(before)
    assert len(recorded(output).launches) == 4


@pytest.mark.parametrize(
    ("options", "named"),
    [(("--state", "noisy"), "state"), (("--seed", "2"), "seed"), (("--host", "b"), "environment")],
)
def test_a_recording_of_something_else_is_not_touched(
    output: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], named: str
) -> None:
    assert record(output, launches=1) == 0
    before = output.read_bytes()
    assert record(output, *options, launches=1) == 4
    assert f"{output} was recorded with another {named}" in capsys.readouterr().err
    assert output.read_bytes() == before


def test_a_recording_with_gaps_is_not_continued(
    output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert record(output) == 0
    lines = output.read_bytes().splitlines(keepends=True)
    output.write_bytes(b"".join([*lines[:2], *lines[3:]]))
    assert record(output) == 4
    assert "lacks launches in between" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--pairs", "5"), "--pairs is 5"),
        (("--pairs", "0"), "--pairs is 0"),
        (("--seed", "-1"), "must not be negative"),
        (("--neighbours", "-1"), "must not be negative"),
        (("--samples", "0"), "samples is 0"),
        (("--warmups", "0"), "warmups is 0"),
        (("--launches", "0"), "launches is 0"),
        (("--case", "unet/fake/int8"), "is no case"),
        (("--case", "nosuch/phantom-mini/fake/int8"), "unknown model"),
    ],
)
def test_a_wrong_request_is_a_usage_error(
    output: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], words: str
) -> None:
    assert record(output, *options) == 2
    assert words in capsys.readouterr().err
    assert not output.exists()


def test_a_case_that_cannot_be_built_is_an_error(
    output: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VOXGATE_FAKE_FAULT", "int8=build")
    assert record(output) == 4
    assert "could not build" in capsys.readouterr().err
    assert not output.exists()


def test_an_output_that_is_a_folder_is_refused_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert record(tmp_path) == 4
    assert "is a folder; name a file in it with --output" in capsys.readouterr().err


def test_a_gzipped_recording_is_read(output: Path) -> None:
    assert record(output, launches=1) == 0
    packed = output.with_suffix(".jsonl.gz")
    packed.write_bytes(gzip.compress(output.read_bytes()))
    assert recorded(packed).launches == recorded(output).launches


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is no recording"),
        (b"\x1f\x8b\x00", "is no recording"),
        (b"not json\n", "is no recording"),
        (b'{"schema_version": 1, "cases": []}\n', "is no recording"),
    ],
)
@pytest.mark.parametrize("name", ["foreign.jsonl", "foreign.jsonl.gz"])
def test_a_foreign_file_is_refused_by_its_name(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=words) as raised:
        recording.read(path)
    assert str(path) in str(raised.value)


def test_a_missing_file_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"nothing\.jsonl is no recording"):
        recording.read(tmp_path / "nothing.jsonl")


def test_another_schema_is_refused(output: Path) -> None:
    assert record(output, launches=1) == 0
    first, _, rest = output.read_text().partition("\n")
    output.write_text(json.dumps(json.loads(first) | {"schema_version": 2}) + "\n" + rest)
    with pytest.raises(ArtifactError, match="schema_version 2; this version reads 1"):
        recording.read(output)


@pytest.mark.parametrize("line", ['{"kind":"solo"}', "{}", '{"kind":"solo","a_ns":[]}',
                                  '{"kind":"solo","a_ns":[1,0]}'])  # fmt: skip
def test_a_damaged_launch_is_refused_by_its_line(output: Path, line: str) -> None:
    assert record(output, launches=1) == 0
    lines = output.read_text().splitlines()
    output.write_text("\n".join([*lines[:2], line, lines[2]]) + "\n")
    with pytest.raises(ArtifactError, match=r"line 3 of .*fake\.jsonl"):
        recording.read(output)


def test_the_defaults_suffice_for_a_tail() -> None:
    options = build_parser().parse_args(["--case", CASE, "--output", "x"])
    assert 3 * options.pairs >= 64
    with pytest.raises(UsageError):
        record_launches.run(build_parser().parse_args(["--case", "x", "--output", "x"]))
