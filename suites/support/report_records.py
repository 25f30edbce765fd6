"""Records for the tests of reports: eight networks as docs/results.md has them, and what can go wrong.

Samples are drawn from a seed around the published medians; nothing here was measured.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from dataclasses import replace

from voxgate import models
from voxgate.metrics.ratios import ratios_of
from voxgate.records.case import Precision
from voxgate.records.engine import Coverage, Share
from voxgate.records.gpu import GpuFacts, GpuProcess, Span
from voxgate.records.measurement import Dice, HostLoad, Latency, Launch, Memory, PairedLaunch
from voxgate.records.run import CaseResult, Certificate, Environment, RunRecord, Timing
from voxgate.records.verdicts import (
    CaseComparison,
    CaseVerdicts,
    ComparisonRecord,
    GateRecord,
    LayerChange,
    SelfTest,
    Verdict,
)

PRECISIONS: tuple[Precision, ...] = ("fp32", "fake-int8", "int8")

# Size in MB, latency in ms, Dice of grey and white, memory in MB: fp32, fake-int8, int8.
NETWORKS = {
    "unet": ((22.99, 633.2, 0.9687, 0.9740, 549), (23.00, 646.5, 0.9677, 0.9737, 557), (5.77, 175.4, 0.9681, 0.9738, 179)),
    "transunet": ((365.09, 394.6, 0.9579, 0.9625, 1523), (366.49, 371.8, 0.9599, 0.9652, 1913), (92.56, 105.5, 0.9600, 0.9652, 461)),
    "unest-small": ((92.00, 732.4, 0.9614, 0.9575, 731), (92.44, 766.3, 0.9635, 0.9620, 816), (23.63, 223.5, 0.9641, 0.9628, 405)),
    "nnunet-small": ((27.43, 871.9, 0.9619, 0.9614, 559), (27.45, 911.2, 0.9617, 0.9613, 568), (6.90, 238.7, 0.9615, 0.9612, 183)),
    "swinunetr-24": ((62.88, 870.3, 0.9583, 0.9538, 561), (63.08, 873.1, 0.9609, 0.9596, 633), (16.54, 382.5, 0.9615, 0.9605, 334)),
    "segresnet-24": ((42.31, 1302.8, 0.9512, 0.9547, 397), (42.35, 1301.3, 0.9530, 0.9582, 410), (10.66, 336.3, 0.9527, 0.9577, 237)),
    "vista3d-16": ((69.60, 572.8, 0.9511, 0.9526, 365), (69.62, 577.2, 0.9500, 0.9525, 438), (17.48, 165.8, 0.9502, 0.9526, 270)),
    "stunet-s": ((58.19, 307.0, 0.9639, 0.9648, 395), (58.20, 328.9, 0.9642, 0.9655, 406), (14.62, 88.6, 0.9655, 0.9674, 148)),
}  # fmt: skip
# Invented: four times the size of the small one, three times its latency.
PAPERS_SIZE = {
    "unest": ((350.58, 2104.4, 0.9652, 0.9618, 1631), (351.02, 2166.3, 0.9654, 0.9623, 1816), (90.31, 603.2, 0.9650, 0.9617, 905)),
}  # fmt: skip

ENVIRONMENT = Environment(
    host="node-7", system="Linux 6.1.0 x86_64", cpu="AMD EPYC 9R14", isa=("avx2", "avx512_vnni"),
    cores=2, threads=2, memory_bytes=16 * 2**30, gpu=None, driver=None, cuda=None, python="3.11.9",
    backends={"openvino": "2026.4.1"}, packages={"torch": "2.13.0", "nncf": "3.4.0"},
    git_commit="b25eea3c0ffee0123456789abcdef0123456789a",
)  # fmt: skip
TIMING = Timing(
    started="2026-02-11T02:14:09+00:00", wall_s=732.4, inference_s=401.2, artifacts_built=48,
    artifacts_reused=0,
)  # fmt: skip


def eight_networks() -> RunRecord:
    """Every network in three precisions, in three launches, on two cores."""
    return run_of([case for model in NETWORKS for case in _cases(model)])


def papers_networks() -> RunRecord:
    """Two networks with and one without engine sizes in the paper, one smaller than the paper's."""
    return run_of([case for m in ("unet", "unest", "stunet-s", "vista3d-16") for case in _cases(m)])


