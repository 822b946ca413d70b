"""Packs: many chunks of a bank in two files, as folders of a million files are slow everywhere.

A pack is a plain ``.npy`` file of all rows beside an ``.npz`` that lists its chunks, their names,
checksums and rows, and is renamed into place last. A chunk that is found damaged is taken off that
list; its rows in the large file are then nobody's.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tuner.features.bank_index import RowNames
from tuner.files import replacing

PACK_ROWS = 2**17  # 1 GiB of 2,048 features
PACK_CHUNKS = PACK_ROWS // 512  # that lie about before they are packed

UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


class Chunk(NamedTuple):
    """Where a chunk lies.

    Attributes:
        name: Of the chunk, by its rows.
        file: The array that holds it: its own, or that of a pack.
        first: Its first row there.
        n_rows: Rows.
        sha256: Of its rows' bytes in a pack; empty where its own list has it, of its own file.
    """

    name: str
    file: Path
    first: int
    n_rows: int
    sha256: str = ""

    @property
    def is_packed(self) -> bool:
        """Whether it shares its file with others."""
        return bool(self.sha256)


class Pack(NamedTuple):
    """The list of a pack.

    Attributes:
        chunks: In the order of their rows.
        names: Of the rows of each.
    """

    chunks: list[Chunk]
    names: list[RowNames]


def write_pack(
    folder: Path, chunks: Sequence[Chunk], names: Sequence[RowNames], *, n_features: int
) -> Pack:
    """Copy chunks into a pack; they stay where they are.

    Args:
        folder: Of the bank.
        chunks: Those to pack, which are sound.
        names: Of the rows of each.
        n_features: Columns.

    Raises:
        OSError: If it cannot be written.
        ValueError: If a chunk is no longer what it was.
    """
    text = "\n".join(chunk.name for chunk in chunks)
    file = folder / f"pack-{hashlib.sha256(text.encode()).hexdigest()[:24]}.npy"
    shape, packed, first = (sum(chunk.n_rows for chunk in chunks), n_features), [], 0
    with replacing(file) as temporary:
        rows = np.lib.format.open_memmap(temporary, mode="w+", dtype="<f4", shape=shape)
        for chunk in chunks:
            part = np.load(chunk.file, allow_pickle=False)
            rows[first : first + chunk.n_rows] = part
            sha256 = hashlib.sha256(part.tobytes()).hexdigest()
            packed.append(Chunk(chunk.name, file, first, chunk.n_rows, sha256))
            first += chunk.n_rows
        rows.flush()
        del rows
    pack = Pack(packed, list(names))
    write_list(file, pack)
    return pack


def write_list(file: Path, pack: Pack) -> None:
    """Write or replace the list of a pack, whose rows are in `file`.

    Raises:
        OSError: If it cannot be written.
    """
    endings = list(dict.fromkeys(e for names in pack.names for e in names.endings))
    number = {ending: i for i, ending in enumerate(endings)}
    own = [np.array([number[e] for e in n.endings], dtype=np.int32)[n.ending] for n in pack.names]
    with replacing(file.with_suffix(".npz")) as temporary, temporary.open("wb") as stream:
        np.savez(
            stream,
            chunks=np.array([chunk.name for chunk in pack.chunks]),
            first=np.array([chunk.first for chunk in pack.chunks], dtype=np.int64),
            n_rows=np.array([chunk.n_rows for chunk in pack.chunks], dtype=np.int64),
            sha256=np.array([chunk.sha256 for chunk in pack.chunks]),
            endings=np.array(endings),
            ending=np.concatenate(own),
            digests=np.concatenate([names.digests() for names in pack.names]),
        )


def read_pack(path: Path) -> Pack:
    """The list of a pack.

    Raises:
        OSError: If it is not there or cannot be read; this and the others are `UNREADABLE`.
        ValueError: If it is damaged.
    """
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
        found = {name: stored[name] for name in stored.files}  # zip members are checksummed
    endings, ends = found["endings"].tolist(), np.cumsum(found["n_rows"])[:-1]
    names = [
        RowNames(digests, ending, endings)
        for digests, ending in zip(
            np.split(found["digests"], ends), np.split(found["ending"], ends), strict=True
        )
    ]
    file = path.with_suffix(".npy")
    columns = (found[name].tolist() for name in ("chunks", "first", "n_rows", "sha256"))
    chunks = [
        Chunk(name, file, first, n_rows, sha256)
        for name, first, n_rows, sha256 in zip(*columns, strict=True)
    ]
    return Pack(chunks, names)


def take_off(chunk: Chunk) -> None:
    """Strike a damaged chunk from its pack's list; a pack without any is removed.

    Raises:
        OSError: If the list is not there or cannot be written.
    """
    path = chunk.file.with_suffix(".npz")
    pack = read_pack(path)
    is_left = [other.name != chunk.name for other in pack.chunks]
    left = Pack(
        [c for c, kept in zip(pack.chunks, is_left, strict=True) if kept],
        [n for n, kept in zip(pack.names, is_left, strict=True) if kept],
    )
    if left.chunks:
        write_list(chunk.file, left)
    else:
        path.unlink()
        chunk.file.unlink(missing_ok=True)


def sum_of(chunk: Chunk) -> str:
    """SHA-256 of a packed chunk's rows as they are on disk now.

    Raises:
        OSError: If the file is not there or cannot be read.
        ValueError: If it is damaged.
    """
    rows = np.load(chunk.file, mmap_mode="r", allow_pickle=False)
    return hashlib.sha256(rows[chunk.first : chunk.first + chunk.n_rows].tobytes()).hexdigest()


def groups_of(chunks: Sequence[Chunk]) -> Iterator[list[Chunk]]:
    """Chunks in parts that make a full pack each; what is left over stays as it is."""
    part: list[Chunk] = []
    for chunk in chunks:
        part.append(chunk)
        if len(part) == PACK_CHUNKS or sum(c.n_rows for c in part) >= PACK_ROWS:
            yield part
            part = []
