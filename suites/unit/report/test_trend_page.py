"""The page of a trend: every mark is there, and no name of a record becomes markup."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

from voxgate.records.run import RunRecord
from voxgate.report.trend import page_of
from voxgate.verdicts.trend.readings import read_run
from voxgate.verdicts.trend.series import make_trend

from suites.support.histories import ENVIRONMENT, case, failed, night, upgraded

HOSTILE = "</title><script>alert(1)</script>\"'&\x1b[31m"


def page(*runs: RunRecord) -> str:
    readings = [read_run(f"{number:03d}.json", run) for number, run in enumerate(runs)]
    return page_of(make_trend(readings), "records")


def history() -> list[RunRecord]:
    """A slower INT8 engine since the upgrade at the eighth night; the fourth one failed."""
    runs = []
    for number in range(14):
        int8 = case(100.0 + number % 3 + (20 if number >= 8 else 0))
        runs.append(
            night(
                number,
                case(500.0 + number % 2, precision="fp32"),
                failed(int8) if number == 3 else int8,
                environment=upgraded("2026.4") if number >= 8 else ENVIRONMENT,
            )
        )
    return runs


def latency_chart(document: str) -> str:
    return document.partition("<title>latency of unet</title>")[2].partition("</svg>")[0]


def test_every_point_level_step_event_and_gap_is_drawn() -> None:
    chart = latency_chart(page(*history()))
    assert len(re.findall(r'class="mark filled t-fp32"', chart)) == 14
    assert len(re.findall(r'class="mark filled t-int8"', chart)) == 13
    assert len(re.findall(r'class="mark stroked t-accent"', chart)) == 1
    assert len(re.findall(r'class="level t-fp32"', chart)) == 1
    assert len(re.findall(r'class="level t-int8"', chart)) == 3  # one breaks at the gap
    assert len(re.findall(r'class="step worsening"', chart)) == 1
    assert len(re.findall(r'class="event"', chart)) == 1
    assert "openvino 2026.4" in chart
    assert "no value: failed: node &#39;conv2&#39; has no implementation" in chart


def test_the_worst_comes_first_with_its_cause() -> None:
    document = page(*history())
    assert "<title>1 worsening: Trend of records</title>" in document
    banner = document.partition('class="banner regression"')[2].partition("</header>")[0]
    assert "unet/mni152/openvino/int8: latency +1" in banner
    assert "openvino 2026.1 → 2026.4; commit aaaaaaaaaaaa → bbbbbbbbbbbb" in banner


def test_what_is_tentative_and_what_is_steady_is_not_called_worse() -> None:
    steady = [night(number, case()) for number in range(8)]
    assert "<title>no worsening:" in page(*steady)
    document = page(*steady, night(8, case(engine_bytes=7_000_000)))
    assert "<title>tentative:" in document
    assert 'class="step worsening"' in document
    assert 'stroke-dasharray="2 3"' in document
    assert "<title>no values:" in page(night(0, failed(case())))


def test_names_from_records_stay_text() -> None:
    environment = replace(
        ENVIRONMENT, cpu=HOSTILE, host=HOSTILE, git_commit=HOSTILE, backends={"openvino": HOSTILE}
    )
    bad = case(model=HOSTILE)
    runs = [night(number, bad) for number in range(4)]
    runs += [night(4, failed(bad, HOSTILE)), night(5, case(50.0, model=HOSTILE), environment=environment)]  # fmt: skip
    runs += [night(n, case(50.0, model=HOSTILE), environment=upgraded(HOSTILE)) for n in (6, 7, 8)]
    document = page(*runs)
    assert "<script" not in document
    assert "\x1b" not in document
    assert document.count("&lt;script&gt;") > 20
    tags: set[str] = set()

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.add(tag)
            assert not [name for name, _ in attrs if name.startswith("on")]

    Parser().feed(document)
    assert not tags & {"script", "img", "iframe", "a"}
    assert "http" not in document.replace("http-equiv", "")


def test_a_long_history_shows_its_newest_records_and_says_so() -> None:
    runs = [night(number, case(100.0 + number % 5)) for number in range(400)]
    document = page(*runs)
    assert "The newest 365 records; 35 older ones are in --json." in document
    assert len(re.findall(r'class="mark filled t-int8"', latency_chart(document))) == 365
    assert page(*runs) == document


def test_one_record_is_a_page_too() -> None:
    document = page(night(0, case()))
    assert "No level has changed." in document
    assert len(re.findall(r'class="mark filled t-int8"', latency_chart(document))) == 1


def test_zeros_can_be_drawn() -> None:
    runs = [night(number, case(dice=0.0, memory_mib=0.0, engine_bytes=0)) for number in range(3)]
    assert 'class="level t-int8"' in page(*runs)
    assert "from nothing" not in page(*runs)