def run_of(cases: Sequence[CaseResult]) -> RunRecord:
    """A record of these cases."""
    return RunRecord(
        schema_version=1,
        voxgate="0.1.0",
        environment=ENVIRONMENT,
        config={
            "models": list(dict.fromkeys(c.model for c in cases)),
            "task": "mni152",
            "classes": "task",
            "backends": ["openvino"],
            "precisions": [],
            "launches": 3,
            "memory_limit_bytes": None,
        },
        cases=tuple(cases),
        ratios=ratios_of(cases),
        timing=TIMING,
    )


def many_classes(classes: int = 133) -> RunRecord:
    """UNesT, small, with as many classes as the paper's, three of them absent."""
    noise = random.Random(7)  # noqa: S311 - a test's numbers
    names = [f"region_{i:03} of the left hemisphere" for i in range(classes)]
    base: dict[str, float | None] = {name: round(noise.uniform(0.55, 0.97), 4) for name in names}
    base |= dict.fromkeys(names[:3])
    rows = []
    for case in _cases("unest-small"):
        loss = {"fp32": 0.0, "fake-int8": 0.004, "int8": 0.006}[case.precision]
        values = {
            name: None if value is None else value - noise.uniform(-0.3, 1) * loss
            for name, value in base.items()
        }
        known = [value for value in values.values() if value is not None]
        dice = Dice(mean=statistics.fmean(known), per_class=values, per_case={})
        rows.append(replace(case, dice=dice))
    return run_of(rows)


def with_problems() -> RunRecord:
    """Eight networks, of which one failed, one is unavailable and one inconclusive."""
    cases = list(eight_networks().cases)
    crash = "the worker was killed by signal 9 (SIGKILL); was there memory enough?\nits last words:\n  loading"
    cases[2] = _empty(cases[2], status="failed", error_type="WorkerCrashError", error=crash)
    cases[5] = _empty(
        cases[5],
        status="unavailable",
        reason="OpenVINO is missing; install it with 'pip install openvino'",
    )
    cases[8] = replace(
        cases[8], status="inconclusive", reason="another process computed on the GPU"
    )
    return run_of(cases)  # fmt: skip


def on_a_gpu() -> RunRecord:
    """One engine on a GPU that was throttled for a moment, beside a process that is none of ours."""
    facts = GpuFacts(
        name="NVIDIA H200", uuid="GPU-1", driver="580.159.04", samples=50, interval_ms=20.0,
        sm_clock_mhz=Span(min=1965, median=1980, max=1980), unsteady=0.0, memory_clock_mhz=None,
        temperature_c=Span(min=31, median=33, max=36), power_w=Span(min=140, median=312, max=405),
        throttled={"power cap": 0.04, "heat": 0.0}, foreign_visible=True,
        foreign=(GpuProcess(pid=7, memory_bytes=None),),
    )  # fmt: skip
    blind = replace(facts, foreign_visible=False, foreign=(), throttled=None, power_w=None)
    return run_of([replace(_cases("unet")[2], backend="tensorrt", gpu=(facts, blind))])


