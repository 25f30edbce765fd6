"""Shares of steal and of other processes, from accounts written by hand."""

from __future__ import annotations

import io
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from voxgate.artifacts.progress import Silent
from voxgate.config import RunConfig
from voxgate.machine import host_load
from voxgate.machine.host_load import LoadMeter
from voxgate.records.measurement import HostLoad
from voxgate.report.terminal import busy_share, make_console, print_record
from voxgate.runs import bench


class Accounts:
    """A /proc/stat of two cores, in ticks."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        self.own_s = 0.0
        monkeypatch.setattr(host_load, "_STAT", path)
        monkeypatch.setattr(time, "process_time", lambda: self.own_s)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
        self.second = os.sysconf("SC_CLK_TCK")

    def write(self, user_s: float, idle_s: float, steal_s: float, other_s: float = 0.0) -> None:
        def line(name: str, user: float) -> str:
            values = (user, 0, 0, idle_s, 0, 0, 0, steal_s, 0, 0)
            return " ".join([name, *(str(round(v * self.second)) for v in values)])

        rows = [line("cpu", 2 * user_s), line("cpu0", user_s), line("cpu1", user_s)]
        self.path.write_text("\n".join([*rows, line("cpu2", other_s), "intr 1"]))


@pytest.fixture
def accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Accounts:
    return Accounts(tmp_path / "stat", monkeypatch)


def test_shares_are_of_all_usable_cores(accounts: Accounts) -> None:
    accounts.write(user_s=10, idle_s=100, steal_s=5)
    meter = LoadMeter()
    accounts.own_s = 6.0  # of 2 x 4 s busy
    accounts.write(user_s=14, idle_s=104, steal_s=7, other_s=1000)
    load = meter.read()
    assert load is not None
    assert load.steal == pytest.approx(4 / 20)
    assert load.foreign == pytest.approx(2 / 20)


def test_rounded_ticks_make_no_negative_share(accounts: Accounts) -> None:
    accounts.write(user_s=1, idle_s=1, steal_s=0)
    meter = LoadMeter()
    accounts.own_s = 2.005
    accounts.write(user_s=2, idle_s=1, steal_s=0)
    load = meter.read()
    assert load is not None
    assert load.foreign == 0


def test_no_tick_and_no_account_are_unknown(accounts: Accounts) -> None:
    accounts.write(user_s=1, idle_s=1, steal_s=0)
    meter = LoadMeter()
    assert meter.read() is None
    accounts.path.unlink()
    assert meter.read() is None
    assert LoadMeter().read() is None


def test_a_short_line_is_unknown(accounts: Accounts) -> None:
    accounts.path.write_text("cpu0 1 2 3\ncpu1 1 2 3\n")
    assert LoadMeter().read() is None


@pytest.mark.skipif(not Path("/proc/stat").is_file(), reason="no /proc/stat on this system")
def test_the_real_accounts_are_read() -> None:
    meter = LoadMeter()
    sum(range(3_000_000))
    load = meter.read()
    assert load is not None
    assert 0 <= load.steal <= 1
    assert 0 <= load.foreign <= 1


@pytest.mark.parametrize(("foreign", "told"), [(0.05, False), (0.4, True)])
def test_the_table_says_that_the_host_was_busy(
    fake_config: RunConfig, foreign: float, *, told: bool
) -> None:
    record = bench.bench(fake_config, Silent())
    load = HostLoad(steal=0.02, foreign=foreign)
    cases = tuple(
        replace(case, launches=tuple(replace(launch, load=load) for launch in case.launches))
        for case in record.cases
    )
    record = replace(record, cases=cases)
    assert busy_share(record) == pytest.approx(foreign + 0.02)
    text = io.StringIO()
    print_record(make_console(text), record)
    assert ("the host was busy: others took up to" in text.getvalue()) == told
