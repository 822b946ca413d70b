from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from tuner.data.image_table import TEST, exact_duplicates, label_conflicts
from tuner.data.images import decode_rgb, read_image
from tuner.data.reading import read_image_table
from tuner.data.split import make_split
from tuner.errors import DataError

pytestmark = pytest.mark.shared_data
Shared = Callable[[str], Path]


def index_rows(odd: Path) -> list[dict[str, str]]:
    """Rows of the table that describes the odd files."""
    text = (odd / "INDEX.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text)))


def test_odd_files_decode_or_say_why(shared: Shared) -> None:
    """Each odd image is read when its table says that it decodes, else named with a reason."""
    odd = shared("odd.tar")
    rows = index_rows(odd)
    assert len(rows) > 80

    for row in rows:
        if row["load"] == "decodes":
            rgb = read_image(odd / row["file"], image_px=16)
            assert rgb.shape == (16, 16, 3), row["file"]
        else:
            with pytest.raises(DataError, match=r"image (is empty|cannot be|has more)") as caught:
                read_image(odd / row["file"], image_px=16)
            assert row["file"] in caught.value.where


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of the malformed files
def test_odd_files_of_ordinary_modes_look_as_in_a_viewer(shared: Shared) -> None:
    """RGB, gray, palette and CMYK files equal Pillow's own upright conversion to RGB."""
    odd, n_compared = shared("odd.tar"), 0
    for row in index_rows(odd):
        mode = row["what_pillow_sees"].split(" ")[1:2]
        if row["load"] != "decodes" or mode[0] not in ("RGB", "L", "P", "CMYK"):
            continue
        data = (odd / row["file"]).read_bytes()
        picture = Image.open(io.BytesIO(data))
        if "transparency" in picture.info:
            continue
        expected = ImageOps.exif_transpose(picture).convert("RGB")
        np.testing.assert_array_equal(
            np.array(decode_rgb(data, name=row["file"])), np.array(expected), row["file"]
        )
        n_compared += 1

    assert n_compared > 55


def test_odd_files_with_alpha_lie_on_white(shared: Shared) -> None:
    """Where alpha is 0 the picture is white, and where it is full it keeps its colour."""
    odd = shared("odd.tar") / "pillow_tests"

    for name in ("transparent.png", "uncompressed_la.png", "p_trns_single.png", "l_trns.png"):
        data = (odd / name).read_bytes()
        rgba = np.array(Image.open(io.BytesIO(data)).convert("RGBA"))
        rgb = np.array(decode_rgb(data, name=name))
        clear, full = rgba[..., 3] == 0, rgba[..., 3] == 255
        assert clear.any(), name
        assert (rgb[clear] == 255).all(), name
        np.testing.assert_array_equal(rgb[full], rgba[full][:, :3], name)


def test_odd_16_bit_files_are_scaled(shared: Shared) -> None:
    """16-bit gray is the value over 257, and the transparent value of a 16-bit PNG is white."""
    odd = shared("odd.tar") / "pillow_tests"

    for name in ("16bit.cropped.tif", "i_trns.png"):
        data = (odd / name).read_bytes()
        picture = Image.open(io.BytesIO(data))
        values = np.array(picture).astype(float)
        expected = np.rint(values / 257)
        expected[values == picture.info.get("transparency", -1)] = 255
        rgb = np.array(decode_rgb(data, name=name))
        np.testing.assert_array_equal(rgb, np.repeat(expected[..., None], 3, axis=2))


def test_one_photograph_in_three_orientations(shared: Shared) -> None:
    """The same scene stored upright, upside down and on its side is nearly one picture."""
    folder = shared("odd.tar") / "exif_orientation"

    upright, down, side = (
        read_image(folder / f"Landscape_{n}.jpg", image_px=32).astype(int) for n in (1, 3, 6)
    )

    # JPEG was written anew for each; a picture turned the wrong way differs by 40 or more.
    assert np.abs(upright - down).mean() < 2
    assert np.abs(upright - side).mean() < 2
    assert np.abs(upright - upright[::-1, ::-1]).mean() > 40


def test_all_91_odd_files_are_used_or_named(shared: Shared, tmp_path: Path) -> None:
    """Every file in the archive is an image, a problem by name, or counted in a note."""
    odd = shared("odd.tar")
    n_files = sum(path.is_file() for path in odd.rglob("*"))

    table = read_image_table(str(odd), home=tmp_path)

    n_noted = 4 + 1 + 1  # .txt labels, INDEX.csv, .DS_Store
    assert table.n_images + len(table.problems) + n_noted == n_files
    assert [note for note in table.notes if note.startswith(("files", "hidden"))] == [
        "files that are no images by their suffix, ignored: 5 (.txt 4, .csv 1)",
        "hidden or system files, skipped: 1 (natural/.DS_Store)",
    ]
    assert any('data.exclude: ["*.png"]' in note for note in table.notes)
    assert all(problem.reason for problem in table.problems)
    assert len(exact_duplicates(table)) == 7


def test_conflicting_labels_are_found(shared: Shared, tmp_path: Path) -> None:
    """The three photographs that TrashNet files under two materials are found."""
    table = read_image_table(str(shared("odd.tar") / "label_conflicts"), home=tmp_path)

    pairs = {tuple(table.paths[row] for row in rows) for rows in label_conflicts(table)}
    assert pairs == {
        ("glass/glass115.jpg", "metal/metal91.jpg"),
        ("glass/glass176.jpg", "plastic/plastic152.jpg"),
        ("glass/glass389.jpg", "plastic/plastic332.jpg"),
    }


def test_demo_blood(shared: Shared, tmp_path: Path) -> None:
    """A folder of cells has the counts that its description gives."""
    table = read_image_table(str(shared("demo_blood.tar")), home=tmp_path)

    assert dict(zip(table.class_names, table.counts.tolist(), strict=True)) == {
        "platelets": 30,
        "rbc": 360,
        "wbc": 48,
    }
    assert (table.problems, table.notes) == ((), ())


def test_demo_steel_by_folder_and_by_manifest(shared: Shared, tmp_path: Path) -> None:
    """Folder and manifest of the same images give the same table, to the fingerprint."""
    folder, manifest = shared("demo_steel.tar"), shared("demo_steel_manifest.csv")

    by_folder = read_image_table(str(folder), home=tmp_path)
    by_manifest = read_image_table(str(manifest), root=str(folder), home=tmp_path)

    assert by_folder.n_images == 677
    assert by_manifest.fingerprint == by_folder.fingerprint
    assert by_manifest.notes == ()  # its empty group column is as if absent


@pytest.mark.slow  # 7,131 images
def test_blood_chula12_by_smear(shared: Shared, tmp_path: Path) -> None:
    """189 smears of 12 cell classes are divided so that every fold has every class."""
    manifest, folder = shared("blood_chula12_manifest.csv"), shared("blood_chula12.tar")

    table = read_image_table(str(manifest), root=str(folder), group_by="group", home=tmp_path)

    assert (table.n_images, table.n_classes, table.problems) == (7131, 12, ())
    assert table.groups is not None
    assert len(np.unique(table.groups)) == 189
    fold = make_split(
        table.labels,
        class_names=table.class_names,
        n_folds=3,
        test_fraction=0.2,
        seed=0,
        groups=table.groups,
    )
    counts = np.stack([np.bincount(table.labels[fold == f]) for f in (TEST, 0, 1, 2)])
    shares = counts / counts.sum(axis=0)
    # One smear holds 28 of the 64 cells of the rarest class; all others can be near.
    near = table.counts > 64
    np.testing.assert_allclose(shares[0, near], 0.2, atol=0.05)
    np.testing.assert_allclose(shares[1:, near], 0.8 / 3, atol=0.05)
    assert counts.min() >= 8
