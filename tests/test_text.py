from __future__ import annotations

import ast
import re
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.text import (
    command,
    elided,
    escaped,
    first_line,
    one_line,
    printable,
    shortened,
    some,
    visible,
    without_password,
)

ZERO_WIDTH_JOINER = "\u200d"
CHEF = f"\N{MAN}{ZERO_WIDTH_JOINER}\N{COOKING}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:pw@db/x", "postgresql://***@db/x"),
        ("http://token@host:1/a and http://b/c@d", "http://***@host:1/a and http://b/c@d"),
        ("sqlite:////home/me@work/mlflow.db", "sqlite:////home/me@work/mlflow.db"),
    ],
)
def test_passwords_in_addresses_are_not_shown(text: str, shown: str) -> None:
    """User and password of a URL are hidden; an @ in a path is not one."""
    assert without_password(text) == shown


def test_addresses_without_a_secret_are_shown_as_they_are() -> None:
    """An at sign in a path and a port are no password, and no parameter is lost."""
    for url in [
        "sqlite:////home/me@work/x.db",
        "http://host:5000/a@b",
        "http://127.0.0.1:5000/#/experiments/1/runs?viewStateShareKey=x&searchFilter=a",
        "postgresql://db/x?sslmode=require",
    ]:
        assert without_password(url) == url


@given(text=st.text())
def test_nothing_in_a_printable_text_is_obeyed(text: str) -> None:
    """Each character that a terminal would obey is a mark; every other one stays in its place."""
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown) == len(text)
    assert all(b in (a, "�") for a, b in zip(text, shown, strict=True))
    if text.isprintable():
        assert shown == text


def test_a_page_keeps_what_joins_letters() -> None:
    """Fonts make one picture of joined emoji; on a terminal the joiner is a mark."""
    assert visible(CHEF) == CHEF
    assert printable(CHEF) == CHEF.replace(ZERO_WIDTH_JOINER, "�")


@given(text=st.text(), mark=st.sampled_from("�▯"))
def test_visible_text_differs_from_printable_in_joiners_and_mark(text: str, mark: str) -> None:
    """Without joiners both show the same."""
    text = re.sub("[\u200c\u200d]", "", text)
    assert visible(text, mark=mark) == "".join(
        b if a == b else mark for a, b in zip(text, printable(text), strict=True)
    )


@given(text=st.text(st.characters(exclude_characters="\\'")))
def test_what_was_escaped_can_be_read_back(text: str) -> None:
    """The text is on one line, and Python reads the original out of it."""
    shown = escaped(text)
    assert shown.isprintable()
    assert ast.literal_eval(f"'{shown}'") == text


def test_one_line_has_the_words_of_all_lines() -> None:
    """Breaks, tabs and repeated spaces become one space."""
    assert one_line("  one\ttwo\r\n\nthree  ") == "one two three"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("first\nsecond"), "first"),
        (ValueError("\n\n  said late \nmore"), "said late"),
        (TimeoutError(), "TimeoutError"),
        (ValueError(" \n "), "ValueError"),
    ],
)
def test_the_first_line_of_an_error_says_something(error: Exception, line: str) -> None:
    """The first line with text in it, or the kind of an error without any."""
    assert first_line(error) == line


@given(text=st.text(), longest=st.integers(1, 30))
def test_shortened_text_keeps_its_beginning(text: str, longest: int) -> None:
    """What fits is unchanged; what does not is exactly as long as allowed."""
    short = shortened(text, longest=longest)
    if len(text) <= longest:
        assert short == text
    else:
        assert len(short) == longest
        assert short[-1] == "…"
        assert text.startswith(short[:-1])


@given(text=st.text(), longest=st.integers(1, 30))
def test_elided_text_keeps_its_ends(text: str, longest: int) -> None:
    """What fits is unchanged; what does not is exactly as long as allowed."""
    short = elided(text, longest=longest)
    if len(text) <= longest:
        assert short == text
    else:
        assert len(short) == longest
        head, _, tail = short.rpartition("…")
        assert text.startswith(head)
        assert text.endswith(tail)


def test_of_many_items_some_are_named_and_the_rest_counted() -> None:
    """All of a few, the first of many."""
    assert some([]) == ""
    assert some(["a", "b", "c"]) == "a, b, c"
    assert some(["a", "b", "c"], n=1) == "a, and 2 more"


@given(words=st.lists(st.text(min_size=1).filter(lambda word: "\0" not in word), min_size=1))
def test_a_printed_command_is_what_the_shell_reads(words: list[str]) -> None:
    """Spaces, quotes and brackets in paths survive copying."""
    assert shlex.split(command(*words)) == words
