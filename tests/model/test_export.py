"""An export holds everything, is written whole, and is refused when it is damaged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score
from sklearn.utils.class_weight import compute_class_weight

from tests.cli.made import HOSTILE, make_baseline, make_folder, make_matrix, make_record
from tuner.data.image_table import ImageTable
from tuner.errors import ExportError, StudyError, StudyFileError, UsageError
from tuner.model.export import (
    build_export,
    check_classes,
    choose_record,
    compare_matrices,
    median_fold,
    same_data,
)
from tuner.model.export_file import load_export, write_export
from tuner.model.train import with_images
from tuner.setting import Setting

NAMES = [*HOSTILE, "no", "1:30", "1e-4", "null", "#hash"]
MATRIX = make_matrix([10] * len(NAMES), [k % 4 for k in range(len(NAMES))])


@pytest.fixture
def folder(tmp_path):
    """A study of hostile classes with one baseline and one better trial."""
    base = make_baseline(make_matrix([10] * len(NAMES), [5] * len(NAMES)), "cross_entropy")
    return make_folder(tmp_path / "home", NAMES, records=[base, make_record(MATRIX)])


@pytest.fixture
def content(folder):
    """The export of the better trial."""
    return build_export(folder, choose_record(folder))


def written(content, path):
    """Path of the content, written as YAML without any check."""
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    return path


def test_an_export_reads_back_as_it_was_built(folder, content, tmp_path):
    """Configuration, hyperparameters and matrix survive the file, whatever classes are called."""
    write_export(content, tmp_path / "new folder" / "best.yaml")
    export = load_export(tmp_path / "new folder" / "best.yaml")
    record = choose_record(folder)
    assert export.config == folder.config
    assert export.params == record.params
    assert export.record == content
    np.testing.assert_array_equal(export.matrix, record.matrix)
    assert export.record["classes"] == NAMES == folder.class_names


def test_an_export_holds_what_trains_again(content, folder):
    """Every field that the contract lists is there; only what was not asked for is empty."""

    def empty(value, path=""):
        if isinstance(value, dict):
            return [p for key, part in value.items() for p in empty(part, f"{path}{key}.")]
        return [path] if value is None or value == [] else []

    allowed = ("confirmation.", "adjustment.", "provenance.mlflow_run_id.", "study_file.")
    assert [path for path in empty(content) if not path.startswith(allowed)] == []
    assert set(content["confirmation"].values()) == {None}
    assert content["objective"]["is_best_of"] == 2
    assert content["hyperparameters"] == choose_record(folder).params.as_dict()


def test_an_adjustment_is_exported_with_its_prior(folder):
    """The prior is that of the final rows and weights, and both are read back."""
    content = build_export(folder, choose_record(folder), tau=0.75)
    mass = np.array(content["training_rows"]["final"]) * content["class_weights"]["final"]
    assert content["adjustment"]["tau"] == 0.75
    np.testing.assert_allclose(content["adjustment"]["prior"], mass / mass.sum())


@pytest.mark.parametrize("part", [{"tau": "x", "prior": [1, 1]}, {"tau": 1, "prior": [0.5, 0]}])
def test_a_damaged_adjustment_is_refused(content, tmp_path, part):
    """A strength that is no number, or a share of 0, is named before anything is trained."""
    n = len(content["classes"])
    prior = (part["prior"] * n)[:n]
    write_export(content | {"adjustment": part | {"prior": prior}}, tmp_path / "best.yaml")
    with pytest.raises(ExportError, match="missing or damaged"):
        load_export(tmp_path / "best.yaml")


def test_recorded_scores_are_those_of_the_recorded_matrix(content):
    """Macro recall and recalls are what scikit-learn finds in the counts."""
    matrix = np.array(content["objective"]["confusion_matrix"])
    y_true, y_pred = (np.repeat(axis.ravel(), matrix.ravel()) for axis in np.indices(matrix.shape))
    expected = balanced_accuracy_score(y_true, y_pred)
    assert content["objective"]["macro_recall"] == pytest.approx(expected)
    assert np.mean(list(content["objective"]["recall"].values())) == pytest.approx(expected)


def test_final_weights_are_balanced_over_the_final_rows(folder):
    """The final training's weight vector is scikit-learn's for its rows after augmentation."""
    params = Setting(1.0, 0.5, 0, "balanced")
    content = build_export(folder, make_record(MATRIX, params=params))
    rows = content["training_rows"]["final"]
    labels = np.repeat(np.arange(len(rows)), rows)
    expected = compute_class_weight("balanced", classes=np.arange(len(rows)), y=labels)
    np.testing.assert_allclose(content["class_weights"]["final"], expected)
    assert rows == content["data"]["search_images_per_class"]


def test_the_final_training_replays_the_median_fold(folder):
    """Epochs and learning rates are those of the lower median fold up to its best epoch."""
    rates = [[1e-4] * 9, [1e-4, 1e-4, 2e-5, 2e-5, 2e-5], [1e-4] * 4]
    record = make_record(MATRIX, best_epochs=[7, 3, 1], learning_rates=rates)
    used = build_export(folder, record)["training_used"]
    assert used["final_fold"] == 1
    assert used["final_epochs"] == 4
    assert used["final_learning_rates"] == [1e-4, 1e-4, 2e-5, 2e-5]


@given(best_epochs=st.lists(st.integers(0, 49), min_size=2, max_size=20))
def test_the_median_fold_is_the_lower_median_and_the_first_of_equals(best_epochs):
    """At least half of the folds need no fewer epochs, and as many no more."""
    fold = median_fold(best_epochs)
    epochs, n = np.array(best_epochs), len(best_epochs)
    assert epochs[fold] == np.percentile(epochs, 50, method="inverted_cdf")
    assert (epochs[:fold] != epochs[fold]).all()
    assert 0 <= fold < n


def test_the_winner_is_chosen_unless_a_trial_is_named(folder):
    """By default the best of trials and baselines, else the trial of that number."""
    assert choose_record(folder).name == "trial-00003"
    assert choose_record(folder, trial=3).name == "trial-00003"
    with pytest.raises(StudyError, match="no complete trial 4") as error:
        choose_record(folder, trial=4)
    assert "complete trials: 3" in str(error.value)


def test_a_winning_baseline_is_exported(tmp_path):
    """When nothing beats the baseline, the baseline is what is trained again."""
    base = make_baseline(MATRIX, "cross_entropy")
    folder = make_folder(tmp_path, NAMES, records=[base])
    content = build_export(folder, choose_record(folder))
    assert content["study"] == {
        "name": "made",
        "record": "baseline-cross_entropy",
        "kind": "baseline",
        "trial_number": None,
    }


def test_a_study_without_results_says_how_to_go_on(tmp_path):
    """Nothing finished, nothing exported."""
    with pytest.raises(StudyError, match="no complete trial yet") as error:
        choose_record(make_folder(tmp_path, NAMES))
    assert "tuner run made" in str(error.value)


def test_a_broken_floor_asks_for_a_trial(tmp_path):
    """When no setting meets the recall floor, the user must choose one by number."""
    below = make_record(MATRIX, constraints={"recall_floor": 0.2})
    folder = make_folder(tmp_path, NAMES, records=[below])
    with pytest.raises(StudyError, match="recall_floor") as error:
        choose_record(folder)
    assert "--trial N" in str(error.value)
    assert choose_record(folder, trial=3).number == 3


def test_an_export_replaces_exports_only(content, tmp_path):
    """An older export is replaced; a study file, another file and a folder are left alone."""
    path = tmp_path / "best.yaml"
    write_export(content, path)
    write_export(content | {"schema": 1}, path)
    for text in ("name: precious\ndata: {source: x}\n", "precious", "- 1\n", "{"):
        path.write_text(text)
        with pytest.raises(ExportError, match="left as it is"):
            write_export(content, path)
        assert path.read_text() == text
    with pytest.raises(ExportError, match="a folder"):
        write_export(content, tmp_path)


def test_a_failed_write_leaves_nothing_behind(content, tmp_path):
    """What does not read back the same never gets the name, and no temporary file stays."""
    with pytest.raises(ExportError, match="does not read back"):
        write_export(content | {"classes": (1, float("nan"))}, tmp_path / "best.yaml")
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="cannot be written"):
        write_export(content, tmp_path / "file" / "best.yaml")
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == ["file"]


def test_what_is_no_export_is_named_for_what_it_is(content, tmp_path):
    """Missing file, folder, study file, other text, binary and newer version differ."""
    path = tmp_path / "best.yaml"
    with pytest.raises(UsageError, match="does not exist"):
        load_export(path)
    with pytest.raises(UsageError, match="is a folder"):
        load_export(tmp_path)
    cases = {
        "name: steel\ndata: {source: x}\n": "a study file, not an exported configuration",
        "just text": "no export of tuner",
        "[1, 2]": "no export of tuner",
        "a: [1, 2": "cannot be read as YAML",
        "schema: 99\n": "schema 99, this version reads 1",
    }
    for text, message in cases.items():
        path.write_text(text)
        with pytest.raises(ExportError, match=message) as error:
            load_export(path)
        assert str(path) in str(error.value)
        assert "tuner export" in str(error.value)
    path.write_bytes(b"\x89PNG\xff")
    with pytest.raises(ExportError, match="cannot be read"):
        load_export(path)


PARTS = [
    ("objective", "confusion_matrix"),
    ("training_used", "final_epochs"),
    ("training_used", "final_learning_rates"),
    ("hyperparameters", "gamma"),
    ("study_file",),
    ("classes",),
]
DAMAGE = [(part, value) for part in PARTS for value in (None, "damaged")]


@pytest.mark.parametrize("part", [*PARTS, ("data", "fingerprint"), ("data", "split_fingerprint")])
def test_a_missing_part_is_found_before_anything_is_trained(content, tmp_path, part):
    """What is missing is named at once, not by a traceback later."""
    *way, last = part
    place = content
    for key in way:
        place = place[key]
    del place[last]
    with pytest.raises(ExportError, match=f"missing or damaged: '{last}' is missing"):
        load_export(written(content, tmp_path / "x.yaml"))


@pytest.mark.parametrize(("part", "value"), DAMAGE)
def test_a_part_of_another_kind_is_found_as_early(content, tmp_path, part, value):
    """Nothing and text in place of numbers are one error each."""
    *way, last = part
    place = content
    for key in way:
        place = place[key]
    place[last] = value
    with pytest.raises(ExportError, match="missing or damaged"):
        load_export(written(content, tmp_path / "x.yaml"))


@pytest.mark.parametrize(
    ("part", "value"),
    [
        (("objective", "confusion_matrix"), [[1, 2], [3]]),
        (("objective", "confusion_matrix"), [[1, 2], [3, 4]]),
        (("training_used", "final_learning_rates"), []),
        (("training_used", "final_learning_rates"), [0.0, -1.0]),
        (("training_used", "final_epochs"), 0),
    ],
)
def test_numbers_that_cannot_be_are_damage(content, tmp_path, part, value):
    """A matrix of other classes and a training of no epochs are refused."""
    content[part[0]][part[1]] = value
    with pytest.raises(ExportError, match="missing or damaged"):
        load_export(written(content, tmp_path / "x.yaml"))


def test_an_edited_study_is_read_as_strictly_as_a_study_file(content, tmp_path):
    """A misspelt key in an export is named like one in a study file."""
    content["study_file"]["training"]["epoch"] = 3
    with pytest.raises(StudyFileError, match="epoch"):
        load_export(written(content, tmp_path / "x.yaml"))


IMAGES = ImageTable(
    paths=("a.png", "b.png"),
    labels=np.array([0, 1]),
    class_names=("[a]", "b"),
    sha256=("0", "1"),
    fold=np.array([0, -1]),
)


def test_other_classes_are_named(content, tmp_path):
    """Images of other classes are refused with what is missing and what is new."""
    write_export(content, tmp_path / "best.yaml")
    export = load_export(tmp_path / "best.yaml")
    images = replace(IMAGES, root=tmp_path, class_names=tuple(sorted([*NAMES[1:], "new"])))
    with pytest.raises(ExportError) as error:
        check_classes(export, images)
    assert f"missing: {NAMES[0]!r}; new: 'new'" in str(error.value)
    check_classes(export, replace(images, class_names=tuple(sorted(NAMES))))


def test_other_images_or_folds_are_not_the_same_data(content, tmp_path):
    """Both fingerprints must agree before a reproduction is promised."""
    export = load_export(written(content, tmp_path / "x.yaml"))
    assert not same_data(export, IMAGES)
    content["data"]["fingerprint"] = IMAGES.fingerprint
    content["data"]["split_fingerprint"] = IMAGES.split_fingerprint
    export = load_export(written(content, tmp_path / "x.yaml"))
    assert same_data(export, IMAGES)
    assert not same_data(export, replace(IMAGES, fold=np.array([-1, 0])))


def test_a_matrix_is_held_against_the_recorded_one():
    """The same counts are exact; a difference is judged by three standard errors."""
    recorded = np.array(make_matrix([100, 20], [10, 5]))
    same = compare_matrices(recorded, recorded.copy())
    assert same.is_exact
    assert not same.is_suspicious
    near = compare_matrices(recorded, np.array(make_matrix([100, 20], [11, 5])))
    assert not near.is_exact
    assert not near.is_suspicious
    assert near.found - near.recorded == pytest.approx(-0.005)
    # By hand: sqrt((.901*.099/100 + .738*.262/20) / 4) = 0.0514, so 0.155 is too much.
    far = compare_matrices(recorded, np.array(make_matrix([100, 20], [10, 12])))
    assert near.standard_error == far.standard_error == pytest.approx(0.0514, abs=5e-4)
    assert far.is_suspicious
    other = compare_matrices(recorded, np.array(make_matrix([100, 20, 5], [10, 5, 0])))
    assert not other.is_exact


def test_other_images_are_read_as_the_old_ones_where_that_can_be(content, tmp_path, monkeypatch):
    """A label file keeps its columns, its folders move along; a folder has neither."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "new" / "pics").mkdir(parents=True)
    (tmp_path / "new" / "l.csv").touch()
    write_export(content, tmp_path / "best.yaml")
    export = load_export(tmp_path / "best.yaml")
    columns = {"path": "id", "label": "dx", "group": None, "split": None}
    data = {"source": "old/l.csv", "images": ["old/pics"], "columns": columns}
    data = export.config.data.model_validate(data)
    export = replace(export, config=export.config.model_copy(update={"data": data}))

    table = with_images(export, "new/l.csv").config.data
    folder = with_images(export, "new").config.data

    assert (table.source, table.images, table.columns) == (
        "new/l.csv",
        ("new/pics",),
        data.columns,
    )
    assert (folder.source, folder.images, folder.columns) == ("new", (), None)
