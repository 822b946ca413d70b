"""Every form of label file that is read, on a small file of its true form."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.labels.published import table
from tuner.config import ColumnsConfig, parse_study
from tuner.config.yaml_text import to_yaml
from tuner.data.image_table import ImageTable
from tuner.data.labels.propose import propose_labels
from tuner.data.reading import read_image_table
from tuner.errors import DataError
from tuner.home import Home
from tuner.home.founding import read_images

LABELS = {"a": 12, "b": 8}


@pytest.fixture
def folder(tmp_path: Path, picture: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Working directory with pics/a0.png to a11.png and b0.png to b7.png, all different."""
    for value, name in enumerate(names()):
        picture(tmp_path / "pics" / f"{name}.png", value)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names() -> list[str]:
    """Stems of the pictures."""
    return [f"{label}{i}" for label, n in LABELS.items() for i in range(n)]


def proposed(source: str, **given: object) -> ImageTable:
    """The images as a study file would read them that holds what init proposes."""
    home = Path("home").resolve()
    proposal = propose_labels(source, home=home, **given)  # type: ignore[arg-type]
    data = {"source": source, **proposal.keys}
    config = parse_study(to_yaml({"name": "x", "data": data}), source="x.yaml")
    return read_images(config, Home(home))


def counts(found: ImageTable) -> dict[str, int]:
    """Images by class."""
    return dict(zip(found.class_names, found.counts.tolist(), strict=True))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", " "])
@pytest.mark.parametrize("head", [["file", "class"], None])
def test_text_tables(folder: Path, delimiter: str, head: list[str] | None) -> None:
    """Separators of all countries, with and without a header, columns of any name."""
    rows = [[f"pics/{name}.png", name[0]] for name in names()]
    table(folder / "l.txt", [*([head] if head else []), *rows], delimiter=delimiter)

    proposal = propose_labels("l.txt", home=folder)

    assert counts(proposed("l.txt")) == LABELS
    columns = proposal.keys["columns"]
    assert (columns["path"], columns["label"]) == (tuple(head) if head else (1, 2))


@pytest.mark.parametrize(
    "spelt",
    [
        "{0}",
        "{0}.png",
        "{0}.jpg",
        "pics/{0}",
        "\\pics\\{0}.png",
        "/elsewhere/{0}.png",
        "train/{0}.png",
    ],
)
def test_paths_of_any_spelling(folder: Path, spelt: str) -> None:
    """Ids, other suffixes, backslashes and the folders of another machine lead to the files."""
    table(folder / "l.csv", [["id", "label"], *([spelt.format(n), n[0]] for n in names())])

    found = proposed("l.csv")

    assert counts(found) == LABELS
    assert {os.path.basename(path) for path in found.paths} == {f"{n}.png" for n in names()}


def test_absolute_paths_of_files_that_exist(folder: Path) -> None:
    """A table in another folder may name its images by their absolute paths."""
    rows = [[folder / "pics" / f"{n}.png", n[0]] for n in names()]
    table(folder / "deep" / "lists" / "l.csv", [["path", "label"], *rows])

    proposal = propose_labels("deep/lists/l.csv", home=folder)

    assert proposal.keys["root"] == "pics"
    assert counts(proposed("deep/lists/l.csv")) == LABELS


def test_images_above_the_table(folder: Path) -> None:
    """A table in a folder of its own finds the images beside that folder."""
    table(folder / "meta" / "l.csv", [["id", "label"], *([n, n[0]] for n in names())])

    assert propose_labels("meta/l.csv", home=folder).keys["images"] == ["pics"]


def test_two_files_of_one_stem_are_one_error(folder: Path, picture: Callable[..., Path]) -> None:
    """Which of both is meant nobody can know: both are named, with the line."""
    picture(folder / "other" / "a0.png", 99)
    table(folder / "l.csv", [["id", "label"], *([n, n[0]] for n in names())])
    columns = ColumnsConfig(path="id", label="label")

    with pytest.raises(DataError, match=r"line 2: 'a0' could be either of other/a0.png and pics/"):
        read_image_table(
            "l.csv", home=folder, columns=columns, images=["pics", "other"], root=str(folder)
        )


