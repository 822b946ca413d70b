"""``images.csv``: the images of a study with their folds, as they were when it began."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tuner.arrays import Int64
from tuner.columns import Column, Texts, hashes_of, joined
from tuner.data.image_table import ImageTable
from tuner.files import replacing

_NUMBERS = ("label", "fold", "group")
_BLOCK = 2**16  # images that are text at one time


def write_images(path: Path, table: ImageTable) -> None:
    """Write a table that is split."""
    import pyarrow
    from pyarrow import csv

    fields = [("path", pyarrow.large_string()), ("sha256", pyarrow.large_string())]
    fields += [("label", pyarrow.int64()), ("class", pyarrow.string()), ("fold", pyarrow.int64())]
    if table.groups is not None:
        fields.append(("group", pyarrow.int64()))
    schema, names = pyarrow.schema(fields), pyarrow.array(table.class_names, pyarrow.string())
    # All text is quoted: bare, a carriage return would be read as the end of a line.
    options = csv.WriteOptions(quoting_style="needed")
    with (
        replacing(path) as temporary,
        csv.CSVWriter(temporary, schema, write_options=options) as w,
    ):
        for start in range(0, table.n_images, _BLOCK):
            rows = slice(start, start + _BLOCK)
            labels = pyarrow.array(table.labels[rows], pyarrow.int64())
            columns = [_to_arrow(table.paths[rows]), _to_arrow(table.sha256[rows])]
            columns += [labels, names.take(labels), pyarrow.array(table.fold[rows])]
            if table.groups is not None:
                columns.append(pyarrow.array(table.groups[rows]))
            w.write_batch(pyarrow.record_batch(columns, schema=schema))


def read_images(path: Path, *, class_names: Sequence[str], split_fingerprint: str) -> ImageTable:
    """The images, and the folds, that the study began with.

    Args:
        path: The file.
        class_names: Those of the study, in class order.
        split_fingerprint: Of the split that the study began with.

    Raises:
        OSError: If there is no such file.
        ValueError: If it holds something else; or KeyError, TypeError, OverflowError.
    """
    columns = _read(path)
    numbers = {name: np.concatenate(columns[name]) for name in _NUMBERS if name in columns}
    table = ImageTable(
        paths=joined(columns["path"]),
        sha256=hashes_of(joined(columns["sha256"])),
        labels=numbers["label"],
        class_names=tuple(class_names),
        groups=numbers.get("group"),
        fold=numbers["fold"],
    )
    n_classes = table.n_classes
    if table.n_images and not 0 <= table.labels.min() <= table.labels.max() < n_classes:
        raise ValueError(f"a label is none of the {n_classes} classes")
    if table.split_fingerprint != split_fingerprint:
        raise ValueError("images or folds are not those that the study began with")
    return table


def _read(path: Path) -> dict[str, list[Any]]:
    """The columns in parts: the file may be large, and is never held whole."""
    import pyarrow
    from pyarrow import csv

    kinds = dict.fromkeys(("path", "sha256", "class"), pyarrow.large_string())
    kinds |= dict.fromkeys(_NUMBERS, pyarrow.int64())
    found: dict[str, list[Any]] = {}
    with csv.open_csv(
        path,
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(column_types=kinds, strings_can_be_null=False),
    ) as batches:
        for name in batches.schema.names:
            found[name] = [] if name not in _NUMBERS else [np.empty(0, dtype=np.int64)]
        for batch in batches:
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                if name in _NUMBERS:
                    found[name].append(_whole(column))
                elif name == "sha256":
                    found[name].append(hashes_of(_from_arrow(column)))
                elif name == "path":
                    found[name].append(_from_arrow(column))
    pyarrow.default_memory_pool().release_unused()  # a file of a million lines leaves much
    return found


def _to_arrow(column: Column) -> Any:
    """A column as Arrow's large strings; the bytes of texts are not copied."""
    import pyarrow

    texts = column if isinstance(column, Texts) else Texts.of(column)
    ends, data = pyarrow.py_buffer(texts.ends), pyarrow.py_buffer(texts.data)
    return pyarrow.LargeStringArray.from_buffers(len(texts), ends, data)


def _from_arrow(column: Any) -> Texts:
    if column.null_count:
        raise ValueError("a text is missing")
    _, ends, data = column.buffers()
    offsets = np.frombuffer(ends, dtype=np.int64)[column.offset : column.offset + len(column) + 1]
    own = np.frombuffer(data or b"", dtype=np.uint8)[offsets[0] : offsets[-1]]
    return Texts(own.copy(), offsets - offsets[0])


def _whole(column: Any) -> Int64:
    """A column of whole numbers, int64 (n,)."""
    if column.null_count:
        raise ValueError("a number is missing")
    return np.array(column.to_numpy(), dtype=np.int64)
