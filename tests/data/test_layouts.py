"""Folders that are no classes are recognised, named, and the source that was meant is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tuner.data.folder import walk_folder
from tuner.data.layouts import find_masks, nested_classes, refuse_layout
from tuner.data.reading import read_image_table
from tuner.errors import UsageError

Picture = Callable[..., Path]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Data folder of the test, not yet there."""
    return tmp_path / "data"


def fill(data: Path, picture: Picture, names: Iterable[str]) -> None:
    """Write a picture under each name, all different."""
    for value, name in enumerate(names):
        picture(data / name, value % 256)


def refused(data: Path, **globs: list[str]) -> str:
    """What is said of the layout; empty where it is taken."""
    try:
        refuse_layout(
            data,
            walk_folder(data).files,
            source="data",
            include=globs.get("include", []),
            exclude=globs.get("exclude", []),
        )
    except UsageError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("training_set", "test_set"),
        ("Final_Training/Images", "Final_Test/Images"),
        ("Train", "Test"),
        ("asl_train", "asl_test"),
    ],
)
def test_parts_of_a_split_under_other_names(
    data: Path, tmp_path: Path, picture: Picture, train: str, test: str
) -> None:
    """The words train and test, with what people add, and wrappers of any name, are parts."""
    names = [f"{part}/{c}/{i}.png" for part in (train, test) for c in "xyz" for i in range(3)]
    fill(data, picture, names)

    if train.startswith("asl"):
        assert "'asl_test' and 'asl_train' each hold the same 3 folders" in refused(data)
        return
    table = read_image_table(str(data), home=tmp_path / "home")

    assert refused(data) == ""
    assert table.class_names == ("x", "y", "z")
    assert table.is_shipped_test is not None
    assert table.is_shipped_test.sum() == 9


@pytest.mark.parametrize("name", ["valid", "dev", "Validation", "val_images"])
def test_validation_under_other_names_joins_train(
    data: Path, tmp_path: Path, picture: Picture, name: str
) -> None:
    """Whatever it is called, a part for validation is folded with train."""
    fill(data, picture, [f"{part}/{c}/1.png" for part in ("train", name, "test") for c in "xy"])

    table = read_image_table(str(data), home=tmp_path / "home")

    assert any("validation joins train" in note for note in table.notes)
    assert table.is_shipped_test is not None
    assert table.is_shipped_test.sum() == 2


def test_versions_of_one_set(data: Path, picture: Picture) -> None:
    """Folders that hold the same folders are versions: the one with most images is named."""
    parts = ("color", "grayscale", "segmented")
    names = [f"{p}/{c}/{i}.jpg" for p in parts for c in ("scab", "rust", "healthy") for i in "12"]
    fill(data, picture, [*names, "color/rust/3.jpg"])

    said = refused(data)

    assert "'color', 'grayscale' and 'segmented' each hold the same 3 folders" in said
    assert "name one of them: tuner init data/color" in said


def test_a_second_copy_inside(data: Path, picture: Picture) -> None:
    """A folder that holds the others once more is named, not each of its conflicts."""
    names = [f"{place}{c}/{i}.png" for place in ("", "set/") for c in ("yes", "no") for i in "123"]
    fill(data, picture, names)

    assert "leave it out: tuner init data --exclude set/" in refused(data)
    assert refused(data, exclude=["set/"]) == ""


def test_a_set_for_anomaly_detection(data: Path, picture: Picture) -> None:
    """Training on good pieces alone is not classification: said, with what can be made of it."""
    names = [f"train/good/{i}.png" for i in range(4)]
    names += [f"test/{c}/{i}.png" for c in ("good", "cut", "hole") for i in range(3)]
    fill(data, picture, names)

    said = refused(data)

    assert "train/ holds one class only, 'good', and test/ others: cut, hole" in said
    assert "tuner init data/test" in said


@pytest.mark.parametrize(
    ("tables", "do"),
    [
        (["train/_classes.csv", "test/_classes.csv"], "tuner init 'data/*/_classes.csv'"),
        (["train/metadata.csv"], "tuner init data/train/metadata.csv"),
        (["labels.csv"], "tuner init data/labels.csv"),
        ([], "tuner init FILE"),
    ],
)
def test_parts_that_hold_images(data: Path, picture: Picture, tables: list[str], do: str) -> None:
    """train/ and test/ with images directly in them are no classes; a table there is named."""
    fill(data, picture, ["train/1.png", "train/2.png", "test/3.png"])
    for name in tables:
        (data / name).write_text("x")

    said = refused(data)

    assert "'test' and 'train' are parts of a split, not classes" in said
    assert do in said


@pytest.mark.parametrize(
    "names",
    [
        ["HAM_images_part_1/ISIC_1.jpg", "HAM_images_part_2/ISIC_2.jpg"],
        ["ISIC_Input/ISIC_1.jpg", "ISIC_Input/ISIC_2.jpg"],
        ["ISIC_1.jpg", "ISIC_2.jpg"],
    ],
)
def test_a_table_beside_the_images(data: Path, picture: Picture, names: list[str]) -> None:
    """Where no folder is a class and a table names the images, it is the table that was meant."""
    fill(data, picture, names)
    (data / "meta.csv").write_text("image_id,dx\nISIC_1,nv\nISIC_2,mel\n")

    assert "take its labels: tuner init data/meta.csv" in refused(data)


def test_pictures_inside_files(data: Path) -> None:
    """A folder of Parquet files has no image files: the pattern to take is given."""
    (data / "data").mkdir(parents=True)
    (data / "data" / "train-0.parquet").touch()

    assert "tuner init 'data/data/*.parquet'" in refused(data)


