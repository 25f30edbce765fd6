"""A place where engines of the fake backend were accepted, and what was measured there later."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from voxgate.artifacts.progress import Silent
from voxgate.config import RunConfig
from voxgate.records.case import Precision
from voxgate.records.run import RunRecord
from voxgate.records.verdicts import CaseVerdicts, GateRecord, SelfTest, Verdict
from voxgate.runs import bench as pipeline
from voxgate.verdicts import baseline
from voxgate.verdicts import gate as judge
from voxgate.verdicts.accepted_engines import AcceptedEngines
from voxgate.verdicts.limits import GateConfig


@dataclass(frozen=True)
class Site:
    """A folder with a cache, baselines, and a run to be judged against them."""

    folder: Path
    run: RunRecord

    @property
    def config(self) -> RunConfig:
        return config_in(self.folder)

    @property
    def rules(self) -> GateConfig:
        return GateConfig(baselines=self.folder / "baselines").check()

    @property
    def baseline(self) -> Path:
        (path,) = self.rules.baselines.glob("*/unet.json")
        return path

    @property
    def content(self) -> dict[str, bytes]:
        """All files of the baselines, by name."""
        files = [path for path in self.rules.baselines.rglob("*") if path.is_file()]
        return {str(path): path.read_bytes() for path in files}

    @property
    def engine(self) -> Path:
        """The accepted int8 engine."""
        return self.folder / "cache" / "accepted" / f"{self.entry()['engine_sha256']}.bin"

    def entry(self, precision: Precision = "int8") -> Any:
        entries = json.loads(self.baseline.read_text())["entries"]
        return next(each for each in entries if each["identity"]["precision"] == precision)

    def edit(self, *keys: Any, value: Any, precision: Precision = "int8") -> None:
        """Change one value of an entry's JSON."""
        whole = json.loads(self.baseline.read_text())
        place = next(e for e in whole["entries"] if e["identity"]["precision"] == precision)
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
        self.baseline.write_text(json.dumps(whole))

    def accept(self) -> None:
        judge.accept_run(self.run, self.config, replace(self.rules, update="all"))

    def gate(self, *precisions: Precision) -> GateRecord:
        cases = tuple(row for row in self.run.cases if row.precision in precisions)
        return judge.judge(replace(self.run, cases=cases), self.config, self.rules, Silent())

    def gate_one(self, precision: Precision = "int8") -> CaseVerdicts:
        (case,) = self.gate(precision).cases
        return case

    def copied(self, folder: Path) -> Site:
        for name in ("cache", "baselines"):
            shutil.copytree(self.folder / name, folder / name, dirs_exist_ok=True)
        return replace(self, folder=folder)

    def measured(self, fault: str) -> Site:
        """The same with engines that are built anew: a fault of a build is in no key of the cache."""
        shutil.rmtree(self.folder / "cache" / "engine")
        return replace(self, run=bench(self.config, fault))


def config_in(folder: Path) -> RunConfig:
    """Every precision of the fake backend, in one launch each."""
    return RunConfig(
        models=("unet",),
        task="phantom-mini",
        backends=("fake",),
        launches=1,
        min_samples=2,
        max_samples=3,
        seconds_per_launch=0.0,
        time_limit_s=60.0,
        cache_dir=folder / "cache",
    ).check()


def bench(config: RunConfig, fault: str) -> RunRecord:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VOXGATE_FAKE_FAULT", fault)
        return pipeline.bench(config, Silent())


def accepted_in(folder: Path) -> Site:
    """A fresh site with everything accepted, and its self-test kept: the host is a perfect one."""
    site = Site(folder, bench(config_in(folder), ""))
    site.accept()
    identity = baseline.read(site.baseline).entries[-1].identity
    made = SelfTest(
        engine_sha256=site.entry()["engine_sha256"], launch_ratios=(1.0,) * 6, supported=0.0
    )
    AcceptedEngines(site.config.cache_root).keep_self_test(identity, made)
    return site


def of(case: CaseVerdicts, metric: str, subject: str = "") -> Verdict:
    """A case's verdict on a metric."""
    return next(v for v in case.verdicts if (v.metric, v.subject) == (metric, subject))
