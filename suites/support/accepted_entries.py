"""An accepted case, the run that it comes from, and the file that holds it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from voxgate.records.engine import Coverage, Share
from voxgate.records.measurement import Dice, HostLoad, Launch, Memory
from voxgate.records.run import CaseResult, Environment, RunRecord, Timing
from voxgate.verdicts import baseline
from voxgate.verdicts.baseline import Baseline, Entry, Identity

IDENTITY = Identity(
    record_schema=1, model="unet", task="mni152", backend="openvino", precision="int8", classes=3,
    shape=(1, 1, 96, 96, 96), weights_sha256="ab" * 32, runtime="2026.1", cpu="AMD EPYC",
    isa=("avx2", "avx512_vnni"), cores=8, threads=2, gpu=None, driver=None, cuda=None,
    cuda_graph=False,
)  # fmt: skip

ENTRY = Entry(
    identity=IDENTITY,
    accepted="2026-03-04T05:06:07+00:00",
    voxgate="0.1.0",
    git_commit="0123abc",
    host="host",
    packages={"numpy": "2.3"},
    engine_sha256="cd" * 32,
    engine_bytes=5_900_000,
    build_s=1.5,
    launches=(
        Launch(order=0, load_s=0.5, warmups_ns=(9, 8), samples_ns=(7, 6), cpu_s=0.25),
        Launch(
            order=5, load_s=0.5, warmups_ns=(9,), samples_ns=(7,), cpu_s=0.25,
            host_samples_ns=(8,), load=HostLoad(steal=0.0, foreign=0.5),
        ),
    ),
    memory=Memory(baseline=2**28, peak=2**29, delta=2**28, scope="process-host"),
    host_memory=None,
    dice=Dice(
        mean=0.75,
        per_class={"grey": 0.75, "white": None},
        per_case={"right": {"grey": 0.75, "white": None}},
    ),
    int8_coverage=Coverage(
        by_count=Share(int8=0.5, float=0.25, unmapped=0.25),
        by_macs=Share(int8=0.875, float=0.125, unmapped=0.0),
        float_nodes=("first",),
    ),
    calibration_sha256="ef" * 32,
    gpu=(),
)  # fmt: skip
WHOLE = Baseline(schema_version=1, model="unet", entries=(ENTRY,))

HOST = Environment(
    host="host", system="Linux 6", cpu="AMD EPYC", isa=("avx2",), cores=8, threads=2,
    memory_bytes=2**34, gpu="NVIDIA H200", driver="580.1", cuda="13.0", python="3.11.2",
    backends={"openvino": "2026.1", "tensorrt": "11.4"}, packages={"numpy": "2.3"},
    git_commit="0123abc",
)  # fmt: skip
ROW = CaseResult(
    model="unet", task="mni152", backend="openvino", precision="int8", status="ok", classes=3,
    weights_sha256="ab" * 32, engine_bytes=5_900_000, engine_sha256="cd" * 32, build_s=1.5,
    launches=ENTRY.launches, memory_bytes=ENTRY.memory, dice=ENTRY.dice,
)  # fmt: skip
RUN = RunRecord(
    schema_version=1, voxgate="0.1.0", environment=HOST, config={"cuda_graph": True}, cases=(ROW,),
    ratios=(), timing=Timing(
        started="2026-03-04T05:06:07+00:00", wall_s=1.0, inference_s=0.5, artifacts_built=1,
        artifacts_reused=0,
    ),
)  # fmt: skip


def entry(**changes: Any) -> Entry:
    return replace(ENTRY, identity=replace(IDENTITY, **changes))


def path_in(folder: Path) -> Path:
    return folder / "amd-epyc-2-threads" / "unet.json"


def accepted(folder: Path, *entries: Entry) -> Path:
    baseline.update(folder, entries or (ENTRY,), only_new=False)
    return path_in(folder)
