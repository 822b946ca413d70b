"""JSON, JSON Lines and Parquet as rows of text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tuner.data.labels.coco import coco_rows, is_coco
from tuner.data.labels.rows import Rows
from tuner.errors import DataError
from tuner.text import first_line, some


def read_lines(file: Path) -> Rows:
    """Rows of a JSON Lines file, an object a line.

    Raises:
        DataError: If a line is no object.
    """
    found, places = [], []
    for number, line in enumerate(_text(file).splitlines(), 1):
        if line.strip():
            found.append(_parsed(line, file=file, line=number))
            places.append(f"line {number}")
    return _of_objects(found, places, file=file)


def read_json(file: Path) -> Rows:
    """Rows of a JSON file: COCO, a list of objects, or a block of paths with their labels.

    Raises:
        DataError: If it is none of these.
    """
    value = _parsed(_text(file), file=file)
    if is_coco(value):
        return coco_rows(value, file=file)
    if isinstance(value, list) and value:
        return _of_objects(value, [f"entry {n}" for n in range(1, len(value) + 1)], file=file)
    if isinstance(value, dict) and value and not any(isinstance(v, list) for v in value.values()):
        if all(isinstance(v, dict) for v in value.values()):
            objects = [{"key": key, **entry} for key, entry in value.items()]
        else:
            objects = [{"key": key, "value": entry} for key, entry in value.items()]
        return _of_objects(objects, [f"key {key!r}" for key in value], file=file)
    raise DataError(
        "holds no labels in a form that is known",
        where=f"data.source: {file}",
        do="known are COCO (images, annotations, categories), a list of objects, and a block of "
        "paths with labels",
    )


def read_object(file: Path) -> Any:
    """Whatever a JSON file holds.

    Raises:
        DataError: If it is no JSON.
    """
    return _parsed(_text(file), file=file)


def read_parquet(file: Path) -> Rows:
    """Rows of a Parquet file; columns of bytes are left out.

    Raises:
        DataError: If it cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(file)
        plain = [
            f.name for f in schema if not pa.types.is_nested(f.type) and not _is_bytes(f.type)
        ]
        table = pq.read_table(file, columns=plain)
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"Parquet file cannot be read: {first_line(error)[:200]}",
            where=f"data.source: {file}",
        ) from error
    columns = {name: [as_text(v) for v in table.column(name).to_pylist()] for name in plain}
    places = [f"row {n}" for n in range(1, table.num_rows + 1)]
    return _of_columns(columns, places, class_names=names_in_schema(schema))


def names_in_schema(schema: Any) -> dict[str, str]:
    """Class names that the Hugging Face library keeps in a file's schema, by label."""
    features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    kinds = features.get("info", {}).get("features", {}) if isinstance(features, dict) else {}
    for kind in kinds.values():
        if isinstance(kind, dict) and kind.get("_type") == "ClassLabel":
            return {str(number): str(name) for number, name in enumerate(kind.get("names", []))}
    return {}


def as_text(value: Any) -> str:
    """A value as the text that a table would hold; whole numbers without a point."""
    if value is None or value != value:  # not a number is not equal to itself
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, bool):
        return str(int(value))
    return json.dumps(value) if isinstance(value, dict | list) else str(value).strip()


def _is_bytes(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _of_objects(found: Sequence[Any], places: Sequence[str], *, file: Path) -> Rows:
    odd = [
        place for entry, place in zip(found, places, strict=True) if not isinstance(entry, dict)
    ]
    if odd or not found:
        raise DataError(
            f"{some(odd)}: not an object" if odd else "holds no rows",
            where=f"data.source: {file}",
            do='write an object for each image: {"file_name": "a.png", "label": "crack"}',
        )
    names = list(dict.fromkeys(str(key) for entry in found for key in entry))
    columns = {name: [as_text(entry.get(name)) for entry in found] for name in names}
    return _of_columns(columns, places)


def _of_columns(
    columns: Mapping[str, Sequence[str]],
    places: Sequence[str],
    *,
    class_names: Mapping[str, str] | None = None,
) -> Rows:
    import pandas as pd

    cells = pd.DataFrame(columns, index=range(len(places)), dtype=str)
    return Rows(cells=cells, where=places, class_names=class_names or {})


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        what = f"label file cannot be read: {error.strerror}"
        raise DataError(what, where=f"data.source: {file}") from error
    except UnicodeDecodeError as error:
        raise DataError("label file is not UTF-8 text", where=f"data.source: {file}") from error


def _parsed(text: str, *, file: Path, line: int | None = None) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        at = f", line {line}" if line else ""
        what = f"label file is not JSON: {first_line(error)[:200]}"
        raise DataError(what, where=f"data.source: {file}{at}") from error
