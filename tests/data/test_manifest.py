from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuner.data.image_table import ImageTable
from tuner.data.reading import read_image_table
from tuner.data.sources import Problem
from tuner.errors import DataError


@pytest.fixture
def read(tmp_path: Path, picture: Callable[..., Path]) -> Callable[..., ImageTable]:
    """Reader of a manifest with this text, beside pictures a/1-3.png and b/1-3.png."""
    for value, name in enumerate(["a/1", "a/2", "a/3", "b/1", "b/2", "b/3"]):
        picture(tmp_path / "data" / f"{name}.png", value)

    def read(text: str | bytes, **settings: str) -> ImageTable:
        manifest = tmp_path / "data" / "list.csv"
        manifest.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_image_table(str(manifest), home=tmp_path / "home", **settings)

    return read


def test_labels_are_text_as_written(read: Callable[..., ImageTable]) -> None:
    """007 and NA are class names, not a number and a gap; spaces around are dropped and noted."""
    table = read("label,path\n007,a/1.png\nNA, b/1.png\n 007 ,a/2.png\n")

    assert table.class_names == ("007", "NA")
    assert table.paths == ("a/1.png", "a/2.png", "b/1.png")
    assert table.labels.tolist() == [0, 0, 1]
    assert table.notes == ("labels with spaces around them, which are dropped: 1",)


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffpath,label\r\na/1.png,x\r\nb/1.png,y\r\n",
        "path;label\na/1.png;x\nb/1.png;y",
        "path\tlabel\tnote\na/1.png\tx\t,;\nb/1.png\ty\t\n",
        'path,label,note\n"a/1.png",x,"two\nlines, one cell"\n\nb/1.png,y,\n',
        "path,label\n./a//1.png,x\na/../b/1.png,y\n",
        "path,label\na\\1.png,x\nb\\1.png,y\n",
    ],
    ids=["byte order mark", "semicolons", "tabs", "quotes and empty lines", "dots", "backslashes"],
)
def test_dialects(read: Callable[..., ImageTable], text: str) -> None:
    """Files as spreadsheets of different countries and systems write them read alike."""
    table = read(text)

    assert table.paths == ("a/1.png", "b/1.png")
    assert table.class_names == ("x", "y")


def test_paths_in_another_unicode_form(
    tmp_path: Path, picture: Callable[..., Path], read: Callable[..., ImageTable]
) -> None:
    """A path written composed finds the file that a Mac named decomposed."""
    name = unicodedata.normalize("NFD", "é.png")
    picture(tmp_path / "data" / name, 9)

    table = read("path,label\n" + unicodedata.normalize("NFC", "é.png") + ",x\nb/1.png,y\n")

    assert table.paths == ("b/1.png", name)


def test_root_and_absolute_paths(tmp_path: Path, read: Callable[..., ImageTable]) -> None:
    """Paths start from data.root, and absolute ones inside it become relative."""
    root = tmp_path / "data" / "a"

    table = read(f"path,label\n1.png,x\n{root / '2.png'},y\n", root=str(root))

    assert table.root == root
    assert table.paths == ("1.png", "2.png")


def test_groups(read: Callable[..., ImageTable]) -> None:
    """The named column says which images belong together; unnamed, it is noted as unused."""
    text = "path,label,group\na/1.png,x,p10\nb/1.png,y,p9\na/2.png,x,p9\n"

    grouped, plain = read(text, group_by="group"), read(text)

    assert grouped.groups is not None
    assert grouped.groups.tolist() == [0, 1, 1]
    assert plain.groups is None
    assert plain.notes == (
        "manifest has a 'group' column that is not used; set data.group_by: group",
    )
    assert grouped.fingerprint != plain.fingerprint


def test_split_column(read: Callable[..., ImageTable]) -> None:
    """Rows marked test are the shipped test; val joins train with a note."""
    text = "path,label,split\na/1.png,x,train\na/2.png,x,Test\nb/1.png,y,val\n"

    table = read(text)

    assert table.is_shipped_test is not None
    assert table.is_shipped_test.tolist() == [False, True, False]
    assert table.notes == ("rows with split 'val' join train: folds are made from both",)


def test_empty_columns_are_absent(read: Callable[..., ImageTable]) -> None:
    """A split or group column with nothing in it is as if it were not there."""
    table = read("path,split,label,group\na/1.png,,x,\nb/1.png, ,y,\n")

    assert (table.groups, table.is_shipped_test, table.notes) == (None, None, ())


