"""Where the images of an unknown label file are: by path, by name below a folder, or absolute."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tuner.data.folder import walk_folder
from tuner.data.images import IMAGE_SUFFIXES
from tuner.data.labels.places import MISSING, OUTSIDE, SEVERAL, Places
from tuner.data.labels.rows import FILE, FOLDER, Rows
from tuner.errors import DataError
from tuner.text import shortened, some

_SAMPLE = 200
_LEAST_SHARE = 0.5
_MOST_FOLDERS = 8


@dataclass(frozen=True)
class Found:
    """Where images were found, as keys of the study file.

    Attributes:
        column: The column that names them.
        n: Rows whose file is there.
        root: `data.root`, or None.
        images: `data.images`.
    """

    column: str
    n: int
    root: str | None = None
    images: tuple[str, ...] = ()


_Find = Callable[[str, str, str], str | None]  # path and its file's folders to the image, or None


def find_images(
    rows: Rows,
    start: Path,
    *,
    source: str,
    root: str | None = None,
    images: Sequence[str] = (),
    column: str | None = None,
) -> Found:
    """The column whose values are image files, and the folders that they lie in.

    Args:
        rows: The label file.
        start: Its folder.
        source: The label file as the user named it: folders are written in the same way.
        root: Folder that the user named for paths.
        images: Folders that the user named for images.
        column: Column that the user named.

    Raises:
        DataError: If no column names files that are there.
    """
    names = [column] if column else [n for n in rows.columns if n not in (FOLDER, FILE)]
    names = [name for name in names if name in rows.columns and rows.is_filled(name)]
    for way, find in _ways(start, root=root, images=images):
        shares = {name: _share(rows, name, find) for name in names}
        best = max(names, key=lambda name: shares[name], default="")
        if best and shares[best] > _LEAST_SHARE:
            return _found(
                rows, best, find, way=way, start=start, source=source, root=root, images=images
            )
    raise _nowhere(rows, names, start, source=source)


def _ways(start: Path, *, root: str | None, images: Sequence[str]) -> Iterator[tuple[str, _Find]]:
    """Ways to find a file, the plainest first."""
    if images:
        folders = [Path(folder).expanduser().resolve() for folder in images]
        yield "named", _by(Places(Path(os.path.commonpath(folders)), folders=folders))
        return
    top = Path(root).expanduser().resolve() if root else start
    yield "path", _by(Places(top))
    yield "name", _by(Places(top, folders=[top]))
    yield "absolute", lambda path, *_: path if _is_absolute_file(path) else None
    is_bare = not any(
        Path(file).suffix.lower() in IMAGE_SUFFIXES for file in walk_folder(top).files
    )
    if (
        root is None
        and is_bare
        and start.parent not in (Path("/"), Path.home(), Path.home().parent)
    ):
        yield "name", _by(Places(start.parent, folders=[start.parent]))


def _is_absolute_file(path: str) -> bool:
    return os.path.isabs(path) and os.path.isfile(path)


def _by(places: Places) -> _Find:
    def find(path: str, base: str, beside: str) -> str | None:
        place, reason = places.find(path, base=base, beside=beside)
        is_there = reason not in (MISSING, OUTSIDE) and not reason.startswith(SEVERAL)
        return str(places.root / place) if is_there else None

    return find


def _share(rows: Rows, column: str, find: _Find) -> float:
    """Share of some cells, from everywhere in the table, that are files."""
    cells = list(zip(rows.column(column), rows.base, rows.beside, strict=True))
    sample = [cell for cell in cells[:: max(1, len(cells) // _SAMPLE)] if cell[0]]
    if len(set(sample)) * 2 < len(sample):
        return 0.0  # a path is no value that comes again and again
    return sum(find(*cell) is not None for cell in sample) / max(1, len(sample))


def _found(
    rows: Rows,
    column: str,
    find: _Find,
    *,
    way: str,
    start: Path,
    source: str,
    root: str | None,
    images: Sequence[str],
) -> Found:
    cells = list(zip(rows.column(column), rows.base, rows.beside, strict=True))
    files = [file for cell in cells if cell[0] and (file := find(*cell))]
    if way == "path":
        return Found(column=column, n=len(files), root=root)
    if way == "named":
        return Found(column=column, n=len(files), images=tuple(images))
    folders = sorted({os.path.dirname(file) for file in files})
    common = os.path.commonpath(folders)
    if way == "absolute":
        return Found(column=column, n=len(files), root=_as_typed(common, source))
    is_by_folder = any("/" in cell.replace("\\", "/") for cell, *_ in cells[:_SAMPLE])
    folders = [common] if is_by_folder or len(folders) > _MOST_FOLDERS else folders
    typed = tuple(_as_typed(folder, source) for folder in folders)
    return Found(column=column, n=len(files), root=root if len(typed) > 1 else None, images=typed)


def _as_typed(folder: str, source: str) -> str:
    """A folder as the user names things: absolute, or from the working directory."""
    return folder if os.path.isabs(os.path.expanduser(source)) else os.path.relpath(folder)


def _nowhere(rows: Rows, names: Sequence[str], start: Path, *, source: str) -> DataError:
    told = [
        f"{name}: {shortened(next(cell for cell in rows.column(name) if cell), longest=40)}"
        for name in names
    ]
    return DataError(
        f"no column names images that are found in {start} ({some(told, n=8)})",
        where=f"data.source: {source}",
        do="name the folder of the images: --images FOLDER (found by name below it), or --root "
        "FOLDER (that the paths start from); and the column, if need be: --columns path=NAME",
    )
