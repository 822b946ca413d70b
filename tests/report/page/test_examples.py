"""Which images are shown, and as what pictures."""

from __future__ import annotations

import base64
import hashlib
import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tuner.data.image_table import ImageTable
from tuner.report.page.examples import choose_examples, rare_classes, thumbnail


def table_of(labels, fold=None):
    """Images without files."""
    n = len(labels)
    fold = np.zeros(n, dtype=np.int64) if fold is None else np.asarray(fold)
    paths = tuple(f"{i}.png" for i in range(n))
    names = tuple(f"c{k}" for k in range(max(labels) + 1))
    return ImageTable(paths, ("",) * n, np.asarray(labels), names, fold=fold)


def log_prob(predicted, n_classes, sure=0.8):
    """Log probabilities that predict these classes."""
    p = np.full((len(predicted), n_classes), (1 - sure) / (n_classes - 1), dtype=np.float32)
    p[np.arange(len(predicted)), predicted] = sure
    return np.log(p)


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3, st.integers(-1, 2)), min_size=1, max_size=60))
def test_examples_are_found_by_one_missed_by_the_other_and_rare(rows):
    """Each example is so, none is of the sealed test, and no class has more than three."""
    labels, ours, theirs, fold = np.array([[0, 0, 0, 0], *rows]).T
    images = table_of(labels, fold)
    seen = images.search
    found = choose_examples(images, log_prob(ours[seen], 4), log_prob(theirs[seen], 4))
    rare = rare_classes(labels[seen], n_classes=4)
    for example in found:
        assert fold[example.row] >= 0
        assert example.true == labels[example.row] == ours[example.row] == example.predicted[0]
        assert theirs[example.row] == example.predicted[1] != example.true
        assert example.true in rare
    assert len({e.row for e in found}) == len(found)
    assert max(np.bincount([e.true for e in found], minlength=1)) <= 3


def test_rare_classes_are_never_all():
    """With equal classes or with two, at least one class is not called rare."""
    assert rare_classes(np.array([0, 0, 0, 1]), n_classes=2) == [1]
    assert len(rare_classes(np.arange(5), n_classes=5)) == 4


def test_a_picture_is_small_and_decodes_again(tmp_path):
    """A large photograph becomes a JPEG of at most 112 pixels a side, inside its address."""
    Image.fromarray(np.full((300, 900, 3), 90, dtype=np.uint8)).save(tmp_path / "a.png")
    sha256 = hashlib.sha256((tmp_path / "a.png").read_bytes()).hexdigest()
    picture = thumbnail(tmp_path, "a.png", sha256=sha256)
    kind, text = picture.address.split(",")
    assert kind == "data:image/jpeg;base64"
    again = Image.open(io.BytesIO(base64.b64decode(text)))
    assert again.size == (picture.width, picture.height) == (112, 37)


def test_pictures_that_cannot_be_made_say_why(tmp_path):
    """Missing, damaged, changed and unknown: each has its own words and no address."""
    (tmp_path / "bad.png").write_bytes(b"no picture")
    sha256 = hashlib.sha256(b"no picture").hexdigest()
    reasons = [
        thumbnail(tmp_path, "none.png", sha256="").reason,
        thumbnail(tmp_path, "bad.png", sha256=sha256).reason,
        thumbnail(tmp_path, "bad.png", sha256="0").reason,
        thumbnail(None, "bad.png", sha256="").reason,
    ]
    assert "cannot be opened" in reasons[0]
    assert "cannot be decoded" in reasons[1]
    assert reasons[2:] == ["file has changed", "data not found"]