def test_one_hot_columns(folder: Path) -> None:
    """The column that says 1 is the class; none or several are left out by name."""
    rows = [["image", " A ", " B ", " C "]]
    rows += [[n, str(int(n[0] == "a")), str(float(n[0] == "b")), "0"] for n in names()]
    rows[1][1:], rows[2][1:] = ["1", "1.0", "0"], ["0", "0", "0"]
    table(folder / "l.csv", rows)

    found = proposed("l.csv")

    assert counts(found) == {"A": 10, "B": 8}
    assert [(p.path, p.reason) for p in found.problems] == [
        ("a0.png", "several classes: A, B"),
        ("a1.png", "no class: all columns are 0"),
    ]
    assert "columns that are 0 in every row, no classes: C" in found.notes


@pytest.mark.parametrize(
    ("cells", "what"),
    [
        (
            lambda n, i: [n, ["x", "y", "x|y"][i % 3]],
            "several classes in 6 of 20 rows, such as 'x|y'",
        ),
        (lambda n, i: [n, '["x", "y"]'], "several classes in 20 of 20 rows"),
    ],
)
def test_several_classes_in_a_cell_are_refused(
    folder: Path, cells: Callable[[str, int], list[str]], what: str
) -> None:
    """Images have one class here: said once, with counts."""
    table(folder / "l.csv", [["id", "label"], *(cells(n, i) for i, n in enumerate(names()))])

    with pytest.raises(DataError, match="images have one class here") as caught:
        proposed("l.csv")

    assert what in caught.value.what


@pytest.mark.parametrize(
    ("answers", "what"),
    [
        (lambda i: [1, i % 2, (i + 1) % 2], "20 of 20 rows have several classes"),
        (lambda i: [0.5, 0.25, 0.25], "hold shares of classes, in 20 of 20 rows"),
        (
            lambda i: [["1.0", "-1.0", ""][i % 3], "1.0", "0.0"],
            "several classes, unsure ones (-1) among them",
        ),
    ],
    ids=["several", "soft", "unsure"],
)
def test_tables_of_several_classes_are_refused(
    folder: Path, answers: Callable[[int], list[object]], what: str
) -> None:
    """Several yes, shares, and unsure answers are no single class."""
    rows = [[n, *answers(i)] for i, n in enumerate(names())]
    table(folder / "l.csv", [["id", "Edema", "Mass", "Nodule"], *rows])

    with pytest.raises(DataError, match="images have one class here") as caught:
        proposed("l.csv")

    assert what in caught.value.what


def test_one_answer_in_one_of_two_columns(folder: Path) -> None:
    """Grades of left and right eyes stand in two columns, of which one is empty."""
    rows = [[n, n[0], ""] if i % 2 else [n, "", n[0]] for i, n in enumerate(names())]
    table(folder / "l.csv", [["id", "left_eye_level", "right_eye_level"], *rows])

    assert counts(proposed("l.csv")) == LABELS


def test_numbers_are_named_by_a_file_beside(folder: Path) -> None:
    """A block of numbers and names beside the table is proposed, and said."""
    rows = [[n, {"a": "3", "b": "7"}[n[0]]] for n in names()]
    table(folder / "l.csv", [["id", "label"], *rows])
    (folder / "label_map.json").write_text(json.dumps({"3": "sound", "7": "cracked"}))

    proposal = propose_labels("l.csv", home=folder)

    assert proposal.keys["class_names"] == "label_map.json"
    assert counts(proposed("l.csv")) == {"sound": 12, "cracked": 8}


