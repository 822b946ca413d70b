"""What runs say, without MLflow."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sk

from tuner.home.confirmation import Confirmation
from tuner.tracking.content import (
    _weights,
    common_tags,
    confirmation_metrics,
    record_params,
    record_points,
    record_tags,
    run_name,
    study_id,
)
from tuner.tracking.description import as_markdown, describe


def test_metrics_are_those_of_scikit_learn(study):
    """Final metrics agree with scikit-learn on the same out-of-fold predictions."""
    record = study.add()
    images = study.folder.images
    y_true, y_pred = images.labels[images.search], study.log_prob.argmax(axis=1)
    final = {p.key: p.value for p in record_points(record, study.class_names) if p.step == 0}
    per_class = sk.precision_recall_fscore_support(y_true, y_pred, zero_division=0)
    for key, values in zip(("precision", "recall", "f1", "support"), per_class, strict=True):
        for name, value in zip(study.class_names, values, strict=True):
            assert final[f"{key}/{name}"] == pytest.approx(value)
    assert final["macro_recall"] == pytest.approx(sk.balanced_accuracy_score(y_true, y_pred))
    assert final["mcc"] == pytest.approx(sk.matthews_corrcoef(y_true, y_pred))
    assert final["objective"] == record.value
    assert final["rows/zero"] == 15
    assert final["weight/two"] == 1.0


def test_every_epoch_of_every_curve_has_its_place_in_time(study):
    """Curves hold one point an epoch, in the order of time, between start and end."""
    record = study.add(number=3)
    points = record_points(record, study.class_names)
    curve = [p for p in points if p.key == "val/recall/one"]
    assert [p.value for p in curve] == [row[1] for row in record.curves["val/recall"]]
    assert [p.step for p in curve] == [0, 1, 2, 3]
    times = [p.timestamp_ms for p in curve]
    assert all(a < b for a, b in itertools.pairwise(times))
    assert record.started_s * 1000 < times[0]
    assert times[-1] == round(record.ended_s * 1000)
    assert {p.key for p in points if p.step == 3} == {
        "val/macro_recall",
        "val/balanced_loss",
        "train/loss",
        "learning_rate",
        *(f"val/recall/{name}" for name in study.class_names),
    }


def test_a_trial_that_failed_at_once_has_no_metrics_but_its_number(study):
    """Nothing is made up for a trial without a report."""
    record = study.add(
        number=4, state="failed", reason="NaN", value=None, matrix=[], scores={}, curves={},
        rows=[], class_weights=[], log_prob=None,
    )  # fmt: skip
    points = record_points(record, study.class_names)
    assert [(p.key, p.value) for p in points] == [("trial_number", 4.0)]


def test_run_names_say_the_setting(study):
    """Trials are named by number and setting, baselines by their title."""
    assert run_name(study.add(number=12)) == "#12 γ1.80 α0.40 ×3 balanced"
    baseline = study.add("baseline", None, name="baseline-published_recipe")
    assert run_name(baseline) == "published recipe"
    confirm = study.add("confirm", None, name="confirm-trial-00012-seed-7", of="trial-00012")
    assert run_name(confirm) == "retest 7: #12"
    tested = study.add("confirm", None, name="test-x", of="baseline-cross_entropy", part="test")
    assert run_name(tested) == "test: cross-entropy"


def test_params_hold_all_that_decides_the_numbers(study):
    """The setting, seeds, fingerprints, backend, device, precision, weights and size are there."""
    params = record_params(study.folder, study.add(number=5))
    about = study.folder.about
    assert params == {
        "gamma": "1.8",
        "alpha": "0.4",
        "augmentation_multiplier": "3",
        "augmentation_policy": "minority",
        "class_weight_mode": "balanced",
        "trial_number": "5",
        "study_seed": "7",
        "view_seed": "3",
        "data_fingerprint": about["data_fingerprint"],
        "split_fingerprint": about["split_fingerprint"],
        "backend": "tensorflow",
        "device": "CPU",
        "precision": "float32",
        "tuner_version": "0.1.0",
        "image_px": "32",
        "weights": "imagenet",
    }
    assert "trial_number" not in record_params(
        study.folder, study.add("baseline", None, name="baseline-balanced")
    )


@pytest.mark.parametrize(
    ("asked", "shown"),
    [("imagenet", "imagenet sha256:abc"), ("random", "random"), ("/mine.h5", "file sha256:abc")],
)
def test_weights_are_the_same_param_on_every_machine(study, asked, shown):
    """Their hash is logged, and neither the path asked for nor the one where they were found."""
    record = study.add(
        environment={"weights": "TUNER_WEIGHTS=/home/me/w.h5", "weights_sha256": "abc"}
    )
    assert _weights(asked, record.environment) == shown
    params = record_params(study.folder, record)
    assert params["weights"] == "imagenet sha256:abc"
    assert "weights_sha256" not in params
    assert not any("/home" in value for value in params.values())


def test_tags_tell_the_reason_and_the_attempt_only_where_there_is_one(study):
    """A failed second attempt says so; a good first one is silent."""
    bad = study.add(number=1, state="failed", reason="x" * 9000, attempt=2)
    tags = record_tags(study.folder, bad, parent_id="p")
    assert tags["tuner.reason"] == "x" * 8000  # MLflow's limit
    assert tags["tuner.attempt"] == "2"
    assert tags["tuner.trial_state"] == "FAIL"
    good = record_tags(study.folder, study.add(number=2), parent_id="p")
    assert {"tuner.reason", "tuner.attempt"}.isdisjoint(good)
    assert good["tuner.trial_state"] == "COMPLETE"
    assert good["mlflow.parentRunId"] == "p"
    assert common_tags(study.folder).items() <= good.items()


def test_a_study_begun_anew_under_the_same_name_is_another(study):
    """The id depends on when the study began, so old runs are not taken for new ones."""
    before = study_id(study.folder)
    assert study_id(type(study.folder)(study.folder.path)) == before
    study.folder.about["created_at"] = "2026-01-01T00:00:00+0000"
    assert study_id(study.folder) != before


def test_the_description_names_question_data_and_rarest_class_first(study):
    """Markdown with the study file's comment, the numbers of images and the winner."""
    path = study.folder.path / "study.yaml"
    path.write_text("# Does focal loss\n# help the rare digits?\n" + path.read_text())
    study.add("baseline", None, name="baseline-cross_entropy", value=0.1)
    study.add("baseline", None, name="baseline-balanced", value=0.2)
    trial = study.add(number=1, value=0.9)
    text = describe(study.folder, study.folder.records())
    assert text.startswith("**Does focal loss help the rare digits?**\n")
    n_test = len(study.folder.images.test)
    assert f"{n_test} of them sealed" in text
    best = text.index("Best so far: **\\#1 γ1.80 α0.40 ×3 balanced**")
    assert best < text.index("images of")  # MLflow folds all but the first lines
    assert "the best baseline, cross-entropy, balanced weights, macro recall" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert rows[0].endswith("| recall, \\#1 | recall, cross-entropy, balanced weights |")
    support = np.sum(trial.matrix, axis=1)
    assert rows[1].startswith("| two |")  # thinned most
    assert f"({trial.matrix[2][2]} of {support[2]})" in rows[1]


