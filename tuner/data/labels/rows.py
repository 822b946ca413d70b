"""Rows of a label file as text: the one form that every kind of file is brought to."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.errors import DataError
from tuner.text import some

if TYPE_CHECKING:
    import pandas as pd

DELIMITED = frozenset({".csv", ".tsv", ".tab", ".txt", ".lst", ".data"})
STRUCTURED = frozenset({".jsonl", ".ndjson", ".json", ".parquet", ".pq"})
ARRAYS = frozenset({".npz"})
LABEL_SUFFIXES = DELIMITED | STRUCTURED | ARRAYS
# Columns that a pattern of several files has beside those in them: where each row comes from.
FOLDER, FILE = "(folder)", "(file)"
_MAGIC = re.compile(r"[*?[]")


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of one label file, or of several that a pattern names.

    Attributes:
        cells: Text, stripped; one row a row, columns by name (by number where the file has no
            header). Empty text where there is nothing.
        where: Place of each row in its file, for messages.
        base: Folder of each row's file, POSIX, relative to the common one.
        beside: Folder there that is called as the file is; "" where there is none.
        spaced: By column, how many cells had spaces around them.
        barred: Rows that cannot be used, with the reason.
        class_names: Names that the file itself gives to labels that are numbers.
        notes: What a reader should know of the file.
    """

    cells: pd.DataFrame
    where: Sequence[str]
    base: Sequence[str] = ()
    beside: Sequence[str] = ()
    spaced: Mapping[str, int] = field(default_factory=dict)
    barred: Mapping[int, str] = field(default_factory=dict)
    class_names: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """Names of the columns, in the order of the file."""
        return [str(name) for name in self.cells.columns]

    def column(self, name: str) -> list[str]:
        """Cells of a column."""
        return [str(cell) for cell in self.cells[name]]

    def is_filled(self, name: str) -> bool:
        """Whether any cell of a column holds something."""
        return any(self.column(name))


def is_label_source(source: str) -> bool:
    """Whether a source names a label file or, by a pattern, several; not a folder."""
    path = Path(source).expanduser()
    if path.exists():
        return path.is_file() and path.suffix.lower() in LABEL_SUFFIXES
    return bool(_MAGIC.search(source))


def label_files(source: str) -> tuple[Path, list[Path]]:
    """Folder that paths in the label files start from, and the files, sorted.

    Raises:
        DataError: If a pattern matches nothing, or files of several kinds.
    """
    path = Path(source).expanduser()
    if path.is_file():
        path = path.resolve()
        return path.parent, [path]
    parts = path.parts
    fixed = next(i for i, part in enumerate(parts) if _MAGIC.search(part))
    folder = Path(*parts[:fixed]).resolve()
    found = glob.iglob(os.path.join(*parts[fixed:]), root_dir=folder, recursive=True)
    files = sorted(folder / name for name in found if (folder / name).is_file())
    suffixes = sorted({file.suffix.lower() for file in files})
    if not files or len(suffixes) > 1 or not LABEL_SUFFIXES.issuperset(suffixes):
        what = f"has files of several kinds: {', '.join(suffixes)}" if files else "matches no file"
        raise DataError(
            f"pattern {source!r} {what}" if len(suffixes) != 1 else f"{files[0]} is no label file",
            where=f"data.source: {source}",
            do=f"name label files of one kind ({some(sorted(LABEL_SUFFIXES), n=12)})",
        )
    return folder, files


def read_rows(source: str, *, has_header: bool) -> tuple[Path, Rows]:
    """Folder that paths start from, and the rows of a label file or of all that a pattern names.

    Args:
        source: A file, or a pattern such as ``data/*/_classes.csv``.
        has_header: Whether the first line of delimited text names the columns.

    Raises:
        DataError: If a file cannot be read.
    """
    folder, files = label_files(source)
    read = [_read_file(file, has_header=has_header) for file in files]
    if len(read) == 1 and Path(source).expanduser().is_file():
        n = len(read[0].cells)
        return folder, replace(read[0], base=[""] * n, beside=[_beside(files[0], folder)] * n)
    return folder, _joined(folder, files, read)


def _read_file(file: Path, *, has_header: bool) -> Rows:
    suffix = file.suffix.lower()
    if suffix in DELIMITED:
        from tuner.data.labels.delimited import read_delimited

        return read_delimited(file, has_header=has_header)
    from tuner.data.labels.structured import read_json, read_lines, read_parquet

    if suffix in (".jsonl", ".ndjson"):
        return read_lines(file)
    return read_json(file) if suffix == ".json" else read_parquet(file)


def _beside(file: Path, folder: Path) -> str:
    place = file.with_suffix("")
    return place.relative_to(folder).as_posix() if place.is_dir() else ""


def _joined(folder: Path, files: Sequence[Path], read: Sequence[Rows]) -> Rows:
    """The rows of several files under one another, each with its folder and its file."""
    import pandas as pd

    first = read[0].columns
    for file, rows in zip(files, read, strict=True):
        if rows.columns != first:
            raise DataError(
                f"{file.name} has other columns ({some(rows.columns, n=6)}) "
                f"than {files[0].name} ({some(first, n=6)})",
                where=f"data.source: {file}",
                do="name files of one form, or give each its own study",
            )
    bases = [file.parent.relative_to(folder).as_posix() for file in files]
    bases = ["" if base == "." else base for base in bases]
    frames = [
        rows.cells.assign(**{FOLDER: base, FILE: file.stem})
        for rows, base, file in zip(read, bases, files, strict=True)
    ]
    starts = [sum(len(rows.cells) for rows in read[:i]) for i in range(len(read))]
    return Rows(
        cells=pd.concat(frames, ignore_index=True),
        where=[
            f"{file.relative_to(folder)} {place}"
            for file, rows in zip(files, read, strict=True)
            for place in rows.where
        ],
        base=[
            base for base, rows in zip(bases, read, strict=True) for _ in range(len(rows.cells))
        ],
        beside=[
            _beside(file, folder)
            for file, rows in zip(files, read, strict=True)
            for _ in range(len(rows.cells))
        ],
        spaced={name: sum(rows.spaced.get(name, 0) for rows in read) for name in first},
        barred={
            start + row: reason
            for start, rows in zip(starts, read, strict=True)
            for row, reason in rows.barred.items()
        },
        class_names={k: v for rows in read for k, v in rows.class_names.items()},
        notes=tuple(dict.fromkeys(note for rows in read for note in rows.notes)),
    )