@pytest.mark.parametrize(
    "class_names",
    [
        ["sound", "cracked"],
        {"0": "sound", "1": "cracked"},
        "names.txt",
        "names.csv",
        "turned.csv",
    ],
)
def test_names_of_classes(folder: Path, class_names: object) -> None:
    """A list from 0, a block, a line a name, or a table in either order name the numbers."""
    (folder / "names.txt").write_text("sound\ncracked\n")
    table(folder / "names.csv", [["ClassId", "Name"], [0, "sound"], [1, "cracked"]])
    table(folder / "turned.csv", [["sound", "0"], ["cracked", "1"]])
    rows = [[f"pics/{n}.png", "0.0" if n[0] == "a" else "01"] for n in names()]
    table(folder / "l.csv", [["path", "label"], *rows])

    found = read_image_table("l.csv", home=folder, class_names=class_names)  # type: ignore[arg-type]

    assert counts(found) == {"sound": 12, "cracked": 8}


def test_a_label_without_a_name_is_an_error(folder: Path) -> None:
    """A list that is too short names no class silently by its number."""
    table(folder / "l.csv", [["path", "label"], ["pics/a0.png", "0"], ["pics/b0.png", "2"]])

    with pytest.raises(DataError, match="labels without a name: 2; there are names for 0, 1"):
        read_image_table("l.csv", home=folder, class_names=["x", "y"])


@pytest.mark.parametrize("form", ["jsonl", "list", "block", "blocks", "parquet"])
def test_structured_files(folder: Path, form: str) -> None:
    """JSON Lines, JSON of three shapes and Parquet read like a table of the same columns."""
    rows = [{"file_name": f"pics/{n}.png", "label": n[0], "score": 0.5} for n in names()]
    if form == "parquet":
        import pandas as pd

        pd.DataFrame(rows).to_parquet(folder / "l.parquet")
    else:
        text = {
            "jsonl": "\n".join(map(json.dumps, rows)),
            "list": json.dumps(rows),
            "block": json.dumps({row["file_name"]: row["label"] for row in rows}),
            "blocks": json.dumps({row["file_name"]: {"label": row["label"]} for row in rows}),
        }[form]
        (folder / ("l.jsonl" if form == "jsonl" else "l.json")).write_text(text)
    (source,) = folder.glob("l.*")

    assert counts(proposed(source.name)) == LABELS


def test_lists_of_a_split(folder: Path) -> None:
    """``train.txt`` and ``test.txt``, a path and a number a line: the file says the part."""
    for part in ("train", "test"):
        chosen = [n for n in names() if (int(n[1:]) < 2) == (part == "test")]
        lines = [f"pics/{n}.png {'ab'.index(n[0])}\n" for n in chosen]
        (folder / f"{part}.txt").write_text("".join(lines))

    found = proposed("t*.txt")

    assert counts(found) == {"0": 12, "1": 8}
    assert found.is_shipped_test is not None
    assert found.is_shipped_test.sum() == 4


def test_a_split_column_is_proposed_by_its_values(folder: Path) -> None:
    """A column named so that says train and test in every row is the shipped split."""
    rows = [[n, n[0], "Training" if int(n[1:]) > 1 else "PublicTest"] for n in names()]
    table(folder / "l.csv", [["id", "label", "Usage"], *rows])
    assert propose_labels("l.csv", home=folder).keys["columns"]["split"] is None
    rows = [[n, n[0], "Training" if int(n[1:]) > 1 else "Test"] for n in names()]
    table(folder / "l.csv", [["id", "label", "Usage"], *rows])
    assert propose_labels("l.csv", home=folder).keys["columns"]["split"] == "Usage"


