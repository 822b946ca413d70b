"""Which column of a label file, or which columns, say the class; and what is no class at all."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Sequence

from tuner.data.labels.class_names import plain_number
from tuner.data.labels.columns import one_hot
from tuner.data.labels.groups import words_of_name
from tuner.data.labels.rows import Rows
from tuner.errors import DataError
from tuner.text import shortened, some

_CERTAIN = (
    *("label", "class", "category", "classname", "labelname", "categoryname", "dx", "diagnosis"),
    *("target", "species", "speciesname", "classid", "labelid", "categoryid", "grade", "value"),
)
_LIKELY = (
    "label",
    "class",
    "categor",
    "diagnos",
    "species",
    "disease",
    "defect",
    "grade",
    "level",
)
_RECORD = frozenset(
    {"id", "user", "index", "idx", "width", "height", "date", "time", "age", "sex"}
)
_BINARY = re.compile(r"[01](\.0*)?|true|false", re.IGNORECASE)
_UNSURE = re.compile(r"(-1|0|1)(\.0*)?|")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_JOINTS = ("|", ";", ",", "+", "&")
_MOST_NUMBERS = 30  # more values than this are a measure, not classes
_FEW, _MANY = 0.01, 0.9


def propose_label(rows: Rows, *, used: Collection[str], source: str) -> tuple[str, ...]:
    """The column of the class, or the columns of a one-hot table.

    Raises:
        DataError: If images have several classes or shares of them, or if no column, or several,
            could be meant.
    """
    names = [name for name in rows.columns if name not in used and rows.is_filled(name)]
    columns = {name: rows.column(name) for name in names}
    kinds = {name: len(set(cells)) for name, cells in columns.items()}
    plain = {name: re.sub(r"[^a-z]", "", name.casefold()) for name in names}
    certain = [
        name
        for name in names
        if plain[name] in _CERTAIN and (kinds[name] > 1 or _is_list(columns[name][0]))
    ]
    if len(certain) == 1 or (certain and _are_one(certain, columns)):
        return (_in_words(_by_text(certain, columns), names, columns),)
    if block := _one_hot_block(names, columns, source=source):
        return block
    fit = [name for name in names if _is_categorical(columns[name]) and not _is_of_record(name)]
    likely = certain or [name for name in fit if any(word in plain[name] for word in _LIKELY)]
    found = likely or fit
    if len(found) == 1 or (likely and _are_one(likely, columns)):
        return (_in_words(_by_text(found, columns), names, columns),)
    if found and _complete_one_another([columns[name] for name in found]):
        return tuple(found)
    raise _unclear(found or names, columns, source=source)


def refuse_several(cells: Sequence[str], *, column: str, source: str) -> None:
    """Raise where the cells of the class hold several.

    Raises:
        DataError: With how many rows do, and an example.
    """
    lists = [cell for cell in cells if _is_list(cell)]
    if lists:
        raise _several(lists, cells, column=column, source=source)
    alone = Counter(cells)
    for joint in _JOINTS:
        joined = [cell for cell in cells if joint in cell.strip(joint)]
        parts = Counter(part.strip() for cell in joined for part in cell.split(joint))
        # Parts that come back, mostly as classes of their own, are labels and not punctuation.
        n_known = sum(n for part, n in parts.items() if part in alone)
        if len(joined) > _FEW * len(cells) and n_known * 2 > parts.total():
            raise _several(joined, cells, column=column, source=source)


def _is_list(cell: str) -> bool:
    """Whether a cell is a list as JSON or Python write it; brackets alone are part of a name."""
    if not cell.startswith("["):
        return False
    try:
        return isinstance(json.loads(cell.replace("'", '"')), list)
    except ValueError:
        return False


def _one_hot_block(
    names: Sequence[str], columns: dict[str, list[str]], *, source: str
) -> tuple[str, ...]:
    """Columns of which one says yes in each row; refuses several yes, shares, and unsure ones."""
    unsure = [name for name in names if all(_UNSURE.fullmatch(cell) for cell in columns[name])]
    if len(unsure) > 2 and any(cell.startswith("-1") for n in unsure for cell in columns[n]):
        _refuse_answers(unsure, columns, kind="unsure ones (-1) among them", source=source)
    block = [name for name in names if all(_BINARY.fullmatch(cell) for cell in columns[name])]
    if len(block) > 1:
        labels, barred = one_hot(block, [columns[name] for name in block])
        if len(labels) - len(barred) >= _MANY * len(labels):
            return tuple(block)
        if len(block) > 2:
            _refuse_answers(block, columns, kind="one in each column", source=source)
    _refuse_shares(names, columns, source=source)
    return ()


def _refuse_answers(
    block: Sequence[str], columns: dict[str, list[str]], *, kind: str, source: str
) -> None:
    """Raise where more than a few rows say yes in several columns."""
    rows = list(zip(*(columns[name] for name in block), strict=True))
    n = sum(sum(cell.startswith("1") or cell.casefold() == "true" for cell in r) > 1 for r in rows)
    if n > _FEW * len(rows):
        raise DataError(
            f"{n:,} of {len(rows):,} rows have several classes, {kind} ({some(block)}): images "
            "have one class here",
            where=f"data.source: {source}",
            do="make a table of the images with one class, or name the column that decides: "
            "--columns label=NAME",
        )


def _refuse_shares(names: Sequence[str], columns: dict[str, list[str]], *, source: str) -> None:
    """Raise where columns hold shares of classes that sum to one."""
    block = [
        name
        for name in names
        if all(_NUMBER.fullmatch(cell) and 0 <= float(cell) <= 1 for cell in columns[name])
    ]
    if len(block) < 2:
        return
    sums = [sum(map(float, row)) for row in zip(*(columns[name] for name in block), strict=True)]
    n_soft = sum(
        any(0 < float(cell) < 1 for cell in row)
        for row in zip(*(columns[name] for name in block), strict=True)
    )
    if n_soft and sum(abs(total - 1) < 0.02 for total in sums) >= _MANY * len(sums):
        raise DataError(
            f"{some(block)} hold shares of classes, in {n_soft:,} of {len(sums):,} rows no whole "
            "ones: images have one class here",
            where=f"data.source: {source}",
            do="make a column of the class with the largest share, and leave unsure images out",
        )


def _is_categorical(cells: Sequence[str]) -> bool:
    """Whether values come back as classes do: a few, each several times."""
    filled = [cell for cell in cells if cell]
    kinds = set(filled)
    is_measure = len(kinds) > _MOST_NUMBERS and all(_NUMBER.fullmatch(cell) for cell in kinds)
    return 2 <= len(kinds) <= max(2, len(filled) // 2) and not is_measure


def _is_of_record(name: str) -> bool:
    """Whether a column's name says who or what a row is, and how large; not what it shows."""
    return not _RECORD.isdisjoint(words_of_name(name))