def test_classes_are_classes(data: Path, picture: Picture) -> None:
    """Folders that share some names, or a class called train, are taken as they are."""
    fill(data, picture, ["car/red/1.png", "car/blue/2.png", "bus/red/3.png", "train/red/4.png"])

    assert refused(data) == ""


def test_parts_with_tables_beside_other_folders(data: Path, picture: Picture) -> None:
    """Assets and results beside an export's parts do not make five classes of them."""
    fill(data, picture, ["train/1.png", "test/2.png", "assets/logo.png", "outputs/x/y.png"])
    (data / "train" / "_classes.csv").write_text("x")

    assert "take them from there: tuner init data/train/_classes.csv" in refused(data)


def test_parts_with_tables_and_a_few_class_folders(data: Path, picture: Picture) -> None:
    """Images sorted by hand beside those of the export are fewer: the table is named."""
    names = [f"train/{i}.png" for i in range(9)] + [f"train/{c}/1.png" for c in "xy"]
    fill(data, picture, [*names, "test/1.png"])
    assert refused(data) == ""
    (data / "train" / "_classes.csv").write_text("x")

    assert "tuner init data/train/_classes.csv" in refused(data)


def test_tables_of_the_parts_beside_them(data: Path, picture: Picture) -> None:
    """train.csv and test.csv beside train/ and test/ are taken together, a README never."""
    fill(data, picture, ["train/1.png", "test/2.png"])
    for name in ("README.txt", "train.csv", "test.csv"):
        (data / name).write_text("x")

    assert "tuner init 'data/*.csv'" in refused(data)


def test_a_training_part_beside_other_folders(data: Path, picture: Picture) -> None:
    """Train_Data with the classes and pictures of layers beside it: the former is named."""
    names = [f"Train_Data/{c}/{i}.png" for c in ("cat", "dog") for i in "12"]
    fill(data, picture, [*names, "Layer_Outputs/Cat/1.png"])

    assert "tuner init data/Train_Data" in refused(data)


@pytest.mark.parametrize("table", ["labels.csv", "labels/labels.csv"])
def test_a_figure_beside_the_folder_of_images(data: Path, picture: Picture, table: str) -> None:
    """Nearly all images in one folder, which a table names: doc/ does not make two classes."""
    fill(data, picture, ["doc/overview.png", *(f"images/cell{i:04d}.png" for i in range(20))])
    (data / table).parent.mkdir(exist_ok=True)
    (data / table).write_text("".join(f"images/cell{i:04d}.png 1.0 mono\n" for i in range(20)))

    assert f"take its labels: tuner init data/{table}" in refused(data)


def test_classes_that_hold_folders(data: Path, picture: Picture) -> None:
    """The outer folders are the classes, and somebody is told so."""
    inner = {"Fruit": ("Apple", "Pear", "Plum"), "Vegetables": ("Leek", "Onion")}
    names = [
        f"{part}/{a}/{b}/1.png" for part in ("train", "test") for a in inner for b in inner[a]
    ]
    fill(data, picture, names)

    files = walk_folder(data).files
    assert nested_classes(data, files, include=(), exclude=()) == (
        "the outer folders (Fruit, Vegetables) are the classes; the 5 in them "
        "(Apple, Leek, Onion, and 2 more) are not"
    )
    without = ["*/*/Pear/", "*/*/Plum/", "*/*/Onion/"]
    assert nested_classes(data, files, include=(), exclude=without) == ""


@pytest.mark.parametrize(
    ("pairs", "globs"),
    [
        ([("x/x (1).png", "x/x (1)_mask.png")], ("*_mask*",)),
        ([("x/1.jpg", "x/1_mask_1.png"), ("x/1.jpg", "x/1_mask.png")], ("*_mask*",)),
        ([("x/1.jpg", "x/1_segmentation.png")], ("*_segmentation*",)),
        ([("MT_Crack/Imgs/1.jpg", "MT_Crack/Imgs/1.png")], ("*.png",)),
        ([("x/images/1.png", "x/masks/1.png")], ("**/masks/**",)),
        ([("images/x/1.png", "masks/x/1.png")], ("masks/",)),
        ([("test/cut/1.png", "ground_truth/cut/1_mask.png")], ("ground_truth/",)),
    ],
)
def test_masks(pairs: list[tuple[str, str]], globs: tuple[str, ...]) -> None:
    """Masks are known by their names beside an image's, or by their folder beside the images."""
    paths = sorted({path for pair in pairs for path in pair})

    found = find_masks(paths)

    assert found is not None
    assert (found.globs, found.n) == (globs, len({mask for _, mask in pairs}))


@pytest.mark.parametrize(
    "paths",
    [
        ["masks/1.png", "gloves/2.png"],
        ["a/mask_1.png", "b/face_mask.png"],
        ["a/x_mask.png", "b/y.png"],
        ["a/1_mask.png"],
    ],
)
def test_what_is_no_mask(paths: list[str]) -> None:
    """A class called masks, or a picture of a face mask, belongs to no other picture."""
    assert find_masks(paths) is None


def test_masks_are_noted_where_nobody_excludes_them(
    data: Path, tmp_path: Path, picture: Picture
) -> None:
    """A study file that does not leave them out is told of them, with the line."""
    fill(data, picture, [f"{c}/{c}{i}{m}.png" for c in "xy" for i in "12" for m in ("", "_mask")])

    (note,) = read_image_table(str(data), home=tmp_path / "home").notes

    assert note == (
        '4 images look like masks, such as x/x1_mask.png; if so, set data.exclude: ["*_mask*"]'
    )
