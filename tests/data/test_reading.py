from __future__ import annotations

import os
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from tuner.data.image_table import exact_duplicates, label_conflicts
from tuner.data.reading import read_image_table
from tuner.data.sources import Problem
from tuner.errors import DataError

Picture = Callable[..., Path]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Home of the test, not yet there."""
    return tmp_path / "home"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Data folder of the test, not yet there."""
    return tmp_path / "data"


def fill(data: Path, picture: Picture, names: Sequence[str]) -> None:
    """Write a picture under each name, all different."""
    for value, name in enumerate(names):
        picture(data / name, value)


def test_folders_are_classes(data: Path, home: Path, picture: Picture) -> None:
    """Folders name classes however deep a file lies; rows are sorted by path, labels follow."""
    fill(data, picture, ["b/2.png", "b/deep/er/1.JPG", "a b/1.bmp"])

    table = read_image_table(str(data), home=home)

    assert table.root == data
    assert table.paths == ("a b/1.bmp", "b/2.png", "b/deep/er/1.JPG")
    assert table.class_names == ("a b", "b")
    assert table.labels.tolist() == [0, 1, 1]
    assert table.labels.dtype == np.int64
    assert table.counts.tolist() == [1, 2]
    assert (table.n_images, table.n_classes) == (3, 2)
    assert (table.groups, table.is_shipped_test) == (None, None)
    assert (table.problems, table.notes) == ((), ())


@pytest.mark.parametrize("validation", ["val", "valid", "Validation"])
def test_shipped_train_and_test(data: Path, home: Path, picture: Picture, validation: str) -> None:
    """Classes lie below train/ and test/, which are kept; validation joins train with a note."""
    names = ["train/a/1.png", "train/b/1.png", f"{validation}/a/2.png", "test/a/3.png"]
    fill(data, picture, names)

    table = read_image_table(str(data), home=home)

    assert table.class_names == ("a", "b")
    assert table.is_shipped_test is not None
    assert table.is_shipped_test.tolist() == [path == "test/a/3.png" for path in table.paths]
    assert any("validation joins train" in note for note in table.notes)


def test_train_without_usable_test(data: Path, home: Path, picture: Picture) -> None:
    """A test/ of unlabelled images is left out with a note, and no test counts as shipped."""
    fill(data, picture, ["train/a/1.png", "train/b/1.png", "test/1.png"])

    table = read_image_table(str(data), home=home)

    assert table.paths == ("train/a/1.png", "train/b/1.png")
    assert table.is_shipped_test is None
    assert "train/ comes without a test/ of class folders: a test is drawn from it" in table.notes
    assert "images in no class folder, left out: 1 (test/1.png)" in table.notes


def test_classes_beside_a_shipped_split_are_refused(
    data: Path, home: Path, picture: Picture
) -> None:
    """Images beside train/ and test/ would make those two classes: an error says how to go on."""
    fill(data, picture, ["train/a/1.png", "train/b/1.png", "test/a/1.png", "figures/1.png"])

    with pytest.raises(DataError, match="images lie in figures too") as caught:
        read_image_table(str(data), home=home)

    assert caught.value.do == 'leave those out: data.exclude: ["figures/"]'
    assert read_image_table(str(data), home=home, exclude=["figures/"]).class_names == ("a", "b")


def test_what_is_no_image_is_counted_or_named(data: Path, home: Path, picture: Picture) -> None:
    """Other suffixes, system files, strays and empty folders are notes; bad files problems."""
    fill(data, picture, ["a/1.png", "b/1.png", "stray.png", "a/.hidden.png", "__MACOSX/1.png"])
    (data / "a" / "notes.txt").touch()
    (data / "a" / "Thumbs.db").touch()
    (data / "b" / "0.png").touch()
    (data / "empty" / "deep").mkdir(parents=True)

    table = read_image_table(str(data), home=home)

    assert table.paths == ("a/1.png", "b/1.png")
    assert table.problems == (Problem("b/0.png", "is empty (0 bytes)"),)
    assert table.notes == (
        "images in no class folder, left out: 1 (stray.png)",
        "folders without images, no classes: 1 (empty)",
        "files that are no images by their suffix, ignored: 1 (.txt 1)",
        "hidden or system files, skipped: 3 (__MACOSX, a/.hidden.png, a/Thumbs.db)",
    )