def red_gate() -> GateRecord:
    """A latency regression that was confirmed, a lost organ, a missing baseline, a noisy host."""
    run = eight_networks()
    cases = [_judged(row, "pass") for row in run.cases]
    cases[2] = replace(
        _judged(run.cases[2], "regression"),
        verdicts=(
            latency_verdict("regression", 0.063, 165.2),
            Verdict(
                metric="size",
                outcome="pass",
                words="5.77 MB, as accepted.",
                unit="bytes",
                before=5.77e6,
                after=5.77e6,
                change=0.0,
                tolerance=0.01,
            ),
        ),
        pairs=pairs_of(1.061, 1),
        confirmation=pairs_of(1.063, 2),
        same_engine=False,
        host_drift=0.012,
        self_test=SelfTest(
            engine_sha256="ab" * 32, launch_ratios=(0.996, 1.004, 1.009), supported=0.02
        ),
    )
    cases[11] = replace(
        _judged(run.cases[11], "regression"),
        verdicts=(
            Verdict(
                metric="dice",
                outcome="regression",
                subject="grey",
                unit="Dice",
                before=0.9615,
                after=0.9497,
                change=-0.0118,
                tolerance=0.005,
                words="Dice of grey fell from 0.9615 to 0.9497, by 0.0118; 0.0050 is tolerated.",
            ),
        ),
    )
    cases[14] = replace(
        _judged(run.cases[14], "inconclusive"),
        verdicts=(),
        reason="the host's noise supports a tolerance of 7 %, and 3 % is asked for",
        pairs=pairs_of(1.03, 3, spread=0.05),
        host_drift=0.41,
    )
    cases[23] = replace(
        _judged(run.cases[23], "failed"),
        verdicts=(),
        reason="no accepted baseline of this case; accept one with --update-baselines=new",
    )
    return GateRecord(
        kind="gate", schema_version=1, voxgate="0.1.0", environment="epyc-9r14-2-threads",
        tolerances={"latency": 0.03, "size": 0.01, "dice": 0.005}, outcome="regression",
        cases=tuple(cases), run=run, timing=TIMING,
    )  # fmt: skip


def green_gate() -> GateRecord:
    """Nothing but passes."""
    run = eight_networks()
    return replace(
        red_gate(), outcome="pass", cases=tuple(_judged(row, "pass") for row in run.cases)
    )


def comparison() -> ComparisonRecord:
    """Two versions of a runtime; in the second a layer of SwinUNETR runs in float."""
    a = eight_networks()
    newer = replace(ENVIRONMENT, backends={"openvino": "2027.0.0"})
    b = replace(eight_networks(), environment=newer)
    cases = [_compared(row) for row in a.cases]
    cases[14] = replace(
        cases[14],
        outcome="regression",
        verdicts=(latency_verdict("regression", 0.21, 381.0),),
        agreement=0.99712,
        agreement_dice={"grey": 0.9961, "white": 0.9973, "air": None},
        layers=(
            layer("swinViT.layers1.attn.qkv", "u8 x i8", "f32 x f32", 9_100_000, 31_400_000),
            layer("decoder5.conv", "u8 x i8", "u8 x i8", 4_200_000, 4_400_000),
            replace(
                layer("decoder1.conv", "u8 x i8", "u8 x i8", 0, 0), before_ns=None, after_ns=None
            ),
        ),
        unsaid=("memory: A was measured without a limit, B with one",),
    )
    return ComparisonRecord(
        kind="comparison", schema_version=1, voxgate="0.1.0", title_a="OpenVINO 2026.4.1",
        title_b="OpenVINO 2027.0.0", outcome="regression", cases=tuple(cases), a=a, b=b,
        timing=TIMING,
    )  # fmt: skip


def latency_verdict(outcome: str, change: float, before: float) -> Verdict:
    """A verdict of latency with a tolerance of 3 %."""
    after = before * (1 + change)
    return Verdict(
        metric="latency", outcome=outcome, unit="ms", before=before, after=after,  # type: ignore[arg-type]
        change=change, tolerance=0.03,
        words=f"The median ratio of minima over 3 launches is {1 + change:.3f}; above 1.03 is a regression.",
    )  # fmt: skip


def layer(name: str, before: str, after: str, before_ns: int, after_ns: int) -> LayerChange:
    """A layer under two versions."""
    return LayerChange(
        sources=(name,), before=before, after=after, before_ns=before_ns, after_ns=after_ns,
        arithmetic_changed=before != after,
    )  # fmt: skip


def pairs_of(ratio: float, seed: int, spread: float = 0.004) -> tuple[PairedLaunch, ...]:
    """Three launches around a ratio."""
    noise = random.Random(seed)  # noqa: S311 - a test's numbers
    return tuple(
        PairedLaunch(
            b_first=bool(i % 2), a_ns=(160_000_000, 161_000_000),
            b_ns=(int(160_000_000 * (ratio + noise.gauss(0, spread))), 190_000_000),
        )
        for i in range(3)
    )  # fmt: skip


