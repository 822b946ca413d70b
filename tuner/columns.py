"""Columns of text and of hashes as a few arrays, however many rows they have.

They read like tuples of strings, so that whoever looks at one row need not know; whoever looks at
all of them takes the arrays.
"""

from __future__ import annotations

import hashlib
import itertools
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, SupportsIndex, overload

import numpy as np

from tuner.arrays import Int64, UInt8

_BLOCK = 2**16  # rows that are strings at one time
_HASH_BYTES = 32


class Column(Sequence[str]):
    """Strings by number; a slice, or an array of numbers, gives a column again."""

    __slots__ = ()

    @abstractmethod
    def take(self, rows: Any) -> Column:
        """Rows by number, int64 (n,), or by a mask, bool (n_rows,), as a column of their own."""

    @abstractmethod
    def strings(self, start: int, stop: int) -> list[str]:
        """The rows of a range, which must lie within the column."""

    @overload
    def __getitem__(self, row: SupportsIndex) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> Column: ...
    def __getitem__(self, row: SupportsIndex | slice) -> str | Column:
        if isinstance(row, slice):
            return self._part(row)
        number = int(row)
        place = number + len(self) if number < 0 else number
        if not 0 <= place < len(self):
            raise IndexError(f"row {number} of {len(self)}")
        return self.strings(place, place + 1)[0]

    def _part(self, rows: slice) -> Column:
        return self.take(np.arange(len(self))[rows])

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _BLOCK):
            yield from self.strings(start, min(start + _BLOCK, len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self[:3])) + (", …" if len(self) > 3 else "")
        return f"{type(self).__name__}({len(self)}: {shown})"


class Texts(Column):
    """Strings of any length in one buffer.

    Args:
        data: Their UTF-8 one after another, uint8 (n_bytes,).
        ends: Where each begins and the last one ends, int64 (n + 1,).
    """

    __slots__ = ("data", "ends")

    def __init__(self, data: UInt8, ends: Int64) -> None:
        self.data, self.ends = data, ends

    @classmethod
    def of(cls, strings: Iterable[str]) -> Texts:
        """A column of strings, which need not be held all at once.

        Raises:
            UnicodeEncodeError: If one holds half a surrogate pair.
        """
        data, lengths = bytearray(), []
        for string in strings:
            text = string.encode()
            data += text
            lengths.append(len(text))
        ends = np.zeros(len(lengths) + 1, dtype=np.int64)
        np.cumsum(lengths, out=ends[1:])
        return cls(np.frombuffer(bytes(data), dtype=np.uint8), ends)

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Texts):
            is_same = np.array_equal(np.diff(self.ends), np.diff(other.ends))
            return is_same and np.array_equal(self._bytes(), other._bytes())
        return super().__eq__(other)

    __hash__ = None

    def take(self, rows: Any) -> Texts:
        """Rows by number or mask, as a column of their own."""
        starts, lengths = self.ends[:-1][rows], np.diff(self.ends)[rows]
        ends = np.zeros(len(lengths) + 1, dtype=np.int64)
        np.cumsum(lengths, out=ends[1:])
        data = np.empty(ends[-1], dtype=np.uint8)
        for a in range(0, len(lengths), _BLOCK):
            b = min(a + _BLOCK, len(lengths))
            # Place of each byte: as far behind its row's start there as here.
            shifts = np.repeat(starts[a:b] - ends[a:b], lengths[a:b])
            data[ends[a] : ends[b]] = self.data[shifts + np.arange(ends[a], ends[b])]
        return Texts(data, ends)

    def _part(self, rows: slice) -> Texts:
        start, stop, step = rows.indices(len(self))
        if step != 1 or stop < start:
            return self.take(np.arange(len(self))[rows])
        return Texts(self.data, self.ends[start : stop + 1])  # of the same bytes

    def strings(self, start: int, stop: int) -> list[str]:
        """The rows of a range."""
        ends = (self.ends[start : stop + 1] - self.ends[start]).tolist()
        text = self.joined(start, stop)
        if len(text) != ends[-1]:  # ends count bytes
            data = text.encode()
            return [data[a:b].decode() for a, b in itertools.pairwise(ends)]
        return [text[a:b] for a, b in itertools.pairwise(ends)]

    def joined(self, start: int, stop: int) -> str:
        """The rows of a range, one after another."""
        return self.data[self.ends[start] : self.ends[stop]].tobytes().decode()

    def _bytes(self) -> UInt8:
        return self.data[self.ends[0] : self.ends[-1]]