def test_a_home_inside_the_data_is_no_class(data: Path, picture: Picture) -> None:
    """Pictures that a study keeps in its home below the data folder are not read as data."""
    fill(data, picture, ["a/1.png", "b/1.png", "mlruns/artifacts/matrix.png"])

    assert read_image_table(str(data), home=data / "mlruns").class_names == ("a", "b")


def test_include_and_exclude(data: Path, home: Path, picture: Picture) -> None:
    """Include replaces the known suffixes, exclude takes away, both by relative path."""
    fill(data, picture, ["a/1.png", "a/1.jpg", "b/1.png", "b/1.jpg"])
    (data / "a" / "1.png").rename(data / "a" / "1.dat")

    included = read_image_table(
        str(data), home=home, include=["*.dat", "b/*"], exclude=["**/*.jpg"]
    )

    assert included.paths == ("a/1.dat", "b/1.png")


def test_masks_beside_images_are_suspected(data: Path, home: Path, picture: Picture) -> None:
    """Many images that share a name with a PNG are noted with the glob that drops the PNGs."""
    fill(data, picture, [f"{c}/{n}.{s}" for c in "ab" for n in range(3) for s in ("jpg", "png")])

    table = read_image_table(str(data), home=home)

    assert table.n_images == 12
    assert table.notes == (
        "6 images come with another suffix too (.jpg, .png), such as a/0; "
        'if the .png files are masks, set data.exclude: ["*.png"]',
    )
    assert read_image_table(str(data), home=home, exclude=["*.png"]).n_images == 6


def test_links(data: Path, home: Path, tmp_path: Path, picture: Picture) -> None:
    """Links to files inside are images; those that leave, break or loop are named."""
    fill(data, picture, ["a/1.png", "b/1.png"])
    picture(tmp_path / "outside.png", 99)
    (data / "a" / "in.png").symlink_to("../b/1.png")
    (data / "a" / "out.png").symlink_to(tmp_path / "outside.png")
    (data / "a" / "gone.png").symlink_to("nowhere.png")
    (data / "a" / "self.png").symlink_to("self.png")
    (data / "b" / "up").symlink_to("..")
    os.mkfifo(data / "b" / "pipe.png")

    table = read_image_table(str(data), home=home)

    assert table.paths == ("a/1.png", "a/in.png", "b/1.png")
    assert {problem.path: problem.reason for problem in table.problems} == {
        "a/out.png": "points outside the data folder",
        "a/gone.png": "link cannot be followed: No such file or directory",
        "a/self.png": "link cannot be followed: Too many levels of symbolic links",
        "b/up": "link to a folder is not followed",
        "b/pipe.png": "is not a regular file",
    }


def test_links_are_followed_when_that_is_allowed(
    data: Path, home: Path, tmp_path: Path, picture: Picture
) -> None:
    """Links into a store, to folders and in rings: refused with the key, or followed once."""
    fill(tmp_path / "store", picture, ["1.png", "2.png", "b/3.png", "b/4.png"])
    (data / "a").mkdir(parents=True)
    for name in ("1.png", "2.png"):
        (data / "a" / name).symlink_to(tmp_path / "store" / name)
    (data / "b").symlink_to(tmp_path / "store" / "b")
    (tmp_path / "store" / "b" / "ring").symlink_to(tmp_path / "store" / "b")

    with pytest.raises(DataError, match="no image can be used") as caught:
        read_image_table(str(data), home=home)
    table = read_image_table(str(data), home=home, follow_links=True)

    assert "if the links are yours, set data.follow_links: true" in caught.value.do
    assert "3 links not followed" in caught.value.where
    assert table.paths == ("a/1.png", "a/2.png", "b/3.png", "b/4.png")


