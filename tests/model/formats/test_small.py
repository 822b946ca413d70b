"""Smaller files: less precision where it costs nothing, told in decisions, recall and bytes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.model.made_model import IMAGE_PX, NAMES, need_runtimes, write_small_model
from tuner.errors import ExportError, UsageError
from tuner.evaluation.metrics import confusion_matrix
from tuner.model.formats.beside import note_files
from tuner.model.formats.forms import FORMS, PRECISIONS, check_forms
from tuner.model.formats.judge import Smaller, judge
from tuner.model.formats.opened import Opened, open_file
from tuner.model.formats.pictures import photographs
from tuner.model.formats.small import shift_bias
from tuner.model.formats.write import write_formats

N = 40


@pytest.fixture(scope="module")
def squares() -> np.ndarray:
    """Cuttings of two photographs."""
    places = np.random.default_rng(0).integers(0, 300, (2 * N, 2))
    cuttings = [photographs()[k % 2][y : y + 100, x : x + 100] for k, (y, x) in enumerate(places)]
    return np.stack(
        [np.asarray(Image.fromarray(one).resize((IMAGE_PX, IMAGE_PX))) for one in cuttings]
    )


@pytest.fixture(scope="module")
def smaller(squares: np.ndarray) -> Smaller:
    """Half of them to calibrate on, half to judge by, of any classes."""
    labels = np.arange(N) % len(NAMES)
    return Smaller(PRECISIONS, squares[:N], squares[N:], labels, NAMES)


@pytest.fixture(scope="module")
def written(smaller: Smaller, tmp_path_factory) -> dict[Path, dict]:
    """Every format in every precision, and what was found of each."""
    need_runtimes()
    path = write_small_model(tmp_path_factory.mktemp("model") / "best.keras")
    forms = check_forms(list(FORMS), PRECISIONS)
    files = list(write_formats(path, forms, photographs()[:1], smaller))
    note_files(path, files)
    return {file.path: file.facts for file in files}


@pytest.mark.slow
def test_every_format_is_written_in_every_precision(written: dict[Path, dict]) -> None:
    """Float32 first, then the smaller ones beside it, all on the card for programs."""
    names = [path.name for path in written]
    assert names == [
        f"best{precision}{form.suffix}"
        for form in FORMS.values()
        for precision in ("", ".fp16", ".int8")
    ]
    beside = next(iter(written)).with_name("best.card.json")
    assert list(json.loads(beside.read_text("utf-8"))["files"]) == names


@pytest.mark.slow
def test_what_the_card_says_of_them_is_so(written: dict[Path, dict], smaller: Smaller) -> None:
    """Recall, decisions and probabilities are those that the files themselves give."""
    for path, facts in written.items():
        if facts["precision"] == "float32":
            continue
        whole = open_file(path.with_name(f"best{path.suffix}")).run(smaller.judged)
        small = open_file(path).run(smaller.judged)
        assert facts["pictures"] == N
        assert facts["decisions_changed"] == (whole.argmax(1) != small.argmax(1)).sum()
        assert facts["largest_difference"] == pytest.approx(np.abs(whole - small).max(), abs=1e-6)
        # This backbone is one convolution: what int8 may change of ResNet50 is on its card.
        assert facts["largest_difference"] < (0.01 if facts["precision"] == "fp16" else 0.1)
        matrix = confusion_matrix(smaller.labels, small.argmax(1), n_classes=len(NAMES))
        assert [row["found"] for row in facts["recall"]["this"]] == np.diag(matrix).tolist()
        assert small.min() > 0


def test_a_class_that_becomes_exactly_zero_is_refused(smaller: Smaller) -> None:
    """Rounded away, a rare class would never be found again."""
    rows = np.tile(np.float32([0.9, 0.1 - 1e-6, 1e-6]), (N, 1))

    def opened(p: np.ndarray) -> Opened:
        return Opened({}, lambda x: p[: len(x)], lambda side: lambda x: p[: len(x)])

    assert judge(opened(rows), opened(rows), smaller)["decisions_changed"] == 0
    rounded = np.round(rows * 256) / 256
    with pytest.raises(ExportError, match="exactly 0 of '欠陥'"):
        judge(opened(rows), opened(rounded), smaller)


def test_a_bias_is_found_where_it_lies_once(tmp_path: Path) -> None:
    """Shifted in its place; what lies there twice, or never, is left alone."""
    bias, other = np.float32([0.5, -1.25]), np.float32([3, 4])
    path = tmp_path / "weights"
    path.write_bytes(b"head" + bias.tobytes() + b"tail")
    assert shift_bias(path, bias, np.float32([0.25, 0]))
    assert path.read_bytes() == b"head" + np.float32([0.75, -1.25]).tobytes() + b"tail"
    assert not shift_bias(path, other, bias)
    path.write_bytes(2 * bias.tobytes())
    assert not shift_bias(path, bias, other)
    assert path.read_bytes() == 2 * bias.tobytes()


def test_a_precision_is_of_a_format() -> None:
    """An unknown one, and one of no format that has it, say what to write."""
    with pytest.raises(UsageError, match="write fp16 or int8"):
        check_forms(["onnx"], ["int4"])
    with pytest.raises(UsageError, match="--precision is of a format"):
        check_forms(["keras"], ["int8"])
