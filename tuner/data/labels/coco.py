"""COCO-style JSON in which an image has one category: camera traps, and classes by detection."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any, TypeGuard

from tuner.data.labels.rows import Rows
from tuner.errors import DataError
from tuner.text import some

CATEGORY = "category"


def is_coco(value: Any) -> TypeGuard[dict[str, Any]]:
    """Whether a JSON value has the three lists of COCO."""
    return isinstance(value, dict) and all(
        isinstance(value.get(key), list) for key in ("images", "annotations", "categories")
    )


def coco_rows(value: dict[str, Any], *, file: Path) -> Rows:
    """A row for each image: its own plain fields and the category of its annotations.

    An image with annotations of several categories, or with none, is barred by name.

    Raises:
        DataError: If the lists do not fit together.
    """
    import pandas as pd

    from tuner.data.labels.structured import as_text

    try:
        names = {entry["id"]: str(entry["name"]) for entry in value["categories"]}
        found = defaultdict(set)
        for note in value["annotations"]:
            found[note["image_id"]].add(names[note["category_id"]])
        images = value["images"]
        labels = [found.get(image["id"], set()) for image in images]
        plain = [
            {k: as_text(v) for k, v in image.items() if not isinstance(v, dict | list)}
            for image in images
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"COCO file whose lists do not fit together: {type(error).__name__} {error}",
            where=f"data.source: {file}",
            do="images need id and file_name, annotations image_id and category_id, categories "
            "id and name",
        ) from error
    several = {n: sorted(kinds) for n, kinds in enumerate(labels) if len(kinds) > 1}
    barred = {n: f"several categories: {some(kinds)}" for n, kinds in several.items()}
    barred |= {n: "no annotation" for n, kinds in enumerate(labels) if not kinds}
    columns = list(dict.fromkeys(key for image in plain for key in image))
    cells = {key: [image.get(key, "") for image in plain] for key in columns}
    cells[CATEGORY] = [next(iter(kinds)) if len(kinds) == 1 else "" for kinds in labels]
    return Rows(
        cells=pd.DataFrame(cells, index=range(len(plain)), dtype=str),
        where=[f"image {image.get('id', n)}" for n, image in enumerate(plain)],
        barred=barred,
    )
