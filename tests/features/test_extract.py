"""Filling the bank: the numbers are the backbone's, and a kill or an error costs one chunk."""

import hashlib
import itertools
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from tuner.config import AugmentationConfig
from tuner.data.images import read_image, read_image_bytes
from tuner.errors import BankError, DataError
from tuner.features import extract
from tuner.features.backbone import N_FEATURES
from tuner.features.bank import FeatureBank
from tuner.features.extract import fill_bank
from tuner.features.views import affine_matrix, keras_transform, view_key, view_parameters
from tuner.features.wanted import ViewOf
from tuner.home.listener import Progress

PX, BATCH = 32, 8
AUGMENTATION = AugmentationConfig()


def rows_of(paths, *, views=(0,)):
    """Rows to extract as a study asks for them: images first, then view 1, and so on."""
    sha256 = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    return [ViewOf(path, sha256[path], view) for view in views for path in paths]


def keys_of(rows):
    """Names of the rows in the bank."""
    return [view_key(row.sha256, row.view, augmentation=AUGMENTATION) for row in rows]


def open_bank(folder):
    """A bank of real width."""
    return FeatureBank(folder, {"test": "extract"}, n_features=N_FEATURES)


class Counted:
    """The real extractor, and how many passes it was asked for."""

    def __init__(self, extractor):
        """Wrap `extractor`."""
        self.extractor, self.passes = extractor, []
        self.in_flight = extractor.in_flight

    def start(self, pixels, transforms=None):
        """One pass, noted by its shape and kind."""
        self.passes.append((pixels.shape, transforms is not None))
        return self.extractor.start(pixels, transforms)


def fill(bank, rows, extractor, **changes):
    """Fill the bank with this room's settings; returns rows computed."""
    settings = {"image_px": PX, "augmentation": AUGMENTATION, "batch_size": BATCH} | changes
    return fill_bank(bank, rows, lambda: extractor, **settings)


