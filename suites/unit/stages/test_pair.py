"""Two engines in one process: the order, the counts, the end of both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voxgate import backends
from voxgate.artifacts import jobs
from voxgate.artifacts.launcher import Limits, run_job
from voxgate.backends.fake import Fake, FakeSession
from voxgate.errors import BuildError
from voxgate.records.runtime import EngineOptions
from voxgate.stages.pair import pair
from voxgate.stages.requests import PairRequest

OPTIONS = EngineOptions(
    precision="int8", threads=1, model="unet", task="phantom-mini", classes=4
)  # fmt: skip


@pytest.fixture
def request_pair(tmp_path: Path) -> PairRequest:
    np.save(tmp_path / "images.npy", np.zeros((3, 1, 8, 8, 8), np.float32))
    for name in ("a", "b"):
        engine = Fake().build("", OPTIONS) + (b" " if name == "b" else b"")
        (tmp_path / name).write_bytes(engine)
    return PairRequest(
        backend="fake", options=OPTIONS, engine_a=str(tmp_path / "a"),
        engine_b=str(tmp_path / "b"), b_first=False, images=str(tmp_path / "images.npy"),
        warmups=2, min_pairs=6, max_pairs=6, seconds=0.0,
    )  # fmt: skip


def changed(request: PairRequest, **fields: Any) -> PairRequest:
    from dataclasses import replace

    return replace(request, **fields)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happens to the sessions, by their engines."""
    seen: list[str] = []
    names: dict[int, str] = {}

    def load(_: Fake, engine: bytes, options: EngineOptions) -> FakeSession:
        session = FakeSession(engine, options)
        names[id(session)] = "B" if engine.endswith(b"  ") and len(engine) > 10_400 else "A"
        seen.append(f"load {names[id(session)]}")
        return session

    infer = FakeSession.infer

    def spy(session: FakeSession, image: Any) -> Any:
        seen.append(names[id(session)])
        return infer(session, image)

    monkeypatch.setattr(Fake, "load", load)
    monkeypatch.setattr(FakeSession, "infer", spy)
    monkeypatch.setattr(
        FakeSession, "close", lambda session: seen.append(f"close {names[id(session)]}")
    )
    return seen


def test_the_order_is_a_b_b_a(request_pair: PairRequest, calls: list[str]) -> None:
    launch = pair(request_pair)
    assert calls[:2] == ["load A", "load B"]
    assert calls[2:6] == ["A", "B", "A", "B"]  # warm-ups
    assert "".join(calls[6:-2]) == "ABBA" * 3
    assert calls[-2:] == ["close A", "close B"]
    assert len(launch.a_ns) == len(launch.b_ns) == 6


def test_b_can_be_loaded_first(request_pair: PairRequest, calls: list[str]) -> None:
    assert pair(changed(request_pair, b_first=True)).b_first
    assert calls[:4] == ["load B", "load A", "B", "A"]
    assert "".join(calls[6:-2]) == "ABBA" * 3


def test_more_pairs_are_taken_while_there_is_time(request_pair: PairRequest) -> None:
    few = changed(request_pair, min_pairs=2, max_pairs=2)
    assert len(pair(few).a_ns) == 2
    many = changed(request_pair, min_pairs=2, max_pairs=40, seconds=60.0)
    assert len(pair(many).b_ns) == 40
    odd = changed(request_pair, min_pairs=3, max_pairs=3)
    assert len(pair(odd).a_ns) == 4  # rounds are whole


def test_the_first_engine_is_closed_when_the_second_is_refused(
    request_pair: PairRequest, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load = Fake.load

    def refuse(self: Fake, engine: bytes, options: EngineOptions) -> FakeSession:
        if calls:
            msg = "not an engine"
            raise BuildError(msg)
        return load(self, engine, options)

    monkeypatch.setattr(Fake, "load", refuse)
    with pytest.raises(BuildError, match="not an engine"):
        pair(request_pair)
    assert calls == ["load A", "close A"]


def test_it_runs_in_a_worker(request_pair: PairRequest) -> None:
    launch = run_job(jobs.PAIR, request_pair, Limits(seconds=60))
    assert min(launch.a_ns) >= 2_000_000
    assert "fake" in backends.BACKENDS


def test_on_an_accelerator_a_turn_is_a_burst(
    request_pair: PairRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []
    sample = FakeSession.sample

    def spy(session: FakeSession, image: Any, count: int) -> Any:
        seen.append((id(session), count))
        return sample(session, image, count)

    monkeypatch.setattr(Fake, "create_context", lambda *_: True)
    monkeypatch.setattr(FakeSession, "sample", spy)
    launch = pair(changed(request_pair, min_pairs=40, max_pairs=2))
    a, b = dict.fromkeys(session for session, _ in seen)
    assert seen[:4] == [(a, 1), (b, 1)] * 2  # warm-ups
    assert [session for session, _ in seen[4:8]] == [a, b, b, a]
    (count,) = {count for _, count in seen[4:]}
    assert count > 10  # a turn of 30 ms at 2 ms an inference
    assert len(launch.a_ns) == len(launch.b_ns) == (len(seen) - 4) // 2 * count
    assert len(launch.a_ns) >= 40