def test_small_classes_are_left_out_or_joined(data: Path, home: Path, picture: Picture) -> None:
    """data.min_images and data.rest decide before anything is split."""
    fill(data, picture, ["a/1.png", "a/2.png", "b/1.png", "b/2.png", "c/1.png", "d/1.png"])

    left = read_image_table(str(data), home=home, min_images=2)
    joined = read_image_table(str(data), home=home, min_images=2, rest="other")

    assert left.class_names == ("a", "b")
    assert joined.class_names == ("a", "b", "other")
    assert joined.counts.tolist() == [2, 2, 2]


def test_a_linked_data_folder(data: Path, home: Path, tmp_path: Path, picture: Picture) -> None:
    """The data folder itself may be a link; the table names what it points to."""
    fill(data, picture, ["a/1.png", "b/1.png"])
    (tmp_path / "link").symlink_to(data)

    table = read_image_table(str(tmp_path / "link"), home=home)

    assert table.root == data
    assert table.problems == ()


def test_names_in_any_script(data: Path, home: Path, picture: Picture) -> None:
    """Long names, spaces and scripts are fine; a class written in two Unicode forms is one."""
    composed, decomposed = (unicodedata.normalize(form, "fêlure") for form in ("NFC", "NFD"))
    names = [f"train/{composed}/1 é.png", f"train/錆/{'n' * 240}.png", f"test/{decomposed}/2.png"]
    fill(data, picture, names)

    table = read_image_table(str(data), home=home)

    assert table.class_names == (composed, "錆")
    assert table.paths == tuple(sorted(names))


@pytest.mark.skipif(sys.platform != "linux", reason="only here can names be any bytes")
def test_names_that_are_no_text_are_named(data: Path, home: Path, picture: Picture) -> None:
    """A name that is not UTF-8 could not be recorded: left out, written with escapes."""
    fill(data, picture, ["a/1.png", "b/1.png"])
    with open(os.fsencode(data) + b"/a/caf\xe9.png", "wb") as file:
        file.write((data / "a" / "1.png").read_bytes())

    table = read_image_table(str(data), home=home)

    assert table.problems == (Problem(r"a/caf\xe9.png", "file name is not valid UTF-8"),)
    assert table.n_images == 2


def test_classes_that_differ_by_case_are_noted(data: Path, home: Path, picture: Picture) -> None:
    """Crack and crack stay two classes, and the reader is told."""
    fill(data, picture, ["Crack/1.png", "crack/1.png"])

    table = read_image_table(str(data), home=home)

    assert table.class_names == ("Crack", "crack")
    assert table.notes == ("classes 'Crack' and 'crack' differ only by case or spaces",)


def test_duplicates_and_label_conflicts(data: Path, home: Path, picture: Picture) -> None:
    """Byte-identical files are found wherever they lie, and those of two classes apart."""
    for value, name in [
        (1, "a/1.png"),
        (1, "a/2.png"),
        (2, "a/3.png"),
        (2, "b/1.png"),
        (3, "b/2.png"),
    ]:
        picture(data / name, value)

    table = read_image_table(str(data), home=home)

    assert exact_duplicates(table) == [(0, 1), (2, 3)]
    assert label_conflicts(table) == [(2, 3)]


