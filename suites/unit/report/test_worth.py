"""Whether INT8 is worth it beside FP16: in table, page and Markdown, without being asked."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

import pytest
from rich.console import Console
from voxgate.metrics.ratios import ratios_of
from voxgate.records.case import Precision
from voxgate.records.run import CaseResult, RunRecord
from voxgate.report import worth
from voxgate.report.markdown import markdown_of
from voxgate.report.pages import html_of
from voxgate.report.terminal import build_table, make_console, print_record

from suites.support.report_records import eight_networks, run_of

# Milliseconds of U-Net by TensorRT 8.6.0 on an H100; the second list is of a network of which INT8
# makes something.
UNET: dict[Precision, float] = {
    "fp32": 8.30, "tf32": 3.09, "fp16": 1.76, "int8": 4.18, "int8-fp16": 1.66,
}  # fmt: skip
BETTER: dict[Precision, float] = {"fp32": 8.0, "fp16": 2.0, "int8-fp16": 1.0}
SLOWER = "unet/mni152/tensorrt/int8 is not worth it: fp16 is 2.38x faster"


def on_tensorrt(times_ms: dict[Precision, float], **status: str) -> RunRecord:
    like = {case.precision: case for case in eight_networks().cases if case.model == "unet"}
    cases: list[CaseResult] = []
    for precision, median in times_ms.items():
        case = like["int8" if precision.startswith("int8") else "fp32"]
        latency = replace(case.latency_ms, median=median)  # type: ignore[type-var]
        cases.append(
            replace(case, backend="tensorrt", precision=precision, latency_ms=latency,
                    status=status.get(precision.replace("-", "_"), "ok"))  # type: ignore[arg-type]
        )  # fmt: skip
    return run_of(cases)


def printed(record: RunRecord) -> str:
    stream = io.StringIO()
    print_record(make_console(stream), record)
    return stream.getvalue()


def every_output(record: RunRecord) -> Sequence[str]:
    markdown = markdown_of(record, None).replace("&#8288;", "")
    return printed(record), html_of(record, None), markdown


def test_each_output_says_by_itself_that_int8_is_not_worth_it() -> None:
    for output in every_output(on_tensorrt(UNET)):
        assert "not worth it: fp16 is 2.38x faster" in output
        assert "int8-fp16 is not worth it" not in output


def without_dice(record: RunRecord, precision: Precision, lost: float) -> RunRecord:
    dice = next(case.dice for case in record.cases if case.precision == "fp32")
    assert dice is not None
    return run_of([
        replace(case, dice=replace(dice, mean=dice.mean - (lost if case.precision == precision else 0)))
        for case in record.cases
    ])  # fmt: skip


@pytest.mark.parametrize("precision", ["fp16", "int8-fp16"])
def test_each_output_says_that_a_case_lost_its_dice(precision: Precision) -> None:
    for output in every_output(without_dice(on_tensorrt(BETTER), precision, 0.5)):
        assert f"unet/mni152/tensorrt/{precision} lost 0.500 of FP32" in output


def test_a_loss_by_rounding_is_none_to_speak_of() -> None:
    for output in every_output(without_dice(on_tensorrt(BETTER), "int8-fp16", 0.019)):
        assert "may be lost" not in output


def test_what_is_as_fast_is_called_so() -> None:
    found = worth.doubts(on_tensorrt(UNET | {"int8-fp16": 1.75}).ratios)
    assert found == (SLOWER, "unet/mni152/tensorrt/int8-fp16 is not worth it: fp16 is as fast")


def test_each_output_has_the_ratio_over_the_fastest_float_engine() -> None:
    table, page, markdown = every_output(on_tensorrt(UNET))
    assert "1.06x fp16" in table
    assert "0.42x fp16" in table
    for output in (page, markdown):
        assert "1.06× fp16" in output
        assert "as fast as the fastest float engine" in output


def test_int8_that_is_worth_it_is_left_in_peace() -> None:
    for output in every_output(on_tensorrt(BETTER)):
        assert "not worth it" not in output
        assert "2.00× fp16" in output.replace("2.00x", "2.00×")


def test_a_float_engine_whose_times_say_nothing_is_no_rival() -> None:
    record = on_tensorrt(UNET, fp16="inconclusive")
    rows = {row.precision: row for row in record.ratios}
    assert rows["int8"].fastest_float == "tf32"
    assert worth.cell(rows["int8-fp16"]) == "1.86× tf32"


def test_beside_fp32_alone_there_is_no_further_column() -> None:
    record = eight_networks()
    assert not worth.is_told(record.ratios)
    for output in every_output(record):
        assert worth.HEADING not in output
        assert "as fast as the fastest float engine" not in output


@pytest.mark.parametrize("times_ms", [UNET, BETTER])
def test_the_widest_table_fits_what_a_pipe_gets(times_ms: dict[Precision, float]) -> None:
    record = on_tensorrt(times_ms)
    cases = [
        replace(case, model="vista3d-released", backend="tensorrt-rtx") for case in record.cases
    ]
    record = run_of(cases)
    console = make_console(io.StringIO())
    table = build_table(replace(record, ratios=ratios_of(cases)), wide=True)
    assert worth.HEADING in [column.header for column in table.columns]
    assert console.measure(table).maximum <= console.width


def test_a_narrow_terminal_gets_the_words_instead_of_the_column() -> None:
    stream = io.StringIO()
    print_record(Console(file=stream, width=100, markup=False), on_tensorrt(UNET))
    assert worth.HEADING not in stream.getvalue()
    assert "not worth it: fp16" in stream.getvalue()