def test_arrays_are_written_once_and_lossless(folder: Path) -> None:
    """Pictures of an archive come back pixel by pixel, and a second read writes none."""
    rng = np.random.default_rng(0)
    gray = rng.integers(0, 256, (12, 9, 7, 1), dtype=np.uint8)
    np.savez("digits.npz", x_train=gray, y_train=np.arange(12) % 3)

    found = proposed("digits.npz")

    assert counts(found) == {"0": 4, "1": 4, "2": 4}
    (place,) = Path("home/datasets").iterdir()
    before = (place / found.paths[5]).stat().st_mtime_ns
    np.testing.assert_array_equal(Image.open(place / found.paths[5]), gray[5, ..., 0])
    assert proposed("digits.npz").fingerprint == found.fingerprint
    assert (place / found.paths[5]).stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("arrays", "what"),
    [
        (
            {"train_images": np.zeros((4, 8, 8)), "train_labels": np.arange(4)},
            "images are float64",
        ),
        (
            {"train_images": np.zeros((4, 8, 8), np.uint8), "train_labels": np.eye(4, dtype=int)},
            "labels have the shape (4, 4)",
        ),
        ({"weights": np.zeros(3)}, "no array of images has one of labels; it holds weights"),
        ({"x": np.array([{}], dtype=object), "y": np.arange(1)}, "arrays cannot be read"),
    ],
)
def test_arrays_that_are_no_images_are_refused(
    folder: Path, arrays: dict[str, np.ndarray], what: str
) -> None:
    """Floats, several classes, something else, and pickles: one message, and nothing is run."""
    np.savez("x.npz", **arrays)

    with pytest.raises(DataError) as caught:
        proposed("x.npz")

    assert what in caught.value.what
    assert not list(Path("home/datasets").glob("x-*"))


def test_an_unclear_class_is_asked_for(folder: Path) -> None:
    """Two columns that could be meant are both shown, and one option answers."""
    rows = [[n, n[0], "xy"[int(n[1:]) % 2]] for n in names()]
    table(folder / "l.csv", [["id", "material", "shift"], *rows])

    with pytest.raises(DataError, match=r"material: 2 values \(a, b\); shift: 2 values") as caught:
        proposed("l.csv")

    assert "--columns label=material" in caught.value.do
    assert counts(proposed("l.csv", columns={"label": "material"})) == LABELS


def test_a_table_of_mask_values_is_named(folder: Path) -> None:
    """The segmentation export of Roboflow has another table under the same name."""
    table(folder / "_classes.csv", [["Pixel Value", " Class"], [0, "background"], [1, "crack"]])

    with pytest.raises(DataError, match="names the values of masks"):
        proposed("_classes.csv")


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ({"path": "file", "label": "clas"}, "label file has no column 'clas'; it has file, class"),
        ({"path": "file", "label": 2}, "some columns are named and some numbered"),
    ],
)
def test_columns_that_are_not_there(folder: Path, columns: dict[str, object], what: str) -> None:
    """A study file that names other columns than the file has is one error with a hint."""
    table(folder / "l.csv", [["file", "class"], *([f"pics/{n}.png", n[0]] for n in names())])

    with pytest.raises(DataError) as caught:
        read_image_table("l.csv", home=folder, columns=ColumnsConfig.model_validate(columns))

    assert what in caught.value.what


def test_rows_without_a_group_stand_alone(folder: Path) -> None:
    """Some rows of real tables name no lesion: each is a group of its own, and counted."""
    rows = [[f"pics/{n}.png", n[0], "" if n[0] == "b" else f"p{int(n[1:]) // 2}"] for n in names()]
    table(folder / "l.csv", [["path", "label", "patient"], *rows])
    columns = ColumnsConfig(path="path", label="label", group="patient")

    found = read_image_table("l.csv", home=folder, columns=columns)

    assert found.groups is not None
    assert len(np.unique(found.groups)) == 6 + 8
    assert "rows without a group, each one by itself: 8" in found.notes


def test_a_comma_too_many_in_the_header(folder: Path) -> None:
    """NIH's table names twelve columns, the last with nothing, and has eleven cells a row."""
    rows = [[f"pics/{n}.png", n[0], "50"] for n in names()]
    table(folder / "l.csv", [["path", "label", "age", ""], *rows])

    assert counts(read_image_table("l.csv", home=folder)) == LABELS


def test_a_separator_inside_quotes_is_text(folder: Path) -> None:
    """More semicolons than commas in a quoted name make no table of semicolons."""
    lines = ['path,label,"a;b;c;d"', *(f"pics/{n}.png,{n[0]},x" for n in names())]
    (folder / "l.csv").write_text("\n".join(lines))

    assert counts(read_image_table("l.csv", home=folder)) == LABELS


