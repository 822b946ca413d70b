"""A table of a notebook as a label file in the home."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from tuner.config import safe_study_name
from tuner.errors import DataError
from tuner.files import write_whole
from tuner.home import Home
from tuner.text import some

_MEANINGS = ("path", "label", "group", "split")


def keep_table(
    frame: pd.DataFrame, columns: Mapping[str, str] | None, *, home: Home, name: str
) -> dict[str, Any]:
    """Write what a study uses of a table as ``datasets/NAME.csv``.

    Args:
        frame: One row an image.
        columns: Column of path, label, group and split; None for those that are called so.
        home: Where it is kept.
        name: Of the study.

    Returns:
        The keys `source` and `columns` of a study file.

    Raises:
        DataError: If a column is missing, or a path or label is empty.
    """
    where = f"Study.of_table, study '{name}'"
    known = [str(column) for column in frame.columns]
    used = dict(columns or {key: key for key in _MEANINGS if key in known})
    if odd := sorted({*used, "path", "label"} - used.keys() | used.keys() - set(_MEANINGS)):
        raise DataError(
            f"columns says nothing of {odd[0]!r}"
            if odd[0] in _MEANINGS
            else f"{odd[0]!r} is no meaning of a column",
            where=where,
            do=f'name them: columns={{"path": …, "label": …}}; the table has {some(known, n=12)}',
        )
    if missing := [column for column in used.values() if column not in known]:
        raise DataError(
            f"the table has no column {missing[0]!r}; it has {some(known, n=12)}",
            where=where,
            do='name one that is there: columns={"path": …, "label": …}',
        )
    kept = pd.DataFrame({key: frame[column] for key, column in used.items()})
    for key in ("path", "label"):
        if n := int(kept[key].isna().sum()):
            raise DataError(
                f"column {used[key]!r} is empty in {n:,} of {len(kept):,} rows",
                where=where,
                do=f"leave them out: frame.dropna(subset=[{used[key]!r}])",
            )
    path = home.path / "datasets" / f"{safe_study_name(name)}.csv"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, kept.to_csv(index=False))
    except OSError as error:
        what = f"the table cannot be kept: {error.strerror or error}"
        raise DataError(what, where=str(path), do="choose another home") from error
    columns_used = {key: key for key in used}
    return {"source": str(path.resolve()), "columns": columns_used, "range": "auto"}
