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


class _Sorted(NamedTuple):
    """Rows of one ending in the order of their hashes."""

    keys: Any  # S32 (n,)
    chunk: Chunks
    row: Chunks


class BankIndex:
    """Chunk and row of every name; of a name in several chunks, those of the first."""

    def __init__(self) -> None:
        self._sorted: dict[str, _Sorted] = {}
        self._added: dict[str, list[_Sorted]] = defaultdict(list)

    def __len__(self) -> int:
        self._settle()
        return sum(len(known.keys) for known in self._sorted.values())

    def add(self, names: RowNames, chunk: int) -> None:
        """Take in the rows of a chunk, which are numbered as the names come."""
        rows = np.arange(len(names), dtype=np.int32)
        for kind in np.unique(names.ending):
            mine = names.ending == kind
            keys = sortable(names.digests(mine))
            part = _Sorted(keys, np.full(len(keys), chunk, dtype=np.int32), rows[mine])
            self._added[names.endings[kind]].append(part)

    def drop(self, chunk: int) -> None:
        """Forget the rows of a chunk."""
        self._settle()
        for ending, known in self._sorted.items():
            is_left = known.chunk != chunk
            if not is_left.all():
                self._sorted[ending] = _Sorted(*(column[is_left] for column in known))

    def find(self, names: RowNames) -> tuple[Int64, Int64]:
        """Chunk and row of each name, int64 (n,) both; `NOWHERE` where there is none."""
        self._settle()
        chunk, row = (np.full(len(names), NOWHERE, dtype=np.int64) for _ in range(2))
        for kind in np.unique(names.ending):
            known = self._sorted.get(names.endings[kind])
            if known is None or not len(known.keys):
                continue
            mine = np.flatnonzero(names.ending == kind)
            keys = sortable(names.digests(mine))
            place = np.minimum(np.searchsorted(known.keys, keys), len(known.keys) - 1)
            is_here = known.keys[place] == keys
            chunk[mine[is_here]] = known.chunk[place[is_here]]
            row[mine[is_here]] = known.row[place[is_here]]
        return chunk, row

    def _settle(self) -> None:
        """Sort in what was added: at once, or each chunk would cost as much as all of them."""
        while self._added:  # one after another goes, for they fill memory together
            ending, parts = self._added.popitem()
            if ending in self._sorted:
                parts.insert(0, self._sorted.pop(ending))
            self._sorted[ending] = _in_order(parts)


def _in_order(parts: list[_Sorted]) -> _Sorted:
    """Parts as one, without the names that an earlier one has; empties the list."""
    keys, chunk, row = (np.concatenate(column) for column in zip(*parts, strict=True))
    parts.clear()
    order = np.argsort(keys, kind="stable")  # the first chunk stays first
    keys = keys[order]
    is_first = np.append(True, keys[1:] != keys[:-1]) if len(keys) else order
    if not is_first.all():
        order, keys = order[is_first], keys[is_first]
    return _Sorted(keys, chunk[order], row[order])
