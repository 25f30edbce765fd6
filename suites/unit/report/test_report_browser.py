"""The report in a real browser: it is drawn, it is legible, and it asks for nothing but itself."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from voxgate.records.file import AnyRecord
from voxgate.report.pages import html_of
from voxgate.report.paper import read_paper

from suites.support import report_records as records
from suites.support import sensitivity_records, study_records
from suites.support.ledger_records import with_ledger

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
if CHROMIUM is None:
    pytest.skip(
        "no Chromium to show reports in; install it, for instance with 'apt-get install chromium'",
        allow_module_level=True,
    )
playwright = pytest.importorskip(
    "playwright.sync_api", reason="install playwright with 'pip install playwright'"
)

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip

# Every text node that can be seen: words, size in CSS pixels as drawn, colours, and what is behind.
TEXTS = """
() => {
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const parent = walker.currentNode.parentElement;
    const words = walker.currentNode.textContent.trim();
    const box = parent.getBoundingClientRect();
    if (!words || !box.width || parent.closest("svg title, svg desc, script, style")) continue;
    const style = getComputedStyle(parent);
    const svg = parent.closest("svg.chart");
    const scale = svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1;
    let behind = parent;
    while (behind && getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)")
      behind = behind.parentElement;
    found.push({
      words,
      pixels: parseFloat(style.fontSize) * scale,
      ink: svg ? style.fill : style.color,
      paper: getComputedStyle(behind || document.body).backgroundColor,
    });
  }
  return found;
}
"""
MARKS = """
() => [...document.querySelectorAll("svg.chart")].map(svg => ({
  title: svg.querySelector("title").textContent,
  role: svg.getAttribute("role"),
  desc: svg.querySelector("desc").textContent,
  boxes: [...svg.querySelectorAll(".mark")].map(mark => {
    const box = mark.getBoundingClientRect();
    return [box.width, box.height, mark.querySelector("title").textContent];
  }),
  outside: [...svg.querySelectorAll("text, .mark")].filter(one => {
    const inner = one.getBoundingClientRect(), outer = svg.getBoundingClientRect();
    return inner.left < outer.left - 1 || inner.right > outer.right + 1
      || inner.top < outer.top - 1 || inner.bottom > outer.bottom + 1;
  }).map(one => one.textContent),
}))
"""
OPEN_ALL = "() => document.querySelectorAll('details').forEach(one => one.open = true)"

KINDS: dict[str, Callable[[], AnyRecord]] = {
    "run": records.eight_networks,
    "problems": records.with_problems,
    "classes": records.many_classes,
    "gate": records.red_gate,
    "ledger": with_ledger,
    "comparison": records.comparison,
    "study": study_records.made,
    "sensitivity": sensitivity_records.sensitivity,
    "proxy": lambda: sensitivity_records.sensitivity(dice=False, budget=False),
}


@dataclass
class Seen:
    """A page, and whatever the browser asked for or complained of while it showed it."""

    page: Any
    address: str
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    paths = {name: folder / f"{name}.html" for name in KINDS}
    for name, path in paths.items():
        path.write_text(html_of(KINDS[name](), read_paper()))
    return paths


@pytest.fixture
def show(browser: Any, files: dict[str, Path]) -> Iterator[Callable[..., Seen]]:
    """Open a page at a width, light or dark, with everything folded out."""
    contexts = []

    def opened(kind: str, width: int = 1280, scheme: str = "light") -> Seen:
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        contexts.append(context)
        seen = Seen(context.new_page(), files[kind].as_uri())
        seen.page.on("request", lambda request: seen.requests.append(request.url))
        seen.page.on("console", lambda message: seen.complaints.append(message.text))
        seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        seen.page.goto(seen.address)
        seen.page.evaluate(OPEN_ALL)
        return seen

    yield opened
    for context in contexts:
        context.close()


def luminance(colour: str) -> float:
    """Relative luminance of an rgb() colour, as WCAG defines it."""
    parts = [float(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(ink: str, paper: str) -> float:
    light, dark = sorted((luminance(ink), luminance(paper)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_the_browser_asks_for_the_file_alone_and_complains_of_nothing(
    show: Callable[..., Seen], kind: str
) -> None:
    seen = show(kind)
    seen.page.wait_for_timeout(100)
    assert seen.requests in ([seen.address], [seen.address, "data:,"])
    assert seen.complaints == []
    assert seen.page.locator("h1").is_visible()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (
            "run",
            {
                "Latency against engine size": 24,
                "Int8 coverage by multiply-accumulates": 9,  # SwinUNETR has two parts
                "Latency: FP32, simulated and real INT8": 24,
                "Engine size: FP32, simulated and real INT8": 24,
                "Dice of each class": 48,
                "Latency samples of unet": 3 * 3 * 9,
            },
        ),
        ("classes", {"Dice of each class": 60, "Latency against engine size": 3}),
        ("ledger", {"Where the Dice goes": 2 * 3 * 3}),  # of four classes one is absent
        ("gate", {"Paired launches": 3 + 3 + 3 + 3}),
        (
            "study",
            {
                "Dice lost against the number of patches": 8,
                "Int8 coverage against the number of patches": 8,
            },
        ),
        (
            "sensitivity",
            {"Dice of each layer": 2 * 25, "SQNR of each layer": 25, "Dice lost against SQNR": 29},
        ),
        ("proxy", {"SQNR of each layer": 25}),
        ("problems", {"Latency against engine size": 21, "Dice of each class": 42}),
    ],
)
def test_every_datum_is_a_mark_that_can_be_seen_and_says_its_value(
    show: Callable[..., Seen], kind: str, expected: dict[str, int]
) -> None:
    drawn = {chart["title"]: chart for chart in show(kind).page.evaluate(MARKS)}
    assert {title: len(drawn[title]["boxes"]) for title in expected} == expected
    for chart in drawn.values():
        assert chart["role"] == "img"
        assert chart["desc"]
        assert all(width > 0 and height > 0 and words for width, height, words in chart["boxes"])


@pytest.mark.parametrize("width", [375, 1280])
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_drawn_leaves_its_chart_and_no_page_scrolls_sideways(
    show: Callable[..., Seen], kind: str, width: int
) -> None:
    page = show(kind, width).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert [chart["outside"] for chart in page.evaluate(MARKS) if chart["outside"]] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", KINDS)
def test_all_text_stands_out_and_none_is_too_small_on_a_phone(
    show: Callable[..., Seen], kind: str, scheme: str
) -> None:
    texts = show(kind, 375, scheme).page.evaluate(TEXTS)
    assert len(texts) > 100
    assert min(texts, key=lambda text: text["pixels"])["pixels"] >= 9
    weak = [text for text in texts if contrast(text["ink"], text["paper"]) < 4.5]
    assert weak == []


def test_dark_and_light_are_two_looks_of_one_file(show: Callable[..., Seen]) -> None:
    colour = "getComputedStyle(document.body).backgroundColor"
    light, dark = (show("run", scheme=scheme).page.evaluate(colour) for scheme in ("light", "dark"))
    assert luminance(light) > 0.8
    assert luminance(dark) < 0.05


def test_labels_of_the_eight_networks_do_not_cover_each_other(show: Callable[..., Seen]) -> None:
    boxes = show("run").page.evaluate(
        "() => [...document.querySelectorAll('svg.chart .halo')].map(one => {"
        "const b = one.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]; })"
    )
    assert len(boxes) == 8
    for i, a in enumerate(boxes):
        for b in boxes[i + 1 :]:
            apart = a[2] <= b[0] or b[2] <= a[0] or a[3] - 3 <= b[1] or b[3] - 3 <= a[1]
            assert apart
