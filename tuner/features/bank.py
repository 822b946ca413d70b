"""The feature bank: features of (image, view) on disk, shared by every study on the same data.

One folder per combination of everything that changes the numbers. Features lie in chunks, each
a plain ``.npy`` file (memory-mappable, no pickle) beside a ``.json`` that lists its rows and
the file's checksum and is renamed into place last: a chunk without it does not exist. A chunk
is named after its rows, so that damage to the list shows as well. Many chunks become a pack.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tuner.arrays import Bool, Float32, Int32, Ints
from tuner.errors import BankError
from tuner.features import packs
from tuner.features.bank_index import NOWHERE, BankIndex, RowNames
from tuner.features.device import empty_rows
from tuner.features.packs import Chunk
from tuner.files import listed, sweep, turn, write_whole

_FORMAT = 1


class FeatureBank:
    """Rows of features by name (`views.view_key`).

    Args:
        folder: Where all banks of a home lie.
        identity: Everything that changes the numbers except file and view: weights hash,
            image_px, precision, backend and its version, ...; kept readable beside the chunks.
        n_features: Width of a row.

    Attributes:
        damaged: Chunks found damaged and dropped, by name; their rows are missing again.

    Raises:
        BankError: If the folder cannot be made or read.
    """

    def __init__(
        self, folder: Path, identity: Mapping[str, str | int], *, n_features: int
    ) -> None:
        self.identity = dict(sorted(identity.items())) | {"format": _FORMAT}
        text = json.dumps(self.identity, sort_keys=True)
        self.folder = folder / hashlib.sha256(text.encode()).hexdigest()[:16]
        self._n_features = n_features
        self._index = BankIndex()
        self._chunks: list[Chunk] = []  # by the number that the index has, dropped ones too
        self._number: dict[str, int] = {}  # of those that are there
        self._verified: set[str] = set()
        self._packs: set[str] = set()
        self.damaged: list[str] = []
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not (self.folder / "bank.json").exists():
                text = json.dumps(self.identity, indent=1)
                write_whole(self.folder / "bank.json", text.encode())
            sweep(self.folder)
        except OSError as error:
            raise BankError(
                f"the feature bank cannot be made: {error.strerror or error}",
                where=str(self.folder),
                do="make the folder writable, free disk space, or choose another --home",
            ) from error
        self.refresh()

    def __len__(self) -> int:
        """Rows known to be on disk."""
        return len(self._index)

    def refresh(self) -> None:
        """Take in chunks that other processes have added.

        Raises:
            BankError: If the folder or a file is there but cannot be read.
        """
        try:
            found_packs = listed(self.folder, "pack-*.npz")
            found = listed(self.folder, "chunk-*.json")
        except OSError as error:
            raise _unreadable(self.folder, error) from error
        for path in found_packs:
            if path.name not in self._packs:
                self._load_pack(path)
        for path in found:
            if path.stem not in self._number:
                self._load_chunk(path)

    def _load_pack(self, path: Path) -> None:
        try:
            pack = packs.read_pack(path)
        except FileNotFoundError:
            return  # another process has just found all of it damaged
        except OSError as error:
            raise _unreadable(path, error) from error
        except packs.UNREADABLE:
            self.damaged.append(path.stem)
            _remove(path, path.with_suffix(".npy"))
            return
        self._packs.add(path.name)
        for chunk, names in zip(pack.chunks, pack.names, strict=True):
            if chunk.name in self._number:  # packed since it was seen
                self._chunks[self._number[chunk.name]] = chunk
            else:
                self._enter(chunk, names)

    def _load_chunk(self, path: Path) -> None:
        try:
            rows = json.loads(_read(path))["rows"]
            is_sound = _chunk_name(rows) == path.stem
        except FileNotFoundError:
            return  # another process has just found it damaged
        except (ValueError, KeyError, TypeError):
            is_sound = False
        if is_sound:
            chunk = Chunk(path.stem, path.with_suffix(".npy"), 0, len(rows))
            self._enter(chunk, RowNames.of(rows))
        else:
            self.damaged.append(path.stem)
            _remove(path, path.with_suffix(".npy"))

    def _enter(self, chunk: Chunk, names: RowNames) -> None:
        self._number[chunk.name] = len(self._chunks)
        self._index.add(names, len(self._chunks))
        self._chunks.append(chunk)

    def missing(self, keys: Sequence[str]) -> list[str]:
        """Keys without a sound row, in their order, each once; damaged chunks are dropped.

        Raises:
            BankError: If a file is there but cannot be read.
        """
        names = RowNames.of(keys)
        is_wanted = self.lacks(names)
        is_wanted[is_wanted] = names.take(is_wanted).is_first()
        return [keys[row] for row in np.flatnonzero(is_wanted).tolist()]

    def lacks(self, keys: Sequence[str]) -> Bool:
        """Which keys have no sound row, bool (n_keys,); damaged chunks are dropped.

        Raises:
            BankError: If a file is there but cannot be read.
        """
        is_lacking: Bool = self._find(RowNames.of(keys))[0] == NOWHERE
        return is_lacking

    def _find(self, names: RowNames) -> tuple[Int32, Int32]:
        """Chunk and row of each name where it is sound; `NOWHERE` where there is none."""
        known = len(self.damaged), len(self._chunks)
        found = self._index.find(names)
        for number in np.unique(found[0][found[0] != NOWHERE]).tolist():
            self._verify(number)
        is_same = known == (len(self.damaged), len(self._chunks))
        return found if is_same else self._index.find(names)

    def add(self, keys: Sequence[str], features: Float32) -> None:
        """Write one whole chunk; after a kill it is there entirely or not at all.

        Args:
            keys: Names of the rows, as text or as `RowNames`.
            features: float32 (n_rows, n_features).

        Raises:
            BankError: If the disk is full or not writable, or a feature is not finite.
        """
        if features.shape != (len(keys), self._n_features):
            raise ValueError(f"expected {(len(keys), self._n_features)}, got {features.shape}")
        is_finite = np.isfinite(features).all(axis=1)
        if not is_finite.all():  # kept, they would fail every study on these images
            first = keys[int(np.flatnonzero(~is_finite)[0])]
            raise BankError(
                f"{int((~is_finite).sum())} of {len(keys)} rows of features are not finite",
                where=f"first: {first} (hash of the file, view)",
                do="check backbone.weights: a damaged or foreign file gives NaN; or set "
                "backbone.precision: float32",
            )
        keys = list(keys)
        chunk = _chunk_name(keys)
        stream = io.BytesIO()
        np.save(stream, features.astype("<f4", copy=False), allow_pickle=False)
        content = stream.getvalue()
        about = {"rows": keys, "sha256": hashlib.sha256(content).hexdigest()}
        data = self.folder / f"{chunk}.npy"
        try:
            write_whole(data, content)
            write_whole(data.with_suffix(".json"), json.dumps(about).encode())
        except OSError as error:
            if not data.with_suffix(".json").exists():
                data.unlink(missing_ok=True)
            raise BankError(
                f"a chunk of features cannot be written: {error.strerror or error}",
                where=str(self.folder),
                do="free disk space and start the same command again; whole chunks are kept",
            ) from error
        self._verified.add(chunk)
        if chunk not in self._number:
            self._enter(Chunk(chunk, data, 0, len(keys)), RowNames.of(keys))
        # What cannot be packed stays as it is.
        if sum(not self._chunks[n].is_packed for n in self._number.values()) >= packs.PACK_CHUNKS:
            with contextlib.suppress(OSError, ValueError):
                self.pack()

    def pack(self) -> None:
        """Put chunks that have files of their own into packs, as many as make full ones.

        Other processes may read them meanwhile, or write others; two do not pack at one time.

        Raises:
            BankError: If a file is there but cannot be read.
            OSError: If a pack cannot be written; its chunks then stay as they are.
        """
        with turn(self.folder / ".pack.lock", waits=False) as is_mine:
            if not is_mine:
                return
            self.refresh()
            own = [n for n in self._number.values() if not self._chunks[n].is_packed]
            for number in own:
                self._verify(number)
            sound = [self._chunks[n] for n in own if self._chunks[n].name in self._number]
            for part in packs.groups_of(sound):
                lists = [json.loads(_read(c.file.with_suffix(".json")))["rows"] for c in part]
                names = [RowNames.of(rows) for rows in lists]
                pack = packs.write_pack(self.folder, part, names, n_features=self._n_features)
                for chunk in pack.chunks:
                    self._chunks[self._number[chunk.name]] = chunk
            packed = {c.name for c in map(self.chunk, self._number.values()) if c.is_packed}
            # Those of a process that was killed before it came to this, too.
            for path in (
                *listed(self.folder, "chunk-*.json"),
                *listed(self.folder, "chunk-*.npy"),
            ):
                if path.stem in packed:
                    _remove(path)

    def chunk(self, number: int) -> Chunk:
        """Where a chunk lies now, by the number that `open_rows` gives."""
        return self._chunks[number]

    def read(self, keys: Sequence[str]) -> Float32:
        """Features of the keys in their order, float32 (n_keys, n_features).

        Raises:
            BankError: If a row is missing, its chunk is damaged or cannot be read.
        """
        return self.open_rows(keys).take()

    def open_rows(self, keys: Sequence[str]) -> BankRows:
        """The same features, read from disk when they are asked for.

        Raises:
            BankError: If a row is missing or its chunk is damaged.
        """
        names = RowNames.of(keys)
        chunk, row = self._find(names)
        is_lacking = chunk == NOWHERE
        if is_lacking.any():
            n_missing = int(names.take(is_lacking).is_first().sum())
            raise BankError(
                f"{n_missing} of {len(keys)} rows are not in the feature bank",
                where=str(self.folder),
                do="start the same command again: missing rows are computed",
            )
        return BankRows(bank=self, chunk=chunk, row=row, n_features=self._n_features)

    def _verify(self, number: int) -> None:
        chunk = self._chunks[number]
        if chunk.name in self._verified:
            return
        if not chunk.is_packed and not chunk.file.exists():
            self.refresh()  # another process may have packed it
            chunk = self._chunks[number]
        try:
            is_sound = _is_sound(chunk)
        except (FileNotFoundError, ValueError, KeyError, TypeError, EOFError):
            is_sound = False
        if is_sound:
            self._verified.add(chunk.name)
        else:
            self._discard(number)

    def _discard(self, number: int) -> None:
        """Forget a damaged chunk, so that its rows are computed again."""
        chunk = self._chunks[number]
        self.damaged.append(chunk.name)
        self._index.drop(number)
        del self._number[chunk.name]
        if not chunk.is_packed:
            _remove(chunk.file.with_suffix(".json"), chunk.file)
            return
        with turn(self.folder / ".unpack.lock"):
            try:
                packs.take_off(chunk)
            except FileNotFoundError:
                return  # another process has just done so
            except OSError as error:
                raise _unreadable(chunk.file, error) from error


@dataclass(frozen=True, eq=False)
class BankRows:
    """Rows of a bank by number, in files that are mapped into memory.

    Attributes:
        bank: Whose they are; it knows the files, which may change while others pack chunks.
        chunk: Number of the chunk of each row, int32 (n_rows,).
        row: Place in that chunk, int32 (n_rows,).
        n_features: Columns.
    """

    bank: FeatureBank
    chunk: Int32
    row: Int32
    n_features: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and features."""
        return len(self.row), self.n_features

    def take(self, rows: Ints | slice = slice(None)) -> Float32:
        """Rows by number, float32 (n, n_features); by default all.

        Raises:
            BankError: If a file is no longer what it was.
        """
        chunk, row = self.chunk[rows], self.row[rows]
        out = empty_rows((len(row), self.n_features))
        # Sorted once: a search of all rows for each chunk would grow with the square of the bank.
        order = np.argsort(chunk, kind="stable")
        borders = np.flatnonzero(np.diff(chunk[order])) + 1
        opened: dict[Path, Float32] = {}  # the last pack, which holds many chunks
        for targets in np.split(order, borders) if len(row) else ():
            number = int(chunk[targets[0]])
            place = self.bank.chunk(number)
            try:
                if not place.file.exists():
                    self.bank.refresh()  # another process may have packed it
                    place = self.bank.chunk(number)
                if place.file not in opened:
                    opened = {place.file: np.load(place.file, mmap_mode="r", allow_pickle=False)}
                out[targets] = opened[place.file][place.first + row[targets]]
            except (OSError, ValueError, IndexError) as error:  # sound when verified
                raise _unreadable(place.file, error) from error
        return out


def _is_sound(chunk: Chunk) -> bool:
    """Whether a chunk is what was written; raises whatever a damaged file does."""
    if chunk.is_packed:
        return packs.sum_of(chunk) == chunk.sha256
    expected = json.loads(_read(chunk.file.with_suffix(".json")))["sha256"]
    return bool(hashlib.sha256(_read(chunk.file)).hexdigest() == expected)


def _remove(*paths: Path) -> None:
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise _unreadable(path, error) from error


def _chunk_name(keys: Sequence[str]) -> str:
    return "chunk-" + hashlib.sha256("\n".join(keys).encode()).hexdigest()[:24]


def _read(path: Path) -> bytes:
    """Bytes of a file; what is there but cannot be read is no damage to repair by deleting."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> BankError:
    reason = getattr(error, "strerror", None) or error
    return BankError(
        f"a file of the feature bank cannot be used: {reason}",
        where=str(path),
        do="mend its permissions or the disk and start the same command again; a chunk that"
        " is deleted is computed again",
    )
