"""Which column is proposed as group, and what is said of the others."""

from __future__ import annotations

import pandas as pd
import pytest

from tuner.data.labels.groups import propose_group, said
from tuner.data.labels.rows import Rows


def rows(**columns: list[object]) -> Rows:
    """Rows of these columns."""
    cells = pd.DataFrame(columns).astype(str)
    return Rows(cells=cells, where=[""] * len(cells))


N = range(60)


@pytest.mark.parametrize(
    "name",
    [
        "patient_id",
        "Patient ID",
        "lesion_id",
        "SubjectID",
        "location",
        "seq_id",
        "tile",
        "videoName",
    ],
)
def test_words_of_the_field_name_groups(name: str) -> None:
    """A column of many values that come back, called as such columns are, is taken."""
    found = propose_group(rows(**{name: [i // 3 for i in N]}), used=(), n_classes=3)

    assert found.column == name
    assert "20 groups of up to 3 images" in said(found)


@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        ("patient", [*N], "patient: another value in every row"),
        ("site", [i % 8 for i in N], "site: only 8 values, one with 13% of the rows"),
        ("case", [0] * 40 + [*range(20)], "case: only 20 values, one with 68% of the rows"),
        ("patient", [""] * 60, "patient: empty"),
    ],
)
def test_what_is_no_group_is_said(name: str, values: list[object], why: str) -> None:
    """Columns of such a name that cannot keep images together are named with the reason."""
    found = propose_group(rows(**{name: values}), used=(), n_classes=3)

    assert found.column is None
    assert found.seen == (why,)
    assert why in said(found)


def test_of_several_the_coarsest() -> None:
    """Locations hold the sequences that were taken there."""
    columns = rows(
        seq_id=[i // 2 for i in N], location=[i % 10 for i in N], age=[i % 9 for i in N]
    )

    found = propose_group(columns, used=(), n_classes=3)

    assert found.column == "location"
    assert found.seen == ("seq_id: finer, 30 groups",)


def test_the_class_is_no_group() -> None:
    """What is used for something else is not considered."""
    found = propose_group(rows(plant=[i // 3 for i in N]), used=("plant",), n_classes=20)

    assert (found.column, found.seen) == (None, ())