class Hashes(Column):
    """SHA-256 hashes in hexadecimal, kept as their bytes.

    Args:
        digests: uint8 (n, 32).
    """

    __slots__ = ("digests",)

    def __init__(self, digests: UInt8) -> None:
        self.digests = digests

    def __len__(self) -> int:
        return len(self.digests)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Hashes):
            return np.array_equal(self.digests, other.digests)
        return super().__eq__(other)

    __hash__ = None

    def take(self, rows: Any) -> Hashes:
        """Rows by number or mask, as a column of their own."""
        return Hashes(self.digests[rows])

    def strings(self, start: int, stop: int) -> list[str]:
        """The rows of a range."""
        text = self.digests[start:stop].tobytes().hex()
        return [text[i : i + 2 * _HASH_BYTES] for i in range(0, len(text), 2 * _HASH_BYTES)]


def texts_of(strings: Iterable[str]) -> Column:
    """Strings as a column; a column stays what it is."""
    return strings if isinstance(strings, Column) else Texts.of(strings)


def hashes_of(strings: Sequence[str]) -> Column:
    """Hashes as a column of bytes; where one is none, as `Texts`."""
    if isinstance(strings, Hashes):
        return strings
    digests = _parsed(strings)
    return texts_of(strings) if digests is None else Hashes(digests)


def joined(columns: Sequence[Column]) -> Column:
    """Columns one after another; of hashes alone, hashes again."""
    if columns and all(isinstance(column, Hashes) for column in columns):
        return Hashes(np.concatenate([c.digests for c in columns if isinstance(c, Hashes)]))
    texts = [c if isinstance(c, Texts) else Texts.of(c) for c in columns]
    lengths = [np.zeros(1, dtype=np.int64), *(np.diff(text.ends) for text in texts)]
    data = [text.data[text.ends[0] : text.ends[-1]] for text in texts]
    return Texts(
        np.concatenate([np.empty(0, np.uint8), *data]), np.cumsum(np.concatenate(lengths))
    )


def digests_of(strings: Sequence[str]) -> UInt8:
    """32 bytes that stand for each string, uint8 (n, 32): a hash's own; else its SHA-256."""
    if isinstance(strings, Hashes):
        return strings.digests
    digests = _parsed(strings)
    if digests is not None:
        return digests
    return _table(b"".join(_digest(string) for string in strings))


def sortable(digests: UInt8) -> Any:
    """The same 32 bytes a row as something that NumPy sorts and finds, (n,) of type S32."""
    return np.ascontiguousarray(digests).view(f"S{_HASH_BYTES}").ravel()


def _parsed(strings: Sequence[str]) -> UInt8 | None:
    """Bytes of hashes in hexadecimal, uint8 (n, 32); None where one string is none."""
    texts = texts_of(strings)
    if not isinstance(texts, Texts) or (np.diff(texts.ends) != 2 * _HASH_BYTES).any():
        return None
    joined = bytearray()
    for start in range(0, len(texts), _BLOCK):
        text = texts.joined(start, min(start + _BLOCK, len(texts)))
        try:
            data = bytes.fromhex(text)
        except ValueError:
            return None
        if data.hex() != text:  # `fromhex` skips white space and reads capitals
            return None
        joined += data
    return _table(bytes(joined))


def _digest(string: str) -> bytes:
    found = _parsed([string])
    return hashlib.sha256(string.encode()).digest() if found is None else found.tobytes()


def _table(joined: bytes) -> UInt8:
    return np.frombuffer(joined, dtype=np.uint8).reshape(-1, _HASH_BYTES)
