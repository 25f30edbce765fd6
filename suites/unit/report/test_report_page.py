"""The page and its drawings: data is escaped, nothing is fetched, the same input gives the same bytes."""

from __future__ import annotations

from html.parser import HTMLParser

from voxgate.report import page
from voxgate.report.charts import svg
from voxgate.report.charts.axes import linear

HOSTILE = '<script>alert("x")</script> & \'"><img src=x onerror=alert(1)>'


class Tags(HTMLParser):
    """Every tag and attribute that a browser would see."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.words += data


def every_block(words: str) -> page.Page:
    """A page that shows the words in every place that takes any."""
    drawing = svg.drawing(
        words, words, 60,
        svg.x_axis(linear([0, 1], 10, 390), 0, 20, words),
        svg.marker("circle", 10, 10, tooltip=words, class_="t-int8"),
        svg.bar(10, 20, 30, 5, tooltip=words, class_="t-fp32"),
        svg.text(0, 50, words),
    )  # fmt: skip
    table = page.Table(
        caption=words,
        columns=(page.Column(heading=words, note=words), page.Column(heading="b", numeric=True)),
        rows=((words, page.Cell(text=words, tone="failed", note=words)),),
    )
    mark = page.Mark(words=words, shape="cross", class_="t-int8")
    chart = page.Chart(title=words, drawing=drawing, legend=(mark,), note=words)
    return page.Page(
        title=words,
        subtitle=words,
        banner=page.Banner(
            tone="regression",
            word="regression",
            headline=words,
            reasons=(page.Cell(text=words, tone="failed", note=words),),
        ),
        sections=(
            page.Section(
                title=words,
                blocks=(
                    table,
                    page.Charts(charts=(chart,)),
                    page.Facts(pairs=((words, words),)),
                    page.Prose(paragraphs=(words,)),
                    page.Fold(summary=words, blocks=(table,)),
                ),
            ),
        ),
        footer=words,
    )


def test_hostile_words_are_text_in_every_block() -> None:
    plain, hostile = (Tags(page.render(every_block(words))) for words in ("harmless", HOSTILE))
    assert hostile.tags == plain.tags
    assert [name for name, _ in hostile.attributes] == [name for name, _ in plain.attributes]
    assert HOSTILE in hostile.words


def test_a_page_names_nothing_that_a_browser_would_fetch() -> None:
    seen = Tags(page.render(every_block("harmless")))
    assert not {"script", "img", "iframe", "object", "embed", "use", "image"} & set(seen.tags)
    fetched = {value for name, value in seen.attributes if name in {"src", "href", "xlink:href"}}
    assert fetched == {"data:,"}
    assert "url(" not in page.render(every_block("harmless"))


def test_characters_that_work_unseen_are_shown_as_such() -> None:
    html = page.render(every_block("a\x1b[31mb\x00c\N{RIGHT-TO-LEFT OVERRIDE}d"))
    assert "a\ufffd[31mb\ufffdc\ufffdd" in html
    assert not {"\x1b", "\x00", "\N{RIGHT-TO-LEFT OVERRIDE}"} & set(html)


def test_the_same_page_gives_the_same_bytes() -> None:
    assert page.render(every_block("x")) == page.render(every_block("x"))


def test_a_status_is_a_word_and_not_a_colour_alone() -> None:
    assert Tags(page.render(every_block("x"))).words.count("regression") >= 2


def test_numbers_in_drawings_are_short() -> None:
    assert svg.element("line", x1=1 / 3, y1=2.0, class_="a") == (
        '<line x1="0.33" y1="2" class="a"></line>'
    )


def test_an_arrow_too_short_for_a_head_is_not_drawn() -> None:
    assert svg.arrow((0, 0), (5, 5), "a") == ""
    assert "arrowhead" in svg.arrow((0, 0), (50, 5), "a")


def test_long_words_are_cut_with_an_ellipsis() -> None:
    assert svg.shorten("short", 100) == "short"
    assert svg.shorten("a very long organ name", 70) == "a very lo…"