def test_an_unnamed_index_column_is_no_obstacle(folder: Path) -> None:
    """Tables that pandas wrote begin with a column without a name."""
    table(
        folder / "l.csv", [["", "path", "label"], *([i, n, n[0]] for i, n in enumerate(names()))]
    )

    assert counts(proposed("l.csv")) == LABELS


def test_files_of_different_columns_are_not_joined(folder: Path) -> None:
    """A pattern that matches another table is an error that names both."""
    table(folder / "a.csv", [["path", "label"], ["pics/a0.png", "a"]])
    table(folder / "b.csv", [["path", "grade"], ["pics/b0.png", "b"]])

    with pytest.raises(DataError, match="has other columns"):
        proposed("*.csv")


def test_a_pattern_that_matches_nothing(folder: Path) -> None:
    """Nothing is read in its place."""
    with pytest.raises(DataError, match="matches no file"):
        proposed("nowhere/*/_classes.csv")


def test_links_of_a_label_file_are_followed_when_allowed(folder: Path) -> None:
    """Images that are links into a store are refused with the key that allows them."""
    (folder / "store").mkdir()
    (folder / "d").mkdir()
    for n in names():
        (folder / "pics" / f"{n}.png").rename(folder / "store" / n)
        (folder / "d" / f"{n}.png").symlink_to(folder / "store" / n)
    table(folder / "d" / "l.csv", [["path", "label"], *([f"{n}.png", n[0]] for n in names())])

    with pytest.raises(DataError, match="no image can be used") as caught:
        read_image_table("d/l.csv", home=folder)

    assert "set data.follow_links: true" in caught.value.do
    assert counts(read_image_table("d/l.csv", home=folder, follow_links=True)) == LABELS


def test_a_folder_called_as_the_table_is(folder: Path) -> None:
    """train.txt names the files of train/, also where val/ has others of the same names."""
    for part in ("train", "val"):
        (folder / part).mkdir()
        for n in names():
            (folder / part / f"{n}.png").write_bytes((folder / "pics" / f"{n}.png").read_bytes())
        (folder / f"{part}.txt").write_text("".join(f"{n}.png {n[0]}\n" for n in names()))

    assert set(proposed("train.txt").paths) == {f"train/{n}.png" for n in names()}
    assert counts(proposed("*.txt")) == {"a": 24, "b": 16}


def test_of_several_files_of_a_name_the_one_in_the_folders_of_the_path(folder: Path) -> None:
    """Numbers come again in every class folder; the path says which is meant."""
    for n in names():
        place = folder / "set" / "Training" / n[0] / f"{n[1:]}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        (folder / "pics" / f"{n}.png").rename(place)
    rows = [[f"{n[0]}\\{n[1:]}.png", f"class {n[0]}"] for n in names()]
    table(folder / "l.csv", [["archivo", "clase"], *rows])

    assert counts(proposed("l.csv")) == {"class a": 12, "class b": 8}


def test_rows_that_come_twice(folder: Path) -> None:
    """Published tables repeat rows: said once; a file of two labels is left out by name."""
    rows = [[f"pics/{n}.png", n[0]] for n in names()]
    table(folder / "l.csv", [["file", "class"], *rows, rows[3], ["pics/a0.png", "b"]])

    found = proposed("l.csv")

    assert counts(found) == {"a": 11, "b": 8}
    assert "rows that repeat another, dropped: 1" in found.notes
    (problem,) = found.problems
    assert problem.reason == "several classes: line 2, line 23"


def test_the_class_in_words_is_taken_before_its_number(folder: Path) -> None:
    """Where a column names what another numbers, the study shows names."""
    rows = [[f"pics/{n}.png", {"a": "cat", "b": "dog"}[n[0]], "ab".index(n[0])] for n in names()]
    table(folder / "l.csv", [["path", "name", "label"], *rows])

    assert counts(proposed("l.csv")) == {"cat": 12, "dog": 8}
