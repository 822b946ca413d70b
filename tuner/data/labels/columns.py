"""What the study file names in a label file: path, label, group and split of each row."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tuner.config import ColumnsConfig
from tuner.config.models import AUTO
from tuner.data.labels.class_names import ClassNames, named, read_class_names
from tuner.data.labels.rows import FILE, FOLDER, Rows
from tuner.data.sources import split_part
from tuner.errors import DataError
from tuner.text import some

PLAIN = ColumnsConfig(path="path", label="label")
_YES = re.compile(r"1(\.0*)?|true", re.IGNORECASE)
_NO = re.compile(r"0(\.0*)?|false", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Labelled:
    """Path, label, group and split of each row, before the files are looked for.

    Attributes:
        path: As the file has it.
        label: Name of the class; empty where the row is barred or says none.
        group: None where the study names no group column.
        split: "train", "val", "test" or what else stands there; None without such a column.
        barred: Rows that cannot be used, with the reason.
        required: Columns of which no cell may be empty, with their cells.
        notes: What a reader should know.
    """

    path: Sequence[str]
    label: Sequence[str]
    group: Sequence[str] | None
    split: Sequence[str] | None
    barred: Mapping[int, str]
    required: Mapping[str, Sequence[str]]
    notes: tuple[str, ...]


def has_header(columns: ColumnsConfig | None) -> bool:
    """Whether the columns are called by name: numbers are for files without a header.

    Raises:
        DataError: If some are called by name and some by number.
    """
    if columns is None:
        return True
    of_table = [name for name in _used(columns) if name not in (FOLDER, FILE)]
    by_number = {isinstance(name, int) for name in of_table}
    if len(by_number) > 1:
        raise DataError(
            "some columns are named and some numbered",
            where=f"data.columns: {columns.model_dump()}",
            do="name all, or number all where the file has no header",
        )
    return not by_number.pop()


def pick(
    rows: Rows,
    columns: ColumnsConfig | None,
    *,
    source: str,
    group_by: str | None = None,
    class_names: ClassNames | None = None,
) -> Labelled:
    """The columns that a study uses.

    Args:
        rows: All that the label file holds.
        columns: Of the study file; None takes `path`, `label` and, where it is filled, `split`.
        source: The label file, for messages.
        group_by: Column of groups in place of that of `columns`; no cell of it may be empty.
            "auto" takes that of `columns` or, without those, a filled one called `group`.
        class_names: Names of labels that are numbers.

    Raises:
        DataError: If a column is not there, or labels have no names.
    """
    used = columns or PLAIN
    _check_columns(used, rows, source=source, is_plain=columns is None)
    if group_by == AUTO:
        is_plain = columns is None and "group" in rows.columns and rows.is_filled("group")
        used, group_by = (used.model_copy(update={"group": "group"}) if is_plain else used), None
    _check_group_column(group_by, rows, source=source)
    labels, barred, notes = _labels(used, rows)
    if class_names is not None:
        labels = named(labels, read_class_names(class_names))
    split = None if used.split is None else str(used.split)
    if columns is None and "split" in rows.columns and rows.is_filled("split"):
        split = "split"
    group = str(group_by or used.group) if group_by or used.group is not None else None
    required = {"path": rows.column(str(used.path)), "label": labels}
    required |= {"split": rows.column(split)} if split else {}
    required |= {group_by: rows.column(group_by)} if group_by else {}
    if (
        columns is None
        and group_by is None
        and used.group is None
        and "group" in rows.columns
        and rows.is_filled("group")
    ):
        notes.append("manifest has a 'group' column that is not used; set data.group_by: group")
    return Labelled(
        path=required["path"],
        label=[unicodedata.normalize("NFC", label) for label in labels],
        group=rows.column(group) if group else None,
        split=[split_part(cell) or cell for cell in rows.column(split)] if split else None,
        barred={**rows.barred, **barred},
        required=required,
        notes=(*rows.notes, *notes),
    )


def one_hot(
    columns: Sequence[str], cells: Sequence[Sequence[str]]
) -> tuple[list[str], dict[int, str]]:
    """The column that says yes in each row, and the rows in which none or several do.

    Args:
        columns: Names, one a class.
        cells: The cells of each column.
    """
    labels, barred = [], {}
    for row, answers in enumerate(zip(*cells, strict=True)):
        yes = [name for name, cell in zip(columns, answers, strict=True) if _YES.fullmatch(cell)]
        odd = [
            cell
            for cell in answers
            if cell and not _YES.fullmatch(cell) and not _NO.fullmatch(cell)
        ]
        labels.append(yes[0] if len(yes) == 1 and not odd else "")
        if odd:
            barred[row] = f"neither 0 nor 1 but {odd[0]}: images have one class here"
        elif len(yes) != 1:
            barred[row] = f"several classes: {some(yes)}" if yes else "no class: all columns are 0"
    return labels, barred


def _used(columns: ColumnsConfig) -> list[str | int]:
    labels = columns.label if isinstance(columns.label, tuple) else (columns.label,)
    others = [name for name in (columns.group, columns.split) if name is not None]
    return [columns.path, *labels, *others]


def _labels(used: ColumnsConfig, rows: Rows) -> tuple[list[str], dict[int, str], list[str]]:
    """Label of each row, rows that have none or several, and notes."""
    if not isinstance(used.label, tuple):
        name = str(used.label)
        n_spaced = rows.spaced.get(name, 0)
        notes = [f"labels with spaces around them, which are dropped: {n_spaced}"]
        return rows.column(name), {}, notes if n_spaced else []
    names = [str(name) for name in used.label]
    cells = [rows.column(name) for name in names]
    filled = [[cell for cell in row if cell] for row in zip(*cells, strict=True)]
    if all(len(row) == 1 for row in filled):  # one answer a row: grades of the left or right eye
        return [row[0] for row in filled], {}, []
    labels, barred = one_hot(names, cells)
    unused = [name for name in names if name not in labels]
    notes = [f"columns that are 0 in every row, no classes: {some(unused)}"] if unused else []
    return labels, barred, notes


def _check_columns(used: ColumnsConfig, rows: Rows, *, source: str, is_plain: bool) -> None:
    missing = [str(name) for name in _used(used) if str(name) not in rows.columns]
    if not missing:
        return
    if is_plain:
        raise DataError(
            f"manifest has no column {' and no column '.join(map(repr, missing))}; "
            f"its first line reads: {','.join(rows.columns)[:120]!r}",
            where=f"data.source: {source}",
            do="name the columns in the first line: path,label[,group][,split], or those that are "
            "there in data.columns: {path: …, label: …}",
        )
    near = difflib.get_close_matches(missing[0], rows.columns, n=1)
    raise DataError(
        f"label file has no column {missing[0]!r}; it has {some(rows.columns, n=12)}",
        where=f"data.columns, data.source: {source}",
        do=f"did you mean {near[0]!r}?" if near else "name one that is there",
    )


def _check_group_column(group_by: str | None, rows: Rows, *, source: str) -> None:
    """Raise unless the column that groups are asked from is there and filled."""
    columns = rows.columns
    if group_by is None or (group_by in columns and rows.is_filled(group_by)):
        return
    filled = [name for name in columns if rows.is_filled(name)]
    near = difflib.get_close_matches(group_by, filled, n=1)
    raise DataError(
        f"manifest's column {group_by!r} is empty"
        if group_by in columns
        else f"manifest has no column {group_by!r}; it has {some(columns, n=12)}",
        where=f"data.group_by, data.source: {source}",
        do=f"did you mean {near[0]!r}?" if near else "name a filled column, or null",
    )
