"""Templates in which everything that is not known to be HTML is escaped."""

from __future__ import annotations

from html.parser import HTMLParser
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError
from markupsafe import Markup

from tuner.report.page.templates import bdi, environment, fixed, moment, signed
from tuner.text import visible


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


def rendered(source: str, **values: object) -> str:
    """A template given as text."""
    return environment().from_string(source).render(**values)


@given(st.text())
def test_any_text_reads_back_as_itself(text):
    """As content and as attribute: what a reader sees is the text, and no element more."""
    shown = "\n".join(visible(line) for line in text.split("\n"))
    read = Reader(rendered('<p title="{{ text }}">{{ text }}</p>', text=text))
    assert read.text == shown
    assert read.tags == ["p"]
    assert read.values == [shown]


@given(st.text())
def test_a_macro_escapes_what_it_is_given_once(text):
    """Through a macro, a call and a name, too, nothing becomes HTML and nothing twice text."""
    source = "{% macro m(x) %}<b>{{ x }}{{ caller() }}</b>{% endmacro %}"
    source += "{% call m(text) %}{{ text|bdi }}{% endcall %}"
    shown = "\n".join(visible(line) for line in text.split("\n"))
    read = Reader(rendered(source, text=text))
    assert read.text == 2 * shown
    assert [tag for tag in read.tags if tag != "wbr"] == ["b", "bdi"]


def test_html_is_put_in_as_it_is_and_only_html():
    """What is known to be HTML is not escaped again; equal plain text is; nothing is nothing."""
    assert rendered("{{ x }}", x=Markup("<b>x</b>")) == "<b>x</b>"
    assert rendered("{{ x }}", x="<b>x</b>") == "&lt;b&gt;x&lt;/b&gt;"
    assert rendered("{{ x }}|{{ y }}", x=None, y=3) == "|3"


def test_a_value_that_is_missing_is_an_error():
    """A template never shows an empty place because a name was misspelt."""
    with pytest.raises(UndefinedError, match="'recal' is undefined"):
        rendered("{{ recal }}", recall=1)


def test_long_names_may_break_between_their_words():
    """Behind marks that join words, and nowhere within a word or a number."""
    assert bdi("oxide_scale/3.5_t-x") == "<bdi>oxide_<wbr>scale/3.5_<wbr>t-<wbr>x</bdi>"
    assert bdi("_<b>_") == "<bdi>_&lt;b&gt;_</bdi>"


def test_numbers_are_written_with_a_minus_sign():
    """A hyphen is no sign; what is unknown is empty; a time that is none stays as it is."""
    assert (fixed(-0.1234), fixed(0.5, 1), fixed(None)) == ("−0.123", "0.5", "")
    assert (signed(-0.1), signed(0.0)) == ("−0.100", "+0.000")
    assert moment("2026-11-24T01:02:03+0000") == "2026-11-24 01:02 UTC"
    assert moment("yesterday <") == "yesterday <"


def test_rates_are_cells_with_a_share():
    """Images found of a class are a cell with a bar between 0 and 1, without any, too."""
    source = (
        '{% from "macros.html" import k_of_n %}{{ k_of_n(row, 0) }}{{ k_of_n(row, 1, "wide") }}'
    )
    one = '<span class="of"> of 4</span></td>'
    assert rendered(source, row=[1, 3]) == (
        f'<td class="rate" style="--share:0.250">1{one}'
        f'<td class="wide rate" style="--share:0.750">3{one}'
    )
    assert 'style="--share:0.000">0<' in rendered(source, row=[0, 0])


def test_templates_are_part_of_the_package():
    """An installed package finds each of them, and each can be read."""
    files = [f.name for f in resources.files("tuner.report.page").joinpath("templates").iterdir()]
    assert "page.html" in files
    assert sorted(environment().list_templates()) == sorted(files)
    for file in files:
        environment().get_template(file)
