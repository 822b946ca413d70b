"""Costs and floors as users write them, and every way to write them wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tuner.decision.demands import demands_of
from tuner.errors import UsageError

NAMES = ["ok", "crack", "a=b, c"]
GOOD = ',crack,ok,"a=b, c"\nok,2,0,1\ncrack,0,9.5,4\n"a=b, c",1,1,0\n'
TABLE = np.array([[0, 2, 1], [9.5, 0, 4], [1, 1, 0]])


@pytest.mark.parametrize(
    "text", [GOOD, "\ufeff" + GOOD, GOOD + "\n,,,\n", GOOD.replace(",1", ", 1 ")]
)
def test_costs_are_read_by_name_in_any_order(tmp_path: Path, text: str) -> None:
    """Rows are the true classes whatever their order; blanks, empty lines and a mark are none."""
    path = tmp_path / "costs.csv"
    path.write_text(text, "utf-8")
    np.testing.assert_array_equal(demands_of(path, None, NAMES).costs, TABLE)


def test_a_frame_says_the_same_as_a_file() -> None:
    """True classes are its index, predicted ones its columns."""
    frame = pd.DataFrame(TABLE, index=NAMES, columns=NAMES)[NAMES[::-1]]
    np.testing.assert_array_equal(demands_of(frame, None, NAMES).costs, TABLE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file of costs is empty"),
        (GOOD.replace("9.5", "-1"), "row 'crack', column 'ok': '-1' is no cost"),
        (GOOD.replace("9.5", "nan"), "'nan' is no cost"),
        (GOOD.replace("9.5", "inf"), "'inf' is no cost"),
        (GOOD.replace("9.5", ""), "'' is no cost"),
        (GOOD.replace("\ncrack", "\ncracks"), "rows of no class of the study 'cracks'"),
        (GOOD.replace("\ncrack", "\ncracks"), "no rows of 'crack'"),
        (GOOD.replace(",crack,", ",ok,"), "several columns of 'ok'"),
        (GOOD.replace("9.5,4", "9.5"), "row 'crack' has 2 costs, not 3"),
        (GOOD.replace(",", ";"), "no columns of"),
        (GOOD.replace("ok,2,0,1", "ok,2,5,1"), "a right answer, on the diagonal, costs more"),
        (",crack,ok,\"a=b, c\"\n" + "\n".join(f'"{n}",0,0,0' for n in NAMES), "costs the same"),
        ("\0", "cannot be read|no rows of"),
    ],
)  # fmt: skip
def test_costs_that_cannot_be_meant_are_one_error(tmp_path: Path, text: str, message: str) -> None:
    """It names file, class and value, and says which side is which."""
    path = tmp_path / "costs.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        demands_of(path, None, NAMES)
    assert caught.value.where == str(path)
    assert "true classes in rows, predicted ones in columns" in str(caught.value)


def test_every_fault_of_a_file_is_told_at_once(tmp_path: Path) -> None:
    """Two numbers that are none are two lines less to come back for."""
    path = tmp_path / "costs.csv"
    path.write_text(GOOD.replace("9.5,4", "x,-4"))
    with pytest.raises(UsageError, match=r"'x' is no cost; row 'crack', column 'a=b, c': '-4'"):
        demands_of(path, None, NAMES)


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    """Missing, a folder, or a picture."""
    (tmp_path / "picture.csv").write_bytes(b"\xff\xd8\xff")
    for path in (tmp_path / "none.csv", tmp_path, tmp_path / "picture.csv"):
        with pytest.raises(UsageError, match="the costs cannot be read") as caught:
            demands_of(path, None, NAMES)
        assert str(path) in str(caught.value)


def test_floors_come_by_name() -> None:
    """As texts, of which the last sign counts, or as a mapping."""
    assert demands_of(None, ["a=b, c=0.5", "ok=1"], NAMES).floors == {0: 1.0, 2: 0.5}
    assert demands_of(None, {"crack": 0.95}, NAMES).floors == {1: 0.95}
    assert demands_of(None, None, NAMES).is_empty


@pytest.mark.parametrize(
    ("floors", "message"),
    [
        (["crack"], "no share"),
        (["crack=95"], "no share"),
        (["crack=0"], "no share"),
        (["crack=nan"], "no share"),
        (["cracks=0.9"], "no class 'cracks'"),
        (["crack=0.9", "crack=0.8"], "two recall floors"),
        ({"crack": 1.5}, "no share"),
    ],
)
def test_floors_that_cannot_be_meant_are_one_error(floors: list[str], message: str) -> None:
    """It repeats what was written."""
    with pytest.raises(UsageError, match=message) as caught:
        demands_of(None, floors, NAMES)
    assert "--recall-floor crack" in caught.value.where