def test_missing_files_are_problems(read: Callable[..., ImageTable]) -> None:
    """A listed file that is not there is left out by name, and the rest is used."""
    table = read("path,label\na/1.png,x\nb/1.png,y\nb/9.png,y\na,x\n")

    assert table.n_images == 2
    assert table.problems == (
        Problem("a", "is not a regular file"),
        Problem("b/9.png", "file is missing"),
    )


def test_all_files_missing_points_to_root(read: Callable[..., ImageTable]) -> None:
    """When nothing is found, the likeliest reason is a wrong root."""
    with pytest.raises(DataError, match="no image can be used") as caught:
        read("path,label\nz/1.png,x\nz/2.png,y\n")

    assert "set data.root" in caught.value.do


def test_links_out_of_the_folder(tmp_path: Path, read: Callable[..., ImageTable]) -> None:
    """A manifest cannot reach outside through a linked file or a linked folder."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "data" / "a" / "1.png").rename(tmp_path / "outside" / "1.png")
    (tmp_path / "data" / "a" / "1.png").symlink_to(tmp_path / "outside" / "1.png")
    (tmp_path / "data" / "c").symlink_to(tmp_path / "outside")

    table = read("path,label\na/2.png,x\nb/1.png,y\na/1.png,x\nc/1.png,x\n")

    assert {problem.reason for problem in table.problems} == {"points outside the data folder"}
    assert len(table.problems) == 2


@pytest.mark.parametrize(
    ("text", "settings", "what", "where"),
    [
        ("", {}, "no column 'path' and no column 'label'", "list.csv"),
        (
            "file,label\na/1.png,x\n",
            {},
            "no column 'path'; its first line reads: 'file,label'",
            "",
        ),
        ("path,label,label\na/1.png,x,x\n", {}, "two columns 'label'", "list.csv"),
        (
            "path,label\na/1.png,x\nb/1.png\n",
            {},
            "1 row that cannot be used: line 3: 1 cells, not 2",
            "",
        ),
        ("path,label\na/1.png,\nb/1.png,y\n", {}, "line 2: no label", "list.csv"),
        ("path,label\n,x\nb/1.png,y\n", {}, "line 2: no path", ""),
        (
            "path,label\na/1.png,x\n\na/./1.png,y\n",
            {},
            "line 4: path 'a/1.png' is in line 2 too",
            "",
        ),
        (
            "path,label\n../x.png,x\n/etc/passwd,y\n",
            {},
            "2 rows that cannot be used: line 2: path '../x.png' lies outside",
            "",
        ),
        (
            "path,label,split\na/1.png,x,later\nb/1.png,y,\n",
            {},
            "line 2: split 'later' is not train, val or test; line 3: no split",
            "",
        ),
        (
            "path,label,smear\na/1.png,x,1\nb/1.png,y,\n",
            {"group_by": "smear"},
            "line 3: no smear",
            "",
        ),
        (
            "path,label,smear\na/1.png,x,\n",
            {"group_by": "smear"},
            "column 'smear' is empty",
            "data.group_by",
        ),
        (
            "path,label,smear\na/1.png,x,1\n",
            {"group_by": "smaer"},
            "no column 'smaer'; it has path, label, smear",
            "data.group_by",
        ),
        ('path,label\n"a/1.png,x\n', {}, "manifest is not CSV: unexpected end of data", "line 2"),
        (b"path,label\na/1.png,caf\xe9\n", {}, "not UTF-8 text: byte 0xe9", "line 2"),
        (
            "path,label\na/1.png,x\n",
            {"root": "/nowhere"},
            "folder does not exist",
            "data.root: /nowhere",
        ),
    ],
)
def test_what_cannot_mean_anything(
    read: Callable[..., ImageTable],
    text: str | bytes,
    settings: dict[str, str],
    what: str,
    where: str,
) -> None:
    """Each structural mistake is one error with the column or the line."""
    with pytest.raises(DataError) as caught:
        read(text, **settings)

    assert what in caught.value.what
    assert where in caught.value.where


def test_many_bad_rows_are_counted(read: Callable[..., ImageTable]) -> None:
    """Of many bad rows the first five are shown and the others counted."""
    with pytest.raises(DataError, match=r"has 9 rows .*line 6: no label; and 4 more"):
        read("path,label\n" + "".join(f"a/{n}.png,\n" for n in range(9)))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=st.binary(max_size=60) | st.text('path,label\n;"a/1.png\t\0x', max_size=60))
def test_any_file_is_an_index_or_a_data_error(
    read: Callable[..., ImageTable], text: str | bytes
) -> None:
    """Whatever a manifest holds, nothing but DataError comes out."""
    head = b"path,label,split,group\n"
    body = text if isinstance(text, bytes) else text.encode()

    for manifest in (body, head + body):
        with pytest.raises(DataError):
            read(manifest)
