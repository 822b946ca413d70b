"""HTML that escapes whatever is not known to be HTML."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from tuner.report.figures.labels import visible
from tuner.report.page.markup import Column, Html, Rate, element, escape, joined, name, table


class Reader(HTMLParser):
    """Text and tags of some HTML."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text, self.tags, self.values = "", [], []
        self.feed(html)
        self.close()

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.values += [value for _, value in attrs]


@given(st.text())
def test_any_text_reads_back_as_itself(text):
    """As content and as attribute: what a reader sees is the text, and no element more."""
    shown = "\n".join(visible(line) for line in text.split("\n"))
    read = Reader(element("p", text, title=text))
    assert read.text == shown
    assert read.tags == ["p"]
    assert read.values in ([shown], [])  # an empty one is left out


def test_html_is_put_in_as_it_is_and_only_html():
    """What was made by these functions is not escaped again; equal plain text is."""
    inner = element("b", "x")
    assert element("p", inner) == "<p><b>x</b></p>"
    assert element("p", str(inner)) == "<p>&lt;b&gt;x&lt;/b&gt;</p>"
    assert isinstance(joined(["<", inner], " "), Html)
    assert escape(3) == "3"
    assert name("a b") == "<bdi>a b</bdi>"


def test_long_names_may_break_between_their_words():
    """Behind marks that join words, and nowhere within a word or a number."""
    assert name("oxide_scale/3.5_t-x") == "<bdi>oxide_<wbr>scale/3.5_<wbr>t-<wbr>x</bdi>"
    assert name("_<b>_") == "<bdi>_&lt;b&gt;_</bdi>"


def test_tables_have_a_caption_and_scopes():
    """The first column heads the rows; a rate is a cell with a share between 0 and 1."""
    found = table("what", [Column("a", "text"), "b"], [["x", Rate("1 of 2", 0.5)]])
    assert "<caption>what</caption>" in found
    assert '<th scope="row" class="text">x</th>' in found
    assert '<td class="rate" style="--share:0.500">1 of 2</td>' in found
