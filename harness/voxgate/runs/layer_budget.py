"""The layers to leave in float for a Dice margin: searched by editing, confirmed by quantizing anew.

The search looks at the ranking patches alone. What it finds is then quantized as any run with
``--float-layers`` is, and measured beside FP32 and plain INT8 on the evaluation patches, which had no
say in the choice.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from voxgate import __version__
from voxgate.artifacts.progress import Reporter
from voxgate.config import RunConfig
from voxgate.config.options import command_line
from voxgate.errors import HarnessError
from voxgate.machine.environment import read_environment
from voxgate.metrics.ratios import quotient, ratios_of
from voxgate.quantization.editor import Edit
from voxgate.records.case import Precision
from voxgate.records.file import SCHEMA_VERSION
from voxgate.records.run import CaseResult, RunRecord
from voxgate.records.runtime import Probe
from voxgate.records.sensitivity import Budget, BudgetOutcome, Confirmation, LayerLoss
from voxgate.runs.bench import build, make_artifacts, measure, results_of, timing_since
from voxgate.runs.case_run import CaseRun
from voxgate.runs.ranking import FLOOR, Found, differences, search
from voxgate.runs.variants import PartlyQuantized


def find_budget(
    network: PartlyQuantized,
    layers: Sequence[LayerLoss],
    margin: float,
    precision: Precision,
    probe: Probe,
    reporter: Reporter,
) -> Budget:
    """Search the ranked ``layers`` for a set, and confirm it.

    Raises:
        HarnessError: a network with some layers in float cannot be built, run or quantized.
    """
    found = _search(network, layers, margin, precision, reporter)
    config = network.artifacts.config
    if found.layers is None:
        return _budget(found, margin, "unreachable", config, precision, None, layers)
    confirmation = confirm(network, found.layers, precision, probe, reporter)
    lost = worst(confirmation.loss_after)
    outcome: BudgetOutcome = "refuted" if lost > margin else "found" if found.layers else "met"
    return _budget(found, margin, outcome, config, precision, confirmation, layers)


def by_gain(layers: Sequence[LayerLoss], alone: Mapping[str, float]) -> tuple[str, ...]:
    """Names, the most worth leaving in float first.

    By ``alone``, how far Dice is from FP32's with this one in float, in steps of a few voxels; then by
    SQNR gained. Layers of which neither is known follow, the noisiest first. Of two that are alike,
    that with fewer multiply-accumulates costs less time.
    """

    def key(layer: LayerLoss) -> tuple[float, float, float, float]:
        known = alone.get(layer.name)
        noisy = float("inf") if layer.sqnr_db is None else layer.sqnr_db
        return (
            float("inf") if known is None else round(known / FLOOR),
            -(layer.sqnr_gained_db or 0.0),
            noisy,
            layer.macs_share,
        )

    return tuple(layer.name for layer in sorted(layers, key=key))


def command_of(config: RunConfig, precision: Precision, layers: Sequence[str]) -> str:
    """The bench that measures a network with these layers in float."""
    return command_line(replace(config, precisions=(precision,), float_layers=tuple(layers)))


def confirm(
    network: PartlyQuantized,
    layers: Sequence[str],
    precision: Precision,
    probe: Probe,
    reporter: Reporter,
) -> Confirmation:
    """FP32, the quantized network and the one with layers in float, launched in turn.

    Raises:
        HarnessError: one of them cannot be built or run.
    """
    started, start = datetime.now(UTC), time.monotonic()
    artifacts = network.artifacts
    plain = replace(artifacts.config, precisions=("fp32", precision))
    chosen = replace(plain, float_layers=tuple(layers)).check()
    fp32, quantized = (CaseRun(case, artifacts) for case in plain.cases())
    kept = quantized
    if layers:
        own = make_artifacts(chosen, artifacts.cache, artifacts.announce)
        kept = CaseRun(quantized.case, own, title=f"{quantized.case} with layers in float")
    runs = list({id(run): run for run in (fp32, quantized, kept)}.values())
    reporter.begin(len(runs) * (1 + plain.launches))
    for run in runs:
        reporter.say(f"building {run}")
        build(run, probe)
        reporter.advance()
    inference_s = measure(runs, reporter)
    for run in runs:
        if run.error is not None:
            raise run.error
    timing = timing_since(started, start, inference_s, artifacts.cache)
    without, with_layers = (
        RunRecord(
            schema_version=SCHEMA_VERSION,
            voxgate=__version__,
            environment=read_environment(config.thread_count, {config.backends[0]: probe}),
            config=config.facts() | config.origins(),
            cases=rows,
            ratios=ratios_of(rows),
            timing=timing,
        )
        for config, rows in (
            (plain, results_of([fp32, quantized])),
            (chosen, results_of([fp32, kept])),
        )
    )
    return confirmation_of(without, with_layers)


def confirmation_of(plain: RunRecord, chosen: RunRecord) -> Confirmation:
    """What two runs of FP32 and INT8 say of the layers in float; pure.

    Raises:
        HarnessError: a case has no Dice.
    """
    fp32, before, after = plain.cases[0], plain.cases[1], chosen.cases[1]
    return Confirmation(
        loss_before=_lost(fp32, before),
        loss_after=_lost(fp32, after),
        latency_ratio=quotient(
            after.latency_ms.median if after.latency_ms else None,
            before.latency_ms.median if before.latency_ms else None,
        ),
        latency_ratio_by_minima=quotient(
            after.latency_ms.min if after.latency_ms else None,
            before.latency_ms.min if before.latency_ms else None,
        ),
        size_ratio=quotient(after.engine_bytes, before.engine_bytes),
        plain=plain,
        run=chosen,
    )


def _lost(fp32: CaseResult, other: CaseResult) -> dict[str, float]:
    if fp32.dice is None or other.dice is None:
        msg = f"{other.case} has no Dice: {other.error or other.reason or 'it was not evaluated'}"
        raise HarnessError(msg)
    return differences(fp32.dice.per_class, other.dice.per_class)


def _search(
    network: PartlyQuantized,
    layers: Sequence[LayerLoss],
    margin: float,
    precision: Precision,
    reporter: Reporter,
) -> Found:
    fp32 = network.fp32.dice.per_class

    def loss_of(names: tuple[str, ...]) -> float:
        count = f"{len(names)} of {len(layers)} layers in float"
        reporter.say(f"searching: {network.model} with {count}, in {precision}")
        variant = network.measure(precision, Edit(onto="quantized", layers=names))
        reporter.advance()
        return farthest(differences(fp32, variant.dice.per_class))

    reporter.begin(2 + 2 * len(layers))
    # Each was measured when the layers were ranked, so these come from the cache.
    alone = {
        layer.name: loss_of((layer.name,)) for layer in layers if layer.dice_regained is not None
    }
    return search(by_gain(layers, alone), alone, loss_of, margin)


def farthest(losses: dict[str, float]) -> float:
    """How far the Dice of the class that moves most is from FP32's, for the worse or the better.

    A network does not get better by quantization. If it seems to on the ranking patches, it may as
    well lose on others.
    """
    return max(map(abs, losses.values()), default=0.0)


def worst(losses: dict[str, float]) -> float:
    """The loss of the class that loses most; 0 where no class can be compared."""
    return max(losses.values(), default=0.0)


def _budget(
    found: Found,
    margin: float,
    outcome: BudgetOutcome,
    config: RunConfig,
    precision: Precision,
    confirmation: Confirmation | None,
    layers: Sequence[LayerLoss],
) -> Budget:
    chosen = found.layers or ()
    return Budget(
        margin=margin,
        outcome=outcome,
        layers=chosen,
        proven=found.proven,
        words=_words(found, margin, outcome, confirmation, layers),
        command=command_of(config, precision, chosen) if chosen else "",
        trials=found.trials,
        confirmation=confirmation,
    )


def _words(
    found: Found,
    margin: float,
    outcome: BudgetOutcome,
    confirmation: Confirmation | None,
    layers: Sequence[LayerLoss],
) -> str:
    if outcome == "unreachable":
        lost = found.trials[-1].loss
        return (
            f"the margin {margin:g} cannot be met: with all {len(layers)} layers in float the Dice of the "
            f"worst class is still {lost:.5f} from FP32's, for what is quantized between them"
        )
    assert confirmation is not None
    lost = worst(confirmation.loss_after)
    verdict = "NOT confirmed" if outcome == "refuted" else "confirmed"
    seen = f"on the evaluation patches the worst class loses {lost:.5f}, margin {margin:g}"
    if not found.layers:
        there = f"{found.trials[0].loss:.5f} on the ranking patches"
        return f"no layer needs to be left in float: the worst class moves by {there}; {verdict}: {seen}"
    macs = sum(layer.macs_share for layer in layers if layer.name in found.layers)
    proof = "the fewest that do" if found.proven else "a small set; a smaller one may exist"
    return (
        f"{len(found.layers)} of {len(layers)} layers in float, {macs:.1%} of the "
        f"multiply-accumulates, {proof}; {verdict}: {seen}"
    )