def live_features(rows, extractor):
    """Features of the rows without bank, threads or batches: one row a pass, padded."""
    found = []
    for row in rows:
        pixels = np.zeros((BATCH, PX, PX, 3), np.uint8)
        pixels[0] = read_image(row.path, image_px=PX)
        if row.view:
            parameters = view_parameters(row.sha256, row.view, augmentation=AUGMENTATION)
            matrix = affine_matrix(parameters, image_px=PX)
            transforms = np.tile(keras_transform(matrix), (BATCH, 1))
            found.append(np.asarray(extractor(pixels, transforms))[0])
        else:
            found.append(np.asarray(extractor(pixels))[0])
    return np.stack(found)


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks of two batches, so that thirty pictures make several."""
    monkeypatch.setattr(extract, "_CHUNK_ROWS", 2 * BATCH)


def test_bank_features_are_live_features(tmp_path, pictures, extractor, small_chunks):
    """Images and views from the bank are what the backbone gives for that file alone."""
    rows = rows_of(pictures[:11], views=(0, 1, 2))
    bank = open_bank(tmp_path)
    assert fill(bank, rows, extractor) == len(rows)
    found, expected = bank.read(keys_of(rows)), live_features(rows, extractor)
    # Bit-identical where measured (x86 CPU, both backends); other devices may choose another
    # summation order for other neighbours: 6e-7 of the largest feature on record.
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6 * abs(expected).max())
    np.testing.assert_array_less(0, np.ptp(found, axis=0).max())


def test_rows_do_not_depend_on_what_is_asked_with_them(tmp_path, pictures, extractor):
    """Any subset, order or history of asking leaves the same bits in the bank."""
    rows = rows_of(pictures[:13], views=(0, 1))
    at_once, by_parts = open_bank(tmp_path / "a"), open_bank(tmp_path / "b")
    fill(at_once, rows, extractor)
    order = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]
    for part in (order[:3], order[:12], order):
        fill(by_parts, part, extractor)
    np.testing.assert_array_equal(by_parts.read(keys_of(rows)), at_once.read(keys_of(rows)))


def test_only_missing_rows_are_computed(tmp_path, pictures, extractor, small_chunks):
    """Larger multipliers and new images add rows and compute none a second time."""
    bank, counted = open_bank(tmp_path), Counted(extractor)
    first = rows_of(pictures[:20])
    assert fill(bank, first, counted) == 20
    assert len(counted.passes) == 3
    before = bank.read(keys_of(first)).copy()
    assert fill(bank, rows_of(pictures[:24], views=(0, 1)), counted) == 4 + 24
    assert len(counted.passes) == 3 + 1 + 3
    np.testing.assert_array_equal(bank.read(keys_of(first)), before)


def test_full_bank_builds_no_backbone(tmp_path, pictures, extractor):
    """Where nothing is missing nothing is built, read or reported."""
    rows, bank = rows_of(pictures[:5]), open_bank(tmp_path)
    fill(bank, rows, extractor)

    def must_not_be_called(*_):
        raise AssertionError

    again = open_bank(tmp_path)
    settings = {"image_px": PX, "augmentation": AUGMENTATION, "batch_size": BATCH}
    assert (
        fill_bank(again, rows, must_not_be_called, on_progress=must_not_be_called, **settings) == 0
    )
    assert fill_bank(again, [], must_not_be_called, **settings) == 0


def test_every_pass_is_full_and_views_apart(tmp_path, pictures, extractor, monkeypatch):
    """Passes all have one shape, images come before views, only the last of each is padded."""
    monkeypatch.setattr(extract, "_CHUNK_ROWS", BATCH + 3)  # not a number of whole batches
    counted = Counted(extractor)
    fill(open_bank(tmp_path), rows_of(pictures[:19], views=(1, 0)), counted)
    shape = (BATCH, PX, PX, 3)
    assert counted.passes == [(shape, False)] * 3 + [(shape, True)] * 3


def test_views_of_a_file_share_one_decoding(tmp_path, pictures, extractor, monkeypatch):
    """Eight views of one file decode it once, not eight times."""
    decoded = []

    def decode_and_note(data, *, name, **how):
        decoded.append(Path(name))
        return read_image_bytes(data, name=name, **how)

    monkeypatch.setattr(extract, "read_image_bytes", decode_and_note)
    fill(open_bank(tmp_path), rows_of(pictures[:3], views=range(1, 9)), extractor)
    assert sorted(decoded) == pictures[:3]


def test_same_file_twice_is_one_row(tmp_path, pictures, extractor):
    """Byte-identical files are extracted once, whatever they are called."""
    copy = tmp_path / "copy.png"
    copy.write_bytes(pictures[0].read_bytes())
    rows, bank = rows_of([pictures[0], copy, pictures[1]]), open_bank(tmp_path / "bank")
    assert fill(bank, rows, extractor) == 2
    found = bank.read(keys_of(rows))
    np.testing.assert_array_equal(found[0], found[1])


def test_progress_adds_up(tmp_path, pictures, extractor, small_chunks):
    """Progress rises batch by batch to the total, with a speed and a time left that agree."""
    seen = []
    rows = rows_of(pictures[:18], views=(0, 1))
    bank = open_bank(tmp_path)
    fill(bank, rows[:4], extractor)
    fill(bank, rows, extractor, on_progress=seen.append)
    assert [p.done for p in seen] == [8, 14, 22, 30, 32]  # 14 images, then 18 views
    assert {p.total for p in seen} == {32}
    assert all(a.seconds <= b.seconds for a, b in itertools.pairwise(seen))
    for p in seen:
        assert p.rows_per_s * p.seconds == pytest.approx(p.done)
        assert p.seconds_left * p.rows_per_s == pytest.approx(p.total - p.done)


def test_progress_before_the_first_row():
    """Nothing done yet means no speed and no end in sight, not a division by zero."""
    assert Progress(0, 10, 0.0).rows_per_s == 0
    assert Progress(0, 10, 5.0).seconds_left == float("inf")


@pytest.mark.parametrize("harm", ["vanishes", "is cut off", "is replaced"])
def test_file_that_went_bad_after_indexing_is_named(tmp_path, pictures, extractor, harm):
    """A file that is not what was indexed is one error with its path, and spoils no row."""
    path = tmp_path / "spoilt.png"
    path.write_bytes(pictures[9].read_bytes())
    rows = rows_of([*pictures[:9], path])
    if harm == "vanishes":
        path.unlink()
    elif harm == "is cut off":
        path.write_bytes(path.read_bytes()[:-40])
    else:
        path.write_bytes(pictures[10].read_bytes())
    bank = open_bank(tmp_path / "bank")
    with pytest.raises(DataError) as caught:
        fill(bank, rows, extractor)
    assert caught.value.where == str(path)
    assert caught.value.do
    expected = "cannot be opened: No such file" if harm == "vanishes" else "has changed since"
    assert expected in caught.value.what
    assert bank.missing(keys_of(rows[-1:])) == keys_of(rows[-1:])


def test_whole_chunks_survive_an_error(tmp_path, pictures, extractor, small_chunks):
    """Chunks before the broken file are kept; once it is mended only the rest is computed."""
    path = tmp_path / "late.png"
    path.write_bytes(pictures[29].read_bytes())
    rows = rows_of([*pictures[:29], path])
    path.unlink()
    with pytest.raises(DataError):
        fill(open_bank(tmp_path / "bank"), rows, extractor)
    path.write_bytes(pictures[29].read_bytes())
    assert fill(open_bank(tmp_path / "bank"), rows, extractor) == 30 - 2 * BATCH


def test_bank_that_cannot_be_written_stops_extraction(tmp_path, pictures, extractor, small_chunks):
    """An error of the thread that writes is raised, not lost."""
    bank = open_bank(tmp_path / "bank")
    shutil.rmtree(bank.folder)
    with pytest.raises(BankError, match="a chunk of features cannot be written"):
        fill(bank, rows_of(pictures[:4]), extractor)


def test_damaged_chunk_is_computed_again(tmp_path, pictures, extractor, small_chunks):
    """A damaged chunk is dropped by name and its rows are filled in with the same bits."""
    rows, bank = rows_of(pictures), open_bank(tmp_path)
    fill(bank, rows, extractor)
    expected = bank.read(keys_of(rows)).copy()
    spoilt = sorted(bank.folder.glob("*.npy"))[0]
    spoilt.write_bytes(spoilt.read_bytes()[:-1])
    again = open_bank(tmp_path)
    assert fill(again, rows, extractor) in (2 * BATCH, len(rows) - 2 * BATCH)
    assert again.damaged == [spoilt.stem]
    np.testing.assert_array_equal(again.read(keys_of(rows)), expected)


CHILD = """
    import os, signal, sys
    from pathlib import Path
    from tuner.config import AugmentationConfig
    from tuner.features import extract
    from tuner.features.backbone import Extractor, build_backbone
    from tuner.features.bank import FeatureBank
    from tuner.features.extract import fill_bank
    from tuner.features.wanted import ViewOf
    from tuner.features.weights.resolve import resolve_weights

    pictures, folder = (Path(a) for a in sys.argv[1:3])
    names = [line.split() for line in sys.stdin]
    rows = [ViewOf(pictures / name, sha256, view) for view in (0, 1) for name, sha256 in names]
    batches = []

    def die_in_the_middle(progress):
        batches.append(progress)
        if len(batches) == 5:
            os.kill(os.getpid(), signal.SIGKILL)

    extract._CHUNK_ROWS = 16
    fill_bank(
        FeatureBank(folder, {"test": "extract"}, n_features=2048),
        rows,
        lambda: Extractor(build_backbone(resolve_weights("random"))),
        image_px=32,
        augmentation=AugmentationConfig(),
        batch_size=8,
        on_progress=die_in_the_middle,
    )
