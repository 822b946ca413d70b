"""A study of a table that somebody has in a notebook."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import tuner
from tests.data.labels.published import save


def frame_of(root: Path) -> pd.DataFrame:
    """Twenty pictures with grade, patient and age."""
    rows = []
    for i in range(20):
        save(root / "pics" / f"{i}.png", i % 2)
        rows.append({"file": f"pics/{i}.png", "grade": i % 2, "patient": i // 4, "age": 50 + i})
    return pd.DataFrame(rows)


def test_a_table_is_a_study(tmp_path: Path) -> None:
    """Its columns are used by name, and the home keeps what the study needs of them."""
    frame = frame_of(tmp_path)
    columns = {"path": "file", "label": "grade", "group": "patient"}
    places = {"home": tmp_path / "home", "listener": None}

    study = tuner.Study.of_table(frame, name="eyes", columns=columns, images=tmp_path, **places)
    table = study.check().table

    assert table.class_names == ("0", "1")
    assert table.counts.tolist() == [10, 10]
    assert table.groups is not None
    assert len(np.unique(table.groups)) == 5
    assert "age" not in (tmp_path / "home" / "datasets" / "eyes.csv").read_text()


def test_columns_of_the_right_names_need_not_be_named(tmp_path: Path) -> None:
    """path, label and split are taken where they are called so; absolute paths, too."""
    frame = frame_of(tmp_path).rename(columns={"file": "path", "grade": "label"})
    frame["path"] = [str(tmp_path / path) for path in frame["path"]]
    frame["split"] = ["test" if i < 4 else "train" for i in range(20)]

    study = tuner.Study.of_table(
        frame, name="x", images=tmp_path, home=tmp_path / "home", listener=None
    )

    assert study.check().table.test_counts.tolist() == [2, 2]


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        (None, "columns says nothing of 'label'"),
        ({"path": "file"}, "columns says nothing of 'label'"),
        ({"path": "file", "label": "dx"}, "the table has no column 'dx'; it has file, grade"),
        ({"path": "file", "label": "grade", "kind": "x"}, "'kind' is no meaning of a column"),
        ({"path": "file", "label": "empty"}, "column 'empty' is empty in 1 of 20 rows"),
    ],
)
def test_a_table_that_says_too_little(
    tmp_path: Path, columns: dict[str, str] | None, what: str
) -> None:
    """What is missing is named before anything is read."""
    frame = frame_of(tmp_path).assign(empty=[None, *range(19)])

    with pytest.raises(tuner.TunerError) as caught:
        tuner.Study.of_table(frame, name="x", columns=columns, home=tmp_path / "home")

    assert what in str(caught.value)
