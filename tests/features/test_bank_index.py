"""The bank's index finds what a dictionary of names would."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.features.bank_index import NOWHERE, BankIndex, RowNames

pytestmark = pytest.mark.any_backend

# Few beginnings and few ends: hashes that only begin alike are the rule here.
HASHES = st.tuples(st.sampled_from(["00" * 8, "7f" * 8, "ff" * 8]), st.sampled_from("0a5f")).map(
    lambda parts: parts[0] + parts[1] * 48
)
NAMES = st.lists(st.tuples(HASHES, st.sampled_from([":0", ":1:x", ""])).map("".join), max_size=12)


@given(
    chunks=st.lists(NAMES.map(lambda names: list(dict.fromkeys(names))), max_size=4), asked=NAMES
)
@settings(deadline=None)
def test_it_finds_what_a_dictionary_finds(chunks: list[list[str]], asked: list[str]) -> None:
    """Chunk and row of the first chunk that has a name; nowhere for others; dropped ones go."""
    index, expected = BankIndex(), {}
    for number, names in enumerate(chunks):
        index.add(RowNames.of(names), number)
        for row, name in enumerate(names):
            expected.setdefault(name, (number, row))
    assert len(index) == len(expected)
    chunk, row = index.find(RowNames.of(asked))
    found = [expected.get(name, (NOWHERE, NOWHERE)) for name in asked]
    assert list(zip(chunk.tolist(), row.tolist(), strict=True)) == found
    index.drop(0)
    chunk, _ = index.find(RowNames.of(asked))
    assert chunk.tolist() == [NOWHERE if at == 0 else at for at, _ in found]


@pytest.mark.parametrize("name", ["{:064x}", "{:016x}{:016x}{:016x}{:016x}", "{:x<64}"])
def test_names_that_are_no_hashes_are_told_apart(name: str) -> None:
    """Numbers with zeros before them, four times the same, or words: each is in its own row."""
    names = RowNames.of([name.format(i, i, i, i) + ":0" for i in range(20_000)])
    index = BankIndex()
    index.add(names, 0)
    assert len(index) == len(names)
    np.testing.assert_array_equal(index.find(names)[1], np.arange(len(names)))


def test_hashes_are_found_among_many() -> None:
    """Each of ten thousand, in the chunk and the row where it was added."""
    digests = np.random.default_rng(0).integers(0, 256, (10_000, 32), dtype=np.uint8)
    index = BankIndex()
    for number, part in enumerate(np.split(digests, 10)):
        index.add(RowNames(part, np.zeros(1000, dtype=np.int64), (":0",)), number)
    order = np.random.default_rng(1).permutation(10_000)
    chunk, row = index.find(RowNames(digests[order], np.zeros(10_000, dtype=np.int64), (":0",)))
    np.testing.assert_array_equal(1000 * chunk + row, order)
