"""Images listed in a CSV file: path, label and, if wished, group and split."""

from __future__ import annotations

import csv
import difflib
import io
import os
import posixpath
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tuner.data.folder import bar_link
from tuner.data.sources import SPLIT_PARTS, Entry, Listing, choose
from tuner.errors import DataError
from tuner.text import some

MISSING = "file is missing"
_OUTSIDE = "lies outside the data folder"
_DO = "correct the manifest: UTF-8, first line path,label[,group][,split], one image a line"


@dataclass(frozen=True)
class _Row:
    """One row with its line in the file; cells are stripped."""

    line: int
    cells: dict[str, str]


def list_manifest(
    manifest: Path,
    *,
    root: Path,
    group_by: str | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> Listing:
    """List the images that a CSV file names.

    Columns `path` and `label` are required; `split` (train, val, test) and the column that
    `group_by` names are used when they hold anything; others are ignored. Labels are text as
    written: ``007`` and ``NA`` stay what they are.

    Args:
        manifest: The CSV file, UTF-8, separated by comma, semicolon or tab.
        root: Folder that paths are relative to, resolved.
        group_by: Column of groups, or None.
        include: Globs on the paths; none means all.
        exclude: Globs of paths to leave out.

    Raises:
        DataError: If the file or some rows cannot mean anything; names their lines. A file
            that is merely missing is an entry with a reason.
    """
    columns, rows, notes = _read_rows(manifest)
    filled = {name for name in columns if any(row.cells[name] for row in rows)}
    _check_group_column(group_by, columns=columns, filled=filled, manifest=manifest)
    if group_by is None and "group" in filled:
        notes.append("manifest has a 'group' column that is not used; set data.group_by: group")
    required = ["path", "label", *(["split"] if "split" in filled else [])]
    required += [group_by] if group_by else []
    placed = {row.line: _relative(row.cells["path"], root=root) for row in rows}
    _raise_bad_rows(list(_bad_rows(rows, required=required, placed=placed)), manifest=manifest)

    sides = {SPLIT_PARTS[row.cells["split"].casefold()] for row in rows if "split" in filled}
    if "val" in sides:
        notes.append("rows with split 'val' join train: folds are made from both")
    if sides and "test" not in sides:
        notes.append("no row has split 'test': a test is drawn")
    entries = []
    for row in rows:
        path, reason = placed[row.line]
        label = unicodedata.normalize("NFC", row.cells["label"])
        split = SPLIT_PARTS[row.cells["split"].casefold()] if "test" in sides else None
        is_test = None if split is None else split == "test"
        group = row.cells[group_by] if group_by else None
        entries.append(Entry(path=path, label=label, group=group, is_test=is_test, reason=reason))
    chosen, chosen_notes = choose((e.path for e in entries), include=include, exclude=exclude)
    left = set(chosen)
    kept = sorted((e for e in entries if e.path in left), key=lambda entry: entry.path)
    return Listing(tuple(kept), notes=(*notes, *chosen_notes))


def _read_rows(manifest: Path) -> tuple[list[str], list[_Row], list[str]]:
    """Column names, rows with their cells stripped, and notes."""
    where = f"data.source: {manifest}"
    text = _read_text(manifest)
    header = text.lstrip().split("\n", 1)[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        lines = [(reader.line_num, cells) for cells in reader if any(cells)]
    except csv.Error as error:
        raise DataError(
            f"manifest is not CSV: {error}", where=f"{where}, line {reader.line_num}", do=_DO
        ) from error
    columns = [cell.strip() for cell in lines[0][1]] if lines else []
    missing = [name for name in ("path", "label") if name not in columns]
    if missing:
        raise DataError(
            f"manifest has no column {' and no column '.join(map(repr, missing))}; "
            f"its first line reads: {header.strip()[:120]!r}",
            where=where,
            do="name the columns in the first line: path,label[,group][,split]",
        )
    if twice := sorted({name for name in columns if name and columns.count(name) > 1}):
        raise DataError(f"manifest has two columns {twice[0]!r}", where=where, do=_DO)
    n = len(columns)
    uneven = [
        f"line {line}: {len(cells)} cells, not {n}" for line, cells in lines if len(cells) != n
    ]
    _raise_bad_rows(uneven, manifest=manifest)
    rows = [
        _Row(line, {name: cell.strip() for name, cell in zip(columns, cells, strict=True)})
        for line, cells in lines[1:]
    ]
    at = columns.index("label")
    n_spaced = sum(cells[at] != cells[at].strip() for _, cells in lines[1:])
    notes = [f"labels with spaces around them, which are dropped: {n_spaced}"] if n_spaced else []
    return columns, rows, notes


def _read_text(manifest: Path) -> str:
    """Text of the file with its byte order mark removed."""
    where = f"data.source: {manifest}"
    try:
        return manifest.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"manifest cannot be read: {error.strerror}", where=where) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(
            f"manifest is not UTF-8 text: byte 0x{error.object[error.start]:02x}",
            where=f"{where}, line {line}",
            do="save it again as 'CSV UTF-8'",
        ) from error


def _check_group_column(
    group_by: str | None, *, columns: list[str], filled: set[str], manifest: Path
) -> None:
    """Raise unless the column that groups are asked from is there and filled."""
    if group_by is None or group_by in filled:
        return
    near = difflib.get_close_matches(group_by, [*filled], n=1)
    raise DataError(
        f"manifest's column {group_by!r} is empty"
        if group_by in columns
        else f"manifest has no column {group_by!r}; it has {some(columns, n=12)}",
        where=f"data.group_by, data.source: {manifest}",
        do=f"did you mean {near[0]!r}?" if near else "name a filled column, or null",
    )


def _bad_rows(
    rows: Sequence[_Row], *, required: Sequence[str], placed: dict[int, tuple[str, str]]
) -> Iterator[str]:
    """One text for each row that cannot mean anything."""
    first: dict[str, int] = {}
    for row in rows:
        path, reason = placed[row.line]
        empty = [name for name in required if not row.cells[name]]
        if empty:
            yield f"line {row.line}: no {' and no '.join(empty)}"
        elif reason == _OUTSIDE:
            yield f"line {row.line}: path {row.cells['path']!r} {_OUTSIDE}"
        elif path in first:
            yield f"line {row.line}: path {path!r} is in line {first[path]} too"
        elif "split" in required and row.cells["split"].casefold() not in SPLIT_PARTS:
            yield f"line {row.line}: split {row.cells['split']!r} is not train, val or test"
        first.setdefault(path, row.line)


def _raise_bad_rows(bad: Sequence[str], *, manifest: Path) -> None:
    if bad:
        raise DataError(
            f"manifest has {len(bad)} row{'s' * (len(bad) > 1)} that cannot be used: "
            + "; ".join(bad[:5])
            + (f"; and {len(bad) - 5} more" if len(bad) > 5 else ""),
            where=f"data.source: {manifest}",
            do=_DO,
        )


def _relative(path: str, *, root: Path) -> tuple[str, str]:
    """POSIX path under `root` as it is on disk, and the reason that bars it or ""."""
    tail = os.path.relpath(path, root) if os.path.isabs(path) else path
    tail = posixpath.normpath(tail)
    if "\0" in tail or tail.split("/")[0] in ("..", "."):
        return tail, _OUTSIDE
    for spelt in _spellings(tail):
        place = os.path.join(root, spelt)
        if os.path.lexists(place):
            return spelt, bar_link(place, root=root)
    return tail, MISSING


def _spellings(path: str) -> Iterator[str]:
    """Ways in which other systems write the same path: Unicode forms and backslashes."""
    yield path
    for text in (unicodedata.normalize("NFC", path), unicodedata.normalize("NFD", path)):
        yield text
        yield posixpath.normpath(text.replace("\\", "/"))