def _cases(model: str) -> list[CaseResult]:
    return [_case(model, precision, i) for i, precision in enumerate(PRECISIONS)]


def _case(model: str, precision: Precision, index: int) -> CaseResult:
    figures = (NETWORKS | PAPERS_SIZE)[model]
    size_mb, ms, grey, white, memory_mb = figures[index]
    real = precision == "int8"
    launches = tuple(_launch(model, precision, ms, order) for order in range(3))
    int8 = (0.963 if model == "swinunetr-24" else 1.0) if real else 0.0
    shares = Share(int8=int8, float=1 - int8, unmapped=0.0)
    faster = figures[0][1] / ms
    return CaseResult(
        model=model, task="mni152", backend="openvino", precision=precision, status="ok", classes=3,
        parameters=models.get(model).parameters, engine_bytes=int(size_mb * 1e6), engine_sha256="cd" * 32, build_s=11.4 + ms / 50,
        build_cached=real, latency_ms=_summary(launches), launches=launches,
        samples_ns=tuple(launch.samples_ns for launch in launches),
        memory_bytes=Memory(baseline=0, peak=int(memory_mb * 1e6), delta=int(memory_mb * 1e6), scope="process-host"),
        dice=Dice(mean=(grey + white) / 2, per_class={"grey": grey, "white": white}, per_case={}),
        int8_coverage=Coverage(by_count=shares, by_macs=shares),
        certificate=_certificate(int8, faster) if real else None,
    )  # fmt: skip


def _certificate(int8: float, faster: float) -> Certificate:
    return Certificate(
        granted=True, quantize_nodes=58, int8_macs=int8, required_int8_macs=0.95, unmapped_macs=0.0,
        size_ratio=3.98, speedup=faster, speedup_over_fake=faster,
        findings=("yes: the graph has 58 quantize nodes", f"yes: faster than fp32: {faster:.2f}x"),
    )  # fmt: skip


def _launch(model: str, precision: str, ms: float, order: int) -> Launch:
    noise = random.Random(f"{model}{precision}{order}")  # noqa: S311 - a test's numbers
    drift = noise.uniform(0.97, 1.06)
    draw = [int(ms * 1e6 * drift * (1 + abs(noise.gauss(0, 0.03)))) for _ in range(9)]
    return Launch(
        order=order, load_s=0.8, warmups_ns=(int(draw[0] * 1.9), int(draw[1] * 1.1)),
        samples_ns=tuple(draw[2:]), cpu_s=4.2, load=HostLoad(steal=0.004, foreign=0.021),
    )  # fmt: skip


def _summary(launches: Sequence[Launch]) -> Latency:
    ms = sorted(ns / 1e6 for launch in launches for ns in launch.samples_ns)
    return Latency(
        median=statistics.median(ms), p50=ms[len(ms) // 2], p90=ms[int(len(ms) * 0.9)], p99=ms[-1],
        min=ms[0], mean=statistics.fmean(ms), stdev=statistics.stdev(ms), n=len(ms),
    )  # fmt: skip


def _empty(case: CaseResult, **changes: object) -> CaseResult:
    """The row of a case that was never measured."""
    names = {
        "model": case.model,
        "task": case.task,
        "backend": case.backend,
        "precision": case.precision,
    }
    return CaseResult(**names, **changes)  # type: ignore[arg-type]  # fmt: skip


def _judged(row: CaseResult, outcome: str) -> CaseVerdicts:
    return CaseVerdicts(
        model=row.model, task=row.task, backend=row.backend, precision=row.precision,
        outcome=outcome, verdicts=(latency_verdict("pass", 0.008, 160.0),), same_engine=True,  # type: ignore[arg-type]
        host_drift=0.01,
    )  # fmt: skip


def _compared(row: CaseResult) -> CaseComparison:
    return CaseComparison(
        model=row.model, task=row.task, backend=row.backend, precision=row.precision, outcome="pass",
        verdicts=(latency_verdict("pass", 0.004, 160.0),), build_s=(12.1, 12.9), agreement=0.99987,
    )  # fmt: skip
