"""Names of classes that a label file knows by number."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tuner.errors import DataError
from tuner.text import some

ClassNames = str | Sequence[str] | Mapping[str, str]
_ZEROS = re.compile(r"([-+]?\d+)\.0*")


def plain_number(label: str) -> str:
    """A label without the zeros after its point and before its digits.

    Example:
        >>> [plain_number(label) for label in ("1.0", "07", "0", "0.5", "NV")]
        ['1', '7', '0', '0.5', 'NV']
    """
    label = _ZEROS.sub(r"\1", label) if _ZEROS.fullmatch(label) else label
    return str(int(label)) if label.isascii() and label.isdigit() else label


def read_class_names(given: ClassNames) -> dict[str, str]:
    """Name of each label: from a list in the order from 0, a block, or a file of either.

    Args:
        given: A file holds a name a line, or a table whose first two columns are label and name
            (in either order, numbers first), or a JSON list or block.

    Raises:
        DataError: If the file cannot be read as any of these.
    """
    if isinstance(given, str):
        given = _of_file(Path(given).expanduser())
    if isinstance(given, Mapping):
        return {plain_number(label): name for label, name in given.items()}
    return {str(number): name for number, name in enumerate(given)}


def named(labels: Iterable[str], names: Mapping[str, str]) -> list[str]:
    """The labels by name; one that is a name already stays.

    Raises:
        DataError: If some have no name.
    """
    known, own = set(names.values()), list(labels)
    found = [names.get(plain_number(label), label) for label in own]
    if unnamed := sorted({name for name in found if name and name not in known}):
        raise DataError(
            f"labels without a name: {some(unnamed)}; there are names for {some([*names], n=12)}",
            where="data.class_names",
            do="name every label",
        )
    return found


def _of_file(file: Path) -> Sequence[str] | Mapping[str, str]:
    from tuner.data.labels.delimited import read_delimited
    from tuner.data.labels.structured import read_object

    if not file.is_file():
        raise DataError("there is no such file", where=f"data.class_names: {file}")
    if file.suffix.lower() == ".json":
        return _of_json(read_object(file), file=file)
    rows = read_delimited(file, has_header=False)
    columns = [rows.column(name) for name in rows.columns]
    if len(columns) > 1:
        is_header = not any(cells[0].isdigit() for cells in columns[:2])
        first, second = (cells[is_header:] for cells in columns[:2])
        is_turned = all(cell.isdigit() for cell in second) and not all(c.isdigit() for c in first)
        pairs = zip(second, first, strict=True) if is_turned else zip(first, second, strict=True)
        return dict(pairs)
    return columns[0] if columns else []


def _of_json(value: object, *, file: Path) -> Sequence[str] | Mapping[str, str]:
    if isinstance(value, list) and value and all(isinstance(v, str) for v in value):
        return value
    if isinstance(value, dict) and value:
        if all(isinstance(v, str) for v in value.values()):
            return {str(label): name for label, name in value.items()}
        if all(isinstance(v, int) for v in value.values()):
            return {str(label): str(name) for name, label in value.items()}
    raise DataError(
        "holds neither a list of names nor a block of labels with names",
        where=f"data.class_names: {file}",
    )