def _are_one(names: Sequence[str], columns: dict[str, list[str]]) -> bool:
    """Whether columns say the same in other words: number and name of each class."""
    rows = set(zip(*(columns[name] for name in names), strict=True))
    return all(len({row[i] for row in rows}) == len(rows) for i in range(len(names)))


def _by_text(names: Sequence[str], columns: dict[str, list[str]]) -> str:
    """Of columns that say the same, the one in words."""
    return min(names, key=lambda name: all(_NUMBER.fullmatch(cell) for cell in columns[name]))


def _in_words(chosen: str, names: Sequence[str], columns: dict[str, list[str]]) -> str:
    """The column in words that says what a column of numbers says, where there is one."""
    if not are_numbers(sorted(set(columns[chosen]))):
        return chosen
    for name in names:
        if not are_numbers(sorted(set(columns[name]))) and _are_one([chosen, name], columns):
            return name
    return chosen


def _complete_one_another(cells: Sequence[Sequence[str]]) -> bool:
    return len(cells) > 1 and all(sum(map(bool, row)) == 1 for row in zip(*cells, strict=True))


def are_numbers(labels: Sequence[str]) -> bool:
    """Whether all labels are whole numbers, which mean nothing without a list of names."""
    return all(re.fullmatch(r"\d+", plain_number(label)) for label in labels)


def _several(
    joined: Sequence[str], cells: Sequence[str], *, column: str, source: str
) -> DataError:
    n_alone = len(cells) - len(joined)
    return DataError(
        f"column {column!r} holds several classes in {len(joined):,} of {len(cells):,} rows, such "
        f"as {shortened(joined[0])!r}: images have one class here",
        where=f"data.source: {source}",
        do=f"make a table of the {n_alone:,} rows with one class",
    )


def _unclear(names: Sequence[str], columns: dict[str, list[str]], *, source: str) -> DataError:
    told = []
    for name in names[:8]:
        kinds = sorted({cell for cell in columns[name] if cell})
        told.append(
            f"{name}: {len(kinds)} values ({some([shortened(k, longest=20) for k in kinds])})"
        )
    return DataError(
        f"which column says the class is not clear; {'; '.join(told) or 'there is none'}",
        where=f"data.source: {source}",
        do=f"name it: --columns label={names[0] if names else 'NAME'}",
    )