def test_the_description_says_when_a_baseline_is_best(study):
    """The winner stands beside the next baseline, and no gain of the search is claimed."""
    study.add("baseline", None, name="baseline-cross_entropy", value=0.5)
    study.add("baseline", None, name="baseline-balanced", value=0.8)
    study.add(number=1, value=0.7)
    text = describe(study.folder, study.folder.records())
    assert "Best so far: **cross-entropy, balanced weights**" in text
    assert "it is a baseline: the search has found nothing better" in text
    assert "| recall, cross-entropy, balanced weights | recall, cross-entropy |" in text


def test_the_description_escapes_names_and_stays_within_the_limit(new_study):
    """Hostile and very many class names neither break the table nor MLflow's tag limit."""
    names = ["<script>alert(1)</script>", "a|b", "*_`#[x](y)", "new\nline", "😀"]
    names += [f"{i} " + "n" * 100 for i in range(25)]
    study = new_study(class_names=names)
    study.add()
    text = describe(study.folder, study.folder.records())
    assert "<" not in text
    assert "a\\|b" in text
    assert "new line" in text
    assert len(text) < 8000
    as_markdown("\udcff").encode("utf-8")  # a name that no database takes


def test_a_confirmation_gives_metrics_with_limits():
    """Gains over cross-entropy and the best free baseline come with their intervals."""
    values = json.loads((Path(__file__).parents[1] / "home" / "confirmation.json").read_text())
    plain, free = values["test"]["comparisons"]
    plain |= {"gain": 0.03, "low": -0.01, "high": 0.07}
    values["test"]["comparisons"] = [plain, free, {**free, "against": "nearest_class_mean"}]
    done = Confirmation.model_validate(values)

    found = confirmation_metrics(done)

    assert found["confirm/test_macro_recall"] == done.chosen_model.macro_recall
    assert found["confirm/gain_over_cross_entropy"] == 0.03
    assert found["confirm/gain_over_cross_entropy_low"] == -0.01
    assert found["confirm/gain_over_best_free_baseline"] == free["gain"]
    assert len(found) == 7
