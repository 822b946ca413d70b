"""Where the rows of a bank lie, by name, in arrays however many there are.

A row's name is a hash and an ending that says view, settings and rule (`views.view_key`). There
are millions of the one and few of the other, so that an index keeps, for each ending, the hashes
in order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple, overload

import numpy as np

from tuner.arrays import Bool, Int32, Int64, Ints, UInt8
from tuner.columns import digests_of, sortable

NOWHERE = -1
_BLOCK = 2**17  # rows that are looked up at one time


class RowNames(Sequence[str]):
    """Names of rows, which read like text.

    Args:
        digests: Hashes, uint8 (n_files, 32); of a name that has none, one of itself.
        ending: Number of each row's ending, integers (n,).
        endings: By number, each with its colon.
        file: Number of each row's hash, int64 (n,); None where each row has its own.
    """

    __slots__ = ("_digests", "_file", "ending", "endings")

    def __init__(
        self,
        digests: UInt8,
        ending: Ints,
        endings: Sequence[str],
        *,
        file: Int64 | None = None,
    ) -> None:
        self._digests, self._file = digests, file
        self.ending, self.endings = ending, tuple(endings)

    @classmethod
    def of(cls, keys: Sequence[str]) -> RowNames:
        """Names given as text; those that are names already stay what they are."""
        if isinstance(keys, RowNames):
            return keys
        parts = [key.partition(":") for key in keys]
        endings = [colon + rest for _, colon, rest in parts]
        number = {ending: i for i, ending in enumerate(dict.fromkeys(endings))}
        found = np.fromiter((number[e] for e in endings), dtype=np.int64, count=len(endings))
        return cls(digests_of([head for head, _, _ in parts]), found, tuple(number))

    def __len__(self) -> int:
        return len(self.ending)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> RowNames: ...
    def __getitem__(self, row: int | slice) -> str | RowNames:
        if isinstance(row, slice):
            return self.take(row)
        return str(self.digests(row).tobytes().hex() + self.endings[self.ending[row]])

    def digests(self, rows: Any = slice(None)) -> UInt8:
        """Hashes of some rows, by number, mask or slice, uint8 (n, 32)."""
        found: UInt8 = self._digests[rows if self._file is None else self._file[rows]]
        return found

    def take(self, rows: Any) -> RowNames:
        """Some of them, by number, mask or slice."""
        if self._file is None:
            return RowNames(self._digests[rows], self.ending[rows], self.endings)
        file = self._file[rows]
        return RowNames(self._digests, self.ending[rows], self.endings, file=file)

    def is_first(self) -> Bool:
        """Which of them have not come before, bool (n,)."""
        found = np.zeros(len(self), dtype=np.bool_)
        for kind in np.unique(self.ending):
            rows = np.flatnonzero(self.ending == kind)
            _, first = np.unique(sortable(self.digests(rows)), return_index=True)
            found[rows[first]] = True
        return found


class _Rows(NamedTuple):
    """Rows of one ending, by 16 bytes made of the 32 of their hashes."""

    high: Any  # uint64 (n,)
    low: Any  # uint64 (n,)
    chunk: Int32
    row: Int32

    def find(self, digests: UInt8) -> tuple[Int32, Int32]:
        """Chunk and row of each hash in rows that are in order; `NOWHERE` where there is none."""
        high, low = _halves(digests)
        last = len(self.high) - 1
        place = np.minimum(np.searchsorted(self.high, high), last)
        while True:  # of halves that are the same, those behind: hardly ever
            is_same = self.high[place] == high
            is_here = is_same & (self.low[place] == low)
            is_before = is_same & (self.low[place] < low) & (place < last)
            if not is_before.any():
                break
            place[is_before] += 1
        is_nowhere = ~is_here
        chunk, row = self.chunk[place], self.row[place]
        chunk[is_nowhere] = row[is_nowhere] = NOWHERE
        return chunk, row


class BankIndex:
    """Chunk and row of every name; of a name in several chunks, those of the first."""

    def __init__(self) -> None:
        self._sorted: dict[str, _Rows] = {}
        self._added: dict[str, list[_Rows]] = defaultdict(list)

    def __len__(self) -> int:
        self._settle()
        return sum(len(known.high) for known in self._sorted.values())

    def add(self, names: RowNames, chunk: int) -> None:
        """Take in the rows of a chunk, which are numbered as the names come."""
        for kind in np.unique(names.ending):
            mine = np.flatnonzero(names.ending == kind).astype(np.int32)
            halves = _halves(names.digests(mine))
            part = _Rows(*halves, np.full(len(mine), chunk, dtype=np.int32), mine)
            self._added[names.endings[kind]].append(part)

    def drop(self, chunk: int) -> None:
        """Forget the rows of a chunk."""
        self._settle()
        for ending, known in self._sorted.items():
            is_left = known.chunk != chunk
            if not is_left.all():
                self._sorted[ending] = _Rows(*(column[is_left] for column in known))

    def find(self, names: RowNames) -> tuple[Int32, Int32]:
        """Chunk and row of each name, int32 (n,) both; `NOWHERE` where there is none."""
        self._settle()
        chunk, row = (np.full(len(names), NOWHERE, dtype=np.int32) for _ in range(2))
        for start in range(0, len(names), _BLOCK):
            block = names.ending[start : start + _BLOCK]
            for kind in np.unique(block):
                known = self._sorted.get(names.endings[kind])
                if known is not None and len(known.high):
                    mine = start + np.flatnonzero(block == kind)
                    chunk[mine], row[mine] = known.find(names.digests(mine))
        return chunk, row

    def _settle(self) -> None:
        """Sort in what was added: at once, or each chunk would cost as much as all of them."""
        while self._added:  # one after another goes, for they fill memory together
            ending, parts = self._added.popitem()
            if ending in self._sorted:
                parts.insert(0, self._sorted.pop(ending))
            self._sorted[ending] = _in_order(parts)


def _halves(digests: UInt8) -> tuple[Any, Any]:
    """Two numbers that stand for each hash, uint64 (n,) both: all of its bytes are in them.

    Names that are no hashes of anything, numbers with zeros before them for one, differ, too.
    """
    a, b, c, d = np.ascontiguousarray(digests).view("<u8").T
    low = b ^ _mixed(d)
    return (a ^ _mixed(c)) + _mixed(low), low


def _mixed(numbers: Any) -> Any:
    """Another number for each, all bits of which depend on all (the last steps of SplitMix64)."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


def _in_order(parts: list[_Rows]) -> _Rows:
    """Parts as one, without the names that an earlier one has; empties the list."""
    rows = _Rows(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    parts.clear()
    order = np.lexsort((rows.low, rows.high))  # stable: the first chunk stays first
    high, low = rows.high[order], rows.low[order]
    is_first = np.append(True, (high[1:] != high[:-1]) | (low[1:] != low[:-1]))[: len(order)]
    if not is_first.all():
        order, high, low = order[is_first], high[is_first], low[is_first]
    return _Rows(high, low, rows.chunk[order], rows.row[order])
