"""Which layers of a network lose Dice when they are quantized: one by one, in both directions.

Layers are ranked on the labelled calibration patches, never on the evaluation patches, so that the
choice of layers and the Dice it is judged by stay apart. (A network was trained where it is
calibrated, so its Dice there is a little higher than on unseen tissue.)
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from voxgate import __version__, backends
from voxgate.artifacts.cache import Cache
from voxgate.artifacts.progress import Reporter
from voxgate.config import RunConfig
from voxgate.errors import QuantizationError, UsageError, unknown_name
from voxgate.machine.environment import read_environment
from voxgate.quantization.editor import Dissected, Edit
from voxgate.records.case import PROJECTED_PRECISIONS, Precision
from voxgate.records.engine import GraphNode
from voxgate.records.file import SCHEMA_VERSION
from voxgate.records.runtime import Probe
from voxgate.records.sensitivity import (
    BETWEEN,
    Agreement,
    LayerLoss,
    Proxy,
    SensitivityRecord,
    Whole,
)
from voxgate.runs.bench import make_artifacts, timing_since
from voxgate.runs.layer_budget import find_budget
from voxgate.runs.ranking import FLOOR, agreement, decibels, differences
from voxgate.runs.variants import PartlyQuantized
from voxgate.stages.variant_requests import Variant

_PROXIES: tuple[Proxy, ...] = ("dice", "sqnr")
# The edited float graph with nothing quantized must be FP32 up to rounding.
_CONTROL_DB = 80.0


@dataclass(frozen=True, kw_only=True, slots=True)
class SensitivityConfig:
    """What to measure of a model, beside the `RunConfig` that names it.

    ``proxy`` "sqnr" measures all layers by the SQNR of one patch, and Dice for the worst ``checks``
    of them; "dice" measures both for all. ``patches`` limits the ranking patches, 0 means all.
    ``budget`` is a Dice margin, None without a search. ``alone_in`` and ``rest_in`` are precisions:
    of one quantized layer among float ones, and of the quantized ones around one in float; None is
    the backend's: fake-int8 for the first, which exists for that, and int8, its faster, for the other.
    """

    proxy: Proxy = "dice"
    checks: int = 5
    patches: int = 0
    budget: float | None = None
    alone_in: Precision | None = None
    rest_in: Precision | None = None

    def check(self, config: RunConfig) -> SensitivityConfig:
        """This configuration, if it makes sense for that run.

        Raises:
            UsageError: names the option and the choices.
        """
        if self.proxy not in _PROXIES:
            kind = "proxy"
            raise unknown_name(kind, self.proxy, _PROXIES)
        if self.checks < 1 or self.patches < 0:
            msg = f"--checks is {self.checks} and --patches {self.patches}; at least 1 and 0 are needed"
            raise UsageError(msg)
        if self.budget is not None and not 0 < self.budget < 1:
            msg = f"--budget is {self.budget}; a margin of Dice is above 0 and below 1"
            raise UsageError(msg)
        _check_run(config)
        known = quantized_precisions(config.backends[0])
        for name in (self.alone_in, self.rest_in):
            if name and name not in known:
                kind = f"quantized precision of {config.backends[0]}"
                raise unknown_name(kind, name, known)
        return self


def _check_run(config: RunConfig) -> None:
    if len(config.backends) != 1 or len(config.models) != 1:
        msg = "layers of one model on one backend are ranked at a time; name one of each"
        raise UsageError(msg)
    if config.float_layers:
        msg = "--float-layers is what this command finds; leave it out and use it with bench"
        raise UsageError(msg)
    if config.classes != "task":
        msg = "with the paper's classes there is no Dice to lose; leave --classes out"
        raise UsageError(msg)
    if config.precisions:
        msg = "all layers are compared in two precisions; name them with --alone-in and --rest-in"
        raise UsageError(msg)


def quantized_precisions(backend: str) -> tuple[Precision, ...]:
    """The precisions of a backend that are built from a quantized graph.

    Raises:
        UsageError: it has none; says why.
    """
    spec = backends.get(backend)
    # Fewer bits have a graph of their own, in which no layer can be put back.
    found = tuple(
        name
        for name, kind in spec.sources.items()
        if kind == "quantized" and name not in PROJECTED_PRECISIONS
    )
    if not found:
        why = spec.reasons.get("int8", "it builds from no quantized graph")
        msg = f"{spec.title} quantizes no layers: {why}"
        raise UsageError(msg)
    return found


def analyse(config: RunConfig, rules: SensitivityConfig, reporter: Reporter) -> SensitivityRecord:
    """Rank the layers of a checked configuration's model, and find a set for the budget, if any.

    Raises:
        UnavailableError: the backend or a precision is not here.
        HarnessError: the network cannot be exported, quantized, edited or run.
    """
    started, start = datetime.now(UTC), time.monotonic()
    (model,), (backend,) = config.models, config.backends
    if config.pythons:
        msg = "graphs are edited where they are run, which only VoxGate's own interpreter can"
        raise UsageError(msg)
    artifacts = make_artifacts(config, Cache(config.cache_root), reporter.say)
    reporter.say(f"looking for {backends.get(backend).title}")
    probe = artifacts.probe(backend)
    alone_in, rest_in = precisions(backend, probe, rules)
    network = PartlyQuantized(artifacts, model, backend, most=rules.patches)
    ranking = _Ranking(network, rules, alone_in, rest_in, reporter)
    layers, between = ranking.measure()
    layers = ranked(layers)
    budget = None
    if rules.budget is not None:
        budget = find_budget(network, layers, rules.budget, rest_in, probe, reporter)
    quantizer = artifacts.quantizer(backend)
    timing = timing_since(started, start, network.meter.inference_s, artifacts.cache)
    return SensitivityRecord(
        kind="sensitivity",
        schema_version=SCHEMA_VERSION,
        voxgate=__version__,
        environment=read_environment(config.thread_count, {backend: probe}),
        config=config.facts() | config.origins(),
        model=model,
        task=config.task,
        backend=backend,
        quantizer=quantizer.name,
        calibration_method=artifacts.method(quantizer),
        proxy=rules.proxy,
        alone_in=alone_in,
        rest_in=rest_in,
        patches=network.patches,
        wholes=ranking.wholes,
        layers=layers,
        between=between,
        in_float=ranking.in_float,
        quantizers=ranking.parts.total,
        quantizers_left=ranking.parts.left,
        agreement=agreement_of(layers),
        budget=budget,
        costs=network.meter.costs(),
        timing=timing,
    )


def precisions(backend: str, probe: Probe, rules: SensitivityConfig) -> tuple[Precision, Precision]:
    """In which arithmetic one layer is quantized, and in which all others are.

    Raises:
        UnavailableError: the backend is not here, or cannot run a precision that was named.
    """
    able = [name for name in quantized_precisions(backend) if name not in probe.refused]
    chains: tuple[tuple[Precision, ...], ...] = (
        ("fake-int8", "int8", "int8-fp16"),
        ("int8", "int8-fp16", "fake-int8"),
    )
    alone, rest = (next((name for name in chain if name in able), chain[0]) for chain in chains)
    alone, rest = rules.alone_in or alone, rules.rest_in or rest
    required: tuple[Precision, ...] = ("fp32", alone, rest)
    for precision in required:
        backends.require(backend, precision, probe)
    return alone, rest


def ranked(layers: Sequence[LayerLoss]) -> tuple[LayerLoss, ...]:
    """The most sensitive first: by how far Dice moves, and where it hardly does, by SQNR."""

    def key(layer: LayerLoss) -> tuple[float, float]:
        moved = abs(layer.dice_lost or 0.0)
        return -moved if moved > FLOOR else 0.0, -noise_of(layer)

    return tuple(sorted(layers, key=key))


def agreement_of(layers: Sequence[LayerLoss]) -> Agreement:
    """How well SQNR ranks those layers whose Dice was measured."""
    measured = [(layer.dice_lost, noise_of(layer)) for layer in layers]
    pairs = [(lost, noise) for lost, noise in measured if lost is not None]
    return agreement([lost for lost, _ in pairs], [noise for _, noise in pairs])


def noise_of(layer: LayerLoss) -> float:
    """The noise of the logits as a share of the signal, where it alone is quantized."""
    return 0.0 if layer.sqnr_db is None else 10 ** (-layer.sqnr_db / 10)


class _Ranking:
    """Measures the network as a whole, then part by part."""

    def __init__(
        self,
        network: PartlyQuantized,
        rules: SensitivityConfig,
        alone_in: Precision,
        rest_in: Precision,
        reporter: Reporter,
    ) -> None:
        self._network, self._rules, self._reporter = network, rules, reporter
        self._alone_in, self._rest_in = alone_in, rest_in
        self.parts: Dissected = network.dissect()
        self._macs = sum(node.macs for node in network.graphs.nodes)
        self.in_float = tuple(name for name, count in self.parts.layers.items() if not count)
        self.wholes: dict[str, Whole] = {}

    def measure(self) -> tuple[tuple[LayerLoss, ...], LayerLoss | None]:
        """Every quantized layer in the order of the graph, and what is between them."""
        nodes = [node for node in self._network.graphs.nodes if self.parts.layers[node.name]]
        self._reporter.begin(3 + self._steps(len(nodes)) + (2 if self.parts.between else 0))
        self._measure_wholes()
        if self._rules.proxy == "sqnr":
            layers = self._by_proxy(nodes)
        else:
            layers = tuple(self._both(self._empty(node)) for node in nodes)
        if not self.parts.between:
            return layers, None
        between = LayerLoss(
            name=BETWEEN, op_type="", macs_share=0.0, quantizers=self.parts.between,
            dice_lost_per_class={}, dice_regained_per_class={},
        )  # fmt: skip
        return layers, self._both(between)

    def _steps(self, layers: int) -> int:
        if self._rules.proxy == "dice":
            return 2 * layers
        return layers + 2 * min(self._rules.checks, layers)

    def _measure_wholes(self) -> None:
        fp32 = self._network.fp32
        self.wholes["fp32"] = _whole("fp32", fp32)
        control = self._variant("nothing quantized", self._alone_in, Edit(onto="float"))
        self.wholes["control"] = _whole(self._alone_in, control)
        off = decibels(control.signal, control.noise)
        if off is not None and off < _CONTROL_DB:
            msg = (
                f"the float graph in {self._alone_in} with nothing quantized is {off:.1f} dB from "
                f"fp32, where {_CONTROL_DB:g} are due; no layer's loss would be its own"
            )
            raise QuantizationError(msg)
        for precision in dict.fromkeys((self._alone_in, self._rest_in)):
            whole = self._variant("everything quantized", precision, Edit(onto="quantized"))
            self.wholes[precision] = _whole(precision, whole)

    def _by_proxy(self, nodes: Sequence[GraphNode]) -> tuple[LayerLoss, ...]:
        """All layers by the SQNR of one patch; the noisiest ones by Dice, too."""
        found = {}
        for node in nodes:
            what, edit = f"{node.name} alone quantized", Edit(onto="float", layers=(node.name,))
            variant = self._variant(what, self._alone_in, edit, patches=1)
            sqnr_db = decibels(variant.signal, variant.noise)
            found[node.name] = replace(self._empty(node), sqnr_db=sqnr_db, exact=sqnr_db is None)
        worst = sorted(found.values(), key=noise_of, reverse=True)[: self._rules.checks]
        for layer in worst:
            both = self._both(layer)
            found[layer.name] = replace(both, sqnr_db=layer.sqnr_db, exact=layer.exact)
        return tuple(found.values())

    def _both(self, layer: LayerLoss) -> LayerLoss:
        """A part with what was measured of it, quantized alone and left in float alone."""
        between = layer.name == BETWEEN
        names = () if between else (layer.name,)
        graft = Edit(onto="float", layers=names, between=between)
        alone = self._variant(f"{layer.name} alone quantized", self._alone_in, graft)
        rest = self._variant(
            f"{layer.name} alone in float", self._rest_in, replace(graft, onto="quantized")
        )
        fp32, quantized = self.wholes["fp32"], self.wholes[self._rest_in]
        left = differences(fp32.dice_per_class, rest.dice.per_class)
        alone_db, rest_db = (decibels(v.signal, v.noise) for v in (alone, rest))
        return replace(
            layer,
            dice_lost=fp32.dice_mean - alone.dice.mean,
            dice_lost_per_class=differences(fp32.dice_per_class, alone.dice.per_class),
            sqnr_db=alone_db,
            exact=alone_db is None,
            dice_regained=abs(fp32.dice_mean - quantized.dice_mean)
            - abs(fp32.dice_mean - rest.dice.mean),
            dice_regained_per_class={
                name: abs(before) - abs(left[name])
                for name, before in differences(
                    fp32.dice_per_class, quantized.dice_per_class
                ).items()
                if name in left
            },
            sqnr_gained_db=(
                None
                if rest_db is None or quantized.sqnr_db is None
                else rest_db - quantized.sqnr_db
            ),
        )

    def _variant(self, what: str, precision: Precision, edit: Edit, patches: int = 0) -> Variant:
        self._reporter.say(f"measuring {self._network.model} with {what}, in {precision}")
        found = self._network.measure(precision, edit, patches)
        self._reporter.advance()
        return found

    def _empty(self, node: GraphNode) -> LayerLoss:
        return LayerLoss(
            name=node.name,
            op_type=node.op_type,
            macs_share=node.macs / self._macs if self._macs else 0.0,
            quantizers=self.parts.layers[node.name],
            dice_lost_per_class={},
            dice_regained_per_class={},
        )


def _whole(precision: Precision, variant: Variant) -> Whole:
    return Whole(
        precision=precision,
        dice_mean=variant.dice.mean,
        dice_per_class=variant.dice.per_class,
        sqnr_db=decibels(variant.signal, variant.noise),
    )