def test_fingerprint_is_of_the_data_not_of_its_place(
    tmp_path: Path, home: Path, picture: Picture
) -> None:
    """Moved data have the same fingerprint; one changed byte, name or label another."""
    names = ["a/1.png", "b/1.png"]
    for place in ("here", "there", "changed", "renamed"):
        fill(tmp_path / place, picture, names)
    picture(tmp_path / "changed" / "a" / "1.png", 200)
    (tmp_path / "renamed" / "a").rename(tmp_path / "renamed" / "c")

    prints = [
        read_image_table(str(tmp_path / place), home=home).fingerprint
        for place in ("here", "there", "changed", "renamed")
    ]

    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def test_second_read_is_equal_and_opens_nothing(
    data: Path, home: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was learnt of the files is kept in the home, and no file is read a second time."""
    fill(data, picture, ["a/1.png", "b/1.png"])
    first = read_image_table(str(data), home=home)
    monkeypatch.setattr("tuner.data.scan.read_bytes", None)

    second = read_image_table(str(data), home=home)

    assert second.fingerprint == first.fingerprint
    assert [path.suffix for path in (home / "index").iterdir()] == [".jsonl"]


@pytest.mark.parametrize(
    ("names", "message", "do"),
    [
        ([], "no image was found", "one folder per class"),
        (["1.png"], "no image was found", "one folder per class"),
        (["a/1.png"], "only one class was found, 'a'", "one folder per class"),
        (
            ["set/a/1.png", "set/b/1.png"],
            "only one class was found, 'set'",
            "did you mean data.source: ",
        ),
    ],
)
def test_fewer_than_two_classes(
    data: Path, home: Path, picture: Picture, names: list[str], message: str, do: str
) -> None:
    """No images, none in folders, one class, or a folder too high: named with what to do."""
    data.mkdir()
    fill(data, picture, names)

    with pytest.raises(DataError, match=message) as caught:
        read_image_table(str(data), home=home)

    assert f"data.source: {data}" in caught.value.where
    assert do in caught.value.do


def test_a_class_that_is_lost_whole(data: Path, home: Path, picture: Picture) -> None:
    """A class of which no file can be read is an error, never silently gone."""
    fill(data, picture, ["a/1.png", "b/1.png"])
    (data / "c").mkdir()
    (data / "c" / "1.png").touch()

    with pytest.raises(DataError, match=r"no image of class 'c' \(1\) can be used") as caught:
        read_image_table(str(data), home=home)

    assert "c/1.png: is empty" in caught.value.what


@pytest.mark.parametrize("source", ["gone", "file.zip"])
def test_what_is_no_source(tmp_path: Path, home: Path, source: str) -> None:
    """A source that is missing, or an archive, is named with its absolute path."""
    (tmp_path / "file.zip").touch()

    with pytest.raises(DataError, match="data source") as caught:
        read_image_table(str(tmp_path / source), home=home)

    assert caught.value.where == f"data.source: {tmp_path / source}"


@pytest.mark.parametrize("setting", ["root", "group_by"])
def test_settings_of_manifests_are_refused_for_folders(
    data: Path, home: Path, picture: Picture, setting: str
) -> None:
    """A setting that would do nothing is an error, not ignored."""
    fill(data, picture, ["a/1.png", "b/1.png"])

    with pytest.raises(DataError, match=f"data.{setting} is for label files"):
        read_image_table(str(data), home=home, **{setting: "x"})


def test_forbidden_folder(data: Path, home: Path, picture: Picture) -> None:
    """A folder without permission is a problem by name; the others are read."""
    fill(data, picture, ["a/1.png", "b/1.png", "b/secret/1.png"])
    (data / "b" / "secret").chmod(0)
    if os.access(data / "b" / "secret", os.R_OK):
        pytest.skip("this user may read everything")

    table = read_image_table(str(data), home=home)

    assert table.problems == (Problem("b/secret", "folder cannot be read: Permission denied"),)


def test_reading_imports_no_network_library() -> None:
    """The images are read without Keras, TensorFlow, pandas or scikit-learn being imported."""
    code = (
        "import sys; import tuner.data.reading, tuner.data.split\n"
        "print({'keras', 'tensorflow', 'pandas', 'sklearn', 'mlflow'} & set(sys.modules))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"
