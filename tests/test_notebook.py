"""Titles, tables and sentences as notebooks show them."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np

from tuner.notebook import lines, page, paragraph, progress, sentences, shown, table


class Cells(HTMLParser):
    """The texts of a table's cells, row by row."""

    def __init__(self, html):
        super().__init__()
        self.rows = []
        self.feed(str(html))

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data):
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


def test_a_table_has_its_values_in_words_of_the_field():
    """Counts have commas, shares three digits, and what is missing is a dash."""
    rows = [("a", np.int64(12345), 0.5), ("b", None, float("nan"))]
    html = table(("class", "images", "recall"), rows, bars={"recall": 1.0})
    assert Cells(html).rows == [
        ["class", "images", "recall"],
        ["a", "12,345", "0.500"],
        ["b", "–", "–"],
    ]


def test_names_of_users_are_text():
    """A class called like a tag, a file or a note cannot become HTML."""
    evil = "<script>alert(1)</script>"
    html = page(evil, table((evil,), [(evil,)]), paragraph(evil), sentences([evil]), lines([evil]))
    assert evil not in html + str(progress(0.5, evil))
    assert html.count("&lt;script&gt;") == 6


def test_a_bar_is_as_long_as_its_value():
    """The value that fills a bar does, half of it fills half, and none passes its end."""
    html = str(table(("n",), [(10,), (5,), (99,)], bars={"n": 10.0}))
    assert [part.split("em")[0] for part in html.split("width:")[1:]] == ["6.00", "3.00", "6.00"]


def test_what_is_empty_takes_no_room():
    """Without a title, sentences or lines nothing of them is drawn."""
    assert page("", paragraph(""), sentences([]), lines([""])).endswith("</style></div>")


def test_a_long_list_says_how_much_it_leaves_out():
    """Of 200 small classes twelve are named."""
    html = str(sentences([f"class {k}" for k in range(200)]))
    assert html.count("<li>") == 13
    assert "and 188 more" in html


def test_shown_keeps_whole_numbers_whole():
    """NumPy's and Python's integers are counts, their floats are shares."""
    assert [shown(x) for x in (3, np.int64(3), 3.0, np.float32(0.5))] == [
        "3",
        "3",
        "3.000",
        "0.500",
    ]
