"""Charts of a sensitivity analysis: two ranked rows of dots, and one measure against the other."""

from __future__ import annotations

from collections.abc import Callable

from markupsafe import Markup

from voxgate.records.sensitivity import LayerLoss, SensitivityRecord
from voxgate.report import formats
from voxgate.report.charts import svg
from voxgate.report.charts.axes import Scale, linear
from voxgate.report.page import Chart, Mark

MOST_ROWS = 25  # more are not read; the table has them all
_ROW = 20.0
_LEFT, _RIGHT = 150.0, 330.0

# What is alone quantized, and what is alone in float: a shape and a colour each.
_LOST: tuple[svg.Shape, str] = ("circle", "t-int8")
_GAINED: tuple[svg.Shape, str] = ("ring", "t-fp32")

_Value = Callable[[LayerLoss], float | None]


def dice_chart(record: SensitivityRecord) -> Chart | None:
    """Dice lost and gained, a row a layer; the band is what chance alone does."""
    shown = [layer for layer in record.layers if layer.dice_lost is not None][:MOST_ROWS]
    if not shown:
        return None
    x = linear(_values(shown, "dice"), _LEFT, _RIGHT, zero=True)
    bottom = 22 + _ROW * len(shown)
    rows = svg.join(
        [_row(layer, x, 22 + _ROW * number, *_DICE) for number, layer in enumerate(shown)]
    )
    worst = shown[0]
    drawing = svg.drawing(
        "Dice of each layer",
        f"{worst.name} loses {_DICE[2](worst.dice_lost)} alone quantized",
        bottom + 34,
        svg.text(svg.WIDTH, 12, "lost", anchor="end", class_="axis"),
        svg.x_axis(x, 16, bottom, "Dice", most=4),
        svg.rule(x(0), 16, x(0), bottom, "leader"),
        rows,
    )
    more = len(record.layers) - len(shown)
    left_out = f"{formats.count(more, 'layer')} more in the table below." if more else ""
    return Chart(
        title="Dice that each layer loses alone, and brings back alone in float",
        drawing=drawing,
        legend=_legend(record),
        note=left_out,
    )


def noise_chart(record: SensitivityRecord) -> Chart | None:
    """SQNR with each layer alone quantized."""
    shown = [layer for layer in record.layers if layer.sqnr_db is not None]
    shown = sorted(shown, key=lambda layer: layer.sqnr_db or 0.0)[:MOST_ROWS]
    if not shown:
        return None
    whole = record.wholes[record.alone_in].sqnr_db
    x = linear((*(layer.sqnr_db for layer in shown), whole), _LEFT, _RIGHT)
    bottom = 22 + _ROW * len(shown)
    lines = (svg.rule(x(whole), 16, x(whole), bottom, "leader"),) if whole is not None else ()
    drawing = svg.drawing(
        "SQNR of each layer",
        f"{shown[0].name} leaves least: {formats.number(shown[0].sqnr_db, '.1f')} dB",
        bottom + 34,
        svg.text(svg.WIDTH, 12, "dB", anchor="end", class_="axis"),
        svg.x_axis(x, 16, bottom, "SQNR of the logits, dB", most=4),
        *lines,
        *(_row(layer, x, 22 + _ROW * number, *_SQNR) for number, layer in enumerate(shown)),
    )
    return Chart(
        title="SQNR with each layer alone quantized, the noisiest first",
        drawing=drawing,
        note=f"The line: everything quantized, {formats.number(whole, '.1f')} dB." if lines else "",
    )


def agreement_chart(record: SensitivityRecord) -> Chart | None:
    """Each layer's Dice lost against its SQNR."""
    shown = [
        layer
        for layer in record.layers
        if layer.dice_lost is not None and layer.sqnr_db is not None
    ]
    if len(shown) < 2:
        return None
    x = linear((layer.sqnr_db for layer in shown), 64, 380)
    y = linear((layer.dice_lost for layer in shown), 220, 34, zero=True)
    marks = [
        svg.marker(
            _LOST[0], x(layer.sqnr_db or 0.0), y(layer.dice_lost or 0.0), class_=_LOST[1],
            tooltip=f"{layer.name}: {layer.sqnr_db:.1f} dB, Dice lost {_DICE[2](layer.dice_lost)}",
        )
        for layer in shown
    ]  # fmt: skip
    drawing = svg.drawing(
        "Dice lost against SQNR",
        record.agreement.words,
        256,
        svg.y_axis(y, 64, 380, "Dice lost"),
        svg.x_axis(x, 34, 220, "SQNR of the logits, dB"),
        *marks,
    )
    return Chart(
        title="Does SQNR tell what Dice tells?", drawing=drawing, note=f"{record.agreement.words}."
    )


def _row(
    layer: LayerLoss, x: Scale, top: float, lost: _Value, gained: _Value, words: formats.Words
) -> Markup:
    middle = top + _ROW / 2
    kinds = ((lost, _LOST, "alone quantized"), (gained, _GAINED, "alone in float"))
    marks = [
        svg.marker(
            shape, x(value), middle, class_=class_, tooltip=f"{layer.name}, {what}: {words(value)}"
        )
        for read, (shape, class_), what in kinds
        if (value := read(layer)) is not None
    ]
    return svg.join((
        svg.text(0, middle + 4, svg.shorten(layer.name, _LEFT - 10)),
        *marks,
        svg.text(svg.WIDTH, middle + 4, words(lost(layer)), anchor="end"),
    ))  # fmt: skip


def _legend(record: SensitivityRecord) -> tuple[Mark, ...]:
    return (
        Mark(words=f"lost, alone quantized ({record.alone_in})", shape=_LOST[0], class_=_LOST[1]),
        Mark(
            words=f"nearer to FP32, alone in float ({record.rest_in})",
            shape=_GAINED[0],
            class_=_GAINED[1],
        ),
    )


def _values(layers: list[LayerLoss], kind: str) -> list[float | None]:
    lost, gained, _ = _DICE if kind == "dice" else _SQNR
    return [read(layer) for layer in layers for read in (lost, gained)]


_DICE: tuple[_Value, _Value, formats.Words] = (
    lambda layer: layer.dice_lost,
    lambda layer: layer.dice_regained,
    lambda value: formats.number(value, "+.5f"),
)
_SQNR: tuple[_Value, _Value, formats.Words] = (
    lambda layer: layer.sqnr_db,
    lambda _: None,
    lambda value: formats.number(value, ".1f"),
)