"""


@pytest.mark.slow
def test_killed_and_started_again_is_undisturbed(tmp_path, pictures, extractor, small_chunks):
    """SIGKILL in the middle costs at most two chunks in work; the bits are the same in the end."""
    rows = rows_of(pictures, views=(0, 1))
    disturbed = tmp_path / "disturbed"
    arguments = [str(pictures[0].parent), str(disturbed)]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(CHILD), *arguments],
        input="\n".join(f"{row.path.name} {row.sha256}" for row in rows[: len(pictures)]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr

    bank = open_bank(disturbed)
    left = bank.missing(keys_of(rows))
    assert bank.damaged == []
    # It died in the fifth batch, the first one of views. Chunk 2 (batches 3 and 4) may still have
    # been on its way to the disk; chunk 1 cannot, because chunk 2 waits for it.
    assert len(rows) - len(left) in (2 * BATCH, len(pictures))
    counted = Counted(extractor)
    assert fill(bank, rows, counted) == len(left)
    n_views = sum(not key.endswith(":0") for key in left)
    assert len(counted.passes) == -(-(len(left) - n_views) // BATCH) + -(-n_views // BATCH)

    undisturbed = open_bank(tmp_path / "undisturbed")
    fill(undisturbed, rows, extractor)
    np.testing.assert_array_equal(bank.read(keys_of(rows)), undisturbed.read(keys_of(rows)))
    assert {path.name: path.read_bytes() for path in chunk_files(bank)} == {
        path.name: path.read_bytes() for path in chunk_files(undisturbed)
    }


def chunk_files(bank) -> list[Path]:
    """The bank's chunks without what a kill may have left."""
    return list(bank.folder.glob("chunk-*"))
