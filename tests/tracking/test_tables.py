"""Files beside the metrics."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tuner.tracking.tables import class_names_json, confusion_matrix_json, predictions_json


def test_predictions_table_lists_each_image_outside_the_test_once(study):
    """Path, class, fold, prediction and probabilities agree with the study's images."""
    images = study.folder.images
    table = json.loads(b"".join(predictions_json(images, study.log_prob, record=study.add())))
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    chosen = images.search
    assert [row["path"] for row in rows] == [images.paths[i] for i in chosen]
    assert [row["fold"] for row in rows] == images.fold[chosen].tolist()
    assert [row["class"] for row in rows] == [study.class_names[k] for k in images.labels[chosen]]
    probability = [[row[f"probability: {name}"] for name in study.class_names] for row in rows]
    # Rounded to four digits.
    np.testing.assert_allclose(probability, np.exp(study.log_prob), atol=5.1e-5)
    hits = study.log_prob.argmax(axis=1) == images.labels[chosen]
    assert [row["is_right"] for row in rows] == hits.tolist()


def test_images_of_a_fold_that_never_reported_have_no_prediction(study):
    """A row of -inf is not taken for a prediction of the first class."""
    log_prob = study.log_prob.copy()
    log_prob[0] = -np.inf
    table = json.loads(
        b"".join(predictions_json(study.folder.images, log_prob, record=study.add()))
    )
    first = dict(zip(table["columns"], table["data"][0], strict=True))
    assert first["predicted"] is None
    assert first["is_right"] is None


def test_probabilities_of_other_images_are_refused(study):
    """A file that does not fit the study is an error, never a table of wrong rows."""
    record = study.add()
    with pytest.raises(ValueError, match="probabilities of shape"):
        list(predictions_json(study.folder.images, study.log_prob[1:], record=record))


def test_the_table_of_a_test_record_lists_the_sealed_images(study):
    """A record of the test has its images, in no fold; a retest names no fold either."""
    images = study.folder.images
    log_prob = study.log_prob[: len(images.test)]
    record = replace(study.add(), kind="confirm", part="test", of="trial-00003")
    table = json.loads(b"".join(predictions_json(images, log_prob, record=record)))

    assert [row[0] for row in table["data"]] == [images.paths[i] for i in images.test]
    assert "fold" not in table["columns"]


def test_counts_and_names_are_kept_as_they_are(study):
    """The matrix and the map of names can be read back, with any characters."""
    record = study.add()
    kept = json.loads(confusion_matrix_json(record, ["a/b", "猫", "\udcff"]))
    assert kept == {"class_names": ["a/b", "猫", "\udcff"], "matrix": record.matrix}
    names = json.loads(class_names_json(["a/b", "a_b"], ["a_b_2", "a_b"]))
    assert names[0] == {"class": 0, "metric": "a_b_2", "name": "a/b"}
