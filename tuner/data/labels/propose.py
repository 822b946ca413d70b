"""What ``tuner init`` makes of a label file: which columns, which folders, and why."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuner.data.folder import is_system
from tuner.data.labels.class_names import plain_number, read_class_names
from tuner.data.labels.classes import are_numbers, propose_label, refuse_several
from tuner.data.labels.columns import one_hot
from tuner.data.labels.delimited import looks_headless
from tuner.data.labels.groups import propose_group, said
from tuner.data.labels.rows import DELIMITED, FILE, FOLDER, Rows, label_files, read_rows
from tuner.data.labels.search import find_images
from tuner.data.labels.unpack import class_names_inside, unpacked
from tuner.data.sources import split_part
from tuner.errors import DataError
from tuner.text import shortened, some

_SPLIT_NAMES = frozenset(
    {"split", "set", "subset", "partition", "usage", "phase", "dataset", "fold"}
)
_MASK_TABLE = ["Pixel Value", "Class"]  # of Roboflow's segmentation export, under the same name


@dataclass(frozen=True)
class Proposal:
    """Keys of a study file, with what is to be said of them.

    Attributes:
        keys: By the name below `data`.
        remarks: Comment of each key that was proposed, by its name below `data`.
        said: Sentences for whoever asked.
    """

    keys: Mapping[str, Any] = field(default_factory=dict)
    remarks: Mapping[str, str] = field(default_factory=dict)
    said: tuple[str, ...] = ()


def propose_labels(
    source: str,
    *,
    home: Path,
    root: str | None = None,
    images: Sequence[str] = (),
    columns: Mapping[str, str] | None = None,
    group_by: str | None = None,
) -> Proposal:
    """How a label file is to be read.

    Args:
        source: A label file, or a pattern of several.
        home: Where pictures inside a file are unpacked.
        root: Folder that the user named for the paths.
        images: Folders that the user named for the images.
        columns: Columns that the user named: path, label, group, split.
        group_by: Column of groups that the user named in their place.

    Raises:
        DataError: If the file cannot be read, images have several classes, or no column names
            images or classes beyond doubt.
    """
    if (folder := unpacked(source, home=home)) is not None:
        inside = class_names_inside(source)
        remarks = {"class_names": "as the file itself names them"} if inside else {}
        known = {"class_names": list(inside.values())} if inside else {}
        return Proposal(known, remarks, (f"the pictures inside it are written to {folder}",))
    wanted = dict(columns or {})
    file = label_files(source)[1][0]
    is_headless = file.suffix.lower() in DELIMITED and looks_headless(file)
    start, rows = read_rows(source, has_header=not is_headless)
    _refuse_mask_table(rows, source=source)
    place = find_images(
        rows, start, source=source, root=root, images=images, column=wanted.get("path")
    )
    path = place.column
    split = wanted.get("split") or _propose_split(rows)
    used = {path, split or "", group_by or "", FOLDER, FILE}
    given = wanted.get("label")
    label = tuple(given.split(",")) if given else propose_label(rows, used=used, source=source)
    labels = _labels(rows, label, source=source)
    used |= set(label)
    group = propose_group(rows, used=used, n_classes=len(set(labels)))
    chosen = wanted.get("group") or (None if group_by else group.column)
    names, whence = _propose_names(labels, rows, file)
    asked: list[Any] = [path, label[0] if len(label) == 1 else list(label), chosen, split]
    if is_headless:
        asked = [_numbered(name) for name in asked]
    n_rows = f"{len(rows.cells):,}"
    remarks = {
        "columns": f"of {n_rows} rows; columns seen: {some(rows.columns, n=12)}",
        "columns.path": f"names the files: {place.n:,} of {n_rows} are there",
        "columns.label": f"{len(set(labels) - {''})} classes"
        + (", one a column in which a row holds 1" if len(label) > 1 else ""),
        "columns.group": "as you named it" if wanted.get("group") else said(group),
        "columns.split": _split_words(split, rows),
        "images": "where the images were found by name",
        "class_names": whence,
    }
    keys: dict[str, Any] = {
        "columns": dict(zip(("path", "label", "group", "split"), asked, strict=True)),
        **({"root": place.root} if place.root else {}),
        **({"images": list(place.images)} if place.images else {}),
        **({"class_names": names} if names else {}),
    }
    told = ", ".join(f"{key}: {shortened(str(v))}" for key, v in keys["columns"].items() if v)
    remarks = {key: text for key, text in remarks.items() if text and (key.split(".")[0] in keys)}
    return Proposal(keys, remarks, (f"columns  {told}", f"groups   {remarks['columns.group']}"))


def _labels(rows: Rows, label: Sequence[str], *, source: str) -> list[str]:
    """Label of each row, once it is known that rows have one."""
    missing = [name for name in label if name not in rows.columns]
    if missing:
        raise DataError(
            f"there is no column {missing[0]!r}; there are {some(rows.columns, n=12)}",
            where=f"data.source: {source}",
            do="name one that is there: --columns label=NAME",
        )
    cells = [rows.column(name) for name in label]
    if len(cells) == 1:
        refuse_several(cells[0], column=label[0], source=source)
        return [cell for row, cell in enumerate(cells[0]) if row not in rows.barred]
    if all(sum(map(bool, row)) == 1 for row in zip(*cells, strict=True)):
        return ["".join(row) for row in zip(*cells, strict=True)]
    return [name for name in one_hot(label, cells)[0] if name]


def _propose_split(rows: Rows) -> str | None:
    """The column that says train and test in every row: one of the table, its folder or file."""
    plain = {name: "".join(filter(str.isalpha, name.casefold())) for name in rows.columns}
    named_so = [name for name in rows.columns if plain[name] in _SPLIT_NAMES]
    for name in [*named_so, FOLDER, FILE]:
        if name in rows.columns:
            sides = {split_part(cell.rpartition("/")[2]) for cell in rows.column(name)}
            if "" not in sides and {"train", "test"} <= sides:
                return name
    return None


def _split_words(split: str | None, rows: Rows) -> str:
    if split is None:
        return "no column says train or test: a test is drawn"
    sides = [split_part(cell.rpartition("/")[2]) for cell in rows.column(split)]
    return ", ".join(f"{side} {sides.count(side):,}" for side in dict.fromkeys(sides))


def _propose_names(labels: Sequence[str], rows: Rows, file: Path) -> tuple[Any, str]:
    """Names for labels that are numbers, where the file or one beside it has them, and whence."""
    if not are_numbers(sorted(set(labels))):
        return None, ""
    wanted = {plain_number(label) for label in labels}
    if wanted <= rows.class_names.keys():
        return list(rows.class_names.values()), "as the file itself names them"
    for beside in sorted(file.parent.iterdir()):
        if beside == file or is_system(beside.name) or not _may_name_classes(beside):
            continue
        try:
            names = read_class_names(str(beside))
            if wanted <= names.keys() and not are_numbers(list(names.values())):
                return os.path.relpath(beside), "a file beside it, which names the numbers"
        except DataError:
            continue
    return None, ""


def _may_name_classes(file: Path) -> bool:
    is_table = file.suffix.lower() in (DELIMITED | {".json"})
    is_named = any(
        word in file.name.casefold() for word in ("name", "class", "label", "map", "meta")
    )
    return is_table and is_named and file.is_file() and file.stat().st_size < 2**20


def _numbered(name: Any) -> Any:
    """Columns of a file without a header by number."""
    if isinstance(name, list):
        return [_numbered(each) for each in name]
    return int(name) if name and name.isdigit() else name


def _refuse_mask_table(rows: Rows, *, source: str) -> None:
    if [name for name in rows.columns if name not in (FOLDER, FILE)] == _MASK_TABLE:
        raise DataError(
            "this table names the values of masks, not the classes of images: an export for "
            "segmentation",
            where=f"data.source: {source}",
            do="export the set for classification (single label), as folders or as _classes.csv",
        )
