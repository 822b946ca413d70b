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

from tuner.arrays import Bool, Int64, UInt8
from tuner.columns import digests_of, sortable

Chunks = Any  # int32 arrays
NOWHERE = -1


class RowNames(Sequence[str]):
    """Names of rows, which read like text.

    Args:
        digests: Hashes, uint8 (n_files, 32); of a name that has none, one of itself.
        ending: Number of each row's ending, int64 (n,).
        endings: By number, each with its colon.
        file: Number of each row's hash, int64 (n,); None where each row has its own.
    """

    __slots__ = ("_digests", "_file", "ending", "endings")

    def __init__(
        self,
        digests: UInt8,
        ending: Int64,
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
    """Rows of one ending."""

    keys: Any  # S32 (n,)
    chunk: Chunks
    row: Chunks


class _Sorted(NamedTuple):
    """Rows of one ending in the order of their hashes."""

    rows: _Rows
    starts: Any  # of the hashes, uint64 (n,): found twice as fast as 32 bytes

    @classmethod
    def of(cls, rows: _Rows) -> _Sorted:
        """Rows that are in order."""
        return cls(rows, _starts_of(rows.keys))

    def find(self, keys: Any) -> Int64:
        """Place of each hash, or of the one that it would come before, int64 (n,)."""
        starts = _starts_of(keys)
        place: Int64 = np.searchsorted(self.starts, starts)
        last = len(self.starts) - 1
        here = np.minimum(place, last)
        # Hashes that only begin alike: hardly ever, but for names that are none.
        is_other = (self.starts[here] == starts) & (self.rows.keys[here] != keys)
        place[is_other] = np.searchsorted(self.rows.keys, keys[is_other])
        found: Int64 = np.minimum(place, last)
        return found


class BankIndex:
    """Chunk and row of every name; of a name in several chunks, those of the first."""

    def __init__(self) -> None:
        self._sorted: dict[str, _Sorted] = {}
        self._added: dict[str, list[_Rows]] = defaultdict(list)

    def __len__(self) -> int:
        self._settle()
        return sum(len(known.starts) for known in self._sorted.values())

    def add(self, names: RowNames, chunk: int) -> None:
        """Take in the rows of a chunk, which are numbered as the names come."""
        rows = np.arange(len(names), dtype=np.int32)
        for kind in np.unique(names.ending):
            mine = names.ending == kind
            keys = sortable(names.digests(mine))
            part = _Rows(keys, np.full(len(keys), chunk, dtype=np.int32), rows[mine])
            self._added[names.endings[kind]].append(part)

    def drop(self, chunk: int) -> None:
        """Forget the rows of a chunk."""
        self._settle()
        for ending, known in self._sorted.items():
            is_left = known.rows.chunk != chunk
            if not is_left.all():
                left = _Rows(*(column[is_left] for column in known.rows))
                self._sorted[ending] = _Sorted.of(left)

    def find(self, names: RowNames) -> tuple[Int64, Int64]:
        """Chunk and row of each name, int64 (n,) both; `NOWHERE` where there is none."""
        self._settle()
        chunk, row = (np.full(len(names), NOWHERE, dtype=np.int64) for _ in range(2))
        for kind in np.unique(names.ending):
            known = self._sorted.get(names.endings[kind])
            if known is None or not len(known.starts):
                continue
            mine = np.flatnonzero(names.ending == kind)
            keys = sortable(names.digests(mine))
            place = known.find(keys)
            is_here = known.rows.keys[place] == keys
            chunk[mine[is_here]] = known.rows.chunk[place[is_here]]
            row[mine[is_here]] = known.rows.row[place[is_here]]
        return chunk, row

    def _settle(self) -> None:
        """Sort in what was added: at once, or each chunk would cost as much as all of them."""
        while self._added:  # one after another goes, for they fill memory together
            ending, parts = self._added.popitem()
            if ending in self._sorted:
                parts.insert(0, self._sorted.pop(ending).rows)
            self._sorted[ending] = _Sorted.of(_in_order(parts))


def _starts_of(keys: Any) -> Any:
    """The first eight bytes of hashes as numbers in the same order, uint64 (n,)."""
    starts = keys.view(np.uint8).reshape(-1, keys.itemsize)[:, :8]
    return np.ascontiguousarray(starts).view(">u8").ravel().astype(np.uint64)


def _in_order(parts: list[_Rows]) -> _Rows:
    """Parts as one, without the names that an earlier one has; empties the list."""
    keys, chunk, row = (np.concatenate(column) for column in zip(*parts, strict=True))
    parts.clear()
    order = np.argsort(keys, kind="stable")  # the first chunk stays first
    keys = keys[order]
    is_first = np.append(True, keys[1:] != keys[:-1]) if len(keys) else order
    if not is_first.all():
        order, keys = order[is_first], keys[is_first]
    return _Rows(keys, chunk[order], row[order])
