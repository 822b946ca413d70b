"""Class names in metric names, judged by MLflow's own check."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name

from tuner.tracking.names import safe_names

NASTY = [
    "support",
    "a/b(c)%",
    "a_b_c__",
    "..",
    ".",
    "",
    " ",
    "x" * 300,
    "x" * 301,
    "😀",
    "猫",
    "<script>alert(1)</script>",
    "Cat",
    "cat",
    "é",
    "e\u0301",
    "e",
    "a:b",
    "/etc/passwd",
    "line\nbreak",
    "null\x00",
    "\udcff",
    "ends ",
    "ends",
    "ﬀ",
    "ff",
    "_2",
    "_",
]


def folded(name):
    """What a database that ignores case and accents compares."""
    plain = unicodedata.normalize("NFKD", name)
    return "".join(c for c in plain if not unicodedata.combining(c)).casefold().strip()


@given(names=st.lists(st.text() | st.sampled_from(NASTY), max_size=30))
def test_every_name_is_taken_by_mlflow_and_distinct(names):
    """Any text, even twice the same, becomes a metric name of its own that MLflow accepts."""
    safe = safe_names(names)
    assert len(safe) == len(names)
    for name in safe:
        _validate_metric_name(f"recall/{name}")
        assert 1 <= len(name) <= 60
        assert "/" not in name
        assert ":" not in name
    assert len({folded(name) for name in safe}) == len(safe)


@given(names=st.lists(st.from_regex(r"[A-Za-z0-9_\-]{1,20}", fullmatch=True), unique_by=str.lower))
def test_names_that_are_fine_stay(names):
    """A name that MLflow takes and no other resembles is unchanged."""
    assert safe_names(names) == names


@given(names=st.lists(st.text(), max_size=10))
def test_names_are_stable_when_made_safe_again(names):
    """Safe names are safe: a second pass changes nothing."""
    safe = safe_names(names)
    assert safe_names(safe) == safe


def test_a_name_that_fits_is_not_taken_by_one_that_was_changed():
    """Where a changed name meets an unchanged one, the unchanged one keeps it."""
    assert safe_names(["a/b", "a_b"]) == ["a_b_2", "a_b"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("猫 1", "猫 1"), ("a/b(c)%", "a_b_c__"), ("..", "_"), ("v1.0", "v1.0"), (" x ", "x")],
)
def test_what_is_kept_and_what_is_replaced(name, expected):
    """Letters of any script, digits, dots and inner spaces stay; other signs become ``_``."""
    assert safe_names([name]) == [expected]
