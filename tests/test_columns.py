"""Columns of text and hashes read like tuples of strings, whatever is in them."""

from __future__ import annotations

import hashlib
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.columns import Hashes, Texts, digests_of, hashes_of, sortable, texts_of

any_text = st.text(st.characters(exclude_categories=["Cs"]))


def hashes(n: int) -> list[str]:
    """Hashes in hexadecimal."""
    return [hashlib.sha256(b"%d" % i).hexdigest() for i in range(n)]


@settings(deadline=None)
@given(strings=st.lists(any_text, max_size=12), data=st.data())
def test_a_column_of_text_is_the_list_it_was_made_of(
    strings: list[str], data: st.DataObject
) -> None:
    """Rows, slices, masks and comparison are those of the list; bytes on disk are, too."""
    column = Texts.of(strings)
    assert list(column) == strings
    assert column == strings == list(pickle.loads(pickle.dumps(column)))
    assert list(column[::-1]) == strings[::-1]
    rows = data.draw(st.lists(st.integers(0, max(len(strings) - 1, 0)), max_size=5))
    if strings:
        assert [column[row] for row in rows] == [strings[row] for row in rows]
        taken = column.take(np.array(rows, dtype=np.int64))
        assert list(taken) == [strings[row] for row in rows]
        assert column[-1] == strings[-1]
        assert column != [*strings[:-1], strings[-1] + "x"]
    with pytest.raises(IndexError):
        column[len(strings)]


def test_hashes_are_kept_as_their_bytes() -> None:
    """32 bytes a hash; what is no hash in lower case stays text, and nothing is lost."""
    found = hashes_of(hashes(5))
    assert isinstance(found, Hashes)
    assert found.digests.shape == (5, 32)
    assert list(found) == hashes(5)
    for other in (["a", "b"], [hashes(1)[0].upper()], [hashes(1)[0][:-2] + " 0"], ["x" * 64]):
        assert isinstance(hashes_of(other), Texts)
        assert list(hashes_of(other)) == other


def test_a_hash_stands_for_itself_beside_others() -> None:
    """Whoever else is in the column, the bytes of a hash are its own."""
    mixed = ["sound", *hashes(2)]
    np.testing.assert_array_equal(digests_of(mixed)[1:], digests_of(hashes(2)))
    assert len(np.unique(sortable(digests_of(mixed)))) == 3


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=20))
def test_hashes_sort_like_their_text(digests: list[bytes]) -> None:
    """NumPy's order of the bytes is that of the hexadecimal text, zeros at the end or not."""
    table = np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, 32)
    order = np.argsort(sortable(table), kind="stable")
    assert list(Hashes(table[order])) == sorted(digest.hex() for digest in digests)


def test_a_column_is_not_copied() -> None:
    """Who has a column already keeps it."""
    column = Texts.of(["a"])
    assert texts_of(column) is column
    assert hashes_of(hashes_of(hashes(2))) == hashes(2)
