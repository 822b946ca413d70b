"""The feature bank: features of (image, view) on disk, shared by every study on the same data.

One folder per combination of everything that changes the numbers. Features lie in chunks, each
a plain ``.npy`` file (memory-mappable, no pickle) beside a ``.json`` that lists its rows and
the file's checksum and is renamed into place last: a chunk without it does not exist. A chunk
is named after its rows, so that damage to the list shows as well.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tuner.arrays import Float32, Int64
from tuner.errors import BankError
from tuner.files import listed, sweep, write_whole

_FORMAT = 1


class _Place(NamedTuple):
    chunk: str
    row: int


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
        self._places: dict[str, _Place] = {}
        self._verified: set[str] = set()
        self._loaded: set[str] = set()
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
        return len(self._places)

    def refresh(self) -> None:
        """Take in chunks that other processes have added.

        Raises:
            BankError: If the folder or a file is there but cannot be read.
        """
        try:
            found = listed(self.folder, "chunk-*.json")
        except OSError as error:
            raise _unreadable(self.folder, error) from error
        for path in found:
            if path.stem in self._loaded:
                continue
            try:
                rows = json.loads(_read(path))["rows"]
                is_sound = _chunk_name(rows) == path.stem
            except FileNotFoundError:
                continue  # another process has just found it damaged
            except (ValueError, KeyError, TypeError):
                is_sound = False
            if not is_sound:
                self._discard(path.stem)
                continue
            self._loaded.add(path.stem)
            for row, key in enumerate(rows):
                self._places.setdefault(key, _Place(path.stem, row))

    def missing(self, keys: Sequence[str]) -> list[str]:
        """Keys without a sound row, in their order, each once; damaged chunks are dropped.

        Raises:
            BankError: If a file is there but cannot be read.
        """
        for chunk in sorted({self._places[k].chunk for k in keys if k in self._places}):
            self._verify(chunk)
        return [key for key in dict.fromkeys(keys) if key not in self._places]

    def add(self, keys: Sequence[str], features: Float32) -> None:
        """Write one whole chunk; after a kill it is there entirely or not at all.

        Args:
            keys: Names of the rows.
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
        chunk = _chunk_name(keys)
        stream = io.BytesIO()
        np.save(stream, features.astype("<f4", copy=False), allow_pickle=False)
        content = stream.getvalue()
        about = {"rows": list(keys), "sha256": hashlib.sha256(content).hexdigest()}
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
        self._loaded.add(chunk)
        self._verified.add(chunk)
        for row, key in enumerate(keys):
            self._places[key] = _Place(chunk, row)

    def read(self, keys: Sequence[str]) -> Float32:
        """Features of the keys in their order, float32 (n_keys, n_features).

        Raises:
            BankError: If a row is missing, its chunk is damaged or cannot be read.
        """
        return self.open_rows(keys).take(np.arange(len(keys)))

    def open_rows(self, keys: Sequence[str]) -> BankRows:
        """The same features, read from disk when they are asked for.

        Raises:
            BankError: If a row is missing or its chunk is damaged.
        """
        self._check_all(keys)
        chunks = sorted({self._places[key].chunk for key in keys})
        number = {chunk: i for i, chunk in enumerate(chunks)}
        places = [self._places[key] for key in keys]
        return BankRows(
            files=[self.folder / f"{chunk}.npy" for chunk in chunks],
            chunk=np.array([number[place.chunk] for place in places], dtype=np.int64),
            row=np.array([place.row for place in places], dtype=np.int64),
            n_features=self._n_features,
        )

    def _check_all(self, keys: Sequence[str]) -> None:
        missing = self.missing(keys)
        if missing:
            raise BankError(
                f"{len(missing)} of {len(keys)} rows are not in the feature bank",
                where=str(self.folder),
                do="start the same command again: missing rows are computed",
            )

    def _verify(self, chunk: str) -> None:
        if chunk in self._verified:
            return
        try:
            expected = json.loads(_read(self.folder / f"{chunk}.json"))["sha256"]
            found = hashlib.sha256(_read(self.folder / f"{chunk}.npy")).hexdigest()
            is_sound = found == expected
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            is_sound = False
        if is_sound:
            self._verified.add(chunk)
        else:
            self._discard(chunk)

    def _discard(self, chunk: str) -> None:
        """Forget a damaged chunk, so that its rows are computed again."""
        self.damaged.append(chunk)
        self._loaded.discard(chunk)
        self._places = {k: place for k, place in self._places.items() if place.chunk != chunk}
        for suffix in (".json", ".npy"):
            path = self.folder / f"{chunk}{suffix}"
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise _unreadable(path, error) from error


@dataclass(frozen=True, eq=False)
class BankRows:
    """Rows of a bank by number, in files that are mapped into memory.

    Attributes:
        files: The chunks.
        chunk: Number of the file of each row, int64 (n_rows,).
        row: Place in that file, int64 (n_rows,).
        n_features: Columns.
    """

    files: Sequence[Path]
    chunk: Int64
    row: Int64
    n_features: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and features."""
        return len(self.row), self.n_features

    def take(self, rows: Int64) -> Float32:
        """Rows by number, float32 (n, n_features).

        Raises:
            BankError: If a file is no longer what it was.
        """
        out = np.empty((len(rows), self.n_features), dtype=np.float32)
        chunk, row = self.chunk[rows], self.row[rows]
        # Sorted once: a search of all rows for each chunk would grow with the square of the bank.
        order = np.argsort(chunk, kind="stable")
        borders = np.flatnonzero(np.diff(chunk[order])) + 1
        for targets in np.split(order, borders) if len(rows) else ():
            path = self.files[chunk[targets[0]]]
            try:
                table = np.load(path, mmap_mode="r", allow_pickle=False)
                out[targets] = table[row[targets]]
            except (OSError, ValueError, IndexError) as error:  # sound when verified
                raise _unreadable(path, error) from error
        return out


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
